"""Counting an evaluation: what a pixel was, whether an edge is near, what was decided, how it scored. NumPy only.

Answers nothing itself; kseg/evaluation/report.py turns the counts into numbers. Each pixel with a meaning is counted
exactly once per decision and once per score, in a cell of truth x edge x decision or bin:

  truth   a class 0..K-1, or one of the V void ids; ids that are unannotated or in no table are counted nowhere
  edge    0: at most `EDGE_DISTANCE` px from another published id, 1: farther ("off edge")

A void id's kind is "unseen" if training never showed it, else what the label table says: the kinds share no pixel.
"""

import dataclasses

import numpy as np

import tfrecords
from kseg import histograms

# Kinds of void as evaluations report them: those of a label table without "unannotated", which is counted nowhere,
# and "unseen" for void that training never showed, whatever kind the table says.
REPORTED_KINDS = ("scene", "dropped", "geometry", "unseen")
# Groups of the per-image histograms: labelled pixels by the forced decision, void by kind.
GROUPS = ("right", "wrong", *REPORTED_KINDS)
EDGE_DISTANCE = 2  # px
# Per image, until the binning that suits all images is known.
_KEEP_ONE_OF = 4
_KEPT_BINS = histograms.NUM_BINS // _KEEP_ONE_OF


@dataclasses.dataclass(frozen=True)
class Layout:
    """What truths there are.

    Attributes:
      class_names: K names.
      void: the void labels, V of them; those without annotation are not void.
      rows: uint16 [256], published id -> class index, K + position in `void`, or K + V = counted nowhere.
    """

    class_names: tuple[str, ...]
    void: tuple[tfrecords.Label, ...]
    rows: np.ndarray

    @classmethod
    def of(cls, table):
        """The layout of a label table."""
        void = tuple(label for label in table.void_labels if label.kind != "unannotated")
        rows = np.full(256, table.num_classes + len(void), np.uint16)  # K + V may be 256
        for label in table.labels:
            if label.class_index is not None:
                rows[label.id] = label.class_index
        for place, label in enumerate(void):
            rows[label.id] = table.num_classes + place
        return cls(table.class_names, void, rows)

    @property
    def num_classes(self):
        return len(self.class_names)

    def kind(self, label):
        """One of REPORTED_KINDS."""
        return label.kind if label.seen else "unseen"


