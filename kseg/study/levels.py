"""How high each arm stands by the measures that contrasts take differences of, and by some beside them. NumPy only.

Names are those of measures.py; `@score` says by which void score, a name without it is by the arm's own. Results in,
one flat {name: number} for each run out. Results of earlier versions, which lack the counts of every score, have none.

  accuracy                                 share of labelled pixels right, nobody abstaining
  caught_at_0.05_KIND[_off_edge][@S]       void of a kind caught where 5 % of the correct pixels are lost
  risk_at_coverage_0.90[@S]                of the pixels kept, those that are wrong or void, where 90 % are kept
  threshold_lost_0.05[@S]                  correct pixels lost on test where held-out frames lost 5 %
  threshold_caught_0.05_KIND[@S]           void caught there
  objects_STATISTIC_SET[@S]                of photos with objects (kseg/study/objects.py); the statistics of
                                           `histograms.statistics`, "caught_at_0.05" where 5 % of the rest is flagged
  threshold_objects_SET@S, threshold_rest_SET@S    share of object and of the rest flagged at that held-out threshold
"""

import re

import numpy as np

from kseg.evaluation.pixel_counts import REPORTED_KINDS
from kseg.study import measures, results

SHARE = "0.05"
COVERAGES = (0.8, 0.9)


def of_run(result: dict, frames) -> dict[str, float]:
    """All levels of one result that have a value; {} where it has no counts of every score.

    Args:
      result: of a run.
      frames: contrasts.Frames.
    """
    if "scores" not in result["evaluation"]["frames"]:
        return {}
    own = result["primary_score"]
    every = np.ones(len(frames.ids))
    matrix = frames.array(result, "forced").sum(0)[: len(result["classes"])]
    levels = {"accuracy": float(np.trace(matrix) / matrix.sum())}
    kinds = [kind for kind in ("movable", "all", *REPORTED_KINDS) if _has(result, kind)]
    for score in result["evaluation"]["frames"]["scores"]:
        for kind in kinds:
            for edge in ("", "_off_edge"):
                name = f"caught_at_{SHARE}_{kind}{edge}"
                levels[f"{name}@{score}"] = float(frames.value(result, f"{name}@{score}", every))
        levels |= _risk(result, frames, score) | _held_out(result, score)
    levels |= _objects(result)
    # Names without a score: by the arm's own, of objects by the one that contrasts take.
    chosen = {}
    for name, value in levels.items():
        plain, _, score = name.partition("@")
        if score == (_of_objects(result, plain) or own):
            chosen[plain] = value
    # Where nothing is right, or there is no void, there is no share of it.
    return {name: value for name, value in (levels | chosen).items() if value is not None and np.isfinite(value)}


def _of_objects(result, name):
    """The score that a level of objects is of where it names none; None: it is no level of objects."""
    match = measures.OF_OBJECTS.fullmatch(re.sub(r"^objects_(fpr95|caught_at_[\d.]+)_", "objects_auroc_", name))
    return measures.objects_score(result, match) if match else None


def _has(result, kind):
    return any(name in result["evaluation"]["kinds"] for name in measures.kinds(kind))


def _risk(result, frames, score):
    """{risk_at_coverage_C@score}: interpolated between the bins that results keep."""
    groups = [frames.array(result, "scores", score, name) for name in ("right", "wrong", *REPORTED_KINDS)]
    right, *bad = (None if group is None else group.sum((0, 1)) for group in groups)
    kept = np.cumsum(right + sum(group for group in bad if group is not None))
    kept_bad = np.cumsum(sum(group for group in bad if group is not None))
    shares, risks = kept / kept[-1], kept_bad / np.maximum(kept, 1)
    return {
        f"risk_at_coverage_{coverage:.2f}@{score}": float(np.interp(coverage, shares, risks)) for coverage in COVERAGES
    }


def _held_out(result, score):
    """What the threshold that loses 5 % of the held-out correct pixels does on the test frames."""
    at = result.get("held_out", {}).get("at", {}).get(score, {}).get(SHARE)
    if at is None:
        return {}
    caught = {f"threshold_caught_{SHARE}_{kind}@{score}": value for kind, value in at["caught"].items()}
    return {f"threshold_lost_{SHARE}@{score}": at["lost"]} | caught


def _objects(result):
    levels = {}
    for photos, found in result.get("objects", {}).items():
        for score, counts in found["scores"].items():
            statistics = counts["statistics"]
            for name in ("auroc", "average_precision", "fpr95"):
                levels[f"objects_{name}_{photos}@{score}"] = statistics[name]
            levels[f"objects_caught_at_{SHARE}_{photos}@{score}"] = statistics["recall_at"][SHARE]
            at = result.get("held_out", {}).get("at", {}).get(score, {}).get(SHARE)
            if at is not None:
                for side in ("object", "rest"):
                    flagged = _flagged(results.unpack(counts[side]).sum(0), counts["thresholds"], at["threshold"])
                    levels[f"threshold_{'objects' if side == 'object' else side}_{photos}@{score}"] = flagged
    return levels


def _flagged(counts, thresholds, threshold):
    """Share of pixels above a threshold, interpolated between the bins that results keep."""
    above = np.append(np.cumsum(counts[::-1])[::-1], 0) / counts.sum()  # above thresholds[b]: bins b and on
    edges = np.array(thresholds, float)
    known = np.isfinite(edges)  # the lowest and the highest edge may be infinite
    return float(np.interp(threshold, edges[known], above[known]))
