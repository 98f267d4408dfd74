"""The figures of a study, from study.json's content alone: f(study, narrow) -> matplotlib Figure, or None.

None where the study has no runs for a figure. `narrow` is the layout for a telephone. Picks the numbers and lays out
the panels; kseg/study/report/contrast_figures.py has the contrasts' figures, kseg/study/report/captions.py the words,
kseg/report/charts.py draws the marks.
"""

import functools

import numpy as np
from matplotlib.figure import Figure

from kseg.report import charts, over_steps
from kseg.study.report import captions, contrast_figures

# Column heads, their measure in study.json, and which way is better.
_KIND_MEASURES = (
    ("AUROC ↑", "auroc"),
    ("AP ↑", "average_precision"),
    ("AP at 1 % ↑", "average_precision_at_1_percent"),
    ("FPR95 ↓", "fpr95"),
)
_KINDS = {
    "scene": "real things without a class",
    "dropped": "named classes left out of training",
    "geometry": "fixed positions, like the car itself",
    "unseen": "objects that training never shows",
}


def figures(study: dict) -> dict:
    """{name: (title, caption, function)} of every figure that this study has the runs for."""
    every = {name: (*captions.CAPTIONS[name], function) for name, function in (_BEFORE | _BEHIND).items()}
    groups = {
        name: (group["title"], f"{group['caption']} {captions.GROUP}", functools.partial(_GROUP, name=name))
        for name, group in study["groups"].items()
    }
    order = [*_BEFORE, *groups, *_BEHIND]
    return {name: (every | groups)[name] for name in order if (every | groups)[name][2](study) is not None}


def void_caught(study, narrow=False):
    """The figure for whoever asked: two panels, seen and unseen void; the inset is the cost in forced mIoU by width."""
    arms = [arm for arm in _headline(study) if "scene" in arm["curve"]["kinds"]]
    if not arms:
        return None
    panels = [("Seen: scene void", [(arm["treatment"], arm["curve"], "scene") for arm in arms])]
    unseen = _folds(study)
    unseen = unseen or [(a["treatment"], a["curve"], "unseen") for a in arms if "unseen" in a["curve"]["kinds"]]
    if unseen:
        panels.append(("Unseen: classes left out" if _folds(study) else "Unseen: never in training", unseen))
    costs = [
        entry for entry in study["contrasts"] if entry["key"] in study["by_width"] and entry.get("low") is not None
    ]
    if narrow:
        heights = [1.0] * len(panels) + ([0.75] if costs else [])
        figure = Figure(figsize=(charts.NARROW_INCHES, 2.7 * sum(heights) + 0.9), layout="constrained")
        axes = figure.subplots(len(heights), 1, gridspec_kw={"height_ratios": heights}, squeeze=False)[:, 0]
        charts.key(figure, [treatment for _, lines in panels for treatment, *_ in lines], points=True, chance=True)
    else:
        figure = Figure(figsize=(5.6 * len(panels) + 0.2, 4.6))
        axes = figure.subplots(1, len(panels), gridspec_kw={"wspace": 0.62}, squeeze=False)[0]
    for (title, lines), axis in zip(panels, axes):
        charts.caught(axis, title, lines, narrow)
    if costs:
        axis = axes[-1] if narrow else axes[0].inset_axes([0.11, 0.67, 0.44, 0.27])
        rows = [(_width(study, entry), contrast_figures.row(study, entry)) for entry in costs]
        rows = [row._replace(name=str(width)) for width, row in sorted(rows, key=lambda pair: pair[0])]
        arm, reference = (study["arms"][costs[0][side]]["treatment"] for side in ("arm", "reference"))
        title = ("\n" if narrow else " ").join(["forced mIoU, points:", f"{arm} − {reference}"])
        charts.cost(axis, title, rows, 100 * study["margin"], narrow)
        axis.patch.set_alpha(0.9)
    return figure


