"""Checkpoints of a training run: one file a checkpoint, whole or not there, equal bit for bit when read back.

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


class RunState:
    """Everything that a resumed run needs: variables, losses not yet logged, the best mean IoU so far."""

    def __init__(self, folder, model, optimizer, ema):
        self._folder = folder
        owners = {"model": model.variables, "optimizer": optimizer.variables, "ema": ema.variables if ema else ()}
        self._variables = {f"{owner}/{i}": v for owner, group in owners.items() for i, v in enumerate(group)}
        self.best, self.stale = -1.0, 0

    def stops_early(self, patience):
        """Whether that many evaluations in a row brought no better mean IoU; 0 = never."""
        return bool(patience) and self.stale >= patience

    def save(self, step, losses, keep):
        """Writes a checkpoint; `losses` are those since the last logged step.

        Raises:
          ValueError: if a weight is not finite; the checkpoint before stays.
        """
        arrays = {name: v.numpy() for name, v in self._variables.items()}
        if not all(np.isfinite(a).all() for name, a in arrays.items() if not name.startswith("optimizer/")):
            raise ValueError(
                f"the weights are not finite after step {step}: lower config.optimizer.learning_rate or set "
                "config.optimizer.clip_norm; the last checkpoint is from before."
            )
        arrays["losses"] = np.array(losses, np.float64)
        arrays["best"] = np.array([self.best, self.stale], np.float64)
        save(self._folder, step, arrays, keep)

    def restore(self):
        """(step, losses) of the newest readable checkpoint, its variables assigned; (0, []) if there is none."""
        step, arrays = load_newest(self._folder)
        if arrays is None:
            return 0, []
        if arrays.keys() - {"losses", "best"} != self._variables.keys():
            raise ValueError(f"{self._folder} holds checkpoints of another version of kseg; give another --workdir.")
        for name, variable in self._variables.items():
            variable.assign(arrays[name])
        self.best, self.stale = float(arrays["best"][0]), int(arrays["best"][1])
        return step, [float(loss) for loss in arrays["losses"]]
