"""Checkpoints of a training run: one file a checkpoint, whole or not there, equal bit for bit when read back.

A checkpoint is a NumPy .npz archive of named arrays. It is written under another name and renamed, so a kill leaves no
half file. Every array carries a CRC, so damage is seen on reading. One process writes and every process can read, which
is what several workers with one workdir need (tf.train.CheckpointManager wants each worker to write).
"""

import io
import os
import re

import numpy as np
from absl import logging

from kseg import errors
from tfrecords import files

_NAME = re.compile(r"step-(\d{8})\.npz")


def save(folder, step, arrays, keep=2):
    """Writes `step-<step>.npz` and removes others, oldest first, until `keep` are left.

    Args:
      folder: str; created if missing.
      step: int, the number of finished steps.
      arrays: {name: array}.
      keep: how many checkpoints stay, at least 1: this one, and the newest of the others.
    """
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"step-{step:08d}.npz")
    files.write_whole(path, lambda file: np.savez(file, **arrays))
    others = [other for other in steps(folder) if other != step]
    for old in others[: max(len(others) - (keep - 1), 0)]:
        os.remove(os.path.join(folder, f"step-{old:08d}.npz"))
    for name in os.listdir(folder):
        if name.endswith(".tmp"):
            os.remove(os.path.join(folder, name))


def steps(folder):
    """The steps that have a checkpoint, ascending."""
    if not os.path.isdir(folder):
        return []
    return sorted(int(match[1]) for name in os.listdir(folder) if (match := _NAME.fullmatch(name)))


def load_newest(folder, names=None, set_aside=False):
    """(step, {name: array}) of the newest checkpoint that is whole, (0, None) if there is none at all.

    Args:
      folder: str.
      names: the arrays that a checkpoint must have, no more and no fewer; None = any.
      set_aside: whether newer ones that are damaged are renamed to *.damaged, which `steps` does not count.

    Raises:
      ValueError: if there are checkpoints and none of them is whole.
      OSError: if the storage fails or refuses; that is no damage, and the next attempt may find them whole.
    """
    damaged = {}
    for step in reversed(steps(folder)):
        path = os.path.join(folder, f"step-{step:08d}.npz")
        try:
            arrays = _read(path, names)
        except FileNotFoundError:  # set aside meanwhile, by the process that writes
            continue
        except ValueError as error:
            damaged[path] = str(error)
            continue
        for other, reason in damaged.items():
            if set_aside:
                os.replace(other, f"{other}.damaged")
            logging.warning("%s is damaged (%s); going on from step %d.", other, reason, step)
        return step, arrays
    if damaged:
        path, reason = next(iter(damaged.items()))
        raise ValueError(
            f"{folder}: none of {len(damaged)} checkpoints can be used ({os.path.basename(path)}: {reason}); remove "
            "them to start from step 0, or give another --workdir."
        )
    return 0, None


def _read(path, names):
    """{name: array} of a checkpoint; ValueError where its bytes are not those of a whole one."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # from bytes in memory: whatever zipfile, zlib and NumPy trip over is damage
        raise ValueError(errors.first_line(error)) from None
    if names is not None and arrays.keys() != set(names):
        raise ValueError("it has other arrays than this run; damaged, or of another version of kseg")
    return arrays


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
        self.check_finite(step)
        arrays = {name: v.numpy() for name, v in self._variables.items()}
        arrays["losses"] = np.array(losses, np.float64)
        arrays["best"] = np.array([self.best, self.stale], np.float64)
        save(self._folder, step, arrays, keep)

    def check_finite(self, step):
        """Raises ValueError, in one line, if a weight of the model, or its average, is not finite."""
        weights = (v for name, v in self._variables.items() if not name.startswith("optimizer/"))
        if not all(np.isfinite(v.numpy()).all() for v in weights):
            raise ValueError(
                f"the weights are not finite after step {step}: lower config.optimizer.learning_rate or set "
                "config.optimizer.clip_norm; the last checkpoint is from before."
            )

    def restore(self, set_aside=False):
        """(step, losses) of the newest whole checkpoint, its variables assigned; (0, []) if there is none at all.

        Arguments and exceptions are those of `load_newest`.
        """
        step, arrays = load_newest(self._folder, [*self._variables, "losses", "best"], set_aside)
        if arrays is None:
            return 0, []
        for name, variable in self._variables.items():
            variable.assign(arrays[name])
        self.best, self.stale = float(arrays["best"][0]), int(arrays["best"][1])
        return step, [float(loss) for loss in arrays["losses"]]
