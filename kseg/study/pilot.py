"""A few steps of training and a few frames of evaluation, timed: what kseg/study/schedule.py plans with.

Runs in a process of its own, as every run of a study does, so that what it takes to start one is timed too.
"""

import json
import os
import threading
import time

_BEGIN = time.monotonic()

import ml_collections  # noqa: E402  after the clock has started

import kseg  # noqa: E402
from kseg.study import results, worker  # noqa: E402

STEPS, WARM = 12, 2  # steps of the pilot; those before the clock of the steps starts
_FRAMES = (4, 12)  # that are evaluated against the clock: what the second call takes more is theirs
_START_S = 1.0  # of Python itself, before this module's clock


def run(folder: str) -> None:
    """Times what `folder`/request.json asks for; writes `folder`/pilot.json.

    request.json: {"config": the base of the study, "split": whose frames are evaluated}. pilot.json: seconds in all,
    and start, step, frame and end as in schedule.decide. The treatment is background_class, which evaluates most.
    """
    threading.Thread(target=worker.end_with_parent, daemon=True).start()
    with open(os.path.join(folder, "request.json"), encoding="utf-8") as file:
        request = json.load(file)
    kseg.load_tensorflow_quietly()
    import keras
    import numpy as np

    import tfrecords
    from kseg.evaluation import evaluate
    from kseg.runs import finished
    from kseg.training import train

    ends = {}

    class Clock(keras.callbacks.Callback):
        """Notes when the device has finished a step; only where that is asked, since it waits for it."""

        def on_train_batch_end(self, batch, logs=None):
            if batch + 1 in (1, WARM, STEPS):
                float(logs["loss"])
                ends[batch + 1] = time.monotonic()

    config = ml_collections.ConfigDict(worker.tuples(request["config"]))
    config.treatment.name = "background_class"
    config.train.total_steps = config.train.checkpoint_every_steps = config.log.every_steps = STEPS
    config.optimizer.warmup_steps = 0
    config.data.calibration_fraction = 0.0  # no evaluation in training
    workdir = os.path.join(folder, "train")
    train.train_and_evaluate(config, workdir, [Clock()], progress=False, page=False)
    trained = time.monotonic()

    opened = finished.load_run(workdir)
    manifest = tfrecords.info(config.data.records_dir)
    there = manifest.splits[request["split"]].examples

    def evaluation(frames):
        begin = time.monotonic()
        evaluate.evaluate(
            opened.model, opened.treatment, manifest, opened.config, request["split"], np.arange(frames), threshold=0.0,
            progress=False,
        )  # fmt: skip
        return time.monotonic() - begin

    few, more = (min(count, there) for count in _FRAMES)
    evaluation(few)  # what is loaded and chosen at the first call
    of_few, of_more = evaluation(few), evaluation(more)
    grown = of_more - of_few
    frame = grown / (more - few) if more > few and grown > 0 else of_more / more
    measured = {
        "start": ends[1] - _BEGIN + _START_S,
        "step": (ends[STEPS] - ends[WARM]) / (STEPS - WARM),
        "frame": frame,
        # Four evaluations begin in a run; loading, saving and compressing take as long as here, twice.
        "end": 4 * max(of_few - few * frame, 0.0) + 2 * (trained - ends[STEPS]),
    }
    measured["seconds"] = time.monotonic() - _BEGIN + _START_S
    rounded = {name: float(f"{seconds:.3g}") for name, seconds in measured.items()}
    results.write_text(os.path.join(folder, "pilot.json"), json.dumps(rounded) + "\n")
