"""Statistics of a score from two histograms, held against scikit-learn's exact values and by hand."""

import numpy as np
import pytest
import sklearn.metrics

from kseg import histograms, metrics

KEYS = ("auroc", "average_precision", "average_precision_at_1_percent", "fpr95")


def count(scores):
    return np.bincount(metrics.score_bins(np.asarray(scores, np.float32)).numpy(), minlength=histograms.NUM_BINS)


def exact(labelled, void):
    """The statistics of unbinned scores, by scikit-learn."""
    truth = np.concatenate([np.zeros(len(labelled)), np.ones(len(void))])
    scores = np.concatenate([labelled, void])
    fpr, tpr, _ = sklearn.metrics.roc_curve(truth, scores, drop_intermediate=False)
    weight = np.where(truth == 1, 0.01 / len(void), 0.99 / len(labelled))
    return {
        "auroc": sklearn.metrics.roc_auc_score(truth, scores),
        "average_precision": sklearn.metrics.average_precision_score(truth, scores),
        "average_precision_at_1_percent": sklearn.metrics.average_precision_score(truth, scores, sample_weight=weight),
        "fpr95": fpr[tpr >= 0.95].min(),
        "recall_at": {f"{share:.2f}": tpr[fpr <= share].max() for share in (0.01, 0.05, 0.10)},
    }


def cases():
    rng = np.random.default_rng(0)
    normal = rng.normal
    yield "separated a little", normal(0, 1, 5000), normal(1, 1, 500)
    yield "energies", normal(-17, 3, 5000), normal(-14, 3, 700)
    yield "narrow, one octave", normal(-17, 0.05, 5000), normal(-16.95, 0.05, 700)
    yield "entropies", rng.exponential(1e-3, 5000) ** 2, rng.exponential(0.5, 300)
    yield "huge logits", normal(0, 5e3, 3000), normal(1e3, 5e3, 300)
    yield "beyond the range", normal(0, 1e6, 3000), normal(1e6, 1e6, 300)
    yield "ties", rng.integers(0, 4, 3000), rng.integers(1, 5, 400)
    yield "constant", np.full(100, 0.3), np.full(20, 0.3)
    yield "perfect", normal(-5, 1, 100), normal(50, 1, 100)
    yield "reversed", normal(50, 1, 100), normal(-5, 1, 100)
    yield "one void pixel", normal(0, 1, 1000), np.array([1.0])


CASES = {name: (labelled.astype(np.float32), void.astype(np.float32)) for name, labelled, void in cases()}


def exact_ranges(labelled, void):
    """Where the statistics of the exact scores lie, whatever the scores are inside the bins.

    In the best case all void of a bin comes before its labelled pixels, in the worst after them. For the AUROC that is
    +- 1/2 sum_b labelled_b void_b / (labelled void). fpr95 is never below the exact value and recall_at never above:
    both are reached by a threshold, a bin's edge.

    Returns: the keys of `statistics`, each (low, high), which hold both the exact and the binned value.
    """
    labelled, void = histograms._floats(labelled, void)
    nothing = np.zeros(labelled.shape)
    best = np.stack([labelled, nothing], -1).reshape(-1), np.stack([nothing, void], -1).reshape(-1)
    worst = np.stack([nothing, labelled], -1).reshape(-1), np.stack([void, nothing], -1).reshape(-1)

    def precision(prevalence):
        return _least_precision(labelled, void, prevalence), histograms.average_precision(*best, prevalence)

    return {
        "auroc": (histograms.auroc(*worst), histograms.auroc(*best)),
        "average_precision": precision(None),
        "average_precision_at_1_percent": precision(0.01),
        "fpr95": (histograms.fpr_at_recall(*best), histograms.fpr_at_recall(labelled, void)),
        "recall_at": {
            f"{share:.2f}": (histograms.recall_at(labelled, void, share), histograms.recall_at(*best, share))
            for share in histograms.LOST_SHARES
        },
    }


def _least_precision(labelled, void, prevalence):
    """Average precision if all void of a bin had the precision of its first, behind the bin's labelled pixels."""
    lost = histograms._above(labelled)[..., 1:]
    first = np.minimum(histograms._above(void)[..., :-1] + 1, void.sum())
    lost, first = np.append(lost, labelled.sum()), np.append(first, void.sum())
    lost, first = (side[:-1] for side in histograms._weighted(lost, first, prevalence))
    precision = np.divide(first, lost + first, out=np.zeros(lost.shape), where=lost + first > 0)
    return (void[::-1] * precision).sum() / void.sum()


@pytest.mark.parametrize("name", CASES)
def test_the_exact_value_lies_in_the_stated_range_and_so_does_the_binned_one(name):
    labelled, void = CASES[name]
    truth, binned = exact(labelled, void), histograms.statistics(count(labelled), count(void))
    ranges = exact_ranges(count(labelled), count(void))
    for share in binned["recall_at"]:
        low, high = ranges["recall_at"][share]
        assert low == binned["recall_at"][share] <= truth["recall_at"][share] + 1e-12 <= high + 2e-12
    assert truth["fpr95"] <= binned["fpr95"] == ranges["fpr95"][1]
    for key in KEYS:
        low, high = ranges[key]
        assert low - 1e-9 <= truth[key] <= high + 1e-9, key
        assert low - 1e-9 <= binned[key] <= high + 1e-9, key
    if name not in ("narrow, one octave", "beyond the range"):
        for key in KEYS:
            assert binned[key] == pytest.approx(truth[key], abs=3e-3), key


