"""UNet from scratch on CamVid (11 classes, 480x360).

  python tools/train.py --config=configs/camvid_unet.py --workdir=W --config.data.records_dir=R
      [--config.treatment.name=background_class]

Report the test split: val is one easy clip of a training sequence. Hardware: one GPU, or a CPU for a night.
Result: not yet measured.
"""

from kseg import config as defaults


def get_config():
    config = defaults.default()

    config.data.crop_size = (320, 480)
    config.data.eval_split = "test"
    config.data.cache = True
    config.augment.scale_min = 0.75
    config.augment.scale_max = 1.5

    config.model.width = 32
    config.model.depth = 4

    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup_steps = 200

    config.train.total_steps = 8000
    config.train.batch_size = 8
    config.train.checkpoint_every_steps = 500
    config.eval.every_steps = 2000
    return config
