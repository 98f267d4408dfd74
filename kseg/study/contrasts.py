"""Differences between two arms of a study, judged: per seed, over resampled frames, with verdicts.

Answers what docs/plan_first_edition.md asks of each contrast, from results.py's per-frame counts and the formulas
of statistics.py.
Knows which measures can be resampled; does not know which contrasts a study has (its configuration does).
"""

import os

import numpy as np

from kseg import histograms, iou
from kseg.study import grid, measures, results, statistics

_WHICH = ("name", "arm", "reference", "measure", "primary", "seeds")  # what tells a contrast from the others
REPEATS = "no further seeds"  # of a contrast that has the same runs as a primary one
SENSITIVITY_BLOCKS = (10, 40)  # standard errors with other block lengths, printed beside the planned one


def judge(study, by_arm: dict[str, dict[int, dict]], frames: "Frames") -> list[dict]:
    """Every contrast of the study: estimate, both standard errors, intervals, verdict; Holm over each primary family.

    Args:
      study: the study configuration. Its `contrasts` are (name, arm, reference, measure, primary). Arm and reference
        may be equally long tuples of arms, such as the folds of leave-classes-out. Then their mean difference is
        judged: "mean_of" in the entry says of how many pairs, and "arm" and "reference" are what the names have in
        common. `primary` is True, or the name of a family of them. Of the families in `not_worse` it is also asked
        whether the arm is worse by the margin, which is then one of accuracy alone: in the entries of other measures
        "margin" is 0. Primary ones use `primary_seeds` alone (None: every seed), so that seeds made after a first look
        at them cannot move a verdict.
      by_arm: {arm: {seed: result}}.
      frames: the frames that the results share.
    """
    listed, groups = [], study.get("groups", {})
    for name, arm, reference, measure, primary in study.contrasts:
        sides = [(side,) if isinstance(side, str) else tuple(side) for side in (arm, reference)]
        seeds = sorted(set.intersection(*(set(by_arm.get(arm, {})) for side in sides for arm in side)))
        if primary and study.get("primary_seeds") is not None:
            seeds = [seed for seed in seeds if seed in study.primary_seeds]
        entry = {"name": name, "arm": _side(sides[0]), "reference": _side(sides[1]), "mean_of": len(sides[0])}
        group = next((key for key, group in groups.items() if name in group.contrasts or arm in group.arms), "")
        listed.append(entry | {"group": group, "measure": measure, "primary": primary, "seeds": seeds})
        if study.get("not_worse") and measure not in measures.MATRIX_MEASURES:
            listed[-1]["margin"] = 0.0  # it is one of accuracy, which says nothing of void caught
        if not seeds:
            listed[-1]["verdict"] = "not measured"
            continue
        if not primary and any(entry["primary"] and _same_runs(entry, listed[-1]) for entry in listed[:-1]):
            # An exploratory contrast "every seed" beside a primary one, before there are more.
            listed[-1] |= {"seeds": [], "verdict": REPEATS}
            continue
        where = frames.of(measure)
        # Per seed, one pair of results for each pair of arms.
        pairs = [[(by_arm[ours][seed], by_arm[theirs][seed]) for ours, theirs in zip(*sides)] for seed in seeds]
        values = _paired(pairs, where, measure)
        if values is None:
            listed[-1]["verdict"] = "not measured: a side has no such void or score"
            continue
        errors = _frame_errors(pairs, where, listed[-1], study)
        if errors is None:
            listed[-1]["verdict"] = "not measured: counts of single frames are not kept"
            continue
        found = statistics.difference(values, errors["se_frames"], where.freedom)
        listed[-1] |= {
            key: _number(getattr(found, key))
            for key in ("estimate", "se_seeds", "se_frames", "standard_error", "degrees_of_freedom", "low", "high", "p")
        }
        listed[-1] |= {"values": [float(value) for value in values], "_found": found}
        if "se_frames_by_block" in errors:
            listed[-1]["se_frames_by_block"] = errors["se_frames_by_block"]
    # Families are judged apart; a study that names none has one.
    for family in dict.fromkeys(entry["primary"] for entry in listed if entry["primary"]):
        _holm([entry for entry in listed if entry["primary"] == family], family in study.get("not_worse", ()), study)
    names = [entry["name"] for entry in listed]
    for entry in listed:
        # What a page calls it by: its name, or the whole of it where several share the name.
        whole = f"{entry['name']}: {entry['arm']} - {entry['reference']}, {entry['measure']}"
        entry["key"] = entry["name"] if names.count(entry["name"]) == 1 else whole
        found = entry.pop("_found", None)
        if found is not None:
            low, high = (found.low, found.high) if not entry["primary"] else found.interval(entry["holm_level"])
            entry["verdict"] = statistics.verdict(found.estimate, low, high, entry.get("margin", study.margin))
            if "not_worse" in entry:
                entry["verdict"] = "; ".join(filter(None, [entry["not_worse"], entry["verdict"]]))
    return listed


