"""A page's chart over several studies: what an arm costs the classes against what it catches of each kind of void.

Which points it has, a JSON file beside the page's studies says (docs/study/answer.json):

    lost        share of the correctly labelled pixels given up for what is caught
    margin_of   the study whose margin is drawn
    x           {label, limits}: of the axis of costs, in points
    marks       {name in the key: {treatment: for colour and marker, filled}}
    panels      [{kind: of void, title, points}], two or four; a point is {mark, study, arms, contrast: the key of its
                cost in forced mIoU, "" for the reference itself}; of several arms it is the mean. Instead of a kind a
                panel may name a level of kseg/study/levels.py, such as "caught_at_0.05_movable"

The numbers drawn stand in the SVG too, as its description. So a page and its chart can be held against the studies
without comparing pictures.
"""

import io
import json
import re

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kseg.report import charts
from kseg.study import results


def studies_of(chart: dict) -> list[str]:
    """Names of the studies that a chart takes numbers from."""
    points = [point for panel in chart["panels"] for point in panel["points"]]
    return sorted({chart["margin_of"], *(point["study"] for point in points)})


def points(chart: dict, studies: dict[str, dict]) -> list[dict]:
    """What is drawn: {panel, name, x, low, high, y, y_low, y_high}, in points and %; None: no interval.

    Args:
      chart: content of the JSON file.
      studies: {name: study.json's content}.

    Raises:
      ValueError: naming the arm, level, contrast or mark that is not there.
    """
    found = []
    for panel in chart["panels"]:
        for point in panel["points"]:
            study = studies[point["study"]]
            _known(chart["marks"], point["mark"], "mark of the chart")
            entry = _contrast(study, point["contrast"]) if point["contrast"] else {"estimate": 0.0}
            arms = [_known(study["arms"], arm, f"arm of {point['study']}") for arm in point["arms"]]
            caught = _y(arms, panel, chart["lost"])
            found.append({"panel": _name(panel), "name": point["mark"]} | _x(entry) | caught)
    return found


def draw(chart: dict, studies: dict[str, dict]) -> Figure:
    """A panel per kind of void: right, points of forced mIoU against the reference; up, void caught.

    As wide as a telephone, so that its text keeps its size there.
    """
    rows = len(chart["panels"]) // 2
    figure = Figure(figsize=(charts.NARROW_INCHES, 1.1 + 1.8 * rows), layout="constrained")
    axes = figure.subplots(rows, 2, sharex=True, sharey=True).ravel()
    found, margin = points(chart, studies), 100 * studies[chart["margin_of"]]["margin"]
    for axis, panel in zip(axes, chart["panels"], strict=True):
        axis.axvspan(-margin, margin, color=charts.MARGIN, lw=0)
        axis.axvline(0, color=charts.GREY, lw=0.8)
        for point in found:
            if point["panel"] == _name(panel):
                _mark(axis, point, chart["marks"][point["name"]])
        axis.set_xlim(*chart["x"]["limits"])
        axis.set_ylim(0, 100)
        axis.set_title(panel["title"], fontsize=9)
        axis.grid(color=charts.GRID, lw=0.6)
        axis.set_axisbelow(True)
    figure.supxlabel(chart["x"]["label"], fontsize=9)
    figure.supylabel(f"void caught, % (at {100 * chart['lost']:g} % lost)", fontsize=9)
    handles = []
    for name, mark in chart["marks"].items():
        color, _, marker = charts.STYLE[mark["treatment"]]
        face = color if mark["filled"] else "white"
        handles.append(Line2D([], [], ls="", marker=marker, ms=7, color=color, markerfacecolor=face, label=name))
    figure.legend(
        handles=handles, loc="outside upper left", ncol=2, fontsize=9, frameon=False,
        handletextpad=0.1, columnspacing=0.6, borderpad=0.1, labelspacing=0.3,
    )  # fmt: skip
    return figure


def write(chart: dict, studies: dict[str, dict], path: str) -> None:
    """Writes the chart as SVG."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(charts.RC):
        figure = draw(chart, studies)
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Description": _text(chart, studies)})
    results.write_text(path, buffer.getvalue().decode())


def is_current(chart: dict, studies: dict[str, dict], path: str) -> bool:
    """Whether a file was drawn from these studies' numbers."""
    try:
        with open(path, encoding="utf-8") as file:
            said = re.search(r"<dc:description>(.*?)</dc:description>", file.read(), re.DOTALL)
    except FileNotFoundError:
        return False
    return bool(said) and said[1] == _text(chart, studies)


def _text(chart, studies):
    return json.dumps(points(chart, studies)).replace('"', "'")  # as XML keeps it


def _mark(axis, point, mark):
    color, _, marker = charts.STYLE[mark["treatment"]]
    for xs, ys in (
        ([point["low"], point["high"]], [point["y"]] * 2),
        ([point["x"]] * 2, [point["y_low"], point["y_high"]]),
    ):
        if None not in xs + ys:
            axis.plot(xs, ys, color=color, lw=1.3, alpha=0.75, zorder=2)
    face = color if mark["filled"] else "white"
    axis.scatter(
        point["x"], point["y"], s=46, marker=marker, facecolor=face, edgecolor=color, lw=1.2, zorder=3, clip_on=False
    )


def _contrast(study, key):
    return _known({entry["key"]: entry for entry in study["contrasts"]}, key, "contrast of its study")


def _known(values, key, what):
    if key not in values:
        raise ValueError(f"{key!r} is no {what}; there are {', '.join(map(repr, list(values)[:6]))} ({len(values)}).")
    return values[key]


def _x(entry):
    low, high = (None if entry.get(key) is None else round(100 * entry[key], 2) for key in ("low", "high"))
    return {"x": round(100 * entry["estimate"], 2), "low": low, "high": high}


def _name(panel):
    return panel.get("level") or panel["kind"]


def _y(arms, panel, lost):
    """Mean over the arms of what they catch; of one arm, lowest to highest seed, which is no interval of a mean."""
    caught = []
    for arm in arms:
        if "level" in panel:
            level = _known(arm["levels"], panel["level"], "level of its arm")
            caught.append((level["mean"], min(level["values"]), max(level["values"])))
        else:
            lines = _known(arm["curve"]["kinds"], panel["kind"], "kind of void of its arm")
            caught.append([np.interp(lost, arm["curve"]["lost"], lines[key]) for key in ("mean", "low", "high")])
    mean, low, high = (round(100 * float(value), 2) for value in np.mean(caught, axis=0))
    return {"y": mean} | ({"y_low": low, "y_high": high} if len(arms) == 1 else {"y_low": None, "y_high": None})
