"""How well a score tells void from labelled pixels, read off two histograms. NumPy only.

Answers: AUROC, average precision, false positives at 95 % recall, void caught at a price, and the threshold for a
price. Knows nothing of models, treatments or files, and counts nothing itself: `kseg.metrics.score_bins` says which bin
a score is in, on any device.

The bins follow float32's own bits, so binning is exact, keeps the order and needs no second pass. There are 32 octaves
of each sign, from 2^-18 to 2^14, with 1024 bins each. The middle bin is |score| < 2^-18, bin 0 is NaN. A score is thus
rounded by less than 1/1024 of itself.

Void is the positive side: a pixel is flagged where its score is high. Histograms are int [..., bins], lowest scores
first; leading axes broadcast. Any binning of that order works, except where `thresholds` are involved. Results are
float64, NaN where the histogram of one side is empty.
"""

import numpy as np

NUM_BINS = 1 << 16
MIDDLE = NUM_BINS // 2
SHIFT = 13  # of float32's 23 bits of mantissa 10 stay
FIRST = (127 - 18) << 10  # the shifted bits of 2^-18

LOST_SHARES = (0.01, 0.05, 0.10)  # prices at which `statistics` says how much void is caught


def statistics(labelled, void):
    """All statistics of one pair of histograms [bins], as reports list them: floats, None where one side is empty."""
    return {
        "auroc": none_for_nan(auroc(labelled, void)),
        "average_precision": none_for_nan(average_precision(labelled, void)),
        "average_precision_at_1_percent": none_for_nan(average_precision(labelled, void, prevalence=0.01)),
        "fpr95": none_for_nan(fpr_at_recall(labelled, void)),
        "recall_at": {f"{share:.2f}": none_for_nan(recall_at(labelled, void, share)) for share in LOST_SHARES},
    }


def auroc(labelled, void):
    """P(score of a void pixel > score of a labelled one) + P(equal) / 2."""
    labelled, void = _floats(labelled, void)
    below = np.cumsum(labelled, -1) - labelled / 2
    return _ratio((void * below).sum(-1), labelled.sum(-1) * void.sum(-1))


def average_precision(labelled, void, prevalence=None):
    """Sum over falling thresholds of (rise in recall) x precision; a bin is one threshold.

    Args:
      labelled, void: histograms.
      prevalence: void's share of all pixels that precision is computed for, in (0, 1); None = as counted. Precision
        depends on it, so figures from different data compare only at the same one.
    """
    labelled, void = _floats(labelled, void)
    lost, caught = _weighted(_above(labelled)[..., 1:], _above(void)[..., 1:], prevalence)
    precision = np.divide(caught, lost + caught, out=np.zeros(np.shape(lost + caught)), where=lost + caught > 0)
    value = _ratio((void[..., ::-1] * precision).sum(-1), void.sum(-1))
    return np.where(labelled.sum(-1) > 0, value, np.nan)[()]


def fpr_at_recall(labelled, void, recall=0.95):
    """Smallest share of labelled pixels that a threshold flags while it flags at least this share of void."""
    lost, caught = _rates(labelled, void)
    return np.where(np.isnan(lost + caught).any(-1), np.nan, np.where(caught >= recall, lost, np.inf).min(-1))[()]


def recall_at(labelled, void, lost_share):
    """Largest share of void that a threshold flags while it loses at most this share of labelled pixels."""
    lost, caught = _rates(labelled, void)
    return np.where(np.isnan(lost + caught).any(-1), np.nan, np.where(lost <= lost_share, caught, 0.0).max(-1))[()]


def threshold_for(labelled, share):
    """The lowest threshold that loses at most this share of labelled pixels, and the share it does lose.

    Args:
      labelled: int [NUM_BINS].
      share: nominal share, in [0, 1].

    Returns:
      (threshold, realised): exactly `realised` of these pixels have score > threshold. `realised` is below `share` by
      less than the pixels of one bin.

    Raises:
      ValueError: the histogram is empty, or the share is not in [0, 1].
    """
    labelled = np.asarray(labelled)
    total = int(labelled.sum())
    if total == 0:
        raise ValueError("a threshold for a share of labelled pixels needs labelled pixels; there are none.")
    if not 0 <= share <= 1:
        raise ValueError(f"share of labelled pixels lost: expected 0 to 1, got {share}.")
    lost = np.append(np.cumsum(labelled[::-1])[::-1], 0) / total  # lost[b]: share in bins >= b, never rising
    bin_index = int(np.argmax(lost <= share))
    return float(thresholds()[bin_index]), float(lost[bin_index])


