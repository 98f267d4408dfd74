"""The study on CamVid: every treatment of void, side by side, as docs/plan_first_edition.md fixes it.

Command: python tools/convert_camvid.py --camvid_dir=CamVid --records_dir=records/camvid
         python tools/study.py --config=configs/study_camvid.py:rates --workdir=W/tuning \
             --config.base.data.records_dir=records/camvid --choose       (write LEARNING_RATE below)
         python tools/study.py --config=configs/study_camvid.py:tuning --workdir=W/tuning \
             --config.base.data.records_dir=records/camvid --choose       (write VOID_WEIGHT below)
         python tools/study.py --config=configs/study_camvid.py --workdir=W/camvid \
             --config.base.data.records_dir=records/camvid
         python tools/study.py --config=configs/study_camvid.py:heads --workdir=W/heads \
             --config.base.data.records_dir=records/camvid
Hardware: two CPU cores, 4 GB.
Time: a run at width 8 about 4.5 minutes, tuning (16 runs of half the steps) 40 minutes, stage primary (18 runs) 80
         minutes, core (33 runs) 2.5 hours. Processor time: 7.5 minutes at width 8, 19 at width 16, 23 at 2520 steps.
Result: docs/answer_first_edition.md; all stages but seeds and leave-out, and of the part heads all but its last two.
"""

import ml_collections

from kseg import config as kseg_config

# Chosen on the held-out blocks by the `tuning` part; the rule is in docs/plan_first_edition.md.
LEARNING_RATE = {"cross_entropy": 3e-3, "dice": 3e-3, "binary_cross_entropy": 1e-2}
VOID_WEIGHT = {"background_class": 3.0, "inverted_dice": 0.3}

LOSS_OF = {
    "ignore": "cross_entropy",
    "background_class": "cross_entropy",
    "hybrid": "cross_entropy",
    "entropic": "cross_entropy",
    "void_head": "cross_entropy",
    "inverted_dice": "dice",
    "inverted_dice_softmax": "dice",
    "one_vs_all": "binary_cross_entropy",
}
# CamVid's ids of the groups that leave training in turn.
GROUPS = {"car": (8,), "person": (9, 10), "fence": (7,)}
FOLDS = (("car", "person"), ("person", "fence"), ("fence", "car"))  # (seen as void, unseen)
MAIN = ("ignore", "background_class")
OTHERS = ("hybrid", "inverted_dice", "one_vs_all", "entropic", "void_head")
# All void, and what it is made of: how well it is ranked, and what is caught where 5 % of labelled pixels are lost.
BY_KIND = ("auroc_all_off_edge", "auroc_geometry_off_edge") + tuple(
    f"recall_at_0.05_{kind}_off_edge" for kind in ("all", "geometry", "scene")
)


def get_config(part: str = "grid") -> ml_collections.ConfigDict:
    """The study.

    Args:
      part: "grid" (the runs that are reported); "heads" (what has an output more than `ignore`, again, with code whose
        heads start alike in the outputs that treatments share); or on the held-out blocks alone: "rates" (learning
        rates of the primary contrasts' losses), then, in the same workdir, "tuning" (those, the void weights at the
        chosen rates, and the learning rate of one_vs_all).
    """
    if part not in ("grid", "heads", "rates", "tuning"):
        raise ValueError(f"configs/study_camvid.py:{part}: expected grid, heads, rates or tuning.")
    study = ml_collections.ConfigDict()
    study.name = {"grid": "camvid", "heads": "camvid_heads"}.get(part, "camvid_tuning")
    study.title = "CamVid, 11 classes, UNet from scratch"
    study.title += {"grid": "", "heads": ", heads that start alike"}.get(part, ", choices on held-out blocks")
    study.base = _base()
    # Tuning never looks at the test frames, the grid's choices are made.
    study.test_split = "test" if part in ("grid", "heads") else ""
    study.sequence_pattern = r"^([^_]+)"  # of the frame's name; blocks of the bootstrap stay within a sequence
    study.block_frames = 20
    study.draws = 2000
    study.margin = 0.01
    study.publish_pictures = False  # CamVid's frames are not ours to publish
    # Those that docs/answer_first_edition.md shows.
    study.publish_figures = ("void_caught",) if part == "grid" else ()
    study.arms = ml_collections.ConfigDict()
    study.grid = []
    study.contrasts = []
    study.choices = []
    study.headline = ()  # arms of the main comparison, for figures
    study.folds = ml_collections.ConfigDict()  # arm: (group seen as void, group unseen)
    study.by_width = ()  # contrasts that differ in width alone
    if part == "grid":
        _grid(study)
    elif part == "heads":
        _heads(study)
    else:
        _rates(study, {"cross_entropy": MAIN, "dice": ("inverted_dice",)})
    if part == "tuning":
        _void_weights(study)
        # In no primary contrast, so it is chosen last.
        _rates(study, {"binary_cross_entropy": ("one_vs_all",)})
    return study


