"""The study on Cityscapes at full size: the primary contrasts and the other treatments, with their own learning rates.

Command: python tools/convert_cityscapes.py --cityscapes_dir=D --records_dir=R --splits=train,val
         python tools/study.py --config=configs/study_cityscapes.py:rates --workdir=W/rates \
             --config.base.data.records_dir=R --choose       (write LEARNING_RATE below)
         python tools/study.py --config=configs/study_cityscapes.py --workdir=W/cityscapes \
             --config.base.data.records_dir=R
Hardware: a data-centre GPU with 40 GB or more for each share (--only=k/n); not run by us.
Time: not measured. Reckoned from the operations (tools/train.py --dry_run: 35.8 TFLOP a step): a run of the grid 1.43
         EFLOP, which is 8 hours where a GPU keeps up 50 TFLOP/s; grid (21 runs) 170 GPU hours, rates (12 runs of a
         quarter of the steps) 24.
Result: not yet measured.
"""

import ml_collections

from kseg import config as kseg_config

# To be replaced by what the part `rates` chooses on held-out frames of train, before the first run of the grid.
LEARNING_RATE = {"cross_entropy": 1e-3, "dice": 1e-3, "binary_cross_entropy": 1e-3}
LOSS_OF = {"inverted_dice": "dice", "one_vs_all": "binary_cross_entropy"}  # the others: cross entropy
PRIMARY = ("ignore", "background_class", "inverted_dice")
OTHERS = ("hybrid", "one_vs_all", "entropic", "void_head")
STEPS, TUNING_STEPS, TUNING_SEED = 40_000, 10_000, 100


def get_config(part: str = "grid") -> ml_collections.ConfigDict:
    """The study; its keys are those of kseg/study/grid.py.

    Args:
      part: "grid" (the runs that are reported), or "rates" (learning rates, on held-out frames of train alone).
    """
    if part not in ("grid", "rates"):
        raise ValueError(f"configs/study_cityscapes.py:{part}: expected grid or rates.")
    study = ml_collections.ConfigDict()
    study.name = "cityscapes" if part == "grid" else "cityscapes_rates"
    study.title = "Cityscapes, 19 classes, UNet from scratch" + (", choices on held-out frames" * (part != "grid"))
    study.base = _base()
    study.test_split = "val" if part == "grid" else ""
    study.sequence_pattern = r"^([a-z]+)"  # the city; frames of one drive follow each other
    study.block_frames, study.draws, study.margin = 20, 2000, 0.01
    study.publish_pictures = False
    study.arms = ml_collections.ConfigDict()
    study.grid, study.contrasts, study.choices = [], [], []
    study.folds = ml_collections.ConfigDict()
    study.by_width = ()
    study.headline = (*PRIMARY, *OTHERS) if part == "grid" else ()
    (_grid if part == "grid" else _rates)(study)
    return study


def _base():
    """The network and crops of configs/cityscapes_unet.py at a quarter of its steps, with CamVid's optimizer."""
    config = kseg_config.default()
    config.data.calibration_fraction = 0.1
    config.data.crop_size = (512, 1024)
    config.augment.scale_min, config.augment.scale_max = 0.5, 2.0
    config.model.width, config.model.depth = 64, 4
    config.optimizer.name = "adamw"
    config.optimizer.schedule = "cosine"
    config.optimizer.weight_decay = 1e-4
    config.optimizer.clip_norm = 0.0
    config.optimizer.ema_decay = 0.0
    config.train.total_steps = STEPS
    config.train.batch_size = 16
    config.train.precision = "mixed_bfloat16"
    config.train.distribution = "none"
    config.train.early_stopping_evals = 0
    config.train.checkpoint_every_steps = 1000
    config.train.keep_checkpoints = 1
    config.eval.every_steps = 10_000
    config.eval.batch_size = 8
    config.log.pictures = 0
    return config


def _arm(study, name, treatment, rate, steps):
    study.arms[name] = {
        "treatment": {"name": treatment},
        "optimizer": {"learning_rate": rate},
        "train": {"total_steps": steps},
    }


def _grid(study):
    for treatment in (*PRIMARY, *OTHERS):
        _arm(study, treatment, treatment, LEARNING_RATE[LOSS_OF.get(treatment, "cross_entropy")], STEPS)
    study.grid = [("primary", PRIMARY, (0, 1, 2)), ("others", OTHERS, (0, 1, 2))]
    scene = "auroc_scene_off_edge"
    study.contrasts = [
        ("capacity", "background_class", "ignore", "forced_miou", True),
        ("rejection", "background_class", "ignore", scene, True),
        ("inverted Dice", "inverted_dice", "background_class", scene, True),
    ]
    for treatment in ("inverted_dice", *OTHERS):
        for measure in ("forced_miou", scene):
            study.contrasts.append(("against ignore", treatment, "ignore", measure, False))


def _rates(study):
    of_loss = {"cross_entropy": PRIMARY[:2], "dice": ("inverted_dice",), "binary_cross_entropy": ("one_vs_all",)}
    for loss, treatments in of_loss.items():
        candidates = []
        for rate in (3e-4, 1e-3, 3e-3):
            names = tuple(f"{treatment}-rate{rate:.0e}" for treatment in treatments)
            for name, treatment in zip(names, treatments):
                _arm(study, name, treatment, rate, TUNING_STEPS)
            study.grid.append((f"rates, {loss}", names, (TUNING_SEED,)))
            candidates.append((rate, names))
        study.choices.append((f"learning rate, {loss}", 1e-3, candidates, "forced_miou", ""))