def thresholds():
    """float32 [NUM_BINS + 1]: for each bin b the largest threshold for which score > threshold means bin >= b.

    All are finite and that holds for finite scores; the last flags none of them. No threshold flags NaN.
    """
    steps = np.arange(MIDDLE, dtype=np.int32)
    negative = -((steps + FIRST) << SHIFT).astype(np.int32).view(np.float32)  # bins MIDDLE - steps
    positive = ((steps[1:] - 1 + FIRST) << SHIFT).astype(np.int32).view(np.float32)  # bins MIDDLE + steps
    largest = np.finfo(np.float32).max
    values = np.concatenate(
        [[-largest], negative[::-1], np.nextafter(positive, np.float32(-np.inf)), [largest]], dtype=np.float32
    )
    values[1] = -largest  # the lowest bin of numbers goes on to minus infinity
    return values


def moments(histogram):
    """(mean, standard deviation) of the scores counted in int [NUM_BINS], each taken at the middle of its bin.

    Scores at or beyond +-16368 share a bin and count as that. NaN where nothing was counted.
    """
    counts = np.asarray(histogram, np.float64)
    edges = np.clip(thresholds().astype(np.float64), -(2.0**14), 2.0**14)
    middles = (edges[:-1] + edges[1:]) / 2
    total = counts.sum()
    mean = _ratio((counts * middles).sum(), total)
    return float(mean), float(np.sqrt(_ratio((counts * (middles - mean) ** 2).sum(), total)))


def balanced_bins(labelled, void, count):
    """A coarser binning with the pixels of both sides spread over it, so that little is lost.

    Each coarse bin holds at most 1/count of the mean of the two normalised histograms, plus one fine bin. The AUROC
    moves by less than 2 / count.

    Args:
      labelled, void: int [bins].
      count: how many coarse bins at most.

    Returns:
      int64 [at most count], rising from 0: the first fine bin of each; for `np.add.reduceat(histogram, these, -1)`.
    """
    sides = [np.asarray(side, np.float64) / side.sum() for side in (labelled, void) if side.sum() > 0]
    mass = sum(sides) / len(sides) if sides else np.full(np.shape(labelled), 1 / np.size(labelled))
    starts_at = np.minimum((np.cumsum(mass) - mass) * count, count - 1).astype(np.int64)
    return np.flatnonzero(np.diff(starts_at, prepend=-1))


def none_for_nan(value):
    """A Python float, or None for NaN: JSON has no NaN."""
    return None if np.isnan(value) else float(value)


def _floats(*histograms):
    return [np.asarray(histogram, np.float64) for histogram in histograms]


def _above(histogram):
    """[..., bins + 1]: pixels flagged by ever lower thresholds, from none to all."""
    flagged = np.cumsum(histogram[..., ::-1], -1)
    return np.concatenate([np.zeros((*flagged.shape[:-1], 1)), flagged], -1)


def _rates(labelled, void):
    """Shares of labelled and of void pixels flagged, [..., bins + 1] each."""
    lost, caught = (_above(side) for side in _floats(labelled, void))
    return _ratio(lost, lost[..., -1:]), _ratio(caught, caught[..., -1:])


def _weighted(lost, caught, prevalence):
    """Flagged pixels of both sides, rescaled to a prevalence; the last entry along the axis is the side's total."""
    if prevalence is None:
        return lost, caught
    return (1 - prevalence) * _ratio(lost, lost[..., -1:]), prevalence * _ratio(caught, caught[..., -1:])


def _ratio(part, whole):
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole != 0)[()]


def caught_at(void, lost, shares) -> np.ndarray:
    """Share of void above the threshold that loses each given share of `lost`, from histograms [bins], lowest first.

    Linear within a bin, so the curve is the ROC polygon. NaN where one side is empty.
    """
    void, lost = np.asarray(void, np.float64), np.asarray(lost, np.float64)
    if not void.sum() or not lost.sum():
        return np.full(len(shares), np.nan)
    above_void = np.concatenate([[0.0], np.cumsum(void[::-1])]) / void.sum()
    above_lost = np.concatenate([[0.0], np.cumsum(lost[::-1])]) / lost.sum()
    # Bins without a lost pixel are steps straight up: keep the upper end of each.
    keep = np.append(np.diff(above_lost) > 0, True)
    return np.interp(shares, above_lost[keep], above_void[keep])