def _base():
    config = kseg_config.default()
    config.data.calibration_fraction = 0.1
    config.data.crop_size = (192, 256)
    config.data.cache = True
    config.data.train_split, config.data.eval_split = "train", "test"
    # The network sees a test frame at 192x256, 0.533 of its size; training scales lie around that.
    config.eval.input_size = (192, 256)
    config.augment.scale_min, config.augment.scale_max = 0.4, 0.8
    config.model.width, config.model.depth = 8, 4
    config.optimizer.name = "adamw"
    config.optimizer.schedule = "cosine"
    config.optimizer.weight_decay = 1e-4
    config.optimizer.clip_norm = 0.0
    config.optimizer.ema_decay = 0.0
    config.train.total_steps = 840  # about 20 passes
    config.train.batch_size = 8
    config.train.precision = "float32"
    config.train.distribution = "none"
    config.train.deterministic = True
    config.train.early_stopping_evals = 0
    config.train.checkpoint_every_steps = 120
    config.eval.every_steps = 210  # on the held-out frames, for the training curves
    config.train.keep_checkpoints = 1
    config.log.every_steps = 20
    config.log.pictures = 0
    return config


def _arm(study, name, treatment, width=8, steps=840, rate=None, **options):
    """Adds an arm: what differs from the base. `options` go to treatment, or as loss=dict(...), data=dict(...)."""
    weight = {"hybrid": VOID_WEIGHT["background_class"], **VOID_WEIGHT}.get(treatment, 1.0)
    arm = {
        "treatment": {"name": treatment, "void_weight": weight},
        "model": {"width": width},
        "optimizer": {"learning_rate": LEARNING_RATE[LOSS_OF[treatment]] if rate is None else rate},
        "train": {"total_steps": steps},
    }
    for section in ("loss", "data"):
        if section in options:
            arm[section] = options.pop(section)
    arm["treatment"].update(options)
    study.arms[name] = arm
    return name


