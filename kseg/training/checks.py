"""Whether a run can be trained as configured: all that can be known before its folder is touched.

A mistake that only shows after config.json is written would make the folder belong to that mistake. Options of a loss
term, an encoder or an evaluation that there is not are refused too: whoever set them expects an effect. Names that a
module looks up (an encoder, a schedule, a loss option) are that module's to check, when the run is put together.
"""

import numpy as np
import tensorflow as tf
from absl import logging

from kseg import config as default_config
from kseg import treatments
from kseg.data import augment, splits, tfa_ops
from kseg.evaluation import evaluate
from kseg.models import averaging, unet
from kseg.serving import tiles
from tfrecords import files, images, shards

CLASS_WEIGHTS = ("none", "inverse_sqrt", "median_frequency")

# Options of config.loss by the weights of the terms that they are for, each with the value that is none.
_LOSS_OPTIONS = {
    ("main_weight",): {"class_weights": "none", "label_smoothing": 0.0, "focal_gamma": 0.0, "top_k": 1.0},
    ("dice_weight", "inverted_dice_weight"): {"tversky_alpha": 0.5, "tversky_beta": 0.5, "dice_per_image": False},
}

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
    "eval.best_min_pixels": 0,
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
    files.check_folder(folder, "--workdir")
    _check_split(config, manifest)
    _check_numbers(config)
    augment.check_options(config.augment, config.data.crop_size)
    tfa_ops.check_names(config.augment.addons)
    if config.loss.class_weights not in CLASS_WEIGHTS:
        known = ", ".join(CLASS_WEIGHTS)
        raise ValueError(f"config.loss.class_weights={config.loss.class_weights!r}: expected one of {known}.")
    _check_batch(config, strategy.num_replicas_in_sync)
    _check_without_effect(config)
    table = splits.label_table(config, manifest)
    _check_loss(config, table.num_classes)
    _check_labelled(config, manifest)
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
    _check_tiles(config)
    averaging.views(config.eval.average)


def _check_tiles(config):
    """Raises what the first picture that is cut would: after all steps, where nothing is evaluated on the way."""
    size, overlap = evaluate.tile_size(config), config.eval.tile_overlap
    if size is None:
        return
    if overlap < 0:
        raise ValueError(f"config.eval.tile_overlap={overlap}: expected 0 px or more.")
    try:
        tiles.plan(size[0] + 1, size[1] + 1, size, overlap, unet.stride(config.model))
    except ValueError as error:
        raise ValueError(f"config.eval.tile_size={size}, config.eval.tile_overlap={overlap}: {error}") from None


def _check_batch(config, replicas):
    parts = replicas * config.train.accumulation_steps
    if config.train.batch_size % parts:
        raise ValueError(
            f"config.train.batch_size={config.train.batch_size}: expected a multiple of {parts} "
            f"({replicas} replicas x {config.train.accumulation_steps} accumulation steps)."
        )
    if config.train.accumulation_steps > 1 and (remedies := _exact_norm(config.model)):
        logging.warning(
            "accumulation with batch norm: statistics are of each part of the batch, so the step is not exactly that "
            "of the whole batch; %s makes it so.", " and ".join(remedies),
        )  # fmt: skip
    if config.train.accumulation_steps > 1 and config.model.dropout > 0:
        logging.warning(
            "accumulation with dropout: where Dice terms or top_k need a forward pass ahead of the gradients, masks of "
            "the two differ, so the step is not exactly that of the whole batch; config.model.dropout=0 makes it so."
        )


def _exact_norm(model):
    """The settings without which a batch norm would see parts of a batch; [] where none does."""
    remedies = ["config.model.norm=group"] if model.norm == "batch" else []
    frozen = model.freeze_encoder or model.freeze_encoder_norm
    # ConvNeXt has layer norm.
    if model.encoder not in ("none", "convnext_tiny") and not frozen:
        remedies.append("config.model.freeze_encoder_norm=True")
    return remedies


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
    else:
        usual = default_config.default().model
        # Without widths of its own the decoder has those that follow from `width`.
        without_effect = {"depth": "an encoder has its own"}
        without_effect |= {"width": "config.model.decoder_widths is set"} if model.decoder_widths else {}
        for key, why in without_effect.items():
            if model[key] != usual[key]:
                raise ValueError(
                    f"config.model.{key}={model[key]} has no effect with config.model.encoder={model.encoder}: {why}; "
                    f"leave it at {usual[key]}."
                )
    if config.treatment.abstain == "calibrated" and not config.data.calibration_fraction:
        raise ValueError(
            "config.treatment.abstain=calibrated takes a threshold from images that are held out, and "
            "config.data.calibration_fraction=0 holds none out; set the one to native or the other above 0."
        )