@pytest.mark.parametrize("name", ["ties", "constant", "perfect", "reversed"])
def test_scores_that_the_bins_can_tell_apart_give_scikit_learns_values(name):
    labelled, void = CASES[name]
    if name in ("perfect", "reversed"):  # rounded to scores that have a bin each
        labelled, void = np.round(labelled), np.round(void)
    truth, binned = exact(labelled, void), histograms.statistics(count(labelled), count(void))
    for key in KEYS:
        assert binned[key] == pytest.approx(truth[key], abs=1e-12), key
    assert binned["recall_at"] == pytest.approx(truth["recall_at"], abs=1e-12)


def test_three_bins_by_hand():
    labelled, void = np.array([2, 1, 1]), np.array([0, 1, 3])
    # pairs won: void in the top bin beats 3 and ties 1, three times; in the middle it beats 2 and ties 1.
    assert histograms.auroc(labelled, void) == (3 * 3.5 + 2.5) / 16
    # thresholds from above: (caught, lost) = (3, 1), (4, 2), (4, 4)
    assert histograms.average_precision(labelled, void) == 3 / 4 * 3 / 4 + 1 / 4 * 4 / 6
    assert histograms.fpr_at_recall(labelled, void, 0.75) == 1 / 4
    assert histograms.fpr_at_recall(labelled, void, 0.95) == 2 / 4
    assert histograms.recall_at(labelled, void, 0.1) == 0.0
    assert histograms.recall_at(labelled, void, 0.25) == 3 / 4
    # at half prevalence precision is tpr / (tpr + fpr): 3 and 1 of 4, then 4 and 2 of 4
    half = histograms.average_precision(labelled, void, prevalence=0.5)
    assert half == pytest.approx(3 / 4 * 3 / 4 + 1 / 4 * 4 / 6, abs=1e-15)


def test_a_constant_score_cannot_be_split_by_a_threshold():
    values = histograms.statistics(count(np.full(90, 7.0)), count(np.full(10, 7.0)))
    assert values["auroc"] == 0.5 and values["average_precision"] == pytest.approx(0.1, abs=1e-15)
    assert values["average_precision_at_1_percent"] == pytest.approx(0.01, abs=1e-15)
    assert values["fpr95"] == 1.0 and set(values["recall_at"].values()) == {0.0}


@pytest.mark.parametrize("empty", ["labelled", "void", "both"])
def test_an_empty_side_gives_none_and_no_warning(empty):
    labelled = count([]) if empty != "void" else count([1.0, 2.0])
    void = count([]) if empty != "labelled" else count([1.0, 2.0])
    with np.errstate(all="raise"):
        values = histograms.statistics(labelled, void)
    assert [values[key] for key in KEYS] == [None] * 4
    assert values["recall_at"] == {"0.01": None, "0.05": None, "0.10": None}


def test_prevalence_one_percent_does_not_depend_on_how_many_void_pixels_there_are():
    labelled, void = (count(side) for side in CASES["energies"])
    once = histograms.average_precision(labelled, void, prevalence=0.01)
    assert histograms.average_precision(labelled, void * 50, prevalence=0.01) == pytest.approx(once, abs=1e-12)
    assert abs(histograms.average_precision(labelled, void * 50) - histograms.average_precision(labelled, void)) > 0.1


def test_leading_axes_broadcast():
    sides = [CASES["energies"], CASES["ties"]]
    labelled, void = (np.stack([count(case[i]) for case in sides]) for i in (0, 1))
    together = histograms.auroc(labelled, void), histograms.fpr_at_recall(labelled, void)
    for row in range(2):
        assert together[0][row] == histograms.auroc(labelled[row], void[row])
        assert together[1][row] == histograms.fpr_at_recall(labelled[row], void[row])
    assert histograms.recall_at(labelled[0], void, 0.05).shape == (2,)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("name", ["energies", "entropies", "ties", "beyond the range", "constant"])
def test_exactly_the_realised_share_is_above_the_threshold(name, share):
    scores = CASES[name][0]
    threshold, realised = histograms.threshold_for(count(scores), share)
    assert np.float32(threshold) == threshold
    assert (scores > np.float32(threshold)).mean() == realised <= share
    if name == "energies":
        assert share - realised < 0.003
    below = scores[scores <= np.float32(threshold)]
    if realised < share:  # the bin below would cost too much
        assert (metrics.score_bins(scores).numpy() >= metrics.score_bins(below.max()).numpy()).mean() > share


def test_a_threshold_without_labelled_pixels_or_for_an_impossible_share_is_refused():
    with pytest.raises(ValueError, match="there are none"):
        histograms.threshold_for(count([]), 0.05)
    with pytest.raises(ValueError, match="expected 0 to 1, got 5"):
        histograms.threshold_for(count([1.0]), 5)


@pytest.mark.parametrize("name", CASES)
def test_balanced_bins_keep_the_auroc(name):
    labelled, void = (count(side) for side in CASES[name])
    starts = histograms.balanced_bins(labelled, void, 512)
    assert starts[0] == 0 and len(starts) <= 512 and (np.diff(starts) > 0).all()
    coarse = [np.add.reduceat(side, starts) for side in (labelled, void)]
    assert coarse[0].sum() == labelled.sum() and coarse[1].sum() == void.sum()
    assert histograms.auroc(*coarse) == pytest.approx(histograms.auroc(labelled, void), abs=2 / 512)


def test_balanced_bins_of_nothing_are_even():
    nothing = np.zeros(64, np.int64)
    assert histograms.balanced_bins(nothing, nothing, 4).tolist() == [0, 16, 32, 48]