def _grid(study):
    for width in (4, 8, 16):
        for treatment in MAIN:
            _arm(study, f"{treatment}-w{width}", treatment, width)
    for treatment in OTHERS:
        _arm(study, f"{treatment}-w8", treatment)
    for seen, unseen in FOLDS:
        for treatment in (*MAIN, "entropic", "one_vs_all"):
            data = {"seen_void_ids": GROUPS[seen], "unseen_void_ids": GROUPS[unseen]}
            name = _arm(study, f"{treatment}-w8-seen_{seen}-unseen_{unseen}", treatment, data=data)
            study.folds[name] = (seen, unseen)
    _arm(study, "background_class_idle-w8", "background_class", void_weight=0.0)
    _arm(study, "void_head_stopped-w8", "void_head", stop_gradient=True)
    _arm(study, "inverted_dice_weight3-w8", "inverted_dice", void_weight=3.0)
    for treatment in MAIN:
        _arm(study, f"{treatment}_3x-w8", treatment, steps=2520)
    _arm(study, "one_vs_all_masked-w8", "one_vs_all", encoding="ignore")
    _arm(study, "inverted_dice_masked-w8", "inverted_dice", encoding="ignore")
    _arm(study, "dice_only-w8", "inverted_dice", loss={"inverted_dice_weight": 0.0})
    _arm(study, "inverted_dice_softmax-w8", "inverted_dice_softmax")
    _arm(study, "inverted_dice_softmax_masked-w8", "inverted_dice_softmax", encoding="ignore")

    folds = [f"seen_{seen}-unseen_{unseen}" for seen, unseen in FOLDS]
    main = [f"{treatment}-w8" for treatment in MAIN]
    leave_out = [f"{treatment}-w8-{fold}" for fold in folds for treatment in (*MAIN, "entropic")]
    attribution = ["one_vs_all_masked-w8", "inverted_dice_masked-w8", "dice_only-w8", "inverted_dice_softmax-w8"]
    # (stage, arms, seeds), in the order in which they run; within a stage seed by seed.
    study.grid = [
        ("primary", (*main, "inverted_dice-w8"), tuple(range(6))),
        ("core", tuple(f"{treatment}-w8" for treatment in OTHERS if treatment != "inverted_dice"), (0, 1, 2)),
        ("core", ("ignore-w4", "background_class-w4"), (0, 1, 2, 3)),
        ("core", ("ignore-w16", "background_class-w16"), (0, 1)),
        ("core", tuple(leave_out), (0,)),
        ("long", tuple(f"{treatment}_3x-w8" for treatment in MAIN), (0, 1)),
        ("controls", ("background_class_idle-w8", "void_head_stopped-w8"), (0, 1, 2)),
        ("weights", ("inverted_dice_weight3-w8",), (0, 1, 2)),
        ("attribution", tuple(attribution), (0, 1)),
        ("softmax", ("inverted_dice_softmax-w8",), (2, 3, 4, 5)),
        ("softmax", ("inverted_dice_softmax_masked-w8",), (0, 1)),
        ("seeds", tuple(main), (6, 7, 8, 9)),
        ("leave-out", tuple(f"one_vs_all-w8-{fold}" for fold in folds), (0, 1)),
        ("leave-out", tuple(leave_out), (1,)),
    ]

    study.primary_seeds = tuple(range(6))  # further seeds of the main arms came after a first look at the verdicts
    study.headline = tuple(f"{treatment}-w8" for treatment in (*MAIN, *OTHERS, "inverted_dice_softmax"))
    study.by_width = ("capacity, width 4", "capacity", "capacity, width 16")
    study.groups = {
        "attribution": {
            "title": "What in Dice plus inverted Dice does what",
            "caption": "Arms that differ in one thing, and such arms against ignore: masked leaves void out of the "
            "loss, dice_only lacks the inverted term, the softmax reading has no sigmoids.",
            "contrasts": ("attribution",),
            "arms": tuple(attribution),
        }
    }
    scene = "auroc_scene_off_edge"
    # (name, arm, reference, measure, primary)
    study.contrasts = [
        ("capacity", "background_class-w8", "ignore-w8", "forced_miou", True),
        ("rejection", "background_class-w8", "ignore-w8", scene, True),
        ("inverted Dice", "inverted_dice-w8", "background_class-w8", scene, True),
        ("capacity, every seed", "background_class-w8", "ignore-w8", "forced_miou", False),
        ("rejection, every seed", "background_class-w8", "ignore-w8", scene, False),
        ("capacity, width 4", "background_class-w4", "ignore-w4", "forced_miou", False),
        ("capacity, width 16", "background_class-w16", "ignore-w16", "forced_miou", False),
        ("idle channel", "background_class_idle-w8", "ignore-w8", "forced_miou", False),
        ("void in the trunk", "void_head-w8", "void_head_stopped-w8", "forced_miou", False),
        ("capacity, 3 x steps", "background_class_3x-w8", "ignore_3x-w8", "forced_miou", False),
        ("rejection, 3 x steps", "background_class_3x-w8", "ignore_3x-w8", scene, False),
        ("inverted Dice, void weight 3", "inverted_dice_weight3-w8", "background_class-w8", scene, False),
        # From here on to `further`: set up after all runs had been looked at.
        ("extra class against idle channel", "background_class-w8", "background_class_idle-w8", "forced_miou", False),
    ]
    for arm in ("background_class-w8", "entropic-w8", "inverted_dice-w8", "inverted_dice_weight3-w8"):
        study.contrasts += [("by kind of void", arm, "ignore-w8", measure, False) for measure in BY_KIND]
    for arm in ("inverted_dice-w8", "inverted_dice_weight3-w8"):
        study.contrasts += [("by kind of void", arm, "background_class-w8", measure, False) for measure in BY_KIND]
    further = ["inverted_dice_weight3-w8", *attribution, "inverted_dice_softmax_masked-w8"]
    for arm in [f"{treatment}-w8" for treatment in OTHERS] + further:
        study.contrasts += [
            ("against ignore", arm, "ignore-w8", "forced_miou", False),
            ("against ignore", arm, "ignore-w8", scene, False),
        ]
    for arm, reference in (
        ("inverted_dice-w8", "inverted_dice_masked-w8"),
        ("one_vs_all-w8", "one_vs_all_masked-w8"),
        ("inverted_dice-w8", "dice_only-w8"),
        ("inverted_dice-w8", "inverted_dice_softmax-w8"),
        ("inverted_dice-w8", "one_vs_all-w8"),
        ("inverted_dice_softmax-w8", "inverted_dice_softmax_masked-w8"),
    ):
        study.contrasts.append(("attribution", arm, reference, scene, False))
        study.contrasts.append(("attribution", arm, reference, "forced_miou", False))
    for treatment in ("background_class", "entropic", "one_vs_all"):
        # The mean over the three folds; the group that joined void is the only void of kind "dropped".
        arms, references = (tuple(f"{name}-w8-{fold}" for fold in folds) for name in (treatment, "ignore"))
        for name, kind in (("seen", "dropped"), ("unseen", "unseen")):
            study.contrasts.append((f"leave-out, {name}", arms, references, f"auroc_{kind}_off_edge", False))
            study.contrasts.append((f"leave-out, {name}", arms, references, f"recall_at_0.05_{kind}_off_edge", False))
        study.contrasts.append(("leave-out, cost", arms, references, "forced_miou", False))


