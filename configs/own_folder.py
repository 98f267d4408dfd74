"""UNet on EfficientNet-Lite0 with ImageNet weights, for a folder of your own: its records are given after a colon.

  pip install 'kseg[pretrained]'
  kseg train --config=own_folder:R --workdir=W [--config.train.total_steps=N]
  python tools/train.py --config=configs/own_folder.py:R --workdir=W

R is the folder of records. Crops follow its pictures; pictures of one size and of more pixels than CamVid's are made
smaller first, so that a step takes much the same for all. Without R: crops for CamVid's size. The rest is the recipe of
configs/camvid_lite0.py.

Hardware: two CPU cores: 13 minutes of processor time for 500 steps, so seven to ten; 2.5 GB.
Result: that of your pictures; that of the recipe is in configs/camvid_lite0.py.
"""

from kseg import config as defaults
from kseg.data import seen_size

LARGEST = 480 * 360  # pixels that the network sees of a picture


def get_config(records_dir=""):
    config = defaults.default()

    config.data.records_dir = records_dir
    sizes = seen_size.sizes(records_dir, config.data.train_split) if records_dir else [(360, 480)]
    fitting = seen_size.seen_at(sizes, LARGEST)
    config.data.crop_size = tuple(fitting["crop_size"])
    config.eval.input_size = tuple(fitting["input_size"])
    config.augment.scale_min = 0.6 * fitting["scale"]
    config.augment.scale_max = 1.6 * fitting["scale"]

    config.model.encoder = "efficientnet_lite0"
    config.model.encoder_weights = "imagenet"
    config.model.decoder_widths = (64, 48, 32, 24)

    # Dice beside the cross entropy: without it rare classes stay near 0.
    config.loss.class_weights = "inverse_sqrt"
    config.loss.dice_weight = 1.0

    config.optimizer.learning_rate = 2e-3
    config.optimizer.encoder_rate = 0.5
    config.optimizer.warmup_steps = 20
    config.optimizer.ema_decay = 0.99

    config.train.total_steps = 500
    config.train.batch_size = 8
    config.train.checkpoint_every_steps = 100
    config.log.every_steps = 20
    return config
