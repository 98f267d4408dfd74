"""train_and_evaluate(config, workdir): one training run, from records to model.keras.

The loop is our own, on a tf.distribute strategy, and the same in every mode. Keras `fit` of this version is inexact, or
fails, with several workers, clipping, accumulation or loss scaling over replicas. A batch is a pure function of (seed,
global step), so a run is resumed from its weights and its step alone.
"""

import os
from typing import NamedTuple

import keras
from absl import logging

from kseg import errors
from kseg.distribution import strategy as distribution
from kseg.progress import AUTO, Progress
from kseg.runs import checkpoints, workdir
from kseg.training import assembly, held_out, recent_losses
from kseg.training import callbacks as named_callbacks
from kseg.training import log as training_log
from kseg.training import step as training_step

FINISHED, PREEMPTED = "finished", "preempted"
# Inputs of runs that were told to stop. TensorFlow, taking one down, waits for its threads, and has waited for ever.
_never_taken_down = []


class _Observers(NamedTuple):
    """Who hears of the steps; none of them changes what is trained, but for `judge`, whose state may stop it early."""

    losses: recent_losses.RecentLosses
    log: training_log.TrainingLog
    judge: held_out.HeldOut
    bar: Progress
    callbacks: keras.callbacks.CallbackList


def train_and_evaluate(config, folder, callbacks=(), progress=AUTO, page=True):
    """Trains until config.train.total_steps, resuming from the newest checkpoint in `folder`.

    Writes config.json, metrics.jsonl and .csv, checkpoints/, tensorboard/, model.keras, best.keras, calibration.json,
    eval_held_out.json and .npz, and report.html.

    Args:
      config: ml_collections.ConfigDict; see kseg/config.py.
      folder: str, the workdir.
      callbacks: keras.callbacks.Callback objects; on_train_begin, on_train_batch_begin/end and on_train_end are called,
        and on_epoch_end for every line of metrics.jsonl, the step in place of the epoch.
      progress: True for a bar at a terminal and lines elsewhere, "lines", or False.
      page: whether to draw report.html at the end.

    Returns:
      FINISHED, or PREEMPTED after SIGTERM or Ctrl-C: the state is saved and the same call goes on from there.

    Raises:
      ValueError: on a configuration or records that cannot be trained, too little memory, or a loss that is not
        finite; one line.
      OSError: if a file cannot be read or written.
      distribution.LostWorker: if another worker is gone; one line.
    """
    strategy = distribution.make_strategy(config)
    with distribution.watching_peers(strategy), errors.explained(config, folder):
        outcome, parts, judge = _train(config, folder, callbacks, progress, strategy)
        if page and outcome == FINISHED:
            with judge.weights():
                if distribution.is_chief(strategy):
                    _draw_page(folder, parts)
        return outcome


def _train(config, folder, callbacks, progress, strategy):
    chief = distribution.is_chief(strategy)
    functions = named_callbacks.find(config.log.callbacks)
    parts = assembly.build(config, folder, strategy)

    # ---- Resume ------------------------------------------------------------------------------------------------------
    workdir.open_run(folder, config, parts.manifest, parts.table, write=chief)
    state = checkpoints.RunState(os.path.join(folder, "checkpoints"), parts.model, parts.optimizer, parts.ema)
    step, losses_so_far = state.restore(set_aside=chief)
    distribution.check_same_step(strategy, step, folder)
    total = config.train.total_steps
    if step:
        logging.info("resuming %s at step %d of %d", folder, step, total)
    if parts.earlier_totals and step < total:
        logging.info("%s", _extension(config, parts.earlier_totals[-1]))

    # ---- Train -------------------------------------------------------------------------------------------------------
    if chief:
        callbacks = [*callbacks, *named_callbacks.make(functions, config, folder)]
    callback_list = keras.callbacks.CallbackList(list(callbacks), model=parts.model)
    losses = recent_losses.RecentLosses(losses_so_far)
    log = training_log.TrainingLog(folder, step, chief, callback_list.on_epoch_end)
    judge = held_out.HeldOut(config, folder, parts, state, strategy, chief)
    bar = Progress("train", total, "step", step, progress if chief else False, ("image", config.train.batch_size))
    callback_list.on_train_begin()
    with bar:
        observers = _Observers(losses, log, judge, bar, callback_list)
        step, saved = _loop(config, folder, strategy, parts, state, step, observers)
        preempted = step < total and not state.stops_early(config.train.early_stopping_evals)
        if not (preempted or saved):
            _save_final(folder, parts, state, judge, step, chief)
    callback_list.on_train_end()
    log.close()
    if preempted:
        return PREEMPTED, parts, judge
    if step < total:
        logging.info("no better mean IoU in %d evaluations: stopped at step %d of %d", state.stale, step, total)

    # ---- What the run leaves -----------------------------------------------------------------------------------------
    if judge:
        judge.conclude()
    return FINISHED, parts, judge


