"""The tables of a study: which rows and columns, from study.json. kseg/report/cells.py has their form."""

import re

from kseg.report.cells import number, table, word
from kseg.study import measures, statistics

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
    return [made for make in _EVERY if (made := make(study))["rows"]]


def verdict(entry, margin):
    """A contrast's verdict with its unit: "costs 9.2 points of AUROC"."""
    low, high = (entry.get(key) for key in (("holm_low", "holm_high") if entry["primary"] else ("low", "high")))
    if low is None:  # no numbers to say: "not measured", "one seed, no interval"
        return entry["verdict"]
    unit = f" {measures.unit(entry['measure'])}"
    words = statistics.verdict(entry["estimate"], low, high, margin, unit)
    if entry.get("not_worse"):
        words = f"{statistics.not_worse(entry['not_worse_low'], margin, unit)}; {words}"
    return words


def _contrasts(study):
    columns = ["arm − reference", "measure", "verdict", "points", "low", "high", "Holm low", "Holm high", "seeds"]
    columns += ["SE seeds", "SE frames", "df", "p", "contrast"]
    rows = []
    for entry in study["contrasts"]:
        cells = [word(measures.sides(entry, "−")), word(measures.measure_name(entry["measure"]))]
        cells.append(word(verdict(entry, entry.get("margin", study["margin"]))))
        cells += [
            number(entry.get(key), "{:+.2f}", 100) for key in ("estimate", "low", "high", "holm_low", "holm_high")
        ]
        cells.append(number(len(entry["seeds"]), "{:d}"))
        cells += [number(entry.get(key), "{:.2f}", 100) for key in ("se_seeds", "se_frames")]
        cells += [number(entry.get("degrees_of_freedom"), "{:.1f}"), number(entry.get("p"), "{:.3f}")]
        rows.append({"cells": [*cells, word(entry["name"])], "primary": entry["primary"]})
    note = (
        "Arm minus reference: points, the 95 % interval, standard errors (SE) and p, not adjusted. Marked rows are "
        "primary: their verdicts go by the interval at Holm's level. Forced and native mIoU count all labelled pixels, "
        "AUROC void of that kind against labelled pixels, both off the edges."
    )
    return table("contrasts", "Contrasts", note, columns, rows, ("arm − reference", "measure", "verdict", "contrast"))


def _treatments(study):
    names = [(head, key) for head, key in _HEADLINE_MEASURES if any(key in a["measures"] for a in _headline(study))]
    rows = [
        [word(arm["treatment"]), number(len(arm["seeds"]), "{:d}")]
        + [_spread(arm["measures"].get(key)) for _, key in names]
        for arm in _headline(study)
    ]
    note = (
        "Mean ± standard deviation over seeds, in %. Calibrated: abstains where the score passes a threshold that "
        "held-out training frames set for 5 % of labelled pixels lost. Lost: of all labelled pixels, right or wrong. "
        "Leak: of all void pixels, along edges too, those claimed as a class."
    )
    columns = ["treatment", "seeds", *(head for head, _ in names)]
    return table("treatments", "Treatments", note, columns, [{"cells": row} for row in rows], ("treatment",))


def _void(study):
    rows = []
    for name, arm in study["arms"].items():
        for kind in ("all", "scene", "dropped", "geometry", "unseen"):
            for edge, where in (("", "all"), ("_off_edge", "off-edge")):
                values = [arm["measures"].get(f"{measure}_{kind}{edge}") for _, measure in _KIND_MEASURES]
                if values[0] is not None:
                    cells = [word(name), word(arm["primary_score"]), word(kind), word(where)]
                    cells += [_spread(value) for value in values]
                    rows.append({"cells": [*cells, _spread(arm["measures"].get(f"leak_{kind}{edge}"))]})
    columns = ["arm", "score", "void", "pixels", *(head for head, _ in _KIND_MEASURES), "leak"]
    note = (
        "Primary score, mean ± standard deviation over seeds, in %. Positives are that kind of void alone, negatives "
        "all labelled pixels, both off the edges where it says so. AP depends on how much void there is; at 1 % it is "
        "brought to that prevalence. Caught: share of that void where 1, 5 or 10 % of the labelled pixels, right or "
        "wrong, are lost. Leak: by the treatment's own decision rule."
    )
    return table("void", "Finding void, by kind", note, columns, rows, ("arm", "score", "void", "pixels"))


