"""Kinds of chart that the study draws: numbers in, marks on a matplotlib axis out. Knows no study, run or file.

One colour, dash and name per treatment throughout; the colours are Okabe and Ito's, told apart with every common
colour blindness. Lines carry their names at their ends rather than in a legend.
"""

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

STYLE = {
    "ignore": ("#000000", "-"),
    "background_class": ("#D55E00", "-"),
    "hybrid": ("#E69F00", "--"),
    "inverted_dice": ("#0072B2", "-"),
    "inverted_dice_softmax": ("#56B4E9", "--"),
    "one_vs_all": ("#009E73", "-"),
    "entropic": ("#CC79A7", "-"),
    "void_head": ("#7A6A00", "--"),
}
PRIMARY, EXPLORATORY = "#D55E00", "#0072B2"
GREY = "#555555"
GRID = "#e4e4e4"
MARGIN = "#eeeeee"
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


def ordered(treatments):
    """Treatments in the order of STYLE."""
    return [name for name in STYLE if name in treatments]


def caught(axis, title, lines):
    """Void caught (up) against correct labelled pixels lost (right, log 0.1 to 20 %).

    Args:
      lines: (treatment, curve, kind) with curve {"lost": [...], "kinds": {kind: {"mean", "low", "high"}}, "native":
        {kind: {"lost", "caught"}}}, shares.
    """
    ends = []
    for treatment, curve, kind in lines:
        color, dash = STYLE[treatment]
        lost = 100 * np.array(curve["lost"])
        mean, low, high = (100 * np.array(curve["kinds"][kind][key], float) for key in ("mean", "low", "high"))
        axis.fill_between(lost, low, high, color=color, alpha=0.13, lw=0)
        axis.plot(lost, mean, color=color, ls=dash, lw=1.7)
        ends.append((mean[-1], treatment, color))
        point = curve["native"].get(kind)
        if point and 100 * point["lost"] >= lost[0]:
            place = 100 * point["lost"], 100 * point["caught"]
            axis.scatter(*place, s=38, color=color, edgecolor="white", lw=0.9, zorder=5)
    # What a coin would do: catch as much void as it loses labelled pixels.
    chance = np.geomspace(0.1, 20, 50)
    axis.plot(chance, chance, color=GREY, lw=0.9, ls=":")
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
    _label_ends(axis, ends)


def cost(axis, title, points, margin, reach_at_most=8.0):
    """Differences with intervals, upright, over few categories. points: (name, estimate, low, high), in points."""
    axis.axhspan(-margin, margin, color=MARGIN, lw=0)
    axis.axhline(0, color=GREY, lw=0.7)
    reach = max(2.5, *(min(reach_at_most, max(abs(low), abs(high))) for _, _, low, high in points))
    for place, (_, estimate, low, high) in enumerate(points):
        axis.plot([place] * 2, np.clip([low, high], -reach, reach), color=PRIMARY, lw=1.6, solid_capstyle="butt")
        axis.scatter(place, np.clip(estimate, -reach, reach), s=18, color=PRIMARY, zorder=3)
        for end, sign, marker in ((low, -1, "v"), (high, 1, "^")):
            if sign * end > reach:
                axis.scatter(place, sign * reach, s=18, marker=marker, color=PRIMARY, clip_on=False, zorder=4)
    axis.set_xticks(range(len(points)), [name for name, *_ in points])
    axis.set_xlim(-0.5, len(points) - 0.5)
    axis.set_ylim(-reach, reach)
    axis.yaxis.set_major_locator(MaxNLocator(5))
    axis.tick_params(labelsize=7, length=2)
    axis.set_title(title, fontsize=7, weight="normal")