def kinds(study, narrow=False):
    """AUROC, AP, AP at 1 % prevalence and FPR95 of each kind of void: a block per kind, a column per measure."""
    treatments = [(arm["treatment"], [arm]) for arm in _headline(study)]
    folds = list(_fold_arms(study).items())
    blocks = [(f"{kind}: {words}", kind, treatments) for kind, words in _KINDS.items()]
    if folds:
        blocks = [block for block in blocks if block[1] != "unseen"]
        count = f"{len(folds[0][1])} fold{'s' if len(folds[0][1]) > 1 else ''}"
        blocks.append((f"seen: classes that joined void, {count}", "dropped", folds))
        blocks.append((f"unseen: classes left out, {count}", "unseen", folds))
    blocks = [(title, rows) for title, kind, entries in blocks if (rows := _kind_rows(entries, kind))]
    if not blocks:
        return None
    titles = [charts.wrapped(title, narrow).replace("\n", "\n    ") for title, _ in blocks]
    heights = [
        charts.rows_inches([name for name, *_ in rows], narrow) + (1.0 if narrow else 0.75) for _, rows in blocks
    ]
    figure = Figure(figsize=(charts.NARROW_INCHES if narrow else 10.8, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(blocks), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, title, (_, rows) in zip(parts, titles, blocks):
        part.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=9 if narrow else 10)
        for place, (axis, (head, _)) in enumerate(zip(part.subplots(1, len(_KIND_MEASURES)), _KIND_MEASURES)):
            cells = [(name, treatment, *values[place]) for name, treatment, values in rows]
            charts.ranges(axis, cells, narrow, names=place == 0)
            axis.set_title(head.replace(" at ", " at\n") if narrow else head, fontsize=9, weight="normal")
            axis.xaxis.set_major_locator(charts.MaxNLocator(2 if narrow else 4))
            axis.margins(x=0.12)
    return figure


def leave_out(study, narrow=False):
    """One row per group and treatment: AUROC where the group was seen as void, and where it was not."""
    groups = {}
    for arm in study["arms"].values():
        # The group that joined void is the only void of kind "dropped" there.
        for group, kind, name in zip(arm["fold"], ("seen", "unseen"), ("dropped", "unseen")):
            measure = arm["measures"].get(f"auroc_{name}_off_edge")
            if measure:
                entry = groups.setdefault(group, {}).setdefault(arm["treatment"], {})
                entry[kind], entry["seeds"] = _range([measure]), max(len(arm["seeds"]), entry.get("seeds", 0))
    if not groups:
        return None
    rows = {
        group: [
            (f"{name} ({contrast_figures.seeds(found['seeds'])})", name, found.get("seen"), found.get("unseen"))
            for name in charts.ordered(treatments)
            for found in [treatments[name]]
        ]
        for group, treatments in groups.items()
    }
    heights = [charts.rows_inches([name for name, *_ in part], narrow) + 0.45 for part in rows.values()]
    figure = Figure(figsize=(charts.NARROW_INCHES if narrow else 7.5, sum(heights) + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), 1, sharex=True, gridspec_kw={"height_ratios": heights}, squeeze=False)[:, 0]
    for axis, (group, part) in zip(axes, rows.items()):
        charts.ranges(axis, part, narrow)
        axis.axvline(50, color=charts.GREY, lw=0.8, ls=":")
        axis.set_title(group)
    axes[-1].set_xlabel("AUROC off the edges, %" + ("\n" if narrow else "  ") + "(filled: seen; hollow: unseen)")
    return figure


def claimed_as(study, narrow=False):
    """The classes that claim void, kind by kind, and abstentions."""
    arms = _headline(study)
    found = {
        kind: [(arm["treatment"], {k: v or 0 for k, v in arm["claimed_as"][kind].items()}) for arm in claims]
        for kind in _KINDS
        if (claims := [arm for arm in arms if arm["claimed_as"].get(kind)])
    }
    if not found:
        return None
    claims = [shares for rows in found.values() for _, shares in rows]
    most = {name: max(shares.get(name, 0) for shares in claims) for name in claims[0]}
    total = {name: sum(shares.get(name, 0) for shares in claims) for name in most}
    top = [name for name in sorted(most, key=lambda name: (-total[name], name)) if most[name] >= 0.05]
    top = top[: len(charts.SHADES)]
    panels = {}
    for kind, rows in found.items():
        panels[kind] = []
        for treatment, shares in rows:
            parts = {name: shares.get(name, 0) for name in top}
            parts["other classes"] = sum(share for name, share in shares.items() if name not in top)
            panels[kind].append((treatment, parts | {"abstained": max(0.0, 1 - sum(parts.values()))}))
    heights = [charts.rows_inches([name for name, _ in rows], narrow) + 0.4 for rows in panels.values()]
    size = (charts.NARROW_INCHES if narrow else 9.2, sum(heights) + (0.8 if narrow else 0.5))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, gridspec_kw={"height_ratios": heights}, squeeze=False)[:, 0]
    patches = {}
    for axis, (kind, rows) in zip(axes, panels.items()):
        patches |= charts.stacked(axis, rows, narrow)
        axis.set_title(f"{kind} void")
    axes[-1].set_xlabel("% of the void pixels of that kind")
    names = [name for name in (*top, "other classes", "abstained") if name in patches]
    figure.legend(
        [patches[name] for name in names], names, loc="outside upper left", ncol=3 if narrow else len(names),
        frameon=False, fontsize=9, handlelength=1.2, columnspacing=1.0, handletextpad=0.4, borderpad=0.1,
    )  # fmt: skip
    return figure


