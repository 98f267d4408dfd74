"""A configuration in, everything that a training loop turns out: records, model, loss, optimizer, compiled step."""

import dataclasses
import os

import keras
import numpy as np
import tensorflow as tf
from absl import logging

import tfrecords
from kseg import optimizers, treatments
from kseg.data import splits
from kseg.models import unet
from kseg.runs import checkpoints, workdir
from kseg.training import checks
from kseg.training import step as training_step


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a run is made of.

    Attributes:
      manifest, table: of its records.
      held_out: positions in the training split of the images that are never trained on; may be none.
      treatment, model, optimizer: as configured, under the run's strategy.
      ema: optimizers.Ema, or None.
      train_step: compiled f(distributed batch) -> loss.
      earlier_totals: the totals of steps at which the run had ended before it was extended, ascending.
    """

    manifest: tfrecords.Manifest
    table: tfrecords.LabelTable
    held_out: np.ndarray
    treatment: treatments.Treatment
    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    ema: optimizers.Ema | None
    train_step: object
    earlier_totals: tuple = ()


def build(config, folder, strategy):
    """Puts a run together; the workdir is read, not written.

    Args:
      config: the run's ConfigDict.
      folder: the workdir; need not exist.
      strategy: the tf.distribute strategy to build under.

    Raises:
      ValueError: on a configuration or records that cannot be trained; one line.
    """
    # ---- Data --------------------------------------------------------------------------------------------------------
    manifest = tfrecords.info(config.data.records_dir)
    table = splits.label_table(config, manifest)
    checks.check(config, manifest, strategy, folder)
    _, held_out = splits.split_calibration(config, manifest)

    # ---- Determinism -------------------------------------------------------------------------------------------------
    keras.utils.set_random_seed(config.train.seed)
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()

    # ---- Model, loss, optimizer --------------------------------------------------------------------------------------
    treatment = treatments.get(
        config.treatment, table.num_classes, config.loss, training_step.class_weights(config, manifest, table)
    )
    earlier_totals = workdir.earlier_totals(folder, config)
    # What a resumed run started from may be gone by now, and would be overwritten anyway.
    resumed = bool(checkpoints.steps(os.path.join(folder, "checkpoints")))
    with strategy.scope():
        model = unet.build(
            config.model, treatment.num_outputs, config.train.precision, config.train.seed, treatment.detached_outputs,
            pretrained=not resumed,
        )  # fmt: skip
        if config.model.init_from and not resumed:
            loaded, kept = unet.load_matching_weights(model, config.model.init_from)
            logging.info(
                "%s: %d layers loaded, fresh: %s", config.model.init_from, len(loaded), ", ".join(kept) or "none"
            )
        optimizer = optimizers.create(
            config.optimizer, config.train.total_steps, config.train.precision, unet.is_in_encoder(model),
            earlier_totals,
        )  # fmt: skip
        optimizer.build(model.trainable_variables)
        ema = optimizers.Ema(model, config.optimizer.ema_decay) if config.optimizer.ema_decay else None
    train_step = training_step.train_step(config, strategy, model, treatment.loss, optimizer)
    return Parts(manifest, table, held_out, treatment, model, optimizer, ema, train_step, earlier_totals)
