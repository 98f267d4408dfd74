"""Laws of the study's statistics: hand-worked cases, and coverage on simulated runs with a known difference."""

import numpy as np
import pytest
from scipy import stats

from kseg import histograms
from kseg.study import statistics

SEQUENCES = np.array(["dusk"] * 62 + ["street"] * 171)  # as long as CamVid's test sequences


def test_interval_of_seeds_alone_is_the_t_interval():
    found = statistics.difference([0.01, 0.02, 0.03])  # mean 0.02, s = 0.01, s / sqrt(3) = 0.00577, t(2) = 4.3027
    assert found.estimate == pytest.approx(0.02)
    assert found.se_seeds == pytest.approx(0.01 / 3**0.5)
    assert found.degrees_of_freedom == pytest.approx(2)
    assert found.low == pytest.approx(0.02 - 4.30265 * 0.0057735, abs=1e-6)
    assert found.p == pytest.approx(stats.ttest_1samp([0.01, 0.02, 0.03], 0).pvalue)


def test_two_variances_add_and_degrees_of_freedom_are_welch_and_satterthwaites():
    draws = np.tile([-1.0, 1.0], 500) * np.sqrt(999 / 1000)  # variance exactly 1
    found = statistics.difference([-1.0, 1.0], statistics.frame_error(draws), 9)  # seeds: s^2 = 2, / 2 = 1
    assert (found.se_seeds, found.se_frames) == (pytest.approx(1), pytest.approx(1))
    assert found.standard_error == pytest.approx(2**0.5)
    assert found.degrees_of_freedom == pytest.approx(2**2 / (1 / 1 + 1 / 9))


def test_with_two_or_three_seeds_each_variance_has_a_t_of_its_own():
    draws = np.tile([-1.0, 1.0], 500) * np.sqrt(999 / 1000)  # variance exactly 1
    found = statistics.difference(
        [-1.0, 1.0], statistics.frame_error(draws), 9
    )  # t(1) = 12.7062, t(9) = 2.26216 at 95 %
    assert found.high == pytest.approx((12.7062**2 + 2.26216**2) ** 0.5, rel=1e-5)
    values = np.array([1.0, 2.0, 6.0])
    found = statistics.difference(values, statistics.frame_error(draws), 9)
    half = ((4.30265 * found.se_seeds) ** 2 + 2.26216**2) ** 0.5
    assert (found.low, found.high) == (pytest.approx(3 - half, rel=1e-5), pytest.approx(3 + half, rel=1e-5))
    low, high = found.interval(1 - found.p)
    assert low == pytest.approx(0, abs=1e-9)  # p is where the interval just reaches 0
    assert (
        statistics.difference([1.0, 2.0, 6.0, 3.0], statistics.frame_error(draws), 9).degrees_of_freedom > 3
    )  # Welch from four on


def test_one_seed_has_an_estimate_and_no_interval():
    found = statistics.difference([0.03], statistics.frame_error(np.random.default_rng(0).normal(size=100)), 9)
    assert found.estimate == 0.03
    assert np.isnan([found.low, found.high, found.p, found.se_seeds]).all()
    assert statistics.verdict(found.estimate, found.low, found.high, 0.01) == "one seed, no interval"


def test_no_seed_is_refused():
    with pytest.raises(ValueError, match="at least one seed"):
        statistics.difference([])


def test_equal_differences_everywhere_give_a_point():
    found = statistics.difference([0.5, 0.5, 0.5], statistics.frame_error(np.full(10, 0.5)), 9)
    assert (found.low, found.high, found.p) == (0.5, 0.5, 0.0)