def _levels(study):
    """What every score of an arm reaches: a row for each of them, where results have the counts."""
    columns = {
        "void caught": "caught_at_0.05_movable",
        "all void": "caught_at_0.05_all",
        "fixed position": "caught_at_0.05_geometry",
        "dropped": "caught_at_0.05_dropped",
        "residue": "caught_at_0.05_scene",
        "unseen": "caught_at_0.05_unseen",
        "lost at the held-out threshold": "threshold_lost_0.05",
        "void caught there": "threshold_caught_0.05_all",
        "risk at 80 % coverage": "risk_at_coverage_0.80",
        "risk at 90 % coverage": "risk_at_coverage_0.90",
    }
    arms = {name: arm["levels"] for name, arm in study["arms"].items() if "levels" in arm}
    columns = {head: key for head, key in columns.items() if any(key in levels for levels in arms.values())}
    rows = []
    for name, levels in arms.items():
        for score in _scores_of(levels):
            mark = "primary" if score == study["arms"][name]["primary_score"] else ""
            values = [_spread(levels.get(f"{key}@{score}")) for key in columns.values()]
            rows.append({"cells": [word(name), word(score), word(mark), *values]})
    note = (
        "Mean ± standard deviation over seeds, in %. Caught: share of that void where 5 % of the correct pixels are "
        "lost, edges included; the first column leaves out fixed position. Lost and caught there: at the threshold "
        "that loses 5 % of the correct pixels of the held-out frames. Risk: of the pixels kept, the share that is "
        "wrong or void."
    )
    return table("levels", "What each score reaches", note, ["arm", "score", "", *columns], rows, ("arm", "score", ""))


def _objects(study):
    """Objects never seen, in photos: a row for each set, arm and score."""
    columns = {
        "AP": "objects_average_precision_{}",
        "AUROC": "objects_auroc_{}",
        "FPR95": "objects_fpr95_{}",
        "caught": "objects_caught_at_0.05_{}",
        "objects flagged": "threshold_objects_{}",
        "rest flagged": "threshold_rest_{}",
    }
    rows = []
    for name, arm in study["arms"].items():
        levels = arm.get("levels", {})
        for photos in sorted(
            {key[len("objects_auroc_") :] for key in levels if re.match(r"objects_auroc_[^@]+$", key)}
        ):
            for score in _scores_of(levels):
                if f"objects_auroc_{photos}@{score}" in levels:
                    values = [_spread(levels.get(f"{key.format(photos)}@{score}")) for key in columns.values()]
                    lost = _spread(levels.get(f"threshold_lost_0.05@{score}"))
                    rows.append({"cells": [word(photos), word(name), word(score), *values, lost]})
    note = (
        "Positives are the objects, negatives the rest of the photos, mean ± standard deviation over seeds, in %. "
        "Caught: where 5 % of the rest is flagged. The last three columns: at the threshold that loses 5 % of the "
        "correct pixels of held-out frames; the last is what it loses on the test frames, which look like training's."
    )
    columns = ["photos", "arm", "score", *columns, "correct lost on test frames"]
    return table("objects", "Objects never seen, in photos", note, columns, rows, ("photos", "arm", "score"))


def _scores_of(levels):
    return dict.fromkeys(name.partition("@")[2] for name in levels if name.startswith("caught_at_") and "@" in name)