def _holm(family, one_sided, study):
    """Adds the levels at which Holm's procedure judges each contrast of a family, and the intervals there.

    Of a family in `study.not_worse` it asks besides whether an arm is worse than its reference by the margin. That is
    one-sided, and by a Holm procedure of its own.
    """
    measured = [entry for entry in family if "_found" in entry]
    # Holm counts the contrasts that were planned, also those that have no result yet.
    missing = [float("nan")] * (len(family) - len(measured))
    p_values = [entry["_found"].p for entry in measured] + missing
    for entry, level, adjusted in zip(measured, statistics.holm_levels(p_values), statistics.holm(p_values)):
        low, high = entry["_found"].interval(level)
        entry |= {"holm_level": float(level), "holm_p": float(adjusted)}
        entry |= {"holm_low": _number(low), "holm_high": _number(high)}
    if one_sided:
        p_values = [entry["_found"].p_above(-study.margin) for entry in measured] + missing
        for entry, level, adjusted in zip(measured, statistics.holm_levels(p_values), statistics.holm(p_values)):
            low, _ = entry["_found"].interval(2 * level - 1)  # 1 - level lies below the lower end alone
            entry |= {"not_worse_low": _number(low), "not_worse_p": float(adjusted)}
            entry["not_worse"] = statistics.not_worse(low, study.margin)


def _same_runs(one, other):
    return all(one[key] == other[key] for key in ("arm", "reference", "measure", "seeds"))


def _paired(pairs, frames, measure):
    """Per seed, the mean of measure(arm) - measure(reference) over its pairs; None where a side has no such value."""
    weights = np.ones(len(frames.ids))  # photos have their own
    values = [[[frames.value(result, measure, weights) for result in pair] for pair in seed] for seed in pairs]
    values = np.array(values, float)  # None becomes NaN: [seeds, pairs, 2]
    return (values[..., 0] - values[..., 1]).mean(1) if np.isfinite(values).all() else None


def noted(summary: dict) -> list[dict]:
    """What resampling gave for each contrast of a summary, so that frames can be left out of an archive."""
    return [
        {key: entry[key] for key in (*_WHICH, "se_frames", "se_frames_by_block") if key in entry}
        | {"block_frames": summary["block_frames"]}
        for entry in summary["contrasts"]
        if "se_frames" in entry
    ]