def test_block_weights_are_runs_of_the_block_length_and_sum_to_the_frames():
    weights = statistics.block_weights(SEQUENCES, block=20, draws=50, seed=3)
    assert weights.shape == (50, 233)
    assert np.allclose(weights[:, :62].sum(1), 62)  # floor(62 / 20) = 3 blocks, 2 drawn
    assert np.allclose(weights[:, 62:].sum(1), 171)  # 8 blocks, 7 drawn
    unit = 62 / 40
    covers = np.rint(weights[:, :62] / unit).astype(int)
    assert np.allclose(weights[:, :62], covers * unit)
    starts = np.diff(covers, prepend=0, axis=1).clip(0).sum(1)
    assert (starts <= 2).all() and (covers.sum(1) == 40).all()


def test_blocks_never_cross_a_sequence():
    weights = statistics.block_weights(np.array(["a"] * 40 + ["b"] * 40), block=20, draws=200)
    assert np.allclose(weights[:, :40].sum(1), 40) and np.allclose(weights[:, 40:].sum(1), 40)


def test_the_same_seed_gives_the_same_blocks_and_short_sequences_are_halved():
    names = np.array(["a"] * 5 + ["b"])
    first, again = (statistics.block_weights(names, draws=30, seed=1) for _ in range(2))
    assert (first == again).all()
    assert (first[:, 5] == 1).all()  # a single frame cannot be resampled
    assert set(np.unique(first[:, :5])) <= {0.0, 2.5}  # halves of 2 frames, one drawn
    assert statistics.block_degrees_of_freedom(names) == 1
    assert statistics.block_degrees_of_freedom(SEQUENCES) == 9


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.04 -> 3 x 0.01, max(0.03, 2 x 0.02), max(0.04, 0.04)
    assert statistics.holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert statistics.holm([0.5, float("nan"), 0.9]).max() == 1


@pytest.mark.parametrize("p", [(0.001, 0.02, 0.9), (0.04, 0.04, 0.04), (0.001, 0.002, 0.003), (0.01, 0.03, 0.049)])
def test_an_interval_at_holms_level_excludes_zero_exactly_where_holm_rejects(p):
    adjusted, levels = statistics.holm(p), statistics.holm_levels(p)
    assert [value < 1 - level for value, level in zip(p, levels)] == [value < 0.05 for value in adjusted]


def test_verdicts_in_words():
    assert statistics.verdict(-0.02, -0.03, -0.01, 0.01) == "costs 2.0"
    assert statistics.verdict(0.02, 0.01, 0.03, 0.01) == "gains 2.0"
    assert statistics.verdict(-0.001, -0.008, 0.006, 0.01) == "costs at most 0.8"
    assert statistics.verdict(-0.001, -0.03, 0.028, 0.01) == "undecided (±2.9)"
    assert statistics.verdict(-0.001, -0.0081, 0.006, 0.01) == "costs at most 0.9"  # a bound is never rounded inward
    assert statistics.verdict(0.01, -0.002, 0.03, 0.01) == "costs at most 0.2"  # a wide interval, on the good side


def test_caught_at_reads_the_roc_polygon():
    void, labelled = [0, 2, 2], [8, 1, 1]  # thresholds: lose 0.1 catch 0.5, lose 0.2 catch 1
    assert histograms.caught_at(void, labelled, [0.05, 0.1, 0.15, 0.2, 0.5]) == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    # A bin that holds void alone is a step up at no cost.
    assert histograms.caught_at([0, 0, 3, 1], [5, 5, 0, 0], [0.001]) == pytest.approx([1])
    assert np.isnan(histograms.caught_at([0, 0], [1, 1], [0.1])).all()


def _correlated(random, simulations, frames, correlation):
    """Unit-variance series with corr(x_i, x_j) = correlation^|i - j|."""
    noise = random.normal(size=(simulations, frames))
    for i in range(1, frames):
        noise[:, i] = correlation * noise[:, i - 1] + (1 - correlation**2) ** 0.5 * noise[:, i]
    return noise


