"""train_and_evaluate(config, workdir): one training run, from records to model.keras.

The loop is our own, on a tf.distribute strategy, and the same in every mode; Keras `fit` of this version is inexact or
fails with several workers, clipping, accumulation or loss scaling over replicas. A batch is a pure function of
(seed, global step), so a run is resumed from its weights and its step alone.
"""

import contextlib
import os

import keras
import numpy as np
import tensorflow as tf
import tqdm
from absl import logging

import tfrecords
from kseg import errors, optimizers, pictures, treatments
from kseg.data import input_pipeline, splits
from kseg.distribution import strategy as distribution
from kseg.evaluation import evaluate
from kseg.models import unet
from kseg.runs import checkpoints, workdir
from kseg.training import checks
from kseg.training import log as training_log
from kseg.training import step as training_step

FINISHED, PREEMPTED = "finished", "preempted"


def train_and_evaluate(config, folder, callbacks=(), progress=True):
    """Trains until config.train.total_steps, resuming from the newest checkpoint in `folder`.

    Writes config.json, metrics.jsonl, checkpoints/, tensorboard/, model.keras, best.keras and calibration.json.

    Args:
      config: ml_collections.ConfigDict; see kseg/config.py.
      folder: str, the workdir.
      callbacks: keras.callbacks.Callback objects; on_train_begin, on_train_batch_begin/end and on_train_end are called.
      progress: whether to draw a progress bar.

    Returns:
      FINISHED, or PREEMPTED after SIGTERM: the state is saved and the same call goes on from there.

    Raises:
      ValueError: on a configuration or records that cannot be trained, too little memory, or a loss that is not
        finite; one line.
      OSError: if a file cannot be read or written.
      distribution.LostWorker: if another worker is gone; one line.
    """
    strategy = distribution.make_strategy(config)
    with distribution.watching_peers(strategy), errors.explained(config, folder):
        return _train_and_evaluate(config, folder, callbacks, progress, strategy)


