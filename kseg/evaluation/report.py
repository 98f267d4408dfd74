"""Counts in, eval_<split>.json and eval_<split>.npz out: the numbers of one evaluation.

Answers what the model scored; does not run it (kseg/evaluation/evaluate.py) nor compare runs (kseg/study/runner.py).

**eval_<split>.json**: split, images, treatment, primary_score, and at the treatment's native decision
  confusion_matrix          [K+1][K+1], [true, predicted]; index K is void / abstain
  mean_iou, per_class_iou   Cityscapes' official rule: void truth does not count, abstaining on a label is a miss; of
                            one class alone, void that is called it is a false positive
  mean_iou_forced           of the best of the K classes, abstaining not allowed
  mean_iou_with_background  of K + 1 classes
  abstain_rate              share of labelled pixels lost to abstaining; abstain_rate_correct: and that were right
  void                      {all, scene, dropped, geometry, unseen, and each void id by name:
                            {pixels, leak, claimed_as {class: share of this void; they sum to leak},
                            scores {score: {auroc, average_precision, average_precision_at_1_percent, fpr95,
                            recall_at {0.01, 0.05, 0.10: share of this void caught, losing that share of labelled
                            pixels}}},
                            off_edge: {the same, of the pixels more than 2 px from a label change, void and labelled}}}
`calibrated`, if there is a calibrated threshold, is the same block of that decision, with score and threshold. Kinds
share no pixel: void that training never showed is `unseen` and nothing else. Undefined values are null.

**eval_<split>.npz**, what curves and resampling of images need; N images, B <= 512 bins that differ by score:
  image_ids, sequences      [N] strings; a sequence is an image id up to its first underscore
  class_names, groups, scores, primary_score   names: groups is (right, wrong, scene, dropped, geometry, unseen),
                            "right" and "wrong" being labelled pixels by the forced decision
  confusion_native, confusion_forced, confusion_calibrated   int64 [N, K+1, K+1]
  claims_native, claims_calibrated   int64 [N, 4 kinds, 2, K+1], what void was called; axis 2: at an edge, off edge
  histogram_<score>         uint32 [N, 6 groups, 2, B]
  thresholds_<score>        float32 [B + 1], rising: score > thresholds[b] flags bins b and above
"""

import dataclasses
import os

import numpy as np

from kseg import histograms, metrics
from kseg.evaluation import pixel_counts
from kseg.runs import workdir
from tfrecords import files