@pytest.mark.parametrize(
    "seeds, between_seeds, between_frames, both, correlation",
    [
        (6, 0.5, 3.0, 1.0, 0.6),  # test frames matter most
        (3, 1.0, 1.0, 1.0, 0.6),  # seeds matter most, and there are few
        (10, 0.3, 3.0, 3.0, 0.0),
        (2, 1.0, 3.5, 0.5, 0.0),  # as in the study: the seeds' standard error is about three times the frames'
        (3, 1.0, 3.0, 0.5, 0.0),
    ],
)
def test_intervals_cover_the_true_difference_at_their_nominal_rate(
    seeds, between_seeds, between_frames, both, correlation
):
    # x[s, f] = truth + seed effect + frame effect, correlated over time + noise; the measure is its mean over frames.
    random, simulations, truth = np.random.default_rng(7), 1000, 1.5
    frames = [_correlated(random, simulations, count, correlation) for count in (62, 171)]
    x = truth + between_frames * np.concatenate(frames, 1)[:, None]
    x = x + between_seeds * random.normal(size=(simulations, seeds, 1))
    x = x + both * random.normal(size=(simulations, seeds, 233))
    weights = statistics.block_weights(SEQUENCES, draws=400)
    draws = x.mean(1) @ weights.T / 233
    freedom = statistics.block_degrees_of_freedom(SEQUENCES)
    found = [statistics.difference(x[i].mean(1), statistics.frame_error(draws[i]), freedom) for i in range(simulations)]
    covered = np.mean([entry.low <= truth <= entry.high for entry in found])
    # Binomial standard error at 1000 simulations: 0.007. Blocks of 20 hold all but a little of the correlation.
    assert 0.925 <= covered <= 0.98, covered
    # Either variance alone falls short where both matter.
    if between_frames > between_seeds and seeds > statistics.FEW_SEEDS:
        only_seeds = [statistics.difference(x[i].mean(1)) for i in range(simulations)]
        assert np.mean([entry.low <= truth <= entry.high for entry in only_seeds]) < covered - 0.02


def test_ignoring_that_frames_follow_each_other_undercovers():
    random, simulations = np.random.default_rng(8), 500
    frames = [_correlated(random, simulations, count, 0.8) for count in (62, 171)]
    x = np.concatenate(frames, 1)[:, None] + 0.05 * random.normal(size=(simulations, 4, 1))
    covered = {}
    for block in (1, 20):
        draws = x.mean(1) @ statistics.block_weights(SEQUENCES, block, 400).T / 233
        freedom = statistics.block_degrees_of_freedom(SEQUENCES, block)
        found = [
            statistics.difference(x[i].mean(1), statistics.frame_error(draws[i]), freedom) for i in range(simulations)
        ]
        covered[block] = np.mean([entry.low <= 0 <= entry.high for entry in found])
    assert covered[1] < 0.6 and covered[20] > 0.9, covered


@pytest.mark.parametrize("seeds", [3, 6])
def test_the_one_sided_p_is_the_share_at_which_the_lower_end_reaches_the_bound(seeds):
    values = np.array([-0.004, 0.002, -0.001, 0.003, -0.002, 0.001])[:seeds]
    found = statistics.difference(values, 0.002, 9)
    p = found.p_above(-0.01)
    assert 0 < p < 0.05 and found.interval(1 - 2 * p)[0] == pytest.approx(-0.01, abs=1e-6)
    # Below its estimate and above it the two shares add up to one; at the estimate itself it is a coin's toss.
    assert found.p_above(found.estimate + 0.003) + found.p_above(found.estimate - 0.003) == pytest.approx(1)
    assert found.p_above(found.estimate) == pytest.approx(0.5)
    assert np.isnan(statistics.difference(values[:1]).p_above(-0.01))


def test_not_worse_is_said_where_the_lower_end_lies_inside_the_margin_alone():
    assert statistics.not_worse(-0.0041, 0.01) == "not worse (at most 0.5)"
    assert statistics.not_worse(0.001, 0.01) == "not worse"
    assert statistics.not_worse(-0.01, 0.01) == statistics.not_worse(float("nan"), 0.01) == ""
