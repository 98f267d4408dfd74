"""Kinds of chart: numbers in, marks on a matplotlib axis out. Knows no study, run or file.

One colour, dash and marker per treatment throughout. The colours are Okabe and Ito's, told apart with every common
colour blindness. Dash and marker serve where a print has no colours. Shares of classes have a palette of their own.

With `narrow`, a chart is for a telephone: NARROW_INCHES wide as drawn, so that text keeps its nominal size there, 9
points at least. Names then stand above their rows, and lines have a key (`key`) instead of names at their ends.
"""

import textwrap
from typing import NamedTuple

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

STYLE = {  # treatment: colour, dash, marker
    "ignore": ("#000000", "-", "o"),
    "background_class": ("#D55E00", (0, (7, 1.6)), "s"),
    "hybrid": ("#E69F00", (0, (3.2, 1.4)), "D"),
    "inverted_dice": ("#0072B2", (0, (7, 1.6, 1.4, 1.6)), "^"),
    "inverted_dice_softmax": ("#56B4E9", (0, (3.2, 1.4, 1.4, 1.4)), "v"),
    "one_vs_all": ("#009E73", (0, (1.4, 1.2)), "P"),
    "entropic": ("#CC79A7", (0, (7, 1.6, 1.4, 1.6, 1.4, 1.6)), "X"),
    "void_head": ("#7A6A00", (0, (12, 2.4)), "p"),
}
CHANCE = (0, (1, 2.5))
# Classes, most first: ever lighter, so that neighbours part in grey too; then all other classes.
SHADES, OTHERS = ("#0c2c84", "#225ea8", "#1d91c0", "#41b6c4", "#7fcdbb", "#c7e9b4"), "#e6e6e6"
PRIMARY, EXPLORATORY = ("#D55E00", "D"), ("#0072B2", "o")
GREY = "#555555"
GRID = "#e4e4e4"
MARGIN = "#e9e9e9"
NARROW_INCHES = 3.5  # 336 CSS pixels: a telephone's 360 less the page's margins
LINE_INCHES = 0.165  # of text
RC = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "svg.hashsalt": "kseg",
    "svg.fonttype": "path",
}


class Row(NamedTuple):
    """A difference in points; `low` and `high` of its 95 % interval, `judged` of the one that its verdict goes by.

    Either is None where there is none: all with one seed, `judged` without an interval of its own.
    """

    name: str
    estimate: float | None
    low: float | None = None
    high: float | None = None
    judged: tuple[float, float] | None = None
    primary: bool = False

    @property
    def ends(self):
        """Of all intervals."""
        return [value for value in (self.low, self.high, *(self.judged or ())) if value is not None]


def ordered(treatments):
    """Treatments in the order of STYLE."""
    return [name for name in STYLE if name in treatments]


def key(figure, treatments, points=False, chance=False):
    """A key of lines above all panels, for figures whose lines carry no names. points: with the markers."""
    handles = []
    for name in ordered(treatments):
        color, dash, marker = STYLE[name]
        handles.append(Line2D([], [], color=color, ls=dash, lw=1.7, marker=marker if points else None, label=name))
    if chance:
        handles.append(Line2D([], [], color=GREY, ls=CHANCE, lw=1.2, label="chance"))
    figure.legend(
        handles=handles, loc="outside upper left", ncol=2, fontsize=9, frameon=False, handlelength=2.3,
        columnspacing=0.5, handletextpad=0.4, borderaxespad=0.3, borderpad=0.2, labelspacing=0.3,
    )  # fmt: skip


def caught(axis, title, lines, narrow):
    """Void caught (up) against correct labelled pixels lost (right, log 0.1 to 20 %).

    Args:
      lines: (treatment, curve, kind) with curve {"lost": [...], "kinds": {kind: {"mean", "low", "high"}}, "native":
        {kind: {"lost", "caught"}}}, shares.
    """
    ends = []
    for treatment, curve, kind in lines:
        color, dash, marker = STYLE[treatment]
        lost = 100 * np.array(curve["lost"])
        mean, low, high = (100 * np.array(curve["kinds"][kind][key], float) for key in ("mean", "low", "high"))
        axis.fill_between(lost, low, high, color=color, alpha=0.13, lw=0)
        axis.plot(lost, mean, color=color, ls=dash, lw=1.7)
        ends.append((mean[-1], treatment, color))
        point = curve["native"].get(kind)
        if point and 100 * point["lost"] >= lost[0]:
            place = 100 * point["lost"], 100 * point["caught"]
            axis.scatter(*place, s=52, color=color, marker=marker, edgecolor="white", lw=0.9, zorder=5)
    # What drawing lots would do: catch as much void as it loses labelled pixels.
    chance = np.geomspace(0.1, 20, 50)
    axis.plot(chance, chance, color=GREY, lw=1.2, ls=CHANCE)
    ends.append((20, "chance", GREY))
    axis.set_xscale("log")
    axis.set_xlim(0.1, 20)
    axis.set_ylim(0, 100)
    axis.xaxis.set_major_locator(FixedLocator([0.1, 0.3, 1, 3, 10, 20]))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("correctly labelled pixels lost, %")
    axis.set_ylabel("void caught, %")
    axis.set_title(title)
    axis.grid(color=GRID, lw=0.6)
    if not narrow:
        label_ends(axis, ends)