IMAGE_BINS = 512


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of an evaluation.

    Attributes:
      split: its name.
      treatment, primary_score: names.
      image_ids: one per image.
      threshold: of the calibrated decision; None = there is none.
      tally: the counts.
      image_histograms: per score, what `pixel_counts.Tally.image_histograms` returned.
      notes: further top-level keys of the JSON file.
      suffix: follows the split in the names of the files, for an evaluation in another way than the run's own.
    """

    split: str
    treatment: str
    primary_score: str
    image_ids: tuple[str, ...]
    threshold: float | None
    tally: pixel_counts.Tally
    image_histograms: tuple
    notes: dict = dataclasses.field(default_factory=dict)
    suffix: str = ""

    def to_json(self):
        """The content of eval_<split>.json, a dict without NaN."""
        scores = _score_blocks(self.tally)
        report = {
            "split": self.split,
            "images": len(self.image_ids),
            "treatment": self.treatment,
            "primary_score": self.primary_score,
            **self.notes,
            **self._block("native", scores),
        }
        if self.threshold is not None:
            point = {"score": self.primary_score, "threshold": float(self.threshold)}
            report["calibrated"] = point | self._block("calibrated", scores)
        return report

    def save(self, folder):
        """Writes eval_<split><suffix>.json and .npz; each is either the old one or the new one, whole."""
        path = os.path.join(folder, f"eval_{self.split}{self.suffix}")
        content = self.to_json()
        os.makedirs(folder, exist_ok=True)
        files.write_whole(f"{path}.npz", lambda file: np.savez_compressed(file, **self.arrays()))
        workdir.write_json(f"{path}.json", content)

    def arrays(self):
        """The content of eval_<split>.npz: {key: array}."""
        layout = self.tally.layout
        arrays = {
            "image_ids": np.array(self.image_ids),
            "sequences": np.array([image_id.partition("_")[0] for image_id in self.image_ids]),
            "class_names": np.array(layout.class_names),
            "groups": np.array(pixel_counts.GROUPS),
            "scores": np.array(self.tally.scores),
            "primary_score": np.array(self.primary_score),
        }
        kinds = [layout.kind(label) for label in layout.void]
        for name, counts in self.tally.counts.items():
            arrays[f"confusion_{name}"] = _matrices(counts, layout.num_classes)
            void = counts[:, layout.num_classes :]
            chosen = [[i for i, own in enumerate(kinds) if own == kind] for kind in pixel_counts.REPORTED_KINDS]
            if name != "forced":
                arrays[f"claims_{name}"] = np.stack([void[:, ids].sum(1) for ids in chosen], 1)
        for score, (counts, starts) in zip(self.tally.scores, self.image_histograms):
            edges = histograms.thresholds()
            arrays[f"histogram_{score}"] = counts
            arrays[f"thresholds_{score}"] = np.append(edges[starts], edges[-1])
        return arrays

    def summary(self):
        """The main numbers for a person, as text; `summary` makes it of a report's JSON too."""
        return summary(self.to_json())

    @property
    def mean_iou(self):
        """Of the native decision; None if no class occurs."""
        return histograms.none_for_nan(metrics.mean_iou(self.matrix("native")))

    def matrix(self, decision):
        """int64 [K + 1, K + 1] of "native", "forced" or "calibrated", summed over images."""
        return _matrices(self.tally.counts[decision], self.tally.layout.num_classes).sum(0)

    def threshold_for(self, share, score=None):
        """(threshold, realised share): the lowest that loses at most this share of the split's labelled pixels.

        Args:
          share: of labelled pixels.
          score: its name; None = the primary one.
        """
        place = self.tally.scores.index(score or self.primary_score)
        return histograms.threshold_for(self.tally.histograms[place, :2].sum((0, 1)), share)

    def moments(self, score):
        """(mean, standard deviation) of a score over all counted pixels, labelled and void."""
        return histograms.moments(self.tally.histograms[self.tally.scores.index(score)].sum((0, 1)))

    def _block(self, decision, scores):
        layout, counts = self.tally.layout, self.tally.counts[decision].sum(0)
        matrix, forced = self.matrix(decision), self.matrix("forced")
        number = histograms.none_for_nan
        return {
            "confusion_matrix": matrix.tolist(),
            "mean_iou": number(metrics.mean_iou(matrix)),
            "mean_iou_forced": number(metrics.mean_iou(forced)),
            "mean_iou_with_background": number(metrics.mean_iou_with_background(matrix)),
            "per_class_iou": dict(zip(layout.class_names, map(number, metrics.per_class_iou(matrix)))),
            "abstain_rate": number(metrics.abstain_rate(matrix)),
            "abstain_rate_correct": number(metrics.abstain_rate_correct(matrix, forced)),
            "void": {
                name: _claims(layout, counts[rows].sum((0, 1)))
                | {"scores": scores[name][0]}
                | {"off_edge": _claims(layout, counts[rows, 1].sum(0)) | {"scores": scores[name][1]}}
                for name, rows in (
                    (name, [layout.num_classes + i for i in ids]) for name, ids in void_names(layout).items()
                )
            },
        }


def void_names(layout):
    """{name in the report: positions in layout.void}: all, each kind, each id, with its number if the name is taken."""
    kinds = [layout.kind(label) for label in layout.void]
    names = {"all": list(range(len(kinds)))}
    names |= {kind: [i for i, own in enumerate(kinds) if own == kind] for kind in pixel_counts.REPORTED_KINDS}
    for place, label in enumerate(layout.void):
        names[label.name if label.name not in names else f"{label.name} ({label.id})"] = [place]
    return names


