"""The figures of a study's contrasts: f(study, narrow) -> matplotlib Figure, or None where nothing was measured.

Each contrast is in one of them. capacity and rejection have the plain ones, group those that the study's configuration
sets apart. left_out is for void that training did or did not show, all_void and caught are for every kind. Picks the
rows; kseg/report/charts.py draws them.
"""

from matplotlib.figure import Figure

from kseg.report import charts

SCENE, SEEN, UNSEEN = "auroc_scene_off_edge", "auroc_dropped_off_edge", "auroc_unseen_off_edge"
CAUGHT = "recall_at_0.05_{}_off_edge"


def capacity(study, narrow=False):
    """Contrasts in forced mIoU."""
    return _figure(study, narrow, [("", "forced mIoU", _plain(study, "forced_miou"))])


def rejection(study, narrow=False):
    """Contrasts in AUROC of scene void, off-edge."""
    return _figure(study, narrow, [("", "AUROC", _plain(study, SCENE))])


def group(study, narrow=False, *, name):
    """The contrasts of one of the study's groups, in both measures."""
    entries = [entry for entry in _measured(study) if entry["group"] == name]
    panels = [("forced mIoU", "forced_miou"), ("AUROC, scene void", SCENE)]
    return _figure(study, narrow, [(title, title.split(",")[0], _of(entries, measure)) for title, measure in panels])


def left_out(study, narrow=False):
    """Contrasts in AUROC of void that training did and did not show."""
    panels = [("Seen as void in training", SEEN), ("Unseen", UNSEEN)]
    return _figure(study, narrow, _panels(study, [(title, "AUROC", measure) for title, measure in panels]))


def left_out_caught(study, narrow=False):
    """Contrasts in void caught at 5 % of labelled pixels lost, of void that training did and did not show."""
    panels = [("Seen as void in training", "dropped"), ("Unseen", "unseen")]
    panels = [(title, "void caught", CAUGHT.format(kind)) for title, kind in panels]
    return _figure(study, narrow, _panels(study, panels))


def all_void(study, narrow=False):
    """Contrasts in AUROC of all void, and of what lies at a fixed place, off-edge."""
    panels = [("All void", "auroc_all_off_edge"), ("At a fixed place", "auroc_geometry_off_edge")]
    return _figure(study, narrow, _panels(study, [(title, "AUROC", measure) for title, measure in panels]))


def caught(study, narrow=False):
    """Contrasts in void caught where 5 % of the labelled pixels are lost, off-edge."""
    panels = [("All void", "all"), ("At a fixed place", "geometry"), ("Scene void", "scene")]
    panels = [(title, "void caught", CAUGHT.format(kind)) for title, kind in panels]
    return _figure(study, narrow, _panels(study, panels))


def row(study, entry, name=None) -> charts.Row:
    """A contrast of study.json, in points."""
    low, high, *judged = (
        None if entry.get(key) is None else 100 * entry[key] for key in ("low", "high", "holm_low", "holm_high")
    )
    judged = tuple(judged) if entry["primary"] and None not in judged else None
    return charts.Row(name or _name(entry), 100 * entry["estimate"], low, high, judged, entry["primary"])


def seeds(count: int) -> str:
    """In words."""
    return f"{count} seed{'' if count == 1 else 's'}"


def _measured(study):
    return [entry for entry in study["contrasts"] if entry.get("estimate") is not None]


def _panels(study, panels):
    return [(title, unit, _of(_measured(study), measure)) for title, unit, measure in panels]


def _of(entries, measure):
    return [entry for entry in entries if entry["measure"] == measure]


def _plain(study, measure):
    return [entry for entry in _of(_measured(study), measure) if not entry["group"]]


def _figure(study, narrow, panels):
    """A forest per panel (title, unit, contrasts) that has any, over the same rows where there are two."""
    panels = [panel for panel in panels if panel[2]]
    if not panels:
        return None
    pairs = {_pair(entry): entry for *_, entries in panels for entry in entries}
    names = {pair: charts.wrapped(_name(entry), narrow) for pair, entry in pairs.items()}
    # A margin of accuracy is no measure of what is caught.
    margins = [100 * max(entry.get("margin", study["margin"]) for entry in entries) for *_, entries in panels]
    every = [row(study, entry) for *_, entries in panels for entry in entries]
    marks = _marks(every) if narrow else ["; ".join(_marks(every))]
    notes = "\n".join(filter(None, [charts.intervals_note(max(margins)), *marks]))
    height = charts.rows_inches(names.values(), narrow) + 0.75 + charts.LINE_INCHES * notes.count("\n")
    if narrow:
        figure = Figure(figsize=(charts.NARROW_INCHES, height * len(panels)), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    else:
        figure = Figure(figsize=(5.6 + (2.6 if len(panels) < 3 else 3.2) * len(panels), height), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for place, (axis, (title, unit, entries), margin) in enumerate(zip(axes, panels, margins)):
        found = {_pair(entry): entry for entry in entries}
        rows = [
            row(study, found[pair], name) if pair in found else charts.Row(name, None) for pair, name in names.items()
        ]
        charts.forest(axis, rows, margin, narrow, names=narrow or place == 0)
        axis.set_title(title)
        axis.set_xlabel(f"points of {unit}, arm − reference\n{notes if narrow or place == 0 else ''}".rstrip())
    return figure


def _marks(rows):
    """What the marks in use mean."""
    said = []
    said += ["diamond: primary (thin line: Holm's level)"] if any(row.primary for row in rows) else []
    said += (
        ["hollow: one seed, no interval"] if any(row.estimate is not None and row.low is None for row in rows) else []
    )
    return said


def _pair(entry):
    # The same two arms may be compared over the planned seeds, and over every seed.
    return entry["arm"], entry["reference"], tuple(entry["seeds"])


def _name(entry):
    """Arm − reference (seeds); what both are means of is said once."""
    common = f"mean of {entry['mean_of']} folds, " if entry["mean_of"] > 1 else ""
    # Lines break at the minus and before the brackets alone.
    counted = f"({common}{seeds(len(entry['seeds']))})".replace(" ", "\u00a0")
    return f"{entry['arm']} −\u00a0{entry['reference']} {counted}"
