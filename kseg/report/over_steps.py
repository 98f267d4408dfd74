"""Charts of values over training steps."""

import numpy as np
from matplotlib.ticker import FuncFormatter

from kseg.report import charts


def progress(axis, title, lines, narrow, log=False):
    """Values over steps. lines: (treatment, steps, values)."""
    styled = [(treatment, *charts.STYLE[treatment][:2], steps, values) for treatment, steps, values in lines]
    lines_over_steps(axis, title, styled, log)
    if not narrow:
        charts.label_ends(axis, [(values[-1], treatment, charts.STYLE[treatment][0]) for treatment, _, values in lines])


def lines_over_steps(axis, title, lines, log=False):
    """Values over steps. lines: (name, colour, dash, steps, values)."""
    for name, color, dash, steps, values in lines:
        axis.plot(steps, values, color=color, ls=dash, lw=1.5, label=name)
    axis.set_xlim(0, max(steps[-1] for *_, steps, _ in lines))
    axis.set_title(title)
    axis.set_xlabel("step")
    if log:
        axis.set_yscale("log")
        for formatter in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
            formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "1235" else ""))
    axis.grid(color=charts.GRID, lw=0.6, which="both")


def running_mean(values, count):
    """Means of `count` values around each, the ends repeated."""
    count = min(count, len(values))
    padded = np.concatenate([np.full(count // 2, values[0]), values, np.full((count - 1) // 2, values[-1])])
    return np.convolve(padded, np.ones(count) / count, "valid")
