"""The figures of a study, from study.json's content alone: f(study, narrow) -> matplotlib Figure, or None.

None where the study has no runs for a figure. `narrow` is the layout for a telephone. Picks the numbers and lays out
the panels; kseg/charts.py draws the marks.
"""

import io

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kseg import charts


def figures(study: dict) -> dict:
    """{name: (title, caption, function)} of every figure that this study has the runs for."""
    return {name: entry for name, entry in _EVERY.items() if entry[2](study) is not None}


def render(function, study: dict, kind: str, narrow: bool = False) -> bytes:
    """The figure's bytes, kind "png" or "svg"; the same study gives the same bytes."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(charts.RC):
        figure = function(study, narrow)
        FigureCanvasAgg(figure)
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, dpi=160, metadata=metadata, bbox_inches="tight", pad_inches=0.08)
    return buffer.getvalue()


def void_caught(study, narrow=False):
    """The figure for whoever asked: two panels, seen and unseen void; the inset is the cost in forced mIoU by width."""
    arms = [arm for arm in _headline(study) if "scene" in arm["curve"]["kinds"]]
    if not arms:
        return None
    panels = [("Seen: scene void", [(arm["treatment"], arm["curve"], "scene") for arm in arms])]
    unseen = _folds(study)
    unseen = unseen or [(a["treatment"], a["curve"], "unseen") for a in arms if "unseen" in a["curve"]["kinds"]]
    if unseen:
        panels.append(("Unseen: classes left out" if _folds(study) else "Unseen: objects training never shows", unseen))
    costs = [
        entry for entry in study["contrasts"] if entry["key"] in study["by_width"] and entry.get("low") is not None
    ]
    if narrow:
        heights = [1.0] * len(panels) + ([0.55] if costs else [])
        figure = Figure(figsize=(4.1, 3.4 * len(heights)))
        spaces = {"hspace": 0.42, "height_ratios": heights}
        axes = figure.subplots(len(heights), 1, gridspec_kw=spaces, squeeze=False)[:, 0]
    else:
        figure = Figure(figsize=(5.6 * len(panels) + 0.2, 4.6))
        axes = figure.subplots(1, len(panels), gridspec_kw={"wspace": 0.52}, squeeze=False)[0]
    for (title, lines), axis in zip(panels, axes):
        charts.caught(axis, title, lines)
    if costs:
        inset = axes[-1] if narrow else axes[0].inset_axes([0.13, 0.66, 0.40, 0.30])
        points = [(_width(study, entry), *_points(entry)) for entry in costs]
        points = [(str(width), *rest) for width, *rest in sorted(points)]
        charts.cost(inset, "forced mIoU, extra class − ignore, points", points, 100 * study["margin"])
        inset.set_xlabel("width of the network", fontsize=7, labelpad=1)
        inset.patch.set_alpha(0.9)
    return figure


def capacity(study, narrow=False):
    """Every contrast in forced mIoU."""
    return _forest(study, "forced_miou", "forced mIoU", narrow)


def rejection(study, narrow=False):
    """Every contrast in AUROC of scene void, off-edge."""
    return _forest(study, "auroc_scene_off_edge", "AUROC", narrow)


def leave_out(study, narrow=False):
    """One row per group and treatment: AUROC where the group was seen as void, and where it was not."""
    groups = {}
    for arm in study["arms"].values():
        # The group that joined void is the only void of kind "dropped" there.
        for group, kind, name in zip(arm["fold"], ("seen", "unseen"), ("dropped", "unseen")):
            measure = arm["measures"].get(f"auroc_{name}_off_edge")
            if measure:
                groups.setdefault(group, {}).setdefault(arm["treatment"], {})[kind] = measure["mean"]
    if not groups:
        return None
    rows = sum(len(treatments) for treatments in groups.values())
    figure = Figure(figsize=(4.1 if narrow else 7.5, 0.26 * rows + 0.3 * len(groups) + 0.9))
    axis = figure.subplots()
    charts.pairs(axis, groups, ("seen", "unseen"))
    axis.axvline(0.5, color=charts.GREY, lw=0.8, ls=":")
    axis.set_xlabel("AUROC (filled: seen, hollow: unseen)" if narrow else
                    "AUROC off the edges (filled: seen as void in training; hollow: unseen)")  # fmt: skip
    return figure


def claimed_as(study, narrow=False):
    """The classes that claim scene void, and abstentions."""
    arms = [arm for arm in _headline(study) if arm["claimed_as"].get("scene")]
    if not arms:
        return None
    claims = [arm["claimed_as"]["scene"] for arm in arms]
    totals = {name: sum(claim.get(name) or 0 for claim in claims) for name in claims[0]}
    top = sorted(totals, key=lambda name: (-totals[name], name))[:5]
    rows = []
    for arm, claim in zip(arms, claims):
        parts = {name: claim.get(name) or 0 for name in top}
        parts["other classes"] = sum(share or 0 for name, share in claim.items() if name not in top)
        rows.append((arm["treatment"], parts | {"abstained": max(0.0, 1 - sum(parts.values()))}))
    figure = Figure(figsize=(4.1 if narrow else 9.2, 0.42 * len(arms) + (1.5 if narrow else 1.1)))
    axis = figure.subplots()
    charts.stacked(axis, rows, narrow)
    axis.set_xlabel("% of scene-void pixels")
    return figure


def training(study, narrow=False):
    """Loss and held-out mIoU over steps."""
    arms = _headline(study)
    names = [name for name in ("loss", "mean_iou") if any(name in arm["training"] for arm in arms)]
    if not names:
        return None
    shape, size = ((len(names), 1), (4.1, 3.1 * len(names))) if narrow else ((1, len(names)), (5.2 * len(names), 3.4))
    figure = Figure(figsize=size)
    axes = figure.subplots(*shape, squeeze=False, gridspec_kw={"wspace": 0.5, "hspace": 0.35}).ravel()
    for name, axis in zip(names, axes):
        lines = []
        for arm in arms:
            if name in arm["training"]:
                steps, values = np.array(arm["training"][name], float).T
                lines.append((arm["treatment"], steps, _running_mean(values, 5) if name == "loss" else 100 * values))
        title = "training loss" if name == "loss" else "mIoU on held-out training frames, %"
        charts.progress(axis, title, lines, log=name == "loss")
    return figure


_EVERY = {
    "void_caught": (
        "What void costs to catch",
        "How much void is caught (up) for how many correctly labelled pixels given up (right, logarithmic). Lines: "
        "mean of the seeds while the threshold on the primary score moves; bands: lowest to highest seed; dots: the "
        "treatment's own decision rule, for those that have one. Seen: scene void, the kind that training showed. "
        "Unseen: void that was 255 in training under every treatment.",
        void_caught,
    ),
    "capacity": (
        "Does the extra class waste capacity?",
        "Forced mIoU (the best of the K classes, abstaining not allowed), arm minus reference, in points, with 95 % "
        "intervals from seeds and test frames together. Grey: the margin fixed beforehand. Left of 0 is a cost.",
        capacity,
    ),
    "rejection": (
        "Does it find void?",
        "AUROC of the primary void score on scene void off the edges, arm minus reference, in points, as above.",
        rejection,
    ),
    "leave_out": (
        "Seen and unseen void",
        "AUROC of void off the edges when a group of classes joins void in training (filled) and when it is 255 in "
        "training under every treatment (hollow). Each group is once seen and once unseen, by different networks. "
        "Unseen pixels are masked in the loss but still in the input.",
        leave_out,
    ),
    "claimed_as": (
        "Where scene void goes",
        "What scene-void pixels are called by the treatment's own decision rule: the five classes that claim most, the "
        "other classes, and abstentions.",
        claimed_as,
    ),
    "training": (
        "Training",
        "Mean over seeds. Losses are of different kinds and do not compare across treatments; the mIoU is that of the "
        "treatment's own decision rule on the held-out training frames.",
        training,
    ),
}


def _headline(study):
    """The arms of the main comparison."""
    return [arm for arm in study["arms"].values() if arm["headline"]]


def _folds(study):
    """One line per treatment: its leave-classes-out curves of unseen void, averaged over the folds."""
    by_treatment = {}
    for arm in study["arms"].values():
        if arm["fold"] and "unseen" in arm["curve"]["kinds"]:
            by_treatment.setdefault(arm["treatment"], []).append(arm["curve"])
    most = max((len(curves) for curves in by_treatment.values()), default=0)
    lines = []
    for treatment in charts.ordered(by_treatment):
        curves = by_treatment[treatment]
        if len(curves) < most:  # a mean over fewer folds does not compare
            continue
        kinds = {key: _mean([c["kinds"]["unseen"][key] for c in curves]) for key in ("mean", "low", "high")}
        points = [curve["native"].get("unseen") for curve in curves]
        native = {key: _mean([point[key] for point in points]) for key in ("lost", "caught")} if all(points) else None
        curve = {"lost": curves[0]["lost"], "kinds": {"unseen": kinds}, "native": {"unseen": native}}
        lines.append((treatment, curve, "unseen"))
    return lines


def _forest(study, measure, unit, narrow):
    entries = [e for e in study["contrasts"] if e["measure"] == measure and e.get("estimate") is not None]
    if not entries:
        return None
    rows = []
    for entry in entries:
        seeds = len(entry["seeds"])
        name = f"{entry['arm']} −{chr(10) if narrow else ' '}{entry['reference']}"
        rows.append((f"{name} ({seeds} seed{'s' if seeds > 1 else ''})", *_points(entry), entry["primary"]))
    figure = Figure(figsize=(4.1 if narrow else 8.2, 0.44 * len(entries) + 0.9))
    axis = figure.subplots()
    charts.forest(axis, rows, 100 * study["margin"], narrow)
    note = "" if narrow else "   (orange: primary; hollow: one seed)"
    axis.set_xlabel(f"{unit}, arm − reference, points{note}")
    return figure


def _points(entry):
    """Estimate, low and high in points."""
    return tuple(None if entry.get(key) is None else 100 * entry[key] for key in ("estimate", "low", "high"))


def _width(study, entry):
    return study["arms"][entry["arm"]]["settings"]["width"]


def _mean(values):
    return np.mean(values, axis=0).tolist()


def _running_mean(values, count):
    count = min(count, len(values))
    padded = np.concatenate([np.full(count // 2, values[0]), values, np.full((count - 1) // 2, values[-1])])
    return np.convolve(padded, np.ones(count) / count, "valid")
