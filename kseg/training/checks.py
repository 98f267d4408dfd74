"""Whether a run can be trained as configured: all that can be known before its folder is touched.

A mistake that only shows after config.json is written would make the folder belong to that mistake. Settings that
would have no effect are refused too: whoever set them expects one. Names that a module looks up (an encoder, a
schedule, a loss option) are that module's to check, when the run is put together.
"""

import os
import pathlib

import tensorflow as tf
from absl import logging

from kseg.data import augment, tfa_ops
from kseg.evaluation import evaluate
from kseg.models import averaging

CLASS_WEIGHTS = ("none", "inverse_sqrt", "median_frequency")

# Lowest values; the keys that may be 0 are off, or automatic, there.
_AT_LEAST = {
    "data.num_parallel_calls": 0,
    "train.total_steps": 1,
    "train.batch_size": 1,
    "train.accumulation_steps": 1,
    "train.seed": 0,
    "train.checkpoint_every_steps": 1,
    "train.keep_checkpoints": 1,
    "train.early_stopping_evals": 0,
    "eval.every_steps": 0,
    "eval.batch_size": 1,
    "log.every_steps": 1,
    "log.pictures": 0,
}


def check(config, manifest, strategy, folder):
    """Raises ValueError, in one line, for what cannot be trained or cannot be meant.

    Args:
      config: the run's ConfigDict.
      manifest: tfrecords Manifest of config.data.records_dir.
      strategy: the tf.distribute strategy it would run on.
      folder: the workdir; need not exist.
    """
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise ValueError(f"{folder} is a file; give a folder, or a name that is free, as --workdir.")
    above = next(place for place in pathlib.Path(os.path.abspath(folder)).parents if place.exists())
    if not above.is_dir():
        raise ValueError(f"--workdir={folder} cannot be made, since {above} is a file; give another --workdir.")
    _check_split(config, manifest)
    _check_numbers(config)
    augment.check_options(config.augment, config.data.crop_size)
    tfa_ops.check_names(config.augment.addons)
    if config.loss.class_weights not in CLASS_WEIGHTS:
        known = ", ".join(CLASS_WEIGHTS)
        raise ValueError(f"config.loss.class_weights={config.loss.class_weights!r}: expected one of {known}.")
    _check_batch(config, strategy.num_replicas_in_sync)
    _check_without_effect(config)
    _check_compilation(config, strategy.num_replicas_in_sync)


def _check_split(config, manifest):
    split = config.data.train_split
    if split not in manifest.splits:
        known = ", ".join(manifest.splits)
        raise ValueError(
            f"{manifest.records_dir} has no split {split!r} (it has {known}); set config.data.train_split."
        )
    if not manifest.splits[split].has_labels:
        raise ValueError(f"split {split!r} of {manifest.records_dir} has no labels; train on another one.")


def _check_numbers(config):
    for key, lowest in _AT_LEAST.items():
        section, name = key.split(".")
        if config[section][name] < lowest:
            raise ValueError(f"config.{key}={config[section][name]}: expected at least {lowest}.")
    if config.train.seed >= 2**31:
        raise ValueError(f"config.train.seed={config.train.seed}: expected at most {2**31 - 1}.")
    if not 0 <= config.treatment.abstain_rate < 1:
        raise ValueError(
            f"config.treatment.abstain_rate={config.treatment.abstain_rate}: expected a share from 0 to below 1."
        )
    if config.treatment.abstain not in ("native", "calibrated"):
        raise ValueError(f"config.treatment.abstain={config.treatment.abstain!r}: expected native or calibrated.")
    size = tuple(config.eval.input_size)
    if len(size) != 2 or (size != (0, 0) and min(size) < 1):
        raise ValueError(
            f"config.eval.input_size={size}: expected a height and a width in px, or (0, 0) for each image's own."
        )
    evaluate.tile_size(config)
    averaging.views(config.eval.average)


def _check_batch(config, replicas):
    parts = replicas * config.train.accumulation_steps
    if config.train.batch_size % parts:
        raise ValueError(
            f"config.train.batch_size={config.train.batch_size}: expected a multiple of {parts} "
            f"({replicas} replicas x {config.train.accumulation_steps} accumulation steps)."
        )
    if config.train.accumulation_steps > 1 and config.model.norm == "batch":
        logging.warning(
            "accumulation with batch norm: statistics are of each part of the batch, so the step is not exactly that "
            "of the whole batch; config.model.norm=group makes it so."
        )
    if config.train.accumulation_steps > 1 and config.model.dropout > 0:
        logging.warning(
            "accumulation with dropout: where Dice terms or top_k need a forward pass ahead of the gradients, masks of "
            "the two differ, so the step is not exactly that of the whole batch; config.model.dropout=0 makes it so."
        )


def _check_without_effect(config):
    patience, every, model = config.train.early_stopping_evals, config.eval.every_steps, config.model
    if every and not config.data.calibration_fraction:
        raise ValueError(
            f"config.eval.every_steps={every} evaluates on the calibration images, and "
            "config.data.calibration_fraction=0 keeps none; set the one to 0 or the other above it."
        )
    if patience and not every:
        raise ValueError(
            f"config.train.early_stopping_evals={patience} counts evaluations, and config.eval.every_steps=0 has none "
            "before the end; set it."
        )
    if model.encoder == "none":
        for key, off in (("freeze_encoder", False), ("freeze_encoder_norm", False), ("encoder_weights", "none")):
            if model[key] != off:
                raise ValueError(
                    f"config.model.{key}={model[key]} is for encoders with weights of their own, and "
                    "config.model.encoder is none; set that, or config.model.init_from to start from one's own weights."
                )
        if config.optimizer.encoder_rate != 1:
            raise ValueError(
                f"config.optimizer.encoder_rate={config.optimizer.encoder_rate:g} is for encoders with weights of "
                "their own, and config.model.encoder is none; set that, or the rate to 1."
            )
    main = config.loss.main_weight
    without_main = main == 0 or (main == -1 and config.treatment.name in ("inverted_dice", "inverted_dice_softmax"))
    if config.loss.class_weights != "none" and without_main:
        raise ValueError(
            f"config.loss.class_weights={config.loss.class_weights} weights the main term of the loss, which "
            f"{config.treatment.name} with config.loss.main_weight={main:g} has not; set it to none."
        )


def _check_compilation(config, replicas):
    if not config.train.jit_compile:
        return
    if config.train.deterministic:
        raise ValueError(
            "config.train.jit_compile=True and config.train.deterministic=True: XLA has no deterministic gradient of "
            "max pooling; set one of them to False."
        )
    if replicas > 1 and not tf.config.list_physical_devices("GPU"):
        raise ValueError(
            f"config.train.jit_compile=True with {replicas} replicas on the CPU: XLA cannot reach the variables of "
            "another device there; set it to False or config.train.num_virtual_devices to 1."
        )