def training(study, narrow=False):
    """Loss and held-out mIoU over steps."""
    arms = _headline(study)
    names = [name for name in ("loss", "mean_iou") if any(name in arm["training"] for arm in arms)]
    if not names:
        return None
    if narrow:
        figure = Figure(figsize=(charts.NARROW_INCHES, 2.5 * len(names) + 0.8), layout="constrained")
        axes = figure.subplots(len(names), 1, squeeze=False)[:, 0]
        charts.key(figure, [arm["treatment"] for arm in arms])
    else:
        figure = Figure(figsize=(5.2 * len(names), 3.4))
        axes = figure.subplots(1, len(names), squeeze=False, gridspec_kw={"wspace": 0.62})[0]
    for name, axis in zip(names, axes):
        lines = []
        for arm in arms:
            if name in arm["training"]:
                steps, values = np.array(arm["training"][name], float).T
                lines.append(
                    (arm["treatment"], steps, over_steps.running_mean(values, 5) if name == "loss" else 100 * values)
                )
        title = "training loss" if name == "loss" else "mIoU, held-out frames, %"
        over_steps.progress(axis, title, lines, narrow, log=name == "loss")
    return figure


# In the page's order; the study's own groups of contrasts come between.
_BEFORE = {
    "void_caught": void_caught,
    "capacity": contrast_figures.capacity,
    "rejection": contrast_figures.rejection,
    "all_void": contrast_figures.all_void,
    "caught": contrast_figures.caught,
    "kinds": kinds,
}
_GROUP = contrast_figures.group
_BEHIND = {
    "leave_out": leave_out,
    "left_out": contrast_figures.left_out,
    "left_out_caught": contrast_figures.left_out_caught,
    "claimed_as": claimed_as,
    "training": training,
}


def _headline(study):
    """The arms of the main comparison."""
    return [arm for arm in study["arms"].values() if arm["headline"]]


def _fold_arms(study):
    """{treatment: its leave-classes-out arms}, where it has every fold: a mean over fewer does not compare."""
    by_treatment = {}
    for arm in study["arms"].values():
        if arm["fold"] and "unseen" in arm["curve"]["kinds"]:
            by_treatment.setdefault(arm["treatment"], []).append(arm)
    most = max((len(arms) for arms in by_treatment.values()), default=0)
    return {name: by_treatment[name] for name in charts.ordered(by_treatment) if len(by_treatment[name]) == most}


def _folds(study):
    """One line per treatment: its leave-classes-out curves of unseen void, averaged over the folds."""
    lines = []
    for treatment, arms in _fold_arms(study).items():
        curves = [arm["curve"] for arm in arms]
        means = {key: _mean([c["kinds"]["unseen"][key] for c in curves]) for key in ("mean", "low", "high")}
        points = [curve["native"].get("unseen") for curve in curves]
        native = {key: _mean([point[key] for point in points]) for key in ("lost", "caught")} if all(points) else None
        curve = {"lost": curves[0]["lost"], "kinds": {"unseen": means}, "native": {"unseen": native}}
        lines.append((treatment, curve, "unseen"))
    return lines


def _kind_rows(entries, kind):
    """Rows (name, treatment, [(off-edge, all pixels) per measure]) of (treatment, arms) that have this kind of void."""
    rows = []
    for treatment, arms in entries:
        values = []
        for _, measure in _KIND_MEASURES:
            found = [[arm["measures"].get(f"{measure}_{kind}{edge}") for arm in arms] for edge in ("_off_edge", "")]
            values.append([_range(part) if all(part) else None for part in found])
        if any(part for pair in values for part in pair):
            rows.append(
                (f"{treatment} ({contrast_figures.seeds(min(len(arm['seeds']) for arm in arms))})", treatment, values)
            )
    return rows


def _range(measures):
    """(mean, lowest, highest) in % over the seeds of all these measures; the mean is that of their means."""
    values = [100 * value for measure in measures for value in measure["values"]]
    return 100 * float(np.mean([measure["mean"] for measure in measures])), min(values), max(values)


def _width(study, entry):
    return study["arms"][entry["arm"]]["settings"]["width"]


def _mean(values):
    return np.mean(values, axis=0).tolist()
