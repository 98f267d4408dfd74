"""The tables of a run's page and of several runs': which rows and columns, from their reports."""

from kseg.report.cells import number, table, word

_MEASURES = (
    ("mean IoU", "mean_iou"),
    ("mean IoU, abstaining not allowed", "mean_iou_forced"),
    ("mean IoU, void as a class", "mean_iou_with_background"),
    ("void caught", "void_caught"),
    ("labelled pixels lost", "abstain_rate"),
    ("right ones among them", "abstain_rate_correct"),
)


def measure(block, key):
    """A measure of a report, or of its block `calibrated`, as a share; None where it has none."""
    if key == "void_caught":
        leak = block["void"]["all"]["leak"]
        return None if leak is None else 1 - leak
    return block[key]


def blocks(report):
    """{name: block} of the decisions that a report has."""
    return {"native": report} | ({"calibrated": report["calibrated"]} if "calibrated" in report else {})


def measures(reports):
    """Mean IoU, void caught and labelled pixels lost: a column for each (name, report) and decision."""
    columns = [
        (f"{name}, {decision}" if name else decision, block)
        for name, report in reports
        for decision, block in blocks(report).items()
    ]
    rows = [
        {"cells": [word(title), *(number(measure(block, key), "{:.2f}", 100) for _, block in columns)]}
        for title, key in _MEASURES
    ]
    note = (
        "In %. Native: the treatment's own decision rule. Calibrated: abstains where the void score is above the "
        "threshold that held-out training images set. An abstention on a labelled pixel is a miss."
    )
    return table("measures", "The numbers", note, ["measure", *(name for name, _ in columns)], rows, ("measure",))


def classes(reports):
    """IoU by class: a column for each (name, report); with several, differences to the first."""
    first = reports[0][1]
    labelled = [sum(row) for row in first["confusion_matrix"][:-1]]
    rows = []
    for place, name in enumerate(first["per_class_iou"]):
        values = [report["per_class_iou"][name] for _, report in reports]
        cells = [word(name), number(labelled[place] / max(sum(labelled), 1), "{:.2f}", 100)]
        cells += [number(value, "{:.1f}", 100) for value in values]
        for value in values[1:]:
            known = value is not None and values[0] is not None
            cells.append(number(value - values[0] if known else None, "{:+.1f}", 100))
        rows.append({"cells": cells})
    columns = ["class", "% of labelled pixels", *(name or "IoU" for name, _ in reports)]
    columns += [f"{name} − {reports[0][0]}" for name, _ in reports[1:]]
    note = "IoU by Cityscapes' rule at the treatment's own decision, in %. –: the class does not occur."
    if len(reports) > 1:
        note = f"{note} Differences are in points."
    return table("classes", "By class", note, columns, rows, ("class",))


def void(report):
    """What becomes of each kind and id of void."""
    rows = []
    for kind, block in report["void"].items():
        if not block["pixels"]:
            continue
        score, inner = (part["scores"].get(report["primary_score"], {}) for part in (block, block["off_edge"]))
        cells = [word(kind), number(block["pixels"], "{:,d}")]
        cells += [number(point["void"][kind]["leak"], "{:.1f}", 100) for point in blocks(report).values()]
        cells += [
            number(value, "{:.1f}", 100) for value in (score.get("auroc"), inner.get("auroc"), score.get("fpr95"))
        ]
        rows.append({"cells": cells, "primary": kind == "all"})
    columns = ["void", "pixels", *(f"claimed as a class, {name}" for name in blocks(report))]
    columns += ["AUROC", "AUROC off the edges", "FPR95"]
    note = (
        "In %. Claimed: the share of this void that is called some class. AUROC and FPR95 rank the void's pixels "
        f"against all labelled pixels by {report['primary_score']}."
    )
    return table("void", "Void, by kind and id", note, columns, rows, ("void",))


def settings(changed):
    """Settings that are not at their defaults. changed: [(key, values of each run ..., default)]; heads as given."""
    heads, rows = changed
    cells = [{"cells": [word(_text(part)) for part in row]} for row in rows]
    note = "kseg/config.py says what each of them means."
    return table("settings", "Settings that differ", note, heads, cells, heads)


def confusion(report):
    """The confusion matrix for the template: {"columns": names, "rows": [{name, pixels, cells: [{show, shade}]}]}.

    A cell is a share of its row; the last row is void, the last column abstaining.
    """
    names = list(report["per_class_iou"])
    rows = []
    for place, (name, counts) in enumerate(zip([*names, "void"], report["confusion_matrix"])):
        total = sum(counts)
        if not total:
            continue
        shares = [count / total for count in counts]
        cells = [{"show": f"{100 * s:.0f}" if s >= 0.005 else "", "shade": round(s, 3)} for s in shares]
        rows.append({"name": name, "pixels": f"{total:,d}", "cells": cells, "own": place})
    return {"columns": [*names, "abstained"], "rows": rows}


def _text(value):
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, value)) or "none"
    return str(value) if value != "" else "none"