def cost(axis, title, rows, margin, narrow, reach_at_most=8.0):
    """Differences with intervals, upright, over few categories. rows: Rows. What is primary is never cut."""
    size = 9 if narrow else 7.5
    reach = _reach(rows, max(2.5, 1.5 * margin), reach_at_most)
    _differences(axis, rows, range(len(rows)), margin, reach, upright=True)
    axis.set_xticks(range(len(rows)), [row.name for row in rows])
    axis.set_xlim(-0.5, len(rows) - 0.5)
    axis.set_ylim(-reach, reach)
    axis.yaxis.set_major_locator(MaxNLocator(5))
    axis.tick_params(labelsize=size, length=2)
    axis.set_title(title, fontsize=size, weight="normal")
    axis.set_xlabel(f"width of the network\n{intervals_note(margin)}", fontsize=size, labelpad=1)


def forest(axis, rows, margin, narrow, names=True):
    """Differences with intervals, one Row each; what lies far outside is cut, with an arrow, but no estimate and
    nothing primary. names=False: the rows are those of the panel to the left.
    """
    ends = [abs(end) for row in rows for end in (*row.ends, row.estimate) if end is not None]
    reach = _reach(rows, max(1.5 * margin, 0.5), max(4 * np.median(ends), 4 * margin, 0.5))
    places = name_rows(axis, [row.name for row in rows], narrow, names)
    _differences(axis, rows, places, margin, reach, upright=False)
    axis.set_xlim(-1.05 * reach, 1.05 * reach)
    axis.xaxis.set_major_locator(MaxNLocator(5 if narrow else 7))
    axis.grid(axis="x", color=GRID, lw=0.6)


def stacked(axis, rows, narrow):
    """Stacked bars of shares that sum to 1. rows: (name, {part: share}); a part "abstained" is hatched, shown last.

    Returns:
      {part: Patch} for a legend.
    """
    parts = list(rows[0][1])
    fills = dict(zip([part for part in parts if part not in ("other classes", "abstained")], SHADES))
    styles = {part: {"facecolor": fills.get(part, OTHERS), "edgecolor": "white"} for part in parts}
    styles["abstained"] = {"facecolor": "white", "edgecolor": "#333333", "hatch": "////"}
    places = name_rows(axis, [name for name, _ in rows], narrow)
    for place, (_, shares) in zip(places, rows):
        left = 0.0
        for part, share in shares.items():
            if share >= 5e-4:  # thinner than a line it would be one
                axis.barh(place, 100 * share, left=left, height=0.74, linewidth=0.8, **styles[part])
            if share > (0.09 if narrow else 0.03):
                box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8} if part == "abstained" else None
                color = "white" if fills.get(part) in SHADES[:3] else "black"
                text = {"ha": "center", "va": "center", "fontsize": 9 if narrow else 8, "color": color, "bbox": box}
                axis.text(left + 50 * share, place, f"{100 * share:.0f}", **text)
            left += 100 * share
    axis.set_xlim(0, 100)
    return {part: Patch(**styles[part]) for part in parts if any(shares[part] >= 5e-4 for _, shares in rows)}


def ranges(axis, rows, narrow, names=True):
    """Means with ranges, per row one filled and one hollow below it. rows: (name, treatment, filled, hollow), each
    (mean, lowest, highest), in the axis' unit, or None.
    """
    places = name_rows(axis, [name for name, *_ in rows], narrow, names)
    for place, (_, treatment, *both) in zip(places, rows):
        color, _, marker = STYLE[treatment]
        for measured, face, shift in zip(both, (color, "white"), (-0.2, 0.25) if narrow else (-0.14, 0.2)):
            if measured:
                mean, low, high = measured
                axis.plot([low, high], [place + shift] * 2, color=color, lw=1.2, alpha=0.6, zorder=2)
                axis.scatter(mean, place + shift, s=26, marker=marker, facecolor=face, edgecolor=color, lw=1, zorder=3)
    axis.grid(axis="x", color=GRID, lw=0.6)


