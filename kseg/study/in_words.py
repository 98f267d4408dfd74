"""A study's primary contrasts in one paragraph of plain words, "undecided" included. Computes no number."""

from kseg.study import measures, statistics

_NAMES = {
    "background_class": "void as an extra class (background_class)",
    "inverted_dice": "inverted Dice with cross entropy beside it (inverted_dice)",
    "entropic": "the entropic loss (entropic)",
}


def paragraph(summary: dict) -> str:
    """What a study of own records says, for someone who has to choose a treatment.

    Args:
      summary: study.json's content; its primary contrasts are pairs, named "void, ARM" and "accuracy, ARM", of an arm
        and `ignore` (kseg/study/own_records.py).
    """
    primary = [entry for entry in summary["contrasts"] if entry["primary"]]
    found = {
        entry["name"]: entry | {"decision": _decision(entry, entry.get("margin", summary["margin"]))}
        for entry in primary
    }
    arms = [name.partition(", ")[2] for name in found if name.startswith("void, ")]
    void, accuracy = ({arm: found[f"{name}, {arm}"] for arm in arms} for name in ("void", "accuracy"))
    seeds = max((len(entry["seeds"]) for entry in found.values()), default=0)
    parts = [_basis(summary, seeds)]
    for arm in arms:
        text = f"{_NAMES.get(arm, arm)}: {_void(void[arm])}; {_accuracy(accuracy[arm])}."
        parts.append(text[0].upper() + text[1:])
    return " ".join([*parts, _advice(arms, void, accuracy, seeds)])


def _basis(summary, seeds):
    frames = "held-out" if summary["split"] == "held_out" else summary["split"]
    text = f"Judged on {summary['frames']} {frames} frames"
    if seeds:
        text += f" with {seeds} seed{'s' if seeds != 1 else ''} a treatment"
    missing = len(summary["runs"]["missing"]) + len(summary["runs"]["failed"])
    if missing:
        text += f" ({missing} of {summary['runs']['planned']} runs are missing)"
    ignore = summary["arms"].get("ignore", {}).get("measures", {}).get("forced_miou")
    if ignore:
        text += f"; ignoring void (ignore) gives {100 * ignore['mean']:.1f} % mIoU, and the others are held against it"
    return f"{text}. Void counts as caught where 5 % of the correct pixels are given up for it."


def _void(entry):
    return _said(entry, "catches {} points more void", "catches {} points less void", "void caught")


def _accuracy(entry):
    text = _said(entry, "gains {} points of mIoU", "costs {} points of mIoU", "mIoU")
    return f"{text}, no worse than by the margin" if entry.get("not_worse") else text


def _said(entry, more, less, what):
    """A contrast as words, with the interval that it was judged by."""
    decision, estimate = entry["decision"], entry.get("estimate")
    if estimate is None:
        return f"{what} {entry['verdict']}"
    if not decision:
        return f"{what} {measures.signed(estimate)} points, undecided with one seed"
    interval = f"({measures.signed(entry['holm_low'])} to {measures.signed(entry['holm_high'])})"
    if decision == "undecided":
        return f"{what} undecided, {measures.signed(estimate)} points {interval}"
    if decision == "at most":
        most = statistics.points_at_most(entry["holm_low"])
        return f"{less.format(f'at most {most:.1f}')} {interval}"
    return f"{(more if decision == 'gains' else less).format(f'{abs(100 * estimate):.1f}')} {interval}"


def _advice(arms, void, accuracy, seeds):
    if not seeds:
        return "Nothing can be compared before two treatments have a finished run with the same seed."
    if seeds < 2:
        return "One seed cannot tell a treatment from luck: all of this is undecided; give the study more hours."
    better = sorted((arm for arm in arms if _gains(void[arm])), key=lambda arm: -void[arm]["estimate"])
    free = [arm for arm in better if not _costs(accuracy[arm])]
    if free:
        best = f"Where finding void matters, train with {free[0]}"
        return f"{best}: it catches more, and no loss of accuracy beyond the margin showed."
    if better:
        return (
            f"{better[0]} catches more void and costs accuracy: which of the two counts is yours to say; where "
            "accuracy does, stay with ignore."
        )
    if all(_costs(void[arm]) or _costs(accuracy[arm]) for arm in arms):
        return "Each of the others costs something and none catches more: stay with ignore."
    return (
        "None catches more void than ignore beyond what seeds and frames do by themselves: undecided, which is not the "
        "same as equal. Until more hours or frames decide, ignore is the simplest."
    )


def _decision(entry, margin):
    """That of `statistics.decision` at Holm's level; "" where there is no interval."""
    low, high = entry.get("holm_low"), entry.get("holm_high")
    return "" if None in (low, high) else statistics.decision(low, high, margin)


def _gains(entry):
    return entry["decision"] == "gains"


def _costs(entry):
    """Whether a contrast is decided against the arm, by more than the margin as far as one can tell."""
    return entry["decision"] == "costs" and not entry.get("not_worse")
