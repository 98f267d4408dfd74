"""Differences between two arms of a study, judged: per seed, over resampled frames, with verdicts.

Answers what docs/plan_first_edition.md asks of each contrast, from results.py's per-frame counts and the formulas
of statistics.py.
Knows which measures can be resampled; does not know which contrasts a study has (its configuration does).
"""

import os

import numpy as np

from kseg import histograms
from kseg.study import grid, measures, results, statistics

SENSITIVITY_BLOCKS = (10, 40)  # standard errors with other block lengths, printed beside the planned one


def judge(study, by_arm: dict[str, dict[int, dict]], frames: "Frames") -> list[dict]:
    """Every contrast of the study: estimate, both standard errors, intervals, verdict; Holm over the primary ones.

    Args:
      study: the study configuration. Its `contrasts` are (name, arm, reference, measure, primary); arm and reference
        may be equally long tuples of arms, such as the folds of leave-classes-out: their mean difference is judged.
        Primary ones use `primary_seeds` alone (None: every seed), so that seeds made after a first look at them
        cannot move a verdict.
      by_arm: {arm: {seed: result}}.
      frames: the frames that the results share.
    """
    listed = []
    for name, arm, reference, measure, primary in study.contrasts:
        sides = [(side,) if isinstance(side, str) else tuple(side) for side in (arm, reference)]
        seeds = sorted(set.intersection(*(set(by_arm.get(arm, {})) for side in sides for arm in side)))
        if primary and study.get("primary_seeds") is not None:
            seeds = [seed for seed in seeds if seed in study.primary_seeds]
        entry = {"name": name, "arm": _side(sides[0]), "reference": _side(sides[1])}
        listed.append(entry | {"measure": measure, "primary": primary, "seeds": seeds})
        if not seeds:
            listed[-1]["verdict"] = "not measured"
            continue
        if not primary and any(entry["primary"] and _same_runs(entry, listed[-1]) for entry in listed[:-1]):
            # An exploratory contrast "every seed" beside a primary one, before there are more.
            listed[-1] |= {"seeds": [], "verdict": "no further seeds"}
            continue
        # Per seed, one pair of results for each pair of arms.
        pairs = [[(by_arm[ours][seed], by_arm[theirs][seed]) for ours, theirs in zip(*sides)] for seed in seeds]
        values = _paired(pairs, frames, measure)
        if values is None:
            listed[-1]["verdict"] = "not measured: no such void"
            continue
        found = statistics.difference(values, _drawn(pairs, frames, measure, frames.block), frames.freedom)
        listed[-1] |= {
            key: _number(getattr(found, key))
            for key in ("estimate", "se_seeds", "se_frames", "standard_error", "degrees_of_freedom", "low", "high", "p")
        }
        listed[-1] |= {"values": [float(value) for value in values], "_found": found}
        if primary:
            per_unit = study.get("frames_per_unit", 1)
            listed[-1]["se_frames_by_block"] = {
                str(block): float(np.nanstd(_drawn(pairs, frames, measure, block // per_unit), ddof=1))
                for block in SENSITIVITY_BLOCKS
            }
    primaries = [entry for entry in listed if entry["primary"] and "_found" in entry]
    p_values = [entry["_found"].p for entry in primaries]
    # Holm counts the contrasts that were planned, also those that have no result yet.
    missing = [float("nan")] * (sum(entry["primary"] for entry in listed) - len(primaries))
    for entry, level, adjusted in zip(
        primaries, statistics.holm_levels(p_values + missing), statistics.holm(p_values + missing)
    ):
        low, high = entry["_found"].interval(level)
        entry |= {"holm_level": float(level), "holm_p": float(adjusted)}
        entry |= {"holm_low": _number(low), "holm_high": _number(high)}
    names = [entry["name"] for entry in listed]
    for entry in listed:
        # What a page calls it by: its name, or the whole of it where several share the name.
        whole = f"{entry['name']}: {entry['arm']} - {entry['reference']}, {entry['measure']}"
        entry["key"] = entry["name"] if names.count(entry["name"]) == 1 else whole
        found = entry.pop("_found", None)
        if found is not None:
            low, high = (found.low, found.high) if not entry["primary"] else found.interval(entry["holm_level"])
            entry["verdict"] = statistics.verdict(found.estimate, low, high, study.margin)
    return listed


def _same_runs(one, other):
    return all(one[key] == other[key] for key in ("arm", "reference", "measure", "seeds"))


def _paired(pairs, frames, measure):
    """Per seed, the mean of measure(arm) - measure(reference) over its pairs; None where a side has no such value."""
    weights = np.ones(len(frames.ids))
    values = [[[frames.value(result, measure, weights) for result in pair] for pair in seed] for seed in pairs]
    values = np.array(values, float)  # None becomes NaN: [seeds, pairs, 2]
    return (values[..., 0] - values[..., 1]).mean(1) if np.isfinite(values).all() else None


def _drawn(pairs, frames, measure, block):
    """The seed-averaged difference in each draw of frames: [draws]."""
    differences = [
        frames.drawn(ours, measure, block) - frames.drawn(theirs, measure, block)
        for seed in pairs
        for ours, theirs in seed
    ]
    return np.mean(differences, axis=0)


class Frames:
    """Frames in the order of time, the same blocks for every arm, seed and measure."""

    def __init__(self, study, found):
        first = found[0]["evaluation"]["frames"]["ids"]
        for result in found:
            if sorted(result["evaluation"]["frames"]["ids"]) != sorted(first):
                raise ValueError(f"runs/{result['id']} was evaluated on other frames than runs/{found[0]['id']}.")
        self.ids = sorted(first)
        self.sequences = np.array([grid.sequence(name, study.sequence_pattern) for name in self.ids])
        # In units, where results count several frames together.
        self.block, self.draws = study.block_frames // study.get("frames_per_unit", 1), study.draws
        self.freedom = statistics.block_degrees_of_freedom(self.sequences, self.block)
        self._weights, self._arrays, self._drawn = {}, {}, {}

    def weights(self, block):
        if block not in self._weights:
            self._weights[block] = statistics.block_weights(self.sequences, block, self.draws)
        return self._weights[block]

    def array(self, result, *keys):
        """A packed array of a result, its frames in order of time: [F, ...]."""
        if (result["id"], keys) not in self._arrays:
            frames = result["evaluation"]["frames"]
            packed = frames
            for key in keys:
                packed = packed.get(key) if packed else None
            order = np.argsort(frames["ids"])
            self._arrays[result["id"], keys] = results.unpack(packed)[order] if packed else None
        return self._arrays[result["id"], keys]

    def value(self, result, measure, weights):
        """The measure with weighted frames: weights [..., F] -> [...]; None where the run lacks the counts."""
        if measure in measures.MATRIX_MEASURES:
            matrices = self.array(result, measures.MATRIX_MEASURES[measure])
            return None if matrices is None else statistics.mean_iou(np.tensordot(weights, matrices, 1))
        of_score = measures.OF_SCORES.fullmatch(measure)
        if of_score:
            return self._caught(result, weights, of_score)
        match = measures.OF_HISTOGRAMS.fullmatch(measure)
        if not match:
            raise ValueError(
                f"measure {measure!r} in a contrast: expected {', '.join(measures.MATRIX_MEASURES)} or "
                "auroc_KIND_off_edge or recall_at_SHARE_KIND_off_edge."
            )
        found = [
            void for kind in measures.kinds(match[3]) if (void := self.array(result, "histograms", kind)) is not None
        ]
        if not found:
            return None
        labelled, void = weights @ self.array(result, "histograms", "labelled"), weights @ np.sum(found, axis=0)
        if match[2] is None:
            return histograms.auroc(labelled, void)
        return _caught_at(void, labelled, float(match[2]))

    def _caught(self, result, weights, match):
        """Share of void above the threshold that loses a share of the correct pixels; `match` is of OF_SCORES."""
        share, kind, off_edge, score = match.groups()
        keys = ("scores", score or result["primary_score"])
        right = self.array(result, *keys, "right")
        found = [void for kind in measures.kinds(kind) if (void := self.array(result, *keys, kind)) is not None]
        if right is None or not found:
            return None
        edges = slice(1, 2) if off_edge else slice(0, 2)
        right, void = (side[:, edges].sum(1) for side in (right, np.sum(found, axis=0)))
        return _caught_at(weights @ void, weights @ right, float(share))

    def drawn(self, result, measure, block):
        key = (result["id"], measure, block)
        if key not in self._drawn:
            self._drawn[key] = self.value(result, measure, self.weights(block))
        return self._drawn[key]


def _caught_at(void, lost, share):
    """histograms.caught_at of [..., bins] at one share: [...]."""
    pairs = zip(void.reshape(-1, void.shape[-1]), lost.reshape(-1, lost.shape[-1]))
    return np.reshape([histograms.caught_at(ours, theirs, [share])[0] for ours, theirs in pairs], void.shape[:-1])


def _side(arms):
    """An arm's name, or what several have in common."""
    if len(arms) == 1:
        return arms[0]
    return f"{os.path.commonprefix(arms).rstrip('-_')} (mean of {len(arms)})"


def _number(value):
    return float(value) if np.isfinite(value) else None
