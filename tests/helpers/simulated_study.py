"""Made-up results of a study, in the form that real runs leave: for tests of what is concluded and drawn from them.

Each frame has its own difficulty, neighbours alike; each seed shifts a run a little; each treatment costs forced mIoU
and gains AUROC by known amounts. Nothing here trains.
"""

import os

import numpy as np

from kseg import histograms, iou
from kseg.study import grid, identity, results

IDENTITY = {
    "code": "c" * 64,
    "records": "d" * 64,
    "versions": {"python": "3.11", "tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6"},
    "device": "CPU made up",
}
CLASSES = "sky building pole road pavement tree sign fence car pedestrian bicyclist".split()
# treatment: (points of accuracy lost, distance of void scores from labelled ones, share of void natively abstained on)
EFFECTS = {
    "ignore": (0.0, 0.9, 0.0),
    "background_class": (0.6, 1.25, 0.2),
    "hybrid": (0.5, 1.3, 0.22),
    "inverted_dice": (3.0, 0.8, 0.4),
    "inverted_dice_softmax": (3.5, 0.7, 0.0),
    "one_vs_all": (1.0, 1.0, 0.35),
    "entropic": (0.3, 1.4, 0.0),
    "void_head": (0.2, 1.3, 0.25),
}
FRAMES = [f"0001TP_{8550 + 30 * i:06d}" for i in range(62)] + [f"Seq05VD_f{30 * i:05d}" for i in range(171)]
_LOST = np.geomspace(0.001, 0.2, 40)
_BINS = 400
_EDGES = np.linspace(-4, 7, _BINS + 1)


def write(configuration, folder, only=lambda run: True, frames=FRAMES):
    """Writes a result for each planned run that `only` keeps; returns the runs."""
    runs = [run for run in grid.expand(configuration) if only(run)]
    for run in runs:
        path = os.path.join(folder, "runs", run.id)
        os.makedirs(path, exist_ok=True)
        results.save(os.path.join(path, "result.json"), result(configuration, run, frames))
    return runs


