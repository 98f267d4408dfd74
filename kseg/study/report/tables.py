"""The tables of a study's page, from study.json's content: which rows and columns, how numbers are written and sorted.

A table is {name, title, note, columns: [{name, text}], rows: [{cells: [{show, sort, text}], primary}]}; `sort` is the
number behind a cell, None for words. Knows no HTML.
"""

import re

from kseg.study import measures

_NONE = "–"
_KIND_MEASURES = (
    ("AUROC", "auroc"),
    ("AP", "average_precision"),
    ("AP at 1 %", "average_precision_at_1_percent"),
    ("FPR95", "fpr95"),
    ("caught at 1 %", "recall_at_0.01"),
    ("caught at 5 %", "recall_at_0.05"),
    ("caught at 10 %", "recall_at_0.10"),
)
_HEADLINE_MEASURES = (
    ("forced mIoU", "forced_miou"),
    ("native mIoU", "native_miou"),
    ("calibrated mIoU", "calibrated_miou"),
    ("mIoU with void as a class", "miou_with_background"),
    ("labelled lost, native", "abstain_rate"),
    ("labelled lost, calibrated", "calibrated_abstain_rate"),
    ("scene leak, native", "leak_scene"),
    ("scene leak, calibrated", "calibrated_leak_scene"),
    ("AUROC scene off-edge", "auroc_scene_off_edge"),
    ("AUROC unseen off-edge", "auroc_unseen_off_edge"),
)


def tables(study: dict) -> list[dict]:
    """All tables that have rows."""
    return [table for make in _EVERY if (table := make(study))["rows"]]


def verdict(entry):
    """A contrast's verdict with its unit: "costs 9.2 points of AUROC"."""
    # Behind the verdict's one number; "not measured" has none.
    return re.sub(r"\d+\.\d+", lambda match: f"{match[0]} {measures.unit(entry['measure'])}", entry["verdict"], count=1)


def _contrasts(study):
    columns = ["arm − reference", "measure", "verdict", "points", "low", "high", "Holm low", "Holm high", "seeds"]
    columns += ["SE seeds", "SE frames", "df", "p", "contrast"]
    rows = []
    for entry in study["contrasts"]:
        cells = [_word(measures.sides(entry, "−")), _word(measures.measure_name(entry["measure"]))]
        cells.append(_word(verdict(entry)))
        cells += [
            _number(entry.get(key), "{:+.2f}", 100) for key in ("estimate", "low", "high", "holm_low", "holm_high")
        ]
        cells.append(_number(len(entry["seeds"]), "{:d}"))
        cells += [_number(entry.get(key), "{:.2f}", 100) for key in ("se_seeds", "se_frames")]
        cells += [_number(entry.get("degrees_of_freedom"), "{:.1f}"), _number(entry.get("p"), "{:.3f}")]
        rows.append({"cells": [*cells, _word(entry["name"])], "primary": entry["primary"]})
    note = (
        "Arm minus reference: points, the 95 % interval, standard errors (SE) and p, not adjusted. Marked rows are "
        "primary: their verdicts go by the interval at Holm's level. Forced and native mIoU count all labelled pixels, "
        "AUROC void of that kind against labelled pixels, both off the edges."
    )
    return _table("contrasts", "Contrasts", note, columns, rows, ("arm − reference", "measure", "verdict", "contrast"))


def _treatments(study):
    names = [(head, key) for head, key in _HEADLINE_MEASURES if any(key in a["measures"] for a in _headline(study))]
    rows = [
        [_word(arm["treatment"]), _number(len(arm["seeds"]), "{:d}")]
        + [_spread(arm["measures"].get(key)) for _, key in names]
        for arm in _headline(study)
    ]
    note = (
        "Mean ± standard deviation over seeds, in %. Calibrated: abstains where the score passes a threshold that "
        "held-out training frames set for 5 % of labelled pixels lost. Lost: of all labelled pixels, right or wrong. "
        "Leak: of all void pixels, along edges too, those claimed as a class."
    )
    columns = ["treatment", "seeds", *(head for head, _ in names)]
    return _table("treatments", "Treatments", note, columns, [{"cells": row} for row in rows], ("treatment",))


def _void(study):
    rows = []
    for name, arm in study["arms"].items():
        for kind in ("all", "scene", "dropped", "geometry", "unseen"):
            for edge, where in (("", "all"), ("_off_edge", "off-edge")):
                values = [arm["measures"].get(f"{measure}_{kind}{edge}") for _, measure in _KIND_MEASURES]
                if values[0] is not None:
                    cells = [_word(name), _word(arm["primary_score"]), _word(kind), _word(where)]
                    cells += [_spread(value) for value in values]
                    rows.append({"cells": [*cells, _spread(arm["measures"].get(f"leak_{kind}{edge}"))]})
    columns = ["arm", "score", "void", "pixels", *(head for head, _ in _KIND_MEASURES), "leak"]
    note = (
        "Primary score, mean ± standard deviation over seeds, in %. Positives are that kind of void alone, negatives "
        "all labelled pixels, both off the edges where it says so. AP depends on how much void there is; at 1 % it is "
        "brought to that prevalence. Caught: share of that void where 1, 5 or 10 % of the labelled pixels, right or "
        "wrong, are lost. Leak: by the treatment's own decision rule."
    )
    return _table("void", "Finding void, by kind", note, columns, rows, ("arm", "score", "void", "pixels"))