def _heads(study):
    main = [_arm(study, f"{treatment}-w8", treatment) for treatment in MAIN]
    long = [_arm(study, f"{treatment}_3x-w8", treatment, steps=2520) for treatment in MAIN]
    idle = _arm(study, "background_class_idle-w8", "background_class", void_weight=0.0)
    weight1 = _arm(study, "background_class_weight1-w8", "background_class", void_weight=1.0)
    others = [_arm(study, f"{treatment}-w8", treatment) for treatment in ("hybrid", "void_head")]
    study.grid = [
        ("heads", tuple(main), tuple(range(6))),
        ("idle channel", (idle,), (0, 1, 2)),
        ("long", tuple(long), (0, 1)),
        ("weights", (weight1,), tuple(range(6))),
        ("others", tuple(others), (0, 1, 2)),
        ("long, a third seed", tuple(long), (2,)),
    ]
    study.headline = (*main, *others)
    for name, arm, reference in (
        ("heads alike", main[1], main[0]),
        ("heads alike, idle channel", idle, main[0]),
        ("heads alike, 3 x steps", long[1], long[0]),
        ("heads alike, void weight 1", weight1, main[0]),
        ("heads alike, void weight 1 against 3", weight1, main[1]),
        ("heads alike, hybrid", others[0], main[0]),
        ("heads alike, void head", others[1], main[0]),
    ):
        for measure in ("forced_miou", "auroc_scene_off_edge"):
            if (arm, measure) != (idle, "auroc_scene_off_edge"):  # nothing trains that output
                study.contrasts.append((f"{name}, {measure}", arm, reference, measure, False))
    # Set up after all runs had been looked at.
    study.contrasts.append(("heads alike, extra class against idle channel", main[1], idle, "forced_miou", False))
    for name, arm in (("heads alike", main[1]), ("heads alike, void weight 1", weight1)):
        study.contrasts += [(f"{name}, {measure}", arm, main[0], measure, False) for measure in BY_KIND]


TUNING_SEED, TUNING_STEPS = 100, 420  # the seed is used nowhere else


def _rates(study, treatments_of_loss):
    """Learning rates per loss, at void_weight 1: {loss: the treatments whose mean decides}.

    A choice is (name, default, {value: arms}, criterion, guard): best mean criterion, the default unless it is beaten
    by 0.5 points.
    """
    rates = (1e-3, 3e-3, 1e-2)
    for loss, treatments in treatments_of_loss.items():
        for treatment in treatments:
            for rate in rates:
                name = f"{treatment}-w8-rate{rate:.0e}"
                _arm(study, name, treatment, steps=TUNING_STEPS, rate=rate, void_weight=1.0)
                study.grid.append((f"rates, {loss}", (name,), (TUNING_SEED,)))
        candidates = [(rate, tuple(f"{treatment}-w8-rate{rate:.0e}" for treatment in treatments)) for rate in rates]
        study.choices.append((f"learning rate, {loss}", 1e-3, candidates, "forced_miou", ""))


def _void_weights(study):
    """Void weights at the chosen rates; weight 1 is the run that chose the rate."""
    for treatment in VOID_WEIGHT:
        chosen = f"{treatment}-w8-rate{LEARNING_RATE[LOSS_OF[treatment]]:.0e}"
        candidates = [(1.0, (chosen,))]
        for label, weight in (("low", 0.3), ("high", 3.0)):
            name = _arm(study, f"{treatment}-w8-void_{label}", treatment, steps=TUNING_STEPS, void_weight=weight)
            study.grid.append(("void weights", (name,), (TUNING_SEED,)))
            candidates.append((weight, (name,)))
        study.choices.append((f"void_weight, {treatment}", 1.0, candidates, "auroc_scene_off_edge", "forced_miou"))
