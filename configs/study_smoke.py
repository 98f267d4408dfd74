"""A study small enough for a test: two treatments, two seeds, a few steps on tiny street scenes. Says nothing.

Command: python tools/make_street_scenes.py --output_dir=D --num_train=12 --num_val=6 --height=64 --width=128
         python tools/convert_cityscapes.py --cityscapes_dir=D --records_dir=R --splits=train,val
         python tools/study.py --config=configs/study_smoke.py --workdir=W --config.base.data.records_dir=R
Hardware: two CPU cores.
Time: about a minute.
Result: none is meant.
"""

import ml_collections

from kseg import config as kseg_config


def get_config() -> ml_collections.ConfigDict:
    """The study; its keys are those of kseg/study/grid.py."""
    study = ml_collections.ConfigDict()
    study.name = "smoke"
    study.title = "Smoke test on street scenes"
    study.base = base = kseg_config.default()
    base.data.crop_size = (64, 64)
    base.data.calibration_fraction = 0.2
    base.eval.input_size = (32, 64)
    base.eval.batch_size = 2
    base.model.width, base.model.depth = 4, 2
    base.train.total_steps = 4
    base.train.batch_size = 2
    base.train.distribution = "none"
    base.train.deterministic = True
    base.train.checkpoint_every_steps = 2
    base.eval.every_steps = 2
    base.log.every_steps = 1
    base.log.pictures = 0
    study.test_split = "val"
    study.sequence_pattern = r"^([^_]+)"
    study.block_frames, study.draws, study.margin = 2, 200, 0.01
    study.publish_pictures = True
    study.arms = {
        "ignore": {"treatment": {"name": "ignore"}},
        "background_class": {"treatment": {"name": "background_class"}},
    }
    study.grid = [("all", ("ignore", "background_class"), (0, 1))]
    study.contrasts = [("capacity", "background_class", "ignore", "forced_miou", True)]
    study.headline = ("ignore", "background_class")
    study.folds = ml_collections.ConfigDict()
    study.by_width = ()
    study.choices = []
    return study