def name_rows(axis, names, narrow, shown=True):
    """Names of rows, beside them or (narrow) above each, and the axis' height to match; returns the rows' places."""
    if not narrow:
        axis.set_yticks(range(len(names)), names if shown else [""] * len(names))
        axis.tick_params(axis="y", length=0)
        axis.set_ylim(len(names) - 0.4, -0.6)
        return list(range(len(names)))
    places, top = [], 0.0
    for name in names:
        lines = name.count("\n") + 1
        if shown:
            # Beyond its panel a name may go; on paper of its own, since lines pass under it.
            text = axis.text(0, top, name, transform=axis.get_yaxis_transform(), va="top", linespacing=1.1, zorder=2.5)
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.85})
            text.set_in_layout(False)
        places.append(top + lines + 0.5)
        top += lines + 1.1
    if shown:
        axis.set_zorder(1)  # names reach into the panels beside
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.set_ylim(top, -0.1)
    return places


def rows_inches(names, narrow):
    """Height that `name_rows` wants for these names."""
    if narrow:
        return LINE_INCHES * sum(name.count("\n") + 2.1 for name in names)
    return sum(max(0.25, 0.03 + LINE_INCHES * (name.count("\n") + 1)) for name in names)


def wrapped(name, narrow):
    """A row's name in lines that fit."""
    return "\n".join(textwrap.wrap(name, 46 if narrow else 60, break_long_words=False, break_on_hyphens=False))


def intervals_note(margin):
    """What bars and band are."""
    return "bars: 95 % intervals" + (f"; grey: margin, ±{margin:g}" if margin else "")


def _reach(rows, least, most):
    """How far an axis of differences goes from 0: to every estimate and whatever is primary, to `most` at most else."""
    kept = [abs(row.estimate) for row in rows if row.estimate is not None]
    kept += [abs(end) for row in rows if row.primary for end in row.ends]
    others = [abs(end) for row in rows for end in row.ends]
    return 1.08 * max(least, *kept, *(min(end, most) for end in others))


def _differences(axis, rows, places, margin, reach, upright):
    """The marks of `cost` and `forest`: the margin, then per row the judged and the 95 % interval, and the estimate."""

    def at(values, place):
        """Along the axis of differences, which stands up or lies."""
        values = np.clip(values, -reach, reach)
        across = np.full(values.shape, place, float)
        return (across, values) if upright else (values, across)

    (axis.axhspan if upright else axis.axvspan)(-margin, margin, color=MARGIN, lw=0)
    (axis.axhline if upright else axis.axvline)(0, color=GREY, lw=0.8)
    beyond = {-1: "v" if upright else "<", 1: "^" if upright else ">"}
    for place, row in zip(places, rows):
        if row.estimate is None:
            continue
        color, marker = PRIMARY if row.primary else EXPLORATORY
        if row.judged:
            axis.plot(*at(row.judged, place), color=color, lw=1, marker="_" if upright else "|", ms=7, mew=1)
        if row.low is not None:
            axis.plot(*at([row.low, row.high], place), color=color, lw=3, solid_capstyle="butt")
            for end, sign in ((row.low, -1), (row.high, 1)):
                if sign * end > reach:
                    axis.scatter(
                        *at([sign * reach], place), s=30, marker=beyond[sign], color=color, clip_on=False, zorder=4
                    )
        face = "white" if row.low is None else color
        axis.scatter(*at([row.estimate], place), s=32, marker=marker, facecolor=face, edgecolor=color, lw=1.3, zorder=3)


def label_ends(axis, ends):
    """Names at the right ends of lines, (value, name, colour) each, moved apart where they would overlap."""
    low, high = axis.get_ylim()
    if axis.get_yscale() == "log":
        low, high = np.log(low), np.log(high)
        ends = [(np.log(value), name, color) for value, name, color in ends]
    ends = sorted(((value - low) / (high - low), name, color) for value, name, color in ends)
    step = 0.155 / (axis.get_position().height * axis.figure.get_figheight())
    places = _spread([place for place, _, _ in ends], step)
    for place, (start, name, color) in zip(places, ends):
        axis.annotate(
            name, (1.0, start), (1.045, place), xycoords="axes fraction", textcoords="axes fraction", color=color,
            va="center", fontsize=8, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "lw": 0.5, "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)},
        )  # fmt: skip


def _spread(wanted, step):
    """Places in 0..1 at least `step` apart, in order, close (least squares) to the wanted ones, which rise."""
    blocks = []  # [mean of wanted - index * step, count], merged while they would not rise: isotonic regression
    for index, place in enumerate(wanted):
        blocks.append([place - index * step, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            mean, count = blocks.pop()
            other = blocks[-1]
            other[0] = (other[0] * other[1] + mean * count) / (other[1] + count)
            other[1] += count
    flat = np.repeat([mean for mean, _ in blocks], [count for _, count in blocks])
    flat = np.clip(flat, 0, max(0, 1 - (len(wanted) - 1) * step))
    return [mean + index * step for index, mean in enumerate(flat)]