def summary(report) -> str:
    """The main numbers for a person: a table of classes, then what holds for all of them, then void by kind.

    Args:
      report: the content of eval_<split>.json.
    """
    points = [("native", report)] + ([("calibrated", report["calibrated"])] if "calibrated" in report else [])
    heads = "".join(f"{name:>12}" for name, _ in points)
    lines = [f"{report['split']}: {report['images']} images, treatment {report['treatment']}", ""]
    lines += [f"{'IoU by class':24}{heads}{'% of labelled pixels':>24}"]
    labelled = [sum(row) for row in report["confusion_matrix"][:-1]]
    for (name, _), pixels in zip(report["per_class_iou"].items(), labelled):
        cells = "".join(f"{_percent(block['per_class_iou'][name]):>12}" for _, block in points)
        lines.append(f"{name:24}{cells}{_percent(pixels / max(sum(labelled), 1)):>24}")
    lines += ["", f"{'':24}{heads}"]
    for text, value in (
        ("mean IoU", lambda block: block["mean_iou"]),
        ("  abstaining not allowed", lambda block: block["mean_iou_forced"]),
        ("  void as a class", lambda block: block["mean_iou_with_background"]),
        ("void caught", void_caught),
        ("labelled pixels lost", lambda block: block["abstain_rate"]),
        ("  that were right", lambda block: block["abstain_rate_correct"]),
    ):
        lines.append(f"{text:24}" + "".join(f"{_percent(value(block)):>12}" for _, block in points))
    heads = "".join(f"{'leak, ' + name:>18}" for name, _ in points)
    kinds = [f"{'void':24}{'pixels':>12}{heads}{'AUROC':>9}{'off edge':>9}{'FPR95':>9}"]
    for kind, block in report["void"].items():
        if not block["pixels"]:
            continue
        score, inner = (part["scores"].get(report["primary_score"], {}) for part in (block, block["off_edge"]))
        shares = [_percent(point["void"][kind]["leak"]) for _, point in points]
        numbers = [_percent(value) for value in (score.get("auroc"), inner.get("auroc"), score.get("fpr95"))]
        cells = "".join(f"{share:>18}" for share in shares) + "".join(f"{number:>9}" for number in numbers)
        kinds.append(f"{kind:24}{block['pixels']:>12}{cells}")
    lines += ["", *kinds] if len(kinds) > 1 else ["", "void                    no pixel of it here"]
    if "calibrated" in report:
        lines += ["", f"calibrated: abstains where {report['primary_score']} > {report['calibrated']['threshold']:.6g}"]
    if "calibration" in report:
        lines += ["", _threshold(report["calibration"])]
    return "\n".join(lines)


def void_caught(block):
    """Share of all void that a decision abstains on; None where there is no void."""
    leak = block["void"]["all"]["leak"]
    return None if leak is None else 1 - leak


def _threshold(chosen):
    caught = "" if chosen["void_caught"] is None else f" and catches {_percent(chosen['void_caught'])} of void"
    return (
        f"abstaining where {chosen['score']} > {chosen['threshold']:.6g} loses {_percent(chosen['realised'])} of the "
        f"labelled pixels{caught}"
    )


def _claims(layout, claims):
    number = histograms.none_for_nan
    return {
        "pixels": int(claims.sum()),
        "leak": number(metrics.leak(claims)),
        "claimed_as": dict(zip(layout.class_names, map(number, metrics.claimed_as(claims)))),
    }


def _score_blocks(counted):
    """{void name: ({score: statistics} of all pixels, the same off edge)}."""
    blocks = {name: ({}, {}) for name in void_names(counted.layout)}
    for score, counts in zip(counted.scores, counted.histograms):
        counts = counts[..., np.flatnonzero(counts.any((0, 1)))]  # bins empty on both sides change nothing
        for name, ids in void_names(counted.layout).items():
            void = counts[[2 + i for i in ids]].sum(0)
            for block, edges in zip(blocks[name], (slice(None), slice(1, None))):
                labelled = counts[:2, edges].sum((0, 1))
                block[score] = histograms.statistics(labelled, void[edges].sum(0))
    return blocks


def _matrices(counts, k):
    """[N, K + V, 2, K + 1] -> confusion matrices [N, K + 1, K + 1]."""
    counts = counts.sum(2)
    return np.concatenate([counts[:, :k], counts[:, k:].sum(1, keepdims=True)], 1)


def _percent(value):
    return "-" if value is None else f"{100 * value:.2f} %"
