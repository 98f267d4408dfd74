"""What a run writes down while it trains: metrics.jsonl and metrics.csv, and TensorBoard scalars and pictures."""

import os
import time

import numpy as np
import tensorflow as tf

from kseg.runs import metrics_log

_EVALUATED = ("mean_iou", "mean_iou_forced", "mean_iou_with_background", "abstain_rate")


class TrainingLog:
    """metrics.jsonl (nothing that a clock gave) and TensorBoard (speeds and pictures too); writes on the chief alone.

    Args:
      folder: the workdir.
      step: the number of finished steps; what was logged after it is taken back.
      chief: whether this process writes.
      listener: called with (step, {name: value}) of each line that metrics.jsonl gets, on the chief.
    """

    def __init__(self, folder, step, chief, listener=None):
        self._lines = metrics_log.MetricsLog(os.path.join(folder, "metrics.jsonl"), step) if chief else None
        self._board = tf.summary.create_file_writer(os.path.join(folder, "tensorboard")) if chief else None
        self._since, self._step, self._listener = time.monotonic(), step, listener

    @property
    def writes(self):
        """Whether this process does."""
        return self._lines is not None

    def training(self, step, losses, learning_rate, batch_size, loss_scale=None):
        """Writes the mean of the losses since the last logged step, and the learning rate of this step.

        Args:
          step: the number of finished steps.
          losses: floats.
          learning_rate: float.
          batch_size: images of a step.
          loss_scale: float, or None where there is none.
        """
        if self._lines is None:
            return
        values = {"loss": float(np.mean(losses)), "learning_rate": learning_rate}
        if loss_scale is not None:
            values["loss_scale"] = loss_scale
        self._write(step, values)
        now = time.monotonic()
        speed = (step - self._step) * batch_size / max(now - self._since, 1e-9)
        self._since, self._step = now, step
        with self._board.as_default(step):
            for name, value in {**values, "images_per_second": speed}.items():
                tf.summary.scalar(f"train/{name}", value)
        self._board.flush()

    def evaluation(self, step, report, drawn):
        """Writes the figures of an evaluation, and the matrix and `drawn` pictures for TensorBoard."""
        if self._lines is None:
            return
        self._write(step, {f"eval_{name}": report[name] for name in _EVALUATED})
        with self._board.as_default(step):
            for name in _EVALUATED:
                if report[name] is not None:
                    tf.summary.scalar(f"eval/{name}", report[name])
            matrix = np.array(report["confusion_matrix"], np.float64)
            rows = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
            tf.summary.image("eval/confusion_matrix", np.kron(rows, np.ones((12, 12)))[None, ..., None])
            for i, picture in enumerate(drawn):
                tf.summary.image(f"eval/prediction_{i}", picture[None])
        self._board.flush()
        self._since, self._step = time.monotonic(), step

    def sync(self):
        """Puts the lines on the disk: those before a checkpoint are not written again by a run that resumes there."""
        if self._lines is not None:
            self._lines.sync()

    def close(self):
        if self._lines is not None:
            self._lines.close()
            self._board.close()

    def _write(self, step, values):
        self._lines.write(step, **values)
        if self._listener:
            self._listener(step, values)