def result(configuration, run, frames=FRAMES):
    """One made-up result."""
    treatment = run.config.treatment.name
    cost, distance, native = EFFECTS[treatment]
    if run.config.treatment.void_weight == 0 or run.config.treatment.encoding == "ignore":
        cost, distance, native = 0.1, 0.9, 0.02
    unseen_ids, seen_ids = run.config.data.unseen_void_ids, run.config.data.seen_void_ids
    classes = [name for i, name in enumerate(CLASSES) if i not in (*unseen_ids, *seen_ids)]
    # Frames are equally hard for every arm; runs differ by their arm and seed.
    hard = _smooth(np.random.default_rng(5), len(frames))
    random = np.random.default_rng([run.seed, int(identity.fingerprint(run.arm)[:8], 16)])
    own = 0.3 * _smooth(random, len(frames)) + 0.5 * random.normal()
    base = 62 + 8 * np.log2(run.config.model.width / 8) + 3 * (run.config.train.total_steps > 840)
    base -= cost * (8 / run.config.model.width) ** 0.5
    accuracy = np.clip((base + 4 * hard + own) / 100, 0.05, 0.98)
    kinds = ["all", "scene", "geometry"] + (["dropped", "unseen"] if unseen_ids else [])
    never = native == 0
    matrices = {name: _matrices(accuracy, len(classes), rate) for name, rate in (
        ("forced", 0), ("native", native / 8), ("calibrated", 0.05))}  # fmt: skip
    shifts = {"all": 0.2, "scene": 0.0, "geometry": 1.5, "dropped": 0.3, "unseen": -0.6}
    weight = 1 + 0.3 * hard
    labelled = np.array([_histogram(0.0, 9600 * w) for w in weight])
    correct = np.array([_histogram(-0.1, 9000 * w) for w in weight])
    void = {
        kind: np.array([_histogram(distance + shifts[kind] + 0.15 * h + 0.05 * own[0], 300) for h in hard])
        for kind in kinds
    }
    groups = histograms.balanced_bins(labelled.sum(0), sum(v.sum(0) for v in void.values()), 64)
    scores = {name: offset for name, offset in zip(_scores_of(treatment), (0, -0.1, -0.2, -0.3))}
    blocks = {}
    for kind in kinds:
        block = {"pixels": int(void[kind].sum()), "leak": 1 - native, "claimed_as": _claimed(classes, 1 - native)}
        pooled = [labelled.sum(0), void[kind].sum(0)]
        block["scores"] = {
            name: histograms.statistics(pooled[0], np.roll(pooled[1], int(offset * 30)))
            for name, offset in scores.items()
        }
        blocks[kind] = block | {"off_edge": block}
    pooled = {name: stack.sum(0) for name, stack in matrices.items()}
    lost = float(np.diagonal(pooled["forced"])[:-1].sum() - np.diagonal(pooled["native"])[:-1].sum())
    report = {
        "images": len(frames),
        "mean_iou": float(iou.mean_iou(pooled["native"])),
        "mean_iou_forced": float(iou.mean_iou(pooled["forced"])),
        "mean_iou_with_background": float(iou.mean_iou(pooled["native"])) - 0.01,
        "abstain_rate": native / 8,
        "abstain_rate_correct": lost / pooled["forced"][:-1].sum(),
        "per_class_iou": {name: 0.5 + 0.03 * i for i, name in enumerate(classes)},
        "void": blocks,
    }
    report["calibrated"] = {key: value for key, value in report.items()} | {
        "mean_iou": float(iou.mean_iou(pooled["calibrated"])),
        "abstain_rate": 0.05,
    }
    steps = range(20, run.config.train.total_steps + 1, 20)
    return {
        "id": run.id,
        "study": configuration.name,
        "stage": run.stage,
        "arm": run.arm,
        "seed": run.seed,
        "settings": grid.settings(run.config),
        "identity": IDENTITY,
        "classes": classes,
        "primary_score": _scores_of(treatment)[0],
        "parameters": 485_000 * run.config.model.width**2 // 64,
        "flops": 900_000_000,
        "seconds": 340.0 + run.seed,
        "cpu_seconds": 600.0,
        "resumed": False,
        "training": {
            "loss": [[s, float(2 * np.exp(-s / 250) + 0.4 + 0.02 * random.normal())] for s in steps],
            "mean_iou": [[s, float(accuracy.mean() * (1 - np.exp(-s / 200)))] for s in steps if s % 120 == 0],
        },
        "calibration": {"score": _scores_of(treatment)[0], "threshold": 1.0, "nominal": 0.05, "realised": 0.049},
        "evaluation": {
            "split": configuration.test_split or "held_out",
            "kinds": kinds,
            "report": report,
            "frames": {
                "ids": list(frames),
                **{name: results.pack(stack) for name, stack in matrices.items()},
                "histograms": {
                    "labelled": results.pack(np.add.reduceat(labelled, groups, -1)),
                    **{kind: results.pack(np.add.reduceat(v, groups, -1)) for kind, v in void.items()},
                },
            },
            "caught": {
                "lost": _LOST.tolist(),
                "kinds": {
                    kind: histograms.caught_at(v.sum(0), correct.sum(0), _LOST).tolist() for kind, v in void.items()
                },
            },
            "native_point": {
                "lost": 0.0 if never else native / 10,
                "caught": {kind: native for kind in kinds},
            },
        },
    }


def _smooth(random, count):
    noise = random.normal(size=count + 8)
    return np.convolve(noise, np.ones(9) / 3, "valid")


def _matrices(accuracy, classes, abstained):
    """[F, K + 1, K + 1] of about 10000 pixels a frame: right with `accuracy`, else the next class; some abstained."""
    out = np.zeros((len(accuracy), classes + 1, classes + 1), np.int64)
    for k in range(classes):
        pixels = 1500 // (k + 1)
        right = np.rint(pixels * np.clip(accuracy - 0.02 * k, 0, 1)).astype(int)
        gone = np.rint(right * abstained).astype(int)
        out[:, k, k] = right - gone
        out[:, k, (k + 1) % classes] = pixels - right
        out[:, k, classes] += gone
    out[:, classes, 0] = 200
    return out


def _histogram(mean, pixels):
    """Expected counts of a unit normal score."""
    z = (_EDGES - mean) / 1.0
    rise = 1 / (1 + np.exp(-1.702 * z))  # close to the normal distribution, in one line
    return np.rint(pixels * np.diff(rise)).astype(np.int64)


def _claimed(classes, total):
    shares = np.array([1 / (i + 1.5) for i in range(len(classes))])
    return {name: float(share) for name, share in zip(classes, total * shares / shares.sum())}


def _scores_of(treatment):
    return {
        "background_class": ["void_log_odds", "void_margin", "entropy"],
        "hybrid": ["void_log_odds", "void_margin", "entropy"],
        "inverted_dice": ["max_logit", "negative_softplus"],
        "one_vs_all": ["max_logit", "negative_softplus"],
        "void_head": ["void_logit", "with_max_softmax", "entropy"],
    }.get(treatment, ["entropy", "max_softmax", "max_logit", "energy"])
