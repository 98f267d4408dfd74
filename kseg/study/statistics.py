"""What a difference between two treatments is worth: intervals, block bootstrap, Holm, verdicts. NumPy and SciPy only.

Answers: from results per seed and per test frame, how large is the difference, and how sure is that? The choices made
here are fixed in docs/plan_first_edition.md. Does not read files, and knows nothing of treatments, runs or figures.
"""

import dataclasses
import math

import numpy as np
from scipy import optimize, stats

FEW_SEEDS = 3  # up to here Welch and Satterthwaite's interval falls short, by 6 points of coverage at two seeds


@dataclasses.dataclass(frozen=True)
class Difference:
    """A difference with its two variances and the interval from their sum. All in the measure's own unit.

    `low`, `high`, `p` and `standard_error` are NaN where fewer than two seeds exist: one seed says nothing about seeds.
    """

    estimate: float
    values: tuple[float, ...]  # per seed
    se_seeds: float
    se_frames: float
    standard_error: float
    degrees_of_freedom: float
    low: float
    high: float
    p: float
    frame_degrees_of_freedom: float = 0.0

    def interval(self, level: float) -> tuple[float, float]:
        """The interval at another confidence level."""
        reach = self._reach(level)
        return self.estimate - reach, self.estimate + reach

    def p_above(self, bound: float) -> float:
        """One-sided p value of "the difference is at most `bound`": the share at which the interval's lower end, with
        that share below it, just reaches `bound`. 0.5 and more where the estimate is not above it; NaN with one seed.
        """
        if not math.isfinite(self.standard_error):
            return math.nan
        distance, smallest = self.estimate - bound, 1e-12
        if self.standard_error == 0.0:
            return smallest if distance > 0 else 1.0
        if self._reach(1 - 2 * smallest) <= abs(distance):
            share = smallest
        else:
            share = float(
                optimize.brentq(lambda p: self._reach(1 - 2 * p) - abs(distance), smallest, 0.5, xtol=1e-13, rtol=1e-12)
            )
        return share if distance > 0 else 1 - share

    def _reach(self, level):
        if self.standard_error == 0.0:
            return 0.0
        if len(self.values) > FEW_SEEDS:
            return float(stats.t.ppf((1 + level) / 2, self.degrees_of_freedom)) * self.standard_error
        seeds = stats.t.ppf((1 + level) / 2, len(self.values) - 1) * self.se_seeds
        frames = stats.t.ppf((1 + level) / 2, self.frame_degrees_of_freedom) * self.se_frames if self.se_frames else 0.0
        return math.hypot(seeds, frames)

    def _p(self):
        """The share 1 - level at which the interval just reaches 0."""
        smallest = 1e-12
        if self._reach(1 - smallest) <= abs(self.estimate):
            return smallest
        return float(
            optimize.brentq(lambda p: self._reach(1 - p) - abs(self.estimate), smallest, 1.0, xtol=1e-13, rtol=1e-12)
        )


def frame_error(frame_draws) -> float:
    """Standard error over resampled frames.

    Args:
      frame_draws: float [draws], the seed-averaged difference in each draw (`block_weights`); those that are not finite
        are left out.
    """
    draws = np.asarray(frame_draws, np.float64)
    draws = draws[np.isfinite(draws)]
    return float(draws.std(ddof=1)) if draws.size > 1 else 0.0


def difference(
    values, frame_error: float = 0.0, frame_degrees_of_freedom: float = 0.0, level: float = 0.95
) -> Difference:
    """Interval for a mean of seed-paired differences, from the variance of seeds plus that of test frames.

    Var = s^2(d) / n + Var_frames(mean d); the degrees of freedom of the sum are Welch and Satterthwaite's, Var^2 /
    (Var_seeds^2 / (n - 1) + Var_frames^2 / frame_degrees_of_freedom). An interaction of seeds and frames is in both
    terms, so the interval errs on the wide side. With two or three seeds that t falls short: at two it covers 89 %
    instead of 95 % where the seeds' variance is ten times the frames'. There the half width is sqrt(t(n - 1)^2
    Var_seeds + t(frames)^2 Var_frames), which covers at least its level, and more where both matter.

    Args:
      values: float [n], one difference per seed, over the same test frames.
      frame_error: standard error over resampled frames (`frame_error`); 0: the frames are taken as all there is.
      frame_degrees_of_freedom: of the frames' variance (`block_degrees_of_freedom`).
    """
    values = np.asarray(values, np.float64)
    if values.size == 0:
        raise ValueError("a difference needs at least one seed that both arms have; none was given")
    estimate = float(values.mean())
    frames = frame_error**2 if frame_degrees_of_freedom > 0 else 0.0
    if values.size < 2:
        nan = float("nan")
        return Difference(estimate, tuple(values), nan, frames**0.5, nan, nan, nan, nan, nan)
    seeds = float(values.var(ddof=1)) / values.size
    total = seeds + frames
    if total == 0.0:  # every seed and every frame says the same
        certain = 1.0 if estimate == 0 else 0.0
        same = (0.0, 0.0, 0.0, float(values.size - 1))
        return Difference(estimate, tuple(values), *same, estimate, estimate, certain)
    freedom = total**2 / (seeds**2 / (values.size - 1) + (frames**2 / frame_degrees_of_freedom if frames else 0.0))
    nan = float("nan")
    found = Difference(
        estimate,
        tuple(values),
        se_seeds=seeds**0.5,
        se_frames=frames**0.5,
        standard_error=total**0.5,
        degrees_of_freedom=float(freedom),
        low=nan,
        high=nan,
        p=nan,
        frame_degrees_of_freedom=frame_degrees_of_freedom,
    )
    low, high = found.interval(level)
    return dataclasses.replace(found, low=low, high=high, p=found._p())