def _train_and_evaluate(config, folder, callbacks, progress, strategy):
    # ---- Data --------------------------------------------------------------------------------------------------------
    chief = distribution.is_chief(strategy)
    manifest = tfrecords.info(config.data.records_dir)
    table = splits.label_table(config, manifest)
    checks.check(config, manifest, strategy, folder)
    _, calibration = splits.split_calibration(config, manifest)

    # ---- Determinism -------------------------------------------------------------------------------------------------
    keras.utils.set_random_seed(config.train.seed)
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()

    # ---- Model, loss, optimizer --------------------------------------------------------------------------------------
    treatment = treatments.get(
        config.treatment, table.num_classes, config.loss, training_step.class_weights(config, manifest, table)
    )
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
            config.optimizer, config.train.total_steps, config.train.precision, unet.is_in_encoder(model)
        )
        optimizer.build(model.trainable_variables)
        ema = optimizers.Ema(model, config.optimizer.ema_decay) if config.optimizer.ema_decay else None
    train_step = training_step.train_step(config, strategy, model, treatment.loss, optimizer)

    # ---- Resume ------------------------------------------------------------------------------------------------------
    workdir.open_run(folder, config, manifest, table, write=chief)
    state = checkpoints.RunState(os.path.join(folder, "checkpoints"), model, optimizer, ema)
    step, losses_so_far = state.restore(set_aside=chief)
    distribution.check_same_step(strategy, step, folder)
    if step:
        logging.info("resuming %s at step %d of %d", folder, step, config.train.total_steps)
    log = training_log.TrainingLog(folder, step, losses_so_far, chief)
    best_path = os.path.join(folder, "best.keras")
    weights_to_use = (lambda: ema.swap()) if ema else contextlib.nullcontext
    callback_list = keras.callbacks.CallbackList(list(callbacks), model=model)
    callback_list.on_train_begin()

    report = None  # of the newest evaluation

    def run_evaluation():
        nonlocal report
        with weights_to_use():
            report = evaluate.evaluate(
                model, treatment, manifest, config, config.data.train_split, indices=calibration,
                strategy=strategy, progress=False,
            )  # fmt: skip
            values = report.to_json()
            if values["mean_iou"] is not None and values["mean_iou"] > state.best:
                state.best, state.stale = values["mean_iou"], 0
                if chief:
                    _save_model(model, best_path)
            else:
                state.stale += 1
            if chief:
                drawn = _prediction_pictures(config, manifest, table, model, treatment, calibration)
                log.evaluation(step, values, drawn)

    def save_model():
        with weights_to_use():
            if chief:
                state.check_finite(step)
                _save_model(model, os.path.join(folder, "model.keras"))

    # ---- Loop --------------------------------------------------------------------------------------------------------
    total = config.train.total_steps
    batches = iter(training_step.distributed_batches(strategy, config, manifest, treatment.encoding, step))
    bar = tqdm.tqdm(
        total=total * config.train.batch_size, initial=step * config.train.batch_size, unit="image", desc="train",
        disable=not (progress and chief), smoothing=0.05,
    )  # fmt: skip
    finished, saved = True, False
    with distribution.TerminationRequest(strategy) as termination, bar:
        while step < total and not state.stops_early(config.train.early_stopping_evals):
            callback_list.on_train_batch_begin(step)
            logs = (step + 1) % config.log.every_steps == 0 or step + 1 == total
            rate = float(optimizer.learning_rate) if logs else None  # of this step: afterwards it is the next one's
            loss = train_step(next(batches))
            step += 1
            if ema:
                ema.update()
            log.add(loss)
            if step == total:
                # Before a callback, an evaluation or a full disk can fail.
                log.losses(step, optimizer)
                save_model()
                saved = True
            callback_list.on_train_batch_end(step - 1, {"loss": loss})
            bar.update(config.train.batch_size)
            stop = termination.requested()
            save = stop or step == total or step % config.train.checkpoint_every_steps == 0
            if logs:
                bar.set_postfix(loss=f"{np.mean(log.losses(step, optimizer)):.4f}", refresh=False)
                log.training(step, rate, optimizer, config.train.batch_size)
            evaluates = step == total or (config.eval.every_steps and step % config.eval.every_steps == 0)
            if evaluates and len(calibration):
                run_evaluation()
            if save or state.stops_early(config.train.early_stopping_evals):
                losses_so_far = log.losses(step, optimizer)
                log.sync()
                if chief:
                    state.save(step, losses_so_far, config.train.keep_checkpoints)
            if stop and step < total:
                finished = False
                break
    if finished and not saved:
        save_model()
    callback_list.on_train_end()
    log.close()
    if finished and step < total:
        logging.info("no better mean IoU in %d evaluations: stopped at step %d of %d", state.stale, step, total)
    if not finished:
        return PREEMPTED

    # ---- What the run leaves -----------------------------------------------------------------------------------------
    with weights_to_use():
        if len(calibration):
            if report is None:  # else it is of this very step
                report = evaluate.evaluate(
                    model, treatment, manifest, config, config.data.train_split, calibration,
                    strategy=strategy, progress=False,
                )  # fmt: skip
            if chief:
                workdir.write_json(os.path.join(folder, "calibration.json"), evaluate.calibration(report, config))
    return FINISHED


def _save_model(model, path):
    temporary = f"{path[: -len('.keras')]}.tmp.keras"
    model.save(temporary)
    os.replace(temporary, path)


def _prediction_pictures(config, manifest, table, model, treatment, indices):
    """uint8 [H, W, 3] pictures: image, truth and native decision side by side."""
    chosen = indices[np.linspace(0, len(indices) - 1, min(config.log.pictures, len(indices))).astype(int)]
    truth = table.encoding("background")
    drawn = []
    for example in input_pipeline.eval_dataset(manifest, config.data.train_split, chosen):
        image = example["image"].numpy()
        decision = treatment.native(model(image[None], training=False))[0].numpy().astype(np.uint8)
        maps = [pictures.colorize(m, table) for m in (truth[example["ids"].numpy()], decision)]
        drawn.append(np.concatenate([image, *maps], 1))
    return drawn