def _frame_errors(pairs, frames, entry, study):
    """Standard errors over what a contrast is resampled over (`Frames.of`); None: cannot be had.

    {se_frames; se_frames_by_block: of a primary contrast over frames, with blocks of other lengths}. Where a result has
    its counts summed, they are those that were noted while its frames were there.
    """
    of_frames, measure = isinstance(frames, Frames), entry["measure"]
    if of_frames and any(results.are_summed(result) for seed in pairs for pair in seed for result in pair):
        wanted = {key: entry[key] for key in _WHICH} | {"block_frames": study.block_frames}
        return next((noted for noted in frames.noted if wanted.items() <= noted.items()), None)
    errors = {"se_frames": statistics.frame_error(_drawn(pairs, frames, measure, frames.block))}
    if entry["primary"] and of_frames:
        per_unit = study.get("frames_per_unit", 1)
        errors["se_frames_by_block"] = {
            str(block): statistics.frame_error(_drawn(pairs, frames, measure, block // per_unit))
            for block in SENSITIVITY_BLOCKS
        }
    return errors


def _drawn(pairs, frames, measure, block):
    """The seed-averaged difference in each draw of frames: [draws]."""
    differences = [
        frames.drawn(ours, measure, block) - frames.drawn(theirs, measure, block)
        for seed in pairs
        for ours, theirs in seed
    ]
    return np.mean(differences, axis=0)


class Frames:
    """Frames in the order of time, the same blocks for every arm, seed and measure.

    Args:
      study: the study configuration.
      found: results.
      noted: of an archive, what `noted` gave.
    """

    def __init__(self, study, found, noted=()):
        self.noted = noted
        first = found[0]["evaluation"]["frames"]["ids"]
        for result in found:
            if sorted(result["evaluation"]["frames"]["ids"]) != sorted(first):
                raise ValueError(f"runs/{result['id']} was evaluated on other frames than runs/{found[0]['id']}.")
        self.ids = sorted(first)
        self.sequences = np.array([grid.sequence(name, study.sequence_pattern) for name in self.ids])
        # In units, where results count several frames together.
        self.block, self.draws = study.block_frames // study.get("frames_per_unit", 1), study.draws
        self.freedom = statistics.block_degrees_of_freedom(self.sequences, self.block)
        # A frame of each sequence, by the sequences' names.
        self._first = [int(np.flatnonzero(self.sequences == name)[0]) for name in np.unique(self.sequences)]
        self._weights, self._arrays, self._drawn, self._photos = {}, {}, {}, {}

    def of(self, measure):
        """What a measure is resampled over: these frames, or the photos that it is of."""
        match = measures.OF_OBJECTS.fullmatch(measure)
        if not match:
            return self
        if match[2] not in self._photos:
            self._photos[match[2]] = Photos(match[2], self.draws)
        return self._photos[match[2]]

    def weights(self, block):
        if block not in self._weights:
            self._weights[block] = statistics.block_weights(self.sequences, block, self.draws)
        return self._weights[block]

    def array(self, result, *keys):
        """A packed array of a result, its frames in order of time: [F, ...]; of sequences, by name, where summed."""
        if (result["id"], keys) not in self._arrays:
            frames = result["evaluation"]["frames"]
            packed = frames
            for key in keys:
                packed = packed.get(key) if packed else None
            order = np.argsort(frames.get("sequences", frames["ids"]))
            self._arrays[result["id"], keys] = results.unpack(packed)[order] if packed else None
        return self._arrays[result["id"], keys]

    def value(self, result, measure, weights):
        """The measure with weighted frames: weights [..., F] -> [...]; None where the run lacks the counts.

        A result of summed counts takes weights that are alike within each sequence.
        """
        if results.are_summed(result):
            weights = weights[..., self._first]
        if measure in measures.MATRIX_MEASURES:
            matrices = self.array(result, measures.MATRIX_MEASURES[measure])
            return None if matrices is None else iou.mean_iou(np.tensordot(weights, matrices, 1))
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


class Photos:
    """The photos of a set of never-seen objects: independent of each other, so each is a block of its own."""

    block = 1

    def __init__(self, name, draws):
        self.name, self.draws = name, draws
        self.ids, self.freedom = (), 0
        self._weights, self._drawn = None, {}

    def value(self, result, measure, weights):
        """The measure over all photos: of every bin, as it was counted. None where the run has not seen them."""
        match = measures.OF_OBJECTS.fullmatch(measure)
        if self.name not in result.get("objects", {}):
            return None
        self._set_photos(result)
        score = result["objects"][self.name]["scores"].get(measures.objects_score(result, match))
        return None if score is None else score["statistics"][match[1]]

    def drawn(self, result, measure, block):
        """The measure of resampled photos: [draws], from histograms in few bins, whose bias is alike in all draws."""
        key = (result["id"], measure)
        if key not in self._drawn:
            match = measures.OF_OBJECTS.fullmatch(measure)
            score = result["objects"][self.name]["scores"][measures.objects_score(result, match)]
            rest, found = (self._weights @ results.unpack(score[side]) for side in ("rest", "object"))
            self._drawn[key] = getattr(histograms, match[1])(rest, found)
        return self._drawn[key]

    def _set_photos(self, result):
        ids = tuple(result["objects"][self.name]["ids"])
        if not self.ids:
            self.ids, self.freedom = ids, len(ids) - 1
            self._weights = statistics.block_weights([self.name] * len(ids), 1, self.draws)
        elif ids != self.ids:
            raise ValueError(f"runs/{result['id']} has other photos of {self.name} than the runs before it.")


def _caught_at(void, lost, share):
    """histograms.caught_at of [..., bins] at one share: [...]."""
    pairs = zip(void.reshape(-1, void.shape[-1]), lost.reshape(-1, lost.shape[-1]))
    return np.reshape([histograms.caught_at(ours, theirs, [share])[0] for ours, theirs in pairs], void.shape[:-1])


def _side(arms):
    """An arm's name, or what several have in common."""
    return arms[0] if len(arms) == 1 else os.path.commonprefix(arms).rstrip("-_")


def _number(value):
    return float(value) if np.isfinite(value) else None
