"""The one chart of docs/answer.md: what each treatment costs the classes against what it catches of each kind of void.

Drawn from several study.json, since the heads that start alike are a study of their own. The numbers drawn stand in the
file too, as its description. So a page and its chart can be held against the studies without comparing pictures.
"""

import io
import json
import os
import re

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kseg.report import charts
from kseg.study import results

LOST = 0.05  # share of the correctly labelled pixels given up
STUDIES = ("camvid", "camvid_heads")
FILE = "answer.svg"
PANELS = {  # a kind of void in study.json: what it is
    "geometry": "The car's bonnet",
    "scene": "All other void",
    "dropped": "Classes shown",
    "unseen": "Classes not shown",
}
# (name, treatment for colour and marker, filled, study, arm, its contrast in forced mIoU; "" = the reference itself)
_AGAINST = "against ignore: {0}-w8 - ignore-w8, forced_miou"
_MARKS = (
    ("ignore, entropy", "ignore", True, "camvid_heads", "ignore-w8", ""),
    (
        "extra class, weight 3", "background_class", True, "camvid_heads", "background_class-w8",
        "heads alike, forced_miou",
    ),
    (
        "extra class, weight 1", "background_class", False, "camvid_heads", "background_class_weight1-w8",
        "heads alike, void weight 1, forced_miou",
    ),
    ("entropic loss", "entropic", True, "camvid", "entropic-w8", _AGAINST.format("entropic")),
    ("Dice + inverted Dice", "inverted_dice", True, "camvid", "inverted_dice-w8", _AGAINST.format("inverted_dice")),
)  # fmt: skip
_FOLDS = re.compile(r"(ignore|background_class|entropic)-w8-seen_\w+-unseen_\w+")


def points(studies: dict[str, dict]) -> list[dict]:
    """What is drawn: {panel, name, x, low, high, y, y_low, y_high}, in points and %; None: no interval."""
    found = []
    for panel in ("geometry", "scene"):
        for name, _, _, study, arm, contrast in _MARKS:
            entry = _contrast(studies[study], contrast) if contrast else {"estimate": 0.0, "low": None, "high": None}
            found.append({"panel": panel, "name": name} | _x(entry) | _y([studies[study]["arms"][arm]["curve"]], panel))
    arms = {}
    for name, arm in studies["camvid"]["arms"].items():
        if match := _FOLDS.fullmatch(name):
            arms.setdefault(match[1], []).append(arm["curve"])
    for panel in ("dropped", "unseen"):  # the group that joined void is the only void of kind "dropped" there
        for treatment, name in (("ignore", 0), ("background_class", 1), ("entropic", 3)):
            key = f"leave-out, cost: {treatment}-w8-seen - ignore-w8-seen, forced_miou"
            entry = _contrast(studies["camvid"], key) if treatment != "ignore" else {"estimate": 0.0}
            # Lowest to highest group are no interval of the mean, so no bar is drawn.
            caught = _y(arms[treatment], panel) | {"y_low": None, "y_high": None}
            found.append({"panel": panel, "name": _MARKS[name][0]} | _x(entry) | caught)
    return found


def draw(studies: dict[str, dict]) -> Figure:
    """A panel per kind of void: right, points of forced mIoU against `ignore`; up, void caught where 5 % is lost.

    As wide as a telephone, so that its text keeps its size there.
    """
    figure = Figure(figsize=(charts.NARROW_INCHES, 4.7), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey=True).ravel()
    found, margin = points(studies), 100 * studies["camvid"]["margin"]
    for axis, (panel, title) in zip(axes, PANELS.items()):
        axis.axvspan(-margin, margin, color=charts.MARGIN, lw=0)
        axis.axvline(0, color=charts.GREY, lw=0.8)
        for point in found:
            if point["panel"] == panel:
                _mark(axis, point)
        axis.set_xlim(-6.5, 3.5)
        axis.set_ylim(0, 100)
        axis.set_title(title, fontsize=9)
        axis.grid(color=charts.GRID, lw=0.6)
        axis.set_axisbelow(True)
    figure.supxlabel("forced mIoU against ignore, points", fontsize=9)
    figure.supylabel(f"void caught, % (at {100 * LOST:g} % lost)", fontsize=9)
    handles = [
        Line2D([], [], ls="", marker=charts.STYLE[treatment][2], ms=7, color=charts.STYLE[treatment][0],
               markerfacecolor=charts.STYLE[treatment][0] if filled else "white", label=name)
        for name, treatment, filled, *_ in _MARKS
    ]  # fmt: skip
    figure.legend(
        handles=handles, loc="outside upper left", ncol=2, fontsize=9, frameon=False,
        handletextpad=0.1, columnspacing=0.6, borderpad=0.1, labelspacing=0.3,
    )  # fmt: skip
    return figure


def write(studies: dict[str, dict], folder: str) -> None:
    """Writes FILE into a folder."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(charts.RC):
        figure = draw(studies)
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Description": _text(studies)})
    results.write_text(os.path.join(folder, FILE), buffer.getvalue().decode())


def is_current(studies: dict[str, dict], folder: str) -> bool:
    """Whether the file in a folder was drawn from these studies' numbers."""
    try:
        with open(os.path.join(folder, FILE), encoding="utf-8") as file:
            said = re.search(r"<dc:description>(.*?)</dc:description>", file.read(), re.DOTALL)
    except FileNotFoundError:
        return False
    return bool(said) and said[1] == _text(studies)


def _text(studies):
    return json.dumps(points(studies)).replace('"', "'")  # as XML keeps it


def _mark(axis, point):
    treatment, filled = next((style, filled) for name, style, filled, *_ in _MARKS if name == point["name"])
    color, _, marker = charts.STYLE[treatment]
    for xs, ys in (
        ([point["low"], point["high"]], [point["y"]] * 2),
        ([point["x"]] * 2, [point["y_low"], point["y_high"]]),
    ):
        if None not in xs + ys:
            axis.plot(xs, ys, color=color, lw=1.3, alpha=0.75, zorder=2)
    face = color if filled else "white"
    axis.scatter(
        point["x"], point["y"], s=46, marker=marker, facecolor=face, edgecolor=color, lw=1.2, zorder=3, clip_on=False
    )


def _contrast(study, key):
    return next(entry for entry in study["contrasts"] if entry["key"] == key)


def _x(entry):
    low, high = (None if entry.get(key) is None else round(100 * entry[key], 2) for key in ("low", "high"))
    return {"x": round(100 * entry["estimate"], 2), "low": low, "high": high}


def _y(curves, kind):
    """Mean over the curves of what they catch; lowest to highest seed."""
    mean, low, high = (
        round(100 * float(np.mean([np.interp(LOST, curve["lost"], curve["kinds"][kind][key]) for curve in curves])), 2)
        for key in ("mean", "low", "high")
    )
    return {"y": mean, "y_low": low, "y_high": high}
