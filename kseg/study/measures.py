"""What a run of a study is measured by: the names of the measures, their units, and how each is read off a result."""

import re

from kseg.evaluation.pixel_counts import REPORTED_KINDS

# Measures that resampled frames have, too: from matrices (and which), or from histograms, off the edges only.
MATRIX_MEASURES = {"forced_miou": "forced", "native_miou": "native", "calibrated_miou": "calibrated"}
OF_HISTOGRAMS = re.compile(r"(auroc|recall_at_(0\.\d\d))_([a-z]+)_off_edge")  # the measure, its price, the kind
# Void caught where a share of the *correct* pixels is lost: the share, the kind ("movable": all but geometry), whether
# off the edges only, the score (none: the treatment's own).
OF_SCORES = re.compile(r"caught_at_(0\.\d\d)_([a-z]+)(_off_edge)?(?:@([a-z_]+))?")
# Objects never seen, in photos (kseg/study/objects.py): the statistic, the set of photos, the score (none: the void
# output and entropy together where there are both, else the treatment's own).
OF_OBJECTS = re.compile(r"objects_(auroc|average_precision)_([a-z0-9_]+)(?:@([a-z_]+))?")
_OF_RUN = tuple(f"{rule}_miou" for rule in ("forced", "native", "calibrated")) + ("miou_with_background",)
_OF_RUN += tuple(f"{rule}abstain_rate{which}" for rule in ("", "calibrated_") for which in ("", "_correct"))
_OF_VOID = re.compile(
    r"((calibrated_)?leak|auroc|average_precision(_at_1_percent)?|fpr95|recall_at_0\.\d\d)_"
    rf"({'|'.join(('all', *REPORTED_KINDS))})(_off_edge)?"
)


def measures(result: dict) -> dict[str, float | None]:
    """All scalars of a run, by name; shares, not points."""
    evaluation = result["evaluation"]
    report = evaluation["report"]
    calibrated = report.get("calibrated") or {}
    values = {
        "forced_miou": report["mean_iou_forced"],
        "native_miou": report["mean_iou"],
        "calibrated_miou": calibrated.get("mean_iou"),
        "miou_with_background": report["mean_iou_with_background"],
        "abstain_rate": report["abstain_rate"],
        "abstain_rate_correct": report["abstain_rate_correct"],
        "calibrated_abstain_rate": calibrated.get("abstain_rate"),
        "calibrated_abstain_rate_correct": calibrated.get("abstain_rate_correct"),
    }
    for kind in evaluation["kinds"]:
        for edge in ("", "_off_edge"):
            block = void_block(report, kind, edge)
            if block is None or not block["pixels"]:
                continue
            values[f"leak_{kind}{edge}"] = block["leak"]
            score = block["scores"][result["primary_score"]]
            for name in ("auroc", "average_precision", "average_precision_at_1_percent", "fpr95"):
                values[f"{name}_{kind}{edge}"] = score[name]
            for share, caught in score["recall_at"].items():
                values[f"recall_at_{share}_{kind}{edge}"] = caught
            moved = void_block(calibrated, kind, edge) if calibrated else None
            if moved is not None:
                values[f"calibrated_leak_{kind}{edge}"] = moved["leak"]
    return values


def is_measure(name: str) -> bool:
    """Whether a run can have a measure of this name (it has those of the kinds of void that its data has)."""
    return name in _OF_RUN or bool(_OF_VOID.fullmatch(name))


def is_contrasted(name: str) -> bool:
    """Whether contrasts can be of this measure: whether it can be had for resampled frames."""
    match, of_score = OF_HISTOGRAMS.fullmatch(name), OF_SCORES.fullmatch(name)
    if of_score or OF_OBJECTS.fullmatch(name):
        return not of_score or bool(kinds(of_score[2]))
    return name in MATRIX_MEASURES or bool(match and match[3] in ("all", *REPORTED_KINDS))


def kinds(name: str) -> tuple[str, ...]:
    """The kinds of void that a name in a measure stands for: itself, "all", or "movable", all but geometry."""
    if name == "movable":
        return tuple(kind for kind in REPORTED_KINDS if kind != "geometry")
    return REPORTED_KINDS if name == "all" else tuple(kind for kind in REPORTED_KINDS if kind == name)


def void_block(report: dict, kind: str, edge: str = ""):
    """The void block of a kind, or None: {pixels, leak, claimed_as, scores: {score: {auroc, ...}}}."""
    block = report["void"].get(kind)
    return block if block is None or not edge else block.get("off_edge")


# Names that `measures` gives: of a run as a whole, and of a kind of void.


def measure_name(name):
    """A measure's name in words."""
    name = re.sub(r"recall_at_0\.0?(\d+)_(\w+)", r"\2 caught at \1 %", name.replace("_off_edge", ", off-edge"))
    name = re.sub(r"caught_at_0\.0?(\d+)_([a-z]+)", r"\2 caught at \1 % of correct", name)
    name = re.sub(r"objects_([a-z_]+?)_(road_\w+)", r"objects of \2, \1", name).replace("@", ", by ")
    return name.replace("_miou", " mIoU").replace("auroc", "AUROC").replace("_", " ")


def unit(measure):
    """What a difference in a measure is counted in."""
    objects = OF_OBJECTS.fullmatch(measure)
    if objects:
        return "points of " + ("AUROC" if objects[1] == "auroc" else "average precision")
    names = {"auroc": "AUROC", "recall": "void caught", "caught": "void caught"}
    return "points of " + ("mIoU" if measure.endswith("miou") else names.get(measure.split("_")[0], measure))


def objects_score(result: dict, match) -> str:
    """The score that a match of OF_OBJECTS reads of a run: the one it names, else "evidences", else the run's own."""
    scores = result["objects"][match[2]]["scores"]
    return match[3] or ("evidences" if "evidences" in scores else result["primary_score"])


def signed(value: float) -> str:
    """A difference in points, such as +0.4 or −1.2."""
    return f"{100 * value:+.1f}".replace("-", "−")


def sides(entry: dict, minus: str = "-") -> str:
    """What a contrast of study.json compares: "arm - reference", and of how many pairs of arms it is the mean."""
    of = f" (mean of {entry['mean_of']} folds)" if entry["mean_of"] > 1 else ""
    return f"{entry['arm']} {minus} {entry['reference']}{of}"
