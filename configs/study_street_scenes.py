"""The study on made-up street scenes, where unseen void is strict: objects that no training image shows.

Command: python tools/make_street_scenes.py --output_dir=D --num_train=240 --num_val=120 --unseen_void
         python tools/convert_cityscapes.py --cityscapes_dir=D --records_dir=R --splits=train,val
         python tools/study.py --config=configs/study_street_scenes.py --workdir=W --config.base.data.records_dir=R
Hardware: two CPU cores, 4 GB.
Time: 4 to 8 minutes a run, two at a time on an AMD EPYC.
Result: docs/answer_first_edition.md; all 8 runs.
"""

import ml_collections

from kseg import config as kseg_config

# Cityscapes' ids that --unseen_void keeps out of the training images: dynamic, caravan, trailer.
UNSEEN = (5, 29, 30)
TREATMENTS = ("ignore", "background_class", "hybrid", "entropic")


def get_config() -> ml_collections.ConfigDict:
    """The study; its keys are those of kseg/study/grid.py."""
    study = ml_collections.ConfigDict()
    study.name = "street_scenes"
    study.title = "Made-up street scenes, 19 classes, UNet from scratch"
    study.base = base = kseg_config.default()
    base.data.crop_size = (128, 256)
    base.data.calibration_fraction = 0.1
    base.data.unseen_void_ids = UNSEEN
    base.augment.scale_min, base.augment.scale_max = 0.75, 1.5
    base.model.width, base.model.depth = 8, 4
    # What configs/study_camvid.py chose for the cross entropy at this width; nothing is chosen on these scenes.
    base.optimizer.learning_rate = 3e-3
    base.optimizer.warmup_steps = 20
    base.train.total_steps = 1200
    base.train.batch_size = 8
    base.train.distribution = "none"
    base.train.deterministic = True
    base.train.checkpoint_every_steps = 200
    base.train.keep_checkpoints = 1
    base.eval.every_steps = 300
    base.log.every_steps = 50
    base.log.pictures = 0
    study.test_split = "val"
    study.sequence_pattern = r"^([^_]+)"
    # Scenes are drawn one by one and independent of each other: blocks of one.
    study.block_frames, study.draws, study.margin = 1, 2000, 0.01
    study.publish_pictures = True
    study.publish_figures = ("void_caught",)  # what docs/answer_first_edition.md shows
    study.arms = {name: {"treatment": {"name": name}} for name in TREATMENTS}
    study.grid = [("street scenes", TREATMENTS, (0, 1))]
    study.contrasts = []
    for name in TREATMENTS[1:]:
        for measure in ("forced_miou", "auroc_scene_off_edge", "auroc_unseen_off_edge"):
            study.contrasts.append(("street scenes", name, "ignore", measure, False))
        for kind in ("scene", "geometry", "unseen"):  # set up after all runs had been looked at
            study.contrasts.append(("street scenes", name, "ignore", f"recall_at_0.05_{kind}_off_edge", False))
    study.headline = TREATMENTS
    study.folds = ml_collections.ConfigDict()
    study.by_width = ()
    study.choices = []
    return study