class Tally:
    """The counts of an evaluation, image by image.

    Attributes:
      counts: {decision: int64 [images, K + V, 2, K + 1]}, truth x edge x decision (K = abstain).
      histograms: int64 [scores, 2 + V, 2, NUM_BINS], summed over images: (labelled and right, labelled and wrong by the
        forced decision, each void id) x edge x bin.
    """

    def __init__(self, layout, decisions, scores, images):
        rows, size = layout.num_classes + len(layout.void), layout.num_classes + 1
        self.layout, self.scores = layout, tuple(scores)
        self.counts = {name: np.zeros((images, rows, 2, size), np.int64) for name in decisions}
        self.histograms = np.zeros((len(self.scores), 2 + len(layout.void), 2, histograms.NUM_BINS), np.int64)
        self._images = [[None] * images for _ in self.scores]
        groups = [0, 1] + [GROUPS.index(layout.kind(label)) for label in layout.void]
        self._group_cells = np.array([2 * group + edge for group in groups for edge in (0, 1)])

    def add(self, image, ids, decisions, bins):
        """Counts one image.

        Args:
          image: its number.
          ids: uint8 [H, W], published.
          decisions: {name: uint8 [H, W]} with all names that were announced, "forced" among them.
          bins: uint16 [scores, H, W], `metrics.score_bins`.

        Raises:
          ValueError: a score is NaN at a pixel that counts.
        """
        k, rows = self.layout.num_classes, self.layout.rows[ids].ravel()
        edge = off_edge(ids).ravel()
        cells = rows.astype(np.int64) * 2 + edge
        for name, counts in self.counts.items():
            index = cells * (k + 1) + decisions[name].ravel()
            size = counts[image].size
            counts[image] = np.bincount(index, minlength=size)[:size].reshape(counts[image].shape)
        if not self.scores:
            return
        # Row 0: labelled and right, 1: labelled and wrong, 2 on: void ids, last: counted nowhere.
        truths = np.where(rows >= k, rows.astype(np.int64) - (k - 2), rows != decisions["forced"].ravel())
        cells = truths * 2 + edge
        present = np.flatnonzero(np.bincount(cells))
        present = present[present < 2 * self.histograms.shape[1]]
        place = np.full(2 * self.histograms.shape[1] + 2, len(present))
        place[present] = np.arange(len(present))
        place = place[cells]
        for score, score_bins in enumerate(bins):
            # Only the bins between the image's lowest and highest are looked at, in whole steps of _KEEP_ONE_OF.
            first = int(score_bins.min()) // _KEEP_ONE_OF * _KEEP_ONE_OF
            width = -(-(int(score_bins.max()) + 1 - first) // _KEEP_ONE_OF) * _KEEP_ONE_OF
            counted = np.bincount(place * width + (score_bins.ravel() - first), minlength=len(present) * width)
            counted = counted[: len(present) * width].reshape(len(present), width)
            if first == 0 and counted[:, 0].any():
                raise ValueError(f"score {self.scores[score]} is NaN at {counted[:, 0].sum()} pixels")
            groups = np.zeros((2 * len(GROUPS), width), np.int64)
            for cell, row in zip(present, counted):
                self.histograms[score, cell // 2, cell % 2, first : first + width] += row
                groups[self._group_cells[cell]] += row
            kept = sum(groups[:, part::_KEEP_ONE_OF] for part in range(_KEEP_ONE_OF))
            group, step = np.nonzero(kept)
            places = group * _KEPT_BINS + first // _KEEP_ONE_OF + step
            self._images[score][image] = places.astype(np.uint32), kept[group, step].astype(np.uint32)

    def image_histograms(self, score, bins):
        """Per-image histograms of a score, in coarse bins that suit all images (`histograms.balanced_bins`).

        Args:
          score: its position.
          bins: how many at most.

        Returns:
          (uint32 [images, GROUPS, 2, at most bins], int64 [at most bins]: the first fine bin of each).
        """
        fine = self.histograms[score].sum(1).reshape(2 + len(self.layout.void), _KEPT_BINS, -1).sum(-1)
        starts = histograms.balanced_bins(fine[:2].sum(0), fine[2:].sum(0), bins)
        coarse = np.zeros((len(self._images[score]), 2 * len(GROUPS), len(starts)), np.uint32)
        for image, kept in zip(coarse, self._images[score]):
            if kept is None:
                continue
            dense = np.zeros(2 * len(GROUPS) * _KEPT_BINS, np.uint32)
            dense[kept[0]] = kept[1]
            image[:] = np.add.reduceat(dense.reshape(2 * len(GROUPS), _KEPT_BINS), starts, -1)
        return coarse.reshape(-1, len(GROUPS), 2, len(starts)), starts * _KEEP_ONE_OF


def off_edge(ids, distance=EDGE_DISTANCE):
    """Where the nearest pixel of another published id is farther than `distance`, diagonals counting as one.

    The image's border is no edge.

    Args:
      ids: uint8 [H, W].
      distance: px.

    Returns:
      bool [H, W].
    """
    smallest = largest = ids
    for axis in (0, 1):
        smallest, largest = (
            _extreme(np.minimum, smallest, axis, distance),
            _extreme(np.maximum, largest, axis, distance),
        )
    return smallest == largest


def _extreme(function, values, axis, distance):
    """The minimum or maximum over the pixels at most `distance` away along an axis."""
    result = values.copy()
    for step in range(1, min(distance, values.shape[axis] - 1) + 1):
        later, earlier = ((slice(None),) * axis + (part,) for part in (slice(step, None), slice(None, -step)))
        function(result[later], values[earlier], out=result[later])
        function(result[earlier], values[later], out=result[earlier])
    return result
