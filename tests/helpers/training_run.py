"""Small training runs in a process of their own, for tests that kill it: training_run.py FOLDER RECORDS WHEN.

WHEN: "never"; "step:N" kills inside step N; "save:N" kills while the N-th checkpoint is half written; "term:N" sends
SIGTERM in step N. Further arguments are KEY=VALUE settings. Several runs, one after another, are separated by `--`.
"""

import ast
import os
import signal
import sys

import kseg

kseg.load_tensorflow_quietly()

import keras  # noqa: E402
import numpy as np  # noqa: E402
from absl import logging  # noqa: E402

from kseg import config as defaults  # noqa: E402
from kseg.distribution import sigterm, strategy  # noqa: E402
from kseg.training import train  # noqa: E402


def settings(records, changes=()):
    config = defaults.default()
    config.data.records_dir = records
    config.data.crop_size = (32, 64)
    config.data.calibration_fraction = 0.25
    config.treatment.name = "background_class"
    config.model.width, config.model.depth, config.model.dropout = 4, 1, 0.1
    config.optimizer.ema_decay, config.optimizer.clip_norm = 0.9, 1.0
    config.train.total_steps, config.train.batch_size, config.train.num_virtual_devices = 8, 4, 2
    config.train.deterministic = True
    config.train.checkpoint_every_steps = 3
    config.eval.every_steps, config.log.every_steps, config.log.pictures = 4, 2, 1
    for change in changes:
        key, value = change.split("=")
        defaults.set_key(config, key, ast.literal_eval(value))
    return config


class At(keras.callbacks.Callback):
    """Sends this process a signal in the middle of the loop, while `step` is under way."""

    def __init__(self, step, number):
        super().__init__()
        self._step, self._number = step, number

    def on_train_batch_begin(self, batch, logs=None):
        if batch == self._step:
            os.kill(os.getpid(), self._number)


def kill_in_save(number):
    """The `number`-th checkpoint is written half, then the process is gone."""
    whole, saved = np.savez, [0]

    def half(file, **arrays):
        saved[0] += 1
        whole(file, **arrays)
        if saved[0] == number:
            file.truncate(file.tell() // 2)
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    np.savez = half


def run(folder, records, when, *changes):
    """One run; returns its exit status."""
    kind, _, number = when.partition(":")
    callbacks = []
    if kind in ("step", "term"):
        callbacks = [At(int(number), signal.SIGKILL if kind == "step" else signal.SIGTERM)]
    elif kind == "save":
        kill_in_save(int(number))
    outcome = train.train_and_evaluate(settings(records, changes), folder, callbacks, progress=False)
    return 75 if outcome == train.PREEMPTED else 0


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    text = "\n".join(sys.argv[1:])
    try:
        status = max(run(*one.strip("\n").split("\n")) for one in text.split("\n--\n"))
    except (ValueError, OSError) as error:
        sigterm.leave(f"error: {error}", 75 if isinstance(error, strategy.LostWorker) else 1)
    sys.exit(status)