def _loop(config, folder, strategy, parts, state, step, observers):
    """Steps until the last one, an early stop or a request to end; returns (finished steps, whether model.keras is of
    them)."""
    settings, total, optimizer = config.train, config.train.total_steps, parts.optimizer
    losses, log, judge, bar, callback_list = observers
    begun, chief = step, distribution.is_chief(strategy)
    batches = iter(training_step.distributed_batches(strategy, config, parts.manifest, parts.treatment.encoding, step))
    with distribution.TerminationRequest(strategy) as termination:
        while step < total and not state.stops_early(settings.early_stopping_evals):
            # ---- One step ----
            callback_list.on_train_batch_begin(step)
            logs, shows = (step + 1) % config.log.every_steps == 0 or step + 1 == total, bar.is_due(step + 1)
            # Of this step: afterwards it is the next one's.
            rate = float(optimizer.learning_rate) if logs or shows else None
            loss = parts.train_step(next(batches))
            step += 1
            if parts.ema:
                parts.ema.update()
            losses.add(loss)
            if step == total:
                # Before a callback, an evaluation or a full disk can fail.
                losses.check(step, optimizer)
                _save_final(folder, parts, state, judge, step, chief)
            callback_list.on_train_batch_end(step - 1, {"loss": loss})
            bar.advance(step)
            if shows:
                bar.show(f"loss {losses.moving_mean():.4f}", f"lr {rate:.2g}")

            # ---- What is due after it ----
            stop = termination.requested()
            if logs:
                losses.check(step, optimizer)
                log.training(
                    step, losses.values(), rate, settings.batch_size, recent_losses.loss_scale(optimizer)
                )  # fmt: skip
                losses.clear()
            if judge and (step == total or (config.eval.every_steps and step % config.eval.every_steps == 0)):
                _evaluate(config, step, log, judge, bar)
            if (
                stop or step == total or step % settings.checkpoint_every_steps == 0
                or state.stops_early(settings.early_stopping_evals)
            ):  # fmt: skip
                losses.check(step, optimizer)
                log.sync()
                if chief:
                    state.save(step, losses.values(), settings.keep_checkpoints)
                bar.skip()
            if stop and step < total:
                _never_taken_down.append(batches)
                return step, False
    return step, step == total and begun < total


def _evaluate(config, step, log, judge, bar):
    values = judge.evaluate().to_json()
    chosen_by, is_best = judge.keep_best()
    with judge.weights():
        if log.writes:
            log.evaluation(step, values, judge.pictures())
    if step < config.train.total_steps and chosen_by is not None:
        bar.say(f"step {step}: held-out mean IoU {100 * chosen_by:.1f} %{', the best so far' if is_best else ''}")
    bar.skip()


def _draw_page(folder, parts):
    """Writes report.html; what was trained is worth having without it, so no failure of it is one of the run."""
    try:
        from kseg.report import examples, run_page

        _, problem = run_page.write(folder, opened=examples.Opened(parts.model, parts.treatment, parts.manifest))
    except Exception as error:
        problem = f"{type(error).__name__}: {errors.one_line(error)[:300]}"
        logging.warning(
            "%s/report.html could not be drawn (%s); kseg report --workdir=%s tries again", folder, problem, folder
        )
        return
    if problem:
        logging.warning("%s/report.html has no pictures: %s", folder, problem)


def _save_final(folder, parts, state, judge, step, chief):
    with judge.weights():
        if chief:
            state.check_finite(step)
            held_out.save_model(parts.model, os.path.join(folder, "model.keras"))


def _extension(config, before):
    kind, total = config.optimizer.schedule, config.train.total_steps
    how = "goes on as it was" if kind == "constant" else f"starts again at its peak and falls to step {total} ({kind})"
    return f"extended from {before} to {total} steps; the learning rate {how}"
