"""UNet from scratch on Cityscapes at 512x1024 crops.

  python tools/train.py --config=configs/cityscapes_unet.py --workdir=W --config.data.records_dir=R
      [--config.treatment.name=background_class]

After the published UNet recipe of mmsegmentation (UNet-S5-D16 with an FCN head: 512x1024 crops, global batch 16,
160,000 steps, polynomial decay), which reports 69.1 mIoU on val with void ignored. Hardware: four or more GPUs of 24 GB
(not run by us). Result: not yet measured.
"""

from kseg import config as defaults


def get_config():
    config = defaults.default()

    config.data.crop_size = (512, 1024)
    config.augment.scale_min = 0.5
    config.augment.scale_max = 2.0
    config.augment.cat_max_ratio = 0.75

    config.model.width = 64
    config.model.depth = 4

    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.01
    config.optimizer.schedule = "poly"
    config.optimizer.weight_decay = 5e-4

    config.train.total_steps = 160_000
    config.train.batch_size = 16
    config.train.precision = "mixed_bfloat16"
    config.train.checkpoint_every_steps = 1000
    config.eval.every_steps = 16_000
    config.eval.batch_size = 8
    return config
