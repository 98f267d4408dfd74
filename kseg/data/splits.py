"""Which images a run trains on, which it holds out to choose thresholds, and the label table that it uses."""

import hashlib
import re

import numpy as np

import tfrecords

_GAP = 0.05  # share of a sequence between its training frames and its calibration frames, used for neither
_MIN_SEQUENCES = 4  # from this number of sequences on, whole ones are held out


def label_table(config, manifest) -> tfrecords.LabelTable:
    """The label table of a run: the records' own, with the void ids that config.data names."""
    return manifest.table.select(config.data.seen_void_ids, config.data.unseen_void_ids)


def split_calibration(config, manifest) -> tuple[np.ndarray, np.ndarray]:
    """Which images of the training split are trained on, and which are held out for calibration.

    A sequence is what an image id says before its first underscore: a city of Cityscapes, a drive of CamVid. Where
    there are four sequences or more, whole sequences are held out. They are taken in order of a hash of their names,
    each one that still fits into the share. Where there are fewer, or none fits, the last part of each sequence is held
    out as one block. Before it lies a gap of 5 % of the sequence, at least one frame, that is used for neither. The
    choice depends on the image ids and config.data.calibration_fraction alone: it is the same for every treatment and
    seed.

    Returns:
      (training indices, calibration indices), int64, rising, positions in manifest.index(train_split).

    Raises:
      ValueError: the fraction is not in [0, 1), or nothing can be held out.
    """
    fraction, split = config.data.calibration_fraction, config.data.train_split
    if not 0 <= fraction < 1:
        raise ValueError(f"config.data.calibration_fraction={fraction}: expected a share from 0 (none) to below 1.")
    image_ids = manifest.index(split).image_ids
    everything = np.arange(len(image_ids), dtype=np.int64)
    if fraction == 0:
        return everything, everything[:0]
    sequences = {}
    for index in sorted(everything, key=lambda i: _natural(image_ids[i])):
        sequences.setdefault(image_ids[index].partition("_")[0], []).append(index)
    held_out = _whole_sequences(sequences, fraction) if len(sequences) >= _MIN_SEQUENCES else []
    unused = []
    if not held_out:
        for frames in sequences.values():
            gap = max(1, round(_GAP * len(frames)))
            block = min(max(1, round(fraction * len(frames))), len(frames) - gap - 1)
            if block > 0:
                held_out += frames[-block:]
                unused += frames[-block - gap : -block]
    if not held_out:
        raise ValueError(
            f"config.data.calibration_fraction={fraction}, but no sequence of split {split!r} has frames enough to "
            f"hold some out after a gap ({len(image_ids)} images, {len(sequences)} sequences); set it to 0."
        )
    held_out = np.sort(np.array(held_out, np.int64))
    return np.setdiff1d(everything, np.concatenate([held_out, np.array(unused, np.int64)])), held_out


def _whole_sequences(sequences: dict[str, list[int]], fraction: float) -> list[int]:
    room = max(1, round(fraction * sum(len(frames) for frames in sequences.values())))
    held_out = []
    for name in sorted(sequences, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if len(held_out) + len(sequences[name]) <= room:
            held_out += sequences[name]
    return held_out


def _natural(text: str) -> list:
    """A sort key in which frame 9 comes before frame 10."""
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in re.split(r"(\d+)", text)]