def _check_loss(config, num_classes):
    """An option has no effect exactly where the loss is the same without it."""
    name, loss = config.treatment.name, config.loss
    here = _described(treatments.get(config.treatment, num_classes, loss, _some_weights(loss, num_classes)))
    for weights, options in _LOSS_OPTIONS.items():
        for option, off in options.items():
            if loss[option] == off:
                continue
            without = loss.copy_and_resolve_references()
            without[option] = off
            other = treatments.get(config.treatment, num_classes, without, _some_weights(without, num_classes))
            if _described(other) == here:
                given = " and ".join(f"{weight}={loss[weight]:g}" for weight in weights)
                raise ValueError(
                    f"config.loss.{option}={loss[option]} is for the {'main' if len(weights) == 1 else 'Dice'} term of "
                    f"the loss, which {name} with config.loss.{given} has not; set it to {off}, or a weight above 0."
                )
    # Where the encoding takes void away, the weight is that of the treatment so changed, and stays with it.
    if config.treatment.void_weight != 1 and config.treatment.encoding != "ignore":
        without = config.treatment.copy_and_resolve_references()
        without.void_weight = 1.0
        if _described(treatments.get(without, num_classes, loss, _some_weights(loss, num_classes))) == here:
            raise ValueError(
                f"config.treatment.void_weight={config.treatment.void_weight:g} weighs void, on which {name} as "
                "configured does not train; set it to 1."
            )


def _some_weights(loss, num_classes):
    return None if loss.class_weights == "none" else [2.0] * num_classes


def _described(treatment):
    """What the loss of a treatment depends on, for comparisons."""
    described = []
    for (loss, span), weight in zip(treatment.loss.parts(), treatment.loss.weights):
        of_pixels = ("name", "class_weights", "void_class", "void_weight", "ignore_class")
        options = {key: value for key, value in loss.get_config().items() if key not in of_pixels}
        ignored, by_class, void_class, void_weight = loss.weights_key(span[1] - span[0])
        if treatment.encoding == "ignore":  # no target is void
            void_weight = None
        described.append((type(loss), options, weight, span, ignored, by_class, void_class, void_weight))
    return described


def _check_labelled(config, manifest):
    """Images without a labelled pixel train nothing, and give no threshold once all steps are done."""
    split = config.data.train_split
    table = manifest.split(split).table.select(config.data.seen_void_ids, config.data.unseen_void_ids)
    is_class = table.encoding("ignore") != table.ignore_label
    training, held_out = splits.split_calibration(config, manifest)
    if not _any_pixel(config, manifest, is_class, training):
        raise ValueError(
            f"the {len(training)} images of split {split!r} of {manifest.records_dir} to train on have no pixel of a "
            "class; look at their labels with kseg inspect-records."
        )
    if len(held_out) and not _any_pixel(config, manifest, is_class, held_out):
        raise ValueError(
            f"the {len(held_out)} images that config.data.calibration_fraction={config.data.calibration_fraction:g} "
            f"holds out of split {split!r} of {manifest.records_dir} have no pixel of a class, to evaluate on or to "
            "choose a threshold by; set another share, or 0 to hold out none."
        )


def _any_pixel(config, manifest, is_class, indices):
    """Whether one of these images of the training split has a pixel of a class: as a rule the first has."""
    where = manifest.index(config.data.train_split)
    for index in indices:
        try:
            example = shards.read_at(where.files[where.file_of[index]], int(where.offsets[index]))
            ids = images.decode_map(example.ids_png, where.image_ids[index])
        except (OSError, ValueError):  # damaged: the input pipeline will say so
            return True
        if is_class[np.unique(ids)].any():
            return True
    return False


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