def block_weights(sequences, block: int = 20, draws: int = 2000, seed: int = 0) -> np.ndarray:
    """Weights of test frames in a moving-block bootstrap, drawn per sequence.

    A sequence of f frames holds k = floor(f / block) blocks. Each draw takes k - 1 blocks that start at any of the f -
    block + 1 places. They are weighted f / ((k - 1) block), so that the weights of a sequence sum to f. Drawing k
    blocks would understate the variance by the share 1 / k. Source: Rao and Wu 1988, "Resampling inference with complex
    survey data"; moving blocks: Kuensch 1989. Shorter sequences are cut in two; a single frame keeps weight 1.

    Args:
      sequences: [frames], the name of each frame's sequence, frames in the order of time.

    Returns:
      float64 [draws, frames]; the same seed gives the same blocks, whatever is measured on them.
    """
    sequences = np.asarray(sequences)
    if block < 1 or draws < 2:
        raise ValueError(f"block {block} and draws {draws}: expected at least 1 frame and 2 draws")
    random = np.random.default_rng(seed)
    weights = np.ones((draws, len(sequences)))
    for name in dict.fromkeys(sequences.tolist()):
        frames = np.flatnonzero(sequences == name)
        length, blocks = _blocks_of(len(frames), block)
        if blocks < 2:
            continue
        drawn = blocks - 1
        starts = random.integers(0, len(frames) - length + 1, (draws, drawn))
        counts = np.zeros((draws, len(frames) + 1))
        for column in range(drawn):  # +1 where a block starts, -1 behind its end; their running sum counts covers
            np.add.at(counts, (np.arange(draws), starts[:, column]), 1)
            np.add.at(counts, (np.arange(draws), starts[:, column] + length), -1)
        weights[:, frames] = counts.cumsum(axis=1)[:, :-1] * (len(frames) / (drawn * length))
    return weights


def block_degrees_of_freedom(sequences, block: int = 20) -> int:
    """Sum over sequences of (blocks - 1): what the variance of `block_weights` is worth."""
    _, counts = np.unique(np.asarray(sequences), return_counts=True)
    return int(sum(max(_blocks_of(int(count), block)[1] - 1, 0) for count in counts))


def holm(p_values) -> np.ndarray:
    """Holm's adjusted p values: max over the smaller ones of (m - rank) p, cut at 1. NaN counts as 1."""
    p = np.nan_to_num(np.asarray(p_values, np.float64), nan=1.0)
    adjusted = np.empty(p.size)
    running = 0.0
    for rank, index in enumerate(np.argsort(p, kind="stable")):
        running = max(running, min(1.0, (p.size - rank) * p[index]))
        adjusted[index] = running
    return adjusted


def holm_levels(p_values, alpha: float = 0.05) -> np.ndarray:
    """The confidence level at which Holm's procedure judges each contrast.

    The contrast at rank r (0 first) is judged at 1 - alpha / (m - r); from the first that is not rejected on, at that
    contrast's level. So an interval at this level excludes 0 exactly where Holm rejects.
    """
    p = np.nan_to_num(np.asarray(p_values, np.float64), nan=1.0)
    levels = np.empty(p.size)
    rejecting, share = True, alpha
    for rank, index in enumerate(np.argsort(p, kind="stable")):
        if rejecting:
            share = alpha / (p.size - rank)
        rejecting = rejecting and p[index] < share
        levels[index] = 1 - share
    return levels


def decision(low: float, high: float, margin: float) -> str:
    """What the interval of (arm - reference) decides: "costs", "gains", "at most" or "undecided".

    "costs" and "gains" where it excludes 0; "at most" where its lower end lies within the margin.
    """
    if high < 0:
        return "costs"
    if low > 0:
        return "gains"
    return "at most" if low >= -margin else "undecided"


def verdict(estimate: float, low: float, high: float, margin: float, unit: str = "") -> str:
    """The decision in words, in points, with `unit` behind its number; without an interval "one seed, no interval"."""
    if not np.isfinite([low, high]).all():
        return "one seed, no interval"
    return {
        "costs": f"costs {-100 * estimate:.1f}{unit}",
        "gains": f"gains {100 * estimate:.1f}{unit}",
        "at most": f"costs at most {points_at_most(low):.1f}{unit}",
        "undecided": f"undecided (±{50 * (high - low):.1f}{unit})",
    }[decision(low, high, margin)]


def points_at_most(low: float) -> float:
    """The cost, in points, that an interval with this lower end leaves possible, rounded outward to 0.1."""
    return math.ceil(round(-1000 * low, 6)) / 10  # the inner rounding only takes off what binary fractions add


def not_worse(low: float, margin: float, unit: str = "") -> str:
    """ "not worse" where the lower end of the interval lies above -margin, with how much worse at most; else "".

    Said beside `verdict`: an effect may be there and be small.
    """
    if not np.isfinite(low) or low <= -margin:
        return ""
    if low >= 0:
        return "not worse"
    return f"not worse (at most {points_at_most(low):.1f}{unit})"


def _blocks_of(frames: int, block: int) -> tuple[int, int]:
    """(block length, number of blocks) of a sequence: halves where two blocks do not fit."""
    length = min(block, max(frames // 2, 1))
    return length, frames // length