def _claims(study):
    rows = []
    for name, arm in study["arms"].items():
        for kind, shares in arm["claimed_as"].items():
            # Native decisions are classes or abstentions, so the rest is abstained; what is no class there is None.
            abstained = max(0.0, 1 - sum(share or 0 for share in shares.values()))
            values = [*(shares.get(other) for other in study["classes"]), abstained]
            rows.append({"cells": [_word(name), _word(kind), *(_number(value, "{:.1f}", 100) for value in values)]})
    note = (
        "Of all void pixels of that kind, along edges too: the share that the treatment's own decision rule calls each "
        "class, or abstains on, mean over seeds, in %. –: no class of that arm."
    )
    return _table(
        "claims",
        "Where void goes, by class",
        note,
        ["arm", "void", *study["classes"], "abstained"],
        rows,
        ("arm", "void"),
    )


def _scores(study):
    rows = []
    for name, arm in study["arms"].items():
        for kind, scores in arm["scores"].items():
            for score, value in scores.items():
                mark = "primary" if score == arm["primary_score"] else ""
                cells = [_word(name), _word(kind), _word(score), _word(mark), _number(value, "{:.1f}", 100)]
                rows.append({"cells": cells})
    note = "AUROC off the edges of every score that a head offers without further training, mean over seeds, in %."
    columns = ["arm", "void", "score", "", "AUROC"]
    return _table("scores", "Every void score", note, columns, rows, ("arm", "void", "score", ""))


def _sequences(study):
    rows = []
    compared = ("forced_miou", "native_miou", "auroc_scene_off_edge")
    for name, arm in study["arms"].items():
        for sequence, values in arm["sequences"].items():
            cells = [_word(name), _word(sequence), *(_spread(values.get(measure)) for measure in compared)]
            rows.append({"cells": cells})
    columns = ["arm", "sequence", *(measures.measure_name(measure) for measure in compared)]
    return _table("sequences", "By sequence", "In %, mean ± standard deviation.", columns, rows, ("arm", "sequence"))


def _classes(study):
    arms = _headline(study)
    names = [name for name in study["classes"] if arms and name in arms[0]["per_class_iou"]]
    rows = [
        [_word(arm["treatment"]), _word(rule), *(_number(arm[key].get(name), "{:.1f}", 100) for name in names)]
        for arm in arms
        for rule, key in (("forced", "per_class_iou_forced"), ("native", "per_class_iou"))
    ]
    note = (
        "IoU, mean over seeds, in %. Forced: the best class at each pixel, no abstaining. Native: the treatment's own "
        "decision rule; an abstention is a miss."
    )
    columns = ["treatment", "decision", *names]
    return _table("classes", "By class", note, columns, [{"cells": row} for row in rows], ("treatment", "decision"))


def _runs(study):
    rows = []
    for name, arm in study["arms"].items():
        settings = arm["settings"]
        cells = [_word(name), _word(arm["stage"]), _word(", ".join(map(str, arm["seeds"])))]
        cells += [_number(settings[key], "{:g}") for key in ("learning_rate", "void_weight", "total_steps")]
        cells += [_number(arm["parameters"], "{:,d}"), _number(arm["flops"], "{:.2f}", 1e-9)]
        rows.append({"cells": [*cells, _number(arm["minutes"]["mean"], "{:.1f}")]})
    columns = [
        "arm",
        "stage",
        "seeds",
        "learning rate",
        "void weight",
        "steps",
        "parameters",
        "GFLOP an image",
        "minutes",
    ]
    return _table("runs", "Runs", "", columns, rows, ("arm", "stage", "seeds"))


def _choices(study):
    rows = []
    for choice in study["choices"]:
        for row in choice["candidates"]:
            chosen = "chosen" if choice.get("chosen") == row["value"] else ""
            guard = row.get(choice["guard"]) if choice["guard"] else None
            cells = [
                _word(choice["name"]),
                _number(row["value"], "{:g}"),
                _word(measures.measure_name(choice["criterion"])),
            ]
            cells += [
                _number(row.get(choice["criterion"]), "{:.2f}", 100),
                _number(guard, "{:.2f}", 100),
                _word(chosen),
            ]
            rows.append({"cells": cells})
    note = "On held-out training frames. The default stays unless another value is better by more than 0.5 points."
    columns = ["choice", "value", "criterion", "%", "forced mIoU (guard)", ""]
    return _table("choices", "Choices", note, columns, rows, ("choice", "criterion", ""))


def _table(name, title, note, columns, rows, text):
    columns = [{"name": column, "text": column in text} for column in columns]
    return {
        "name": name,
        "title": title,
        "note": note,
        "columns": columns,
        "rows": [{"primary": False} | r for r in rows],
    }


def _word(text):
    return {"show": text, "sort": None, "text": True}


def _number(value, pattern, scale=1):
    if value is None:
        return {"show": _NONE, "sort": None, "text": False}
    value = value * scale if scale != 1 else value
    return {"show": pattern.format(value).replace("-", "−"), "sort": repr(value), "text": False}


def _spread(measure):
    if measure is None:
        return _number(None, "")
    cell = _number(measure["mean"], "{:.1f}", 100)
    if measure["sd"] is not None:
        cell["show"] += f" ± {100 * measure['sd']:.1f}"
    return cell


def _headline(study):
    return [arm for arm in study["arms"].values() if arm["headline"]]


_EVERY = (_contrasts, _treatments, _void, _claims, _scores, _sequences, _classes, _choices, _runs)