def _claims(study):
    rows = []
    for name, arm in study["arms"].items():
        for kind, shares in arm["claimed_as"].items():
            # Native decisions are classes or abstentions, so the rest is abstained; what is no class there is None.
            abstained = max(0.0, 1 - sum(share or 0 for share in shares.values()))
            values = [*(shares.get(other) for other in study["classes"]), abstained]
            rows.append({"cells": [word(name), word(kind), *(number(value, "{:.1f}", 100) for value in values)]})
    note = (
        "Of all void pixels of that kind, along edges too: the share that the treatment's own decision rule calls each "
        "class, or abstains on, mean over seeds, in %. –: no class of that arm."
    )
    return table(
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
                cells = [word(name), word(kind), word(score), word(mark), number(value, "{:.1f}", 100)]
                rows.append({"cells": cells})
    note = "AUROC off the edges of every score that a head offers without further training, mean over seeds, in %."
    columns = ["arm", "void", "score", "", "AUROC"]
    return table("scores", "Every void score", note, columns, rows, ("arm", "void", "score", ""))


def _sequences(study):
    rows = []
    compared = ("forced_miou", "native_miou", "auroc_scene_off_edge")
    for name, arm in study["arms"].items():
        for sequence, values in arm["sequences"].items():
            cells = [word(name), word(sequence), *(_spread(values.get(measure)) for measure in compared)]
            rows.append({"cells": cells})
    columns = ["arm", "sequence", *(measures.measure_name(measure) for measure in compared)]
    return table("sequences", "By sequence", "In %, mean ± standard deviation.", columns, rows, ("arm", "sequence"))


def _classes(study):
    arms = _headline(study)
    names = [name for name in study["classes"] if arms and name in arms[0]["per_class_iou"]]
    rows = [
        [word(arm["treatment"]), word(rule), *(number(arm[key].get(name), "{:.1f}", 100) for name in names)]
        for arm in arms
        for rule, key in (("forced", "per_class_iou_forced"), ("native", "per_class_iou"))
    ]
    note = (
        "IoU, mean over seeds, in %. Forced: the best class at each pixel, no abstaining. Native: the treatment's own "
        "decision rule; an abstention is a miss."
    )
    columns = ["treatment", "decision", *names]
    return table("classes", "By class", note, columns, [{"cells": row} for row in rows], ("treatment", "decision"))


def _runs(study):
    rows = []
    for name, arm in study["arms"].items():
        settings = arm["settings"]
        cells = [word(name), word(arm["stage"]), word(", ".join(map(str, arm["seeds"])))]
        cells += [number(settings[key], "{:g}") for key in ("learning_rate", "void_weight", "total_steps")]
        cells += [number(arm["parameters"], "{:,d}"), number(arm["flops"], "{:.2f}", 1e-9)]
        rows.append({"cells": [*cells, number(arm["minutes"]["mean"], "{:.1f}")]})
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
    return table("runs", "Runs", "", columns, rows, ("arm", "stage", "seeds"))


def _choices(study):
    rows = []
    for choice in study["choices"]:
        for row in choice["candidates"]:
            chosen = "chosen" if choice.get("chosen") == row["value"] else ""
            guard = row.get(choice["guard"]) if choice["guard"] else None
            cells = [
                word(choice["name"]),
                number(row["value"], "{:g}"),
                word(measures.measure_name(choice["criterion"])),
            ]
            cells += [
                number(row.get(choice["criterion"]), "{:.2f}", 100),
                number(guard, "{:.2f}", 100),
                word(chosen),
            ]
            rows.append({"cells": cells})
    note = "On held-out training frames. The default stays unless another value is better by more than 0.5 points."
    columns = ["choice", "value", "criterion", "%", "forced mIoU (guard)", ""]
    return table("choices", "Choices", note, columns, rows, ("choice", "criterion", ""))


def _spread(measure):
    if measure is None:
        return number(None, "")
    cell = number(measure["mean"], "{:.1f}", 100)
    if measure["sd"] is not None:
        cell["show"] += f" ± {100 * measure['sd']:.1f}"
    return cell


def _headline(study):
    return [arm for arm in study["arms"].values() if arm["headline"]]


_EVERY = (_contrasts, _treatments, _levels, _objects, _void, _claims, _scores, _sequences, _classes, _choices, _runs)
