"""What a run reports while it trains: metrics.jsonl, and TensorBoard scalars and pictures."""

import os
import time

import keras
import numpy as np
import tensorflow as tf

from kseg.runs import metrics_log


class TrainingLog:
    """metrics.jsonl (nothing that a clock gave) and TensorBoard (speeds and pictures too); writes on the chief alone.

    Losses stay on the device until they are needed, so that logging does not hold up the next step.
    """

    def __init__(self, folder, step, losses, chief):
        self._lines = metrics_log.MetricsLog(os.path.join(folder, "metrics.jsonl"), step) if chief else None
        self._board = tf.summary.create_file_writer(os.path.join(folder, "tensorboard")) if chief else None
        self._pending, self._losses = [], list(losses)
        self._since, self._step = time.monotonic(), step

    def add(self, loss):
        """Takes note of one step's loss, a tensor."""
        self._pending.append(loss)

    def losses(self, step, optimizer):
        """The losses of all steps since the last logged one, up to `step`, as floats.

        Raises:
          ValueError: if one is not finite; under loss scaling, which skips such steps and halves the scale, only once
            the scale is down to 1 and no longer can be the reason.
        """
        self._losses += [float(loss) for loss in self._pending]
        self._pending = []
        finite = np.isfinite(self._losses)
        if not finite.all() and (loss_scale(optimizer) or 0.0) <= 1.0:
            bad = step - len(finite) + 1 + int(np.argmin(finite))
            raise ValueError(
                f"the loss is not finite at step {bad}: lower config.optimizer.learning_rate, set "
                "config.optimizer.clip_norm, or look at the records with tools/inspect_records.py; "
                "the last checkpoint is from before."
            )
        return self._losses

    def training(self, step, learning_rate, optimizer, batch_size):
        """Writes the mean loss since the last logged step, and the learning rate that this step was taken with."""
        losses = self.losses(step, optimizer)
        self._losses = []
        if self._lines is None:
            return
        values = {"loss": float(np.mean(losses)), "learning_rate": learning_rate}
        if loss_scale(optimizer) is not None:
            values["loss_scale"] = loss_scale(optimizer)
        self._lines.write(step, **values)
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
        names = ("mean_iou", "mean_iou_forced", "mean_iou_with_background", "abstain_rate")
        self._lines.write(step, **{f"eval_{name}": report[name] for name in names})
        with self._board.as_default(step):
            for name in names:
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


def loss_scale(optimizer):
    """The dynamic loss scale, None where there is none."""
    scale = getattr(optimizer, "dynamic_scale", None)
    return None if scale is None else float(keras.ops.convert_to_numpy(scale))