def forest(axis, rows, margin, narrow):
    """Differences with intervals, one row each. rows: (name, estimate, low, high, primary), in points.

    low and high are None where there is no interval; the point is hollow then. What lies far outside is cut, with an
    arrow, but no estimate and nothing primary.
    """
    axis.axvspan(-margin, margin, color=MARGIN, lw=0)
    axis.axvline(0, color=GREY, lw=0.8)
    ends = [abs(value) for _, *values, _ in rows for value in values if value is not None]
    kept = [abs(v) for _, *values, primary in rows for v in (values if primary else values[:1]) if v is not None]
    reach = min(max(ends) * 1.05, max(4 * np.median(ends), 4 * margin, 1.05 * max(kept)))
    for row, (_, estimate, low, high, primary) in enumerate(rows):
        color = PRIMARY if primary else EXPLORATORY
        if low is not None:
            axis.plot(np.clip([low, high], -reach, reach), [row] * 2, color=color, lw=2, solid_capstyle="butt")
            for end, sign, marker in ((low, -1, "<"), (high, 1, ">")):
                if sign * end > reach:
                    axis.scatter(sign * reach, row, s=30, marker=marker, color=color, clip_on=False, zorder=4)
        face = "white" if low is None else color
        place = np.clip(estimate, -reach, reach), row
        axis.scatter(*place, s=34, facecolor=face, edgecolor=color, linewidth=1.3, zorder=3)
    axis.set_yticks(range(len(rows)), [name for name, *_ in rows], fontsize=7.5 if narrow else 9)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlim(-reach * 1.03, reach * 1.03)
    axis.grid(axis="x", color=GRID, lw=0.6)
    axis.tick_params(axis="y", length=0)


def stacked(axis, rows, narrow):
    """Stacked bars of shares that sum to 1. rows: (name, {part: share}); a part "abstained" is hatched, shown last."""
    shades = ["#0072B2", "#56B4E9", "#009E73", "#E69F00", "#CC79A7", "#BBBBBB", "#FFFFFF"]
    for row, (_, parts) in enumerate(rows):
        left = 0.0
        for (part, share), shade in zip(parts.items(), shades):
            hollow = part == "abstained"
            style = {"edgecolor": "#333333", "hatch": "////"} if hollow else {"edgecolor": "white"}
            label = part if row == 0 else None
            if share > 0 or row == 0:
                axis.barh(row, 100 * share, left=left, color=shade, linewidth=0.8, height=0.74, label=label, **style)
            if share > (0.09 if narrow else 0.035):
                box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8} if hollow else None
                color = "white" if shade in ("#0072B2", "#009E73") else "black"
                place = left + 50 * share, row
                axis.text(*place, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, bbox=box, color=color)
            left += 100 * share
    axis.set_yticks(range(len(rows)), [name for name, _ in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlim(0, 100)
    columns, x = (3, 0.3) if narrow else (7, 0.5)
    axis.legend(
        loc="lower center", bbox_to_anchor=(x, 1.0), ncol=columns, frameon=False, fontsize=8, handlelength=1.2,
        columnspacing=1.0,
    )  # fmt: skip


def pairs(axis, groups, labels):
    """Two dots joined by a line, per group and treatment. groups: {group: {treatment: {kind: value}}}.

    labels: (kind drawn filled, kind drawn hollow).
    """
    height, ticks = 0.0, []
    for group, treatments in groups.items():
        axis.text(-0.01, height - 0.15, group, transform=axis.get_yaxis_transform(), ha="right", weight="bold")
        for treatment in ordered(treatments):
            height += 1
            color, values = STYLE[treatment][0], treatments[treatment]
            if len(values) == 2:
                axis.plot(list(values.values()), [height] * 2, color=color, lw=1, alpha=0.5, zorder=2)
            for kind, face in zip(labels, (color, "white")):
                if kind in values:
                    axis.scatter(values[kind], height, s=36, facecolor=face, edgecolor=color, linewidth=1.4, zorder=3)
            ticks.append((height, treatment))
        height += 1.4
    axis.set_yticks([place for place, _ in ticks], [treatment for _, treatment in ticks])
    axis.set_ylim(height - 0.8, -0.8)
    axis.grid(axis="x", color=GRID, lw=0.6)


def progress(axis, title, lines, log=False):
    """Values over steps. lines: (treatment, steps, values)."""
    for treatment, steps, values in lines:
        color, dash = STYLE[treatment]
        axis.plot(steps, values, color=color, ls=dash, lw=1.3)
    axis.set_xlim(0, max(steps[-1] for _, steps, _ in lines))
    axis.set_title(title)
    axis.set_xlabel("step")
    if log:
        axis.set_yscale("log")
        for formatter in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
            formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "1235" else ""))
    axis.grid(color=GRID, lw=0.6, which="both")
    _label_ends(axis, [(values[-1], treatment, STYLE[treatment][0]) for treatment, _, values in lines])


def _label_ends(axis, ends):
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
