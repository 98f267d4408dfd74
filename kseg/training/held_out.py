"""What the images that are kept out of training say of the model: best.keras, early stopping, the threshold."""

import contextlib
import dataclasses
import os

import numpy as np
from absl import logging

from kseg import histograms, metrics, pictures
from kseg.data import input_pipeline
from kseg.evaluation import evaluate
from kseg.runs import workdir
from tfrecords import files

SPLIT = "held_out"  # the name of their report: eval_held_out.json and .npz


class HeldOut:
    """Evaluates on the held-out images, and keeps the best model so far.

    Args:
      config: the run's ConfigDict.
      folder: the workdir.
      parts: assembly.Parts.
      state: checkpoints.RunState, which keeps the best value and how many evaluations it has stood.
      strategy: the tf.distribute strategy.
      chief: whether this process writes.
    """

    def __init__(self, config, folder, parts, state, strategy, chief):
        self._config, self._folder, self._parts, self._state = config, folder, parts, state
        self._strategy, self._chief, self._said = strategy, chief, False
        self.report = None  # of the newest evaluation

    def __bool__(self):
        return len(self._parts.held_out) > 0

    def evaluate(self):
        """A Report of the weights as they would be saved now."""
        parts = self._parts
        with self.weights():
            self.report = evaluate.evaluate(
                parts.model, parts.treatment, parts.manifest, self._config, self._config.data.train_split,
                indices=parts.held_out, strategy=self._strategy, progress=False,
            )  # fmt: skip
        return self.report

    def keep_best(self):
        """Writes best.keras where the newest report beats those before; returns (value, whether it did).

        The value is the mean IoU of the classes that can be told apart by these images, None where there are none.
        """
        value, state = self._value(), self._state
        if value is None:
            return None, False
        if value <= state.best:
            state.stale += 1
            return value, False
        state.best, state.stale = value, 0
        with self.weights():
            if self._chief:
                save_model(self._parts.model, os.path.join(self._folder, "best.keras"))
        return value, True

    def pictures(self):
        """uint8 [H, W, 3] pictures: image, truth and native decision side by side, by the weights as they are.

        They are answered as `evaluate` counts them.
        """
        parts, config = self._parts, self._config
        count = min(config.log.pictures, len(parts.held_out))
        chosen = parts.held_out[np.linspace(0, len(parts.held_out) - 1, count).astype(int)]
        truth, answer = parts.table.encoding("background"), evaluate.answering(parts.model, parts.treatment, config)
        drawn = []
        for example in input_pipeline.eval_dataset(parts.manifest, config.data.train_split, chosen):
            image = example["image"].numpy()
            decision, _ = answer(image)
            maps = [pictures.colorize(m, parts.table) for m in (truth[example["ids"].numpy()], decision)]
            drawn.append(np.concatenate([image, *maps], 1))
        return drawn

    def conclude(self):
        """Writes calibration.json and eval_held_out.json and .npz, from the newest report or a fresh one."""
        report = self.report or self.evaluate()
        if not self._chief:
            return
        chosen = evaluate.calibration(report, self._config)
        workdir.write_json(os.path.join(self._folder, "calibration.json"), chosen)
        counts = report.tally.histograms[report.tally.scores.index(report.primary_score)].sum(1)
        caught = histograms.none_for_nan(histograms.recall_at(counts[:2].sum(0), counts[2:].sum(0), chosen["nominal"]))
        notes = {"calibration": chosen | {"void_caught": caught}, "total_steps": self._config.train.total_steps}
        dataclasses.replace(report, split=SPLIT, notes=notes).save(self._folder)

    def weights(self):
        """Inside, the model has the weights that are saved: the averaged ones, where there are such."""
        return self._parts.ema.swap() if self._parts.ema else contextlib.nullcontext()

    def _value(self):
        matrix = self.report.matrix("native")
        pixels, least = matrix[:-1].sum(1), self._config.eval.best_min_pixels
        enough = pixels >= max(least, 1)
        self._say(enough, pixels, least)
        if not enough.any():
            return None
        return histograms.none_for_nan(np.mean(metrics.per_class_iou(matrix)[enough]))

    def _say(self, enough, pixels, least):
        """Once a process: by which classes best.keras is chosen, where it is not all."""
        if self._said or enough.all():
            return
        self._said = True
        names = np.array(self._parts.table.class_names)
        few = [f"{name} {count}" for name, count in zip(names[~enough], pixels[~enough])]
        few = ", ".join(few[:4]) + (f" and {len(few) - 4} more" if len(few) > 4 else "")
        images = f"the {len(self._parts.held_out)} held-out images have fewer than {least} labelled pixels of {few}"
        if enough.any():
            logging.info("best.keras is chosen by %d of %d classes: %s.", enough.sum(), len(enough), images)
        else:
            logging.warning(
                "best.keras cannot be chosen: %s; raise config.data.calibration_fraction or lower "
                "config.eval.best_min_pixels.", images,
            )  # fmt: skip


def save_model(model, path):
    """Saves a model so that the file is either the old one or the new one, whole."""
    with files.replacing(path, ".tmp.keras") as partial:  # Keras goes by the name's end
        model.save(partial)
