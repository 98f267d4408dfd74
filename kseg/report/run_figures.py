"""The charts of a run's page and of several runs': f(content, narrow) -> matplotlib Figure.

Colours and dashes are of runs here, or of kinds of void, not of treatments as in a study.
"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from kseg.report import charts, over_steps

# Okabe and Ito's, dark first.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
DASHES = ("-", (0, (7, 1.6)), (0, (3.2, 1.4)), (0, (7, 1.6, 1.4, 1.6)), (0, (1.4, 1.2)), (0, (12, 2.4)), "-")
_LOST = np.geomspace(0.001, 1, 200)
_PANELS = (  # key of metrics.jsonl, title, factor, log
    ("loss", "training loss", 1, True),
    ("eval_mean_iou", "mIoU, held-out images, %", 100, False),
    ("learning_rate", "learning rate", 1, False),
)


def style(place):
    """(colour, dash) of the run or kind at this place."""
    return COLORS[place % len(COLORS)], DASHES[place % len(DASHES)]


def curves(runs, narrow=False):
    """Loss, mean IoU of the held-out images and learning rate over steps; None where nothing was logged twice.

    Args:
      runs: run.Run objects.
    """
    panels = []
    for key, title, factor, log in _PANELS:
        lines = []
        for place, run in enumerate(runs):
            series = run.series(key)
            if series is not None and len(series[0]) > 1:
                values = over_steps.running_mean(series[1], 5) if key == "loss" else factor * series[1]
                lines.append((run.name, *style(place), series[0], values))
        if lines:
            panels.append((title, lines, log and min(min(line[-1]) for line in lines) > 0))
    if not panels:
        return None
    figure = _figure(len(panels), narrow)
    axes = figure.subplots(*((len(panels), 1) if narrow else (1, len(panels))), squeeze=False).ravel()
    for axis, (title, lines, log) in zip(axes, panels):
        over_steps.lines_over_steps(axis, title, lines, log)
    if len(runs) > 1:
        _key(figure, axes[0], narrow)
    return figure


def abstention(content, narrow=False):
    """Void caught against labelled pixels lost, while the threshold falls.

    Args:
      content: (lines, points): lines (name, lost, caught) as shares; points (name, place of its line, lost, caught).
    """
    lines, points = content
    figure = Figure(figsize=(charts.NARROW_INCHES, 3.9) if narrow else (7.5, 4.2), layout="constrained")
    axis = figure.subplots()
    for place, (name, lost, caught) in enumerate(lines):
        color, dash = style(place)
        # Between two thresholds, as lots among the pixels of equal score would have it.
        axis.plot(100 * _LOST, 100 * np.interp(_LOST, lost, caught), color=color, ls=dash, lw=1.7, label=name)
    chance = np.geomspace(0.1, 100, 50)
    axis.plot(chance, chance, color=charts.GREY, lw=1.2, ls=charts.CHANCE, label="chance")
    for name, place, lost, caught in points:
        marker, color = ("D" if name == "calibrated" else "o"), style(place)[0]
        axis.scatter(max(100 * lost, 0.1), 100 * caught, s=52, color=color, marker=marker, edgecolor="white", zorder=5)
    axis.set_xscale("log")
    axis.set_xlim(0.1, 100)
    axis.set_ylim(0, 100)
    axis.xaxis.set_major_locator(FixedLocator([0.1, 0.3, 1, 3, 10, 30, 100]))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("labelled pixels lost, %")
    axis.set_ylabel("void caught, %")
    axis.grid(color=charts.GRID, lw=0.6)
    _key(figure, axis, narrow)
    return figure


def _figure(panels, narrow):
    if narrow:
        return Figure(figsize=(charts.NARROW_INCHES, 2.3 * panels + 0.5), layout="constrained")
    return Figure(figsize=(3.9 * panels, 3.1), layout="constrained")


def _key(figure, axis, narrow):
    handles, names = axis.get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside upper left", ncol=2 if narrow else 6, fontsize=9, frameon=False, handlelength=2.3,
        columnspacing=1.0, handletextpad=0.4, borderpad=0.2,
    )  # fmt: skip
