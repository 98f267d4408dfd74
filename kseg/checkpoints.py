"""Checkpoints of a training run: one file a checkpoint, whole or not there, bit for bit.

A checkpoint is a NumPy .npz archive of named arrays: it is written under another name and renamed, so a kill leaves no
half file; every array carries a CRC, so damage is seen on reading. One process writes and every process can read, which
is what several workers with one workdir need (tf.train.CheckpointManager wants each worker to write).
"""

import os
import re
import zipfile
import zlib

import numpy as np
from absl import logging

_NAME = re.compile(r"step-(\d{8})\.npz")


def save(folder, step, arrays, keep=2):
    """Writes `step-<step>.npz` and removes all but the newest `keep`.

    Args:
      folder: str; created if missing.
      step: int, the number of finished steps.
      arrays: {name: array}.
      keep: how many checkpoints stay, at least 1.
    """
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"step-{step:08d}.npz")
    temporary = f"{path}.tmp"
    with open(temporary, "wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    for old in steps(folder)[: -max(keep, 1)]:
        os.remove(os.path.join(folder, f"step-{old:08d}.npz"))
    for name in os.listdir(folder):
        if name.endswith(".tmp"):
            os.remove(os.path.join(folder, name))


def steps(folder):
    """The steps that have a checkpoint, ascending."""
    if not os.path.isdir(folder):
        return []
    return sorted(int(match[1]) for name in os.listdir(folder) if (match := _NAME.fullmatch(name)))


def load_newest(folder):
    """(step, {name: array}) of the newest checkpoint that can be read, (0, None) if there is none.

    A damaged one is reported and the one before is used.
    """
    for step in reversed(steps(folder)):
        path = os.path.join(folder, f"step-{step:08d}.npz")
        try:
            with np.load(path, allow_pickle=False) as archive:
                return step, {name: archive[name] for name in archive.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            logging.warning("%s is damaged (%s); the checkpoint before it is used.", path, error)
    return 0, None
