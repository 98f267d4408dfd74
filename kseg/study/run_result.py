"""One finished training run of a study -> its result: evaluated, counted per frame, reduced to what comparing needs.

Answers what goes into result.json beside the run's name; kseg/study/results.py says how it is written and read. Loads
the model, so it runs in the run's own process.
"""

import json
import os

import numpy as np
import tensorflow as tf

import tfrecords
from kseg import histograms
from kseg.data import splits
from kseg.evaluation import evaluate, pixel_counts
from kseg.evaluation import report as scorecard
from kseg.runs import finished
from kseg.study import identity, results
from kseg.study.report import picture_sheets

LOST = np.geomspace(0.001, 0.2, 40)  # shares of correctly labelled pixels at which curves are read
_FRAME_BINS = 64  # per-frame histograms serve resampling alone; the AUROC moves by less than 2 / 64 of the tied share


def of_run(folder: str, config, test_split: str, pictures_dir: str = "") -> dict:
    """The result of a finished training run.

    Args:
      folder: its workdir (kseg/training/train.py).
      config: its configuration.
      test_split: what it is evaluated on; "" = the images held out of training.
      pictures_dir: gets pictures of the test split (kseg/study/report/picture_sheets.py); "" = none.

    Returns:
      JSON values: identity, classes, primary_score, parameters, flops, training, calibration, evaluation.
    """
    run = finished.load_run(folder)
    manifest = tfrecords.info(config.data.records_dir)
    split, indices = test_split, None
    if not test_split:
        split, indices = config.data.train_split, splits.split_calibration(config, manifest)[1]
    threshold = run.calibration["threshold"] if run.calibration else None
    report = evaluate.evaluate(
        run.model, run.treatment, manifest, run.config, split, indices, threshold=threshold, progress=False
    )
    if pictures_dir and test_split:
        picture_sheets.save(pictures_dir, run, manifest, split)
    return {
        "identity": identity.identity(manifest.digest),
        "classes": list(run.table.class_names),
        "primary_score": report.primary_score,
        "parameters": int(run.model.count_params()),
        "flops": _flops(run.model, run.config),
        "training": _training(os.path.join(folder, "metrics.jsonl")),
        "calibration": run.calibration,
        "evaluation": of_report(report, test_split or "held_out"),
    }


def of_report(report, split: str) -> dict:
    """What comparing needs of an evaluation: report, per-frame counts, curve, native point. See summary.py."""
    values = report.to_json()
    kinds = [kind for kind in ("all", *pixel_counts.KINDS) if values["void"][kind]["pixels"]]
    return {
        "split": split,
        "kinds": kinds,
        "report": _slim(values, kinds),
        "frames": _frames(report),
        "caught": _caught(report, kinds),
        "native_point": _native_point(report, values, kinds),
    }


def _slim(values, kinds):
    """The report less the ids of void and what is in it twice."""
    slim = {key: value for key, value in values.items() if key not in ("void", "calibrated")}
    slim["void"] = {kind: values["void"][kind] for kind in kinds}
    if "calibrated" in values:
        calibrated = dict(values["calibrated"])
        calibrated["void"] = {
            kind: {"leak": calibrated["void"][kind]["leak"], "claimed_as": calibrated["void"][kind]["claimed_as"]}
            | {"off_edge": {"leak": calibrated["void"][kind]["off_edge"]["leak"]}}
            for kind in kinds
        }
        slim["calibrated"] = calibrated
    return slim


def _frames(report):
    """Per frame: confusion matrices, and off-edge histograms of the primary score by group, in few bins."""
    arrays = report.arrays()
    off_edge = arrays[f"histogram_{report.primary_score}"][:, :, 1]  # [frames, groups, bins]
    totals = off_edge.sum(0)
    groups = {name: totals[place] for place, name in enumerate(pixel_counts.GROUPS)}
    labelled = groups["right"] + groups["wrong"]
    starts = histograms.balanced_bins(labelled, sum(groups[kind] for kind in pixel_counts.KINDS), _FRAME_BINS)
    coarse = np.add.reduceat(off_edge, starts, axis=-1)
    packed = {"labelled": results.pack(coarse[:, 0] + coarse[:, 1])}
    for place, name in enumerate(pixel_counts.GROUPS):
        if name in pixel_counts.KINDS and groups[name].sum():
            packed[name] = results.pack(coarse[:, place])
    matrices = {
        name.removeprefix("confusion_"): results.pack(array)
        for name, array in arrays.items()
        if name.startswith("confusion_")
    }
    return {"ids": list(report.image_ids), "histograms": packed, **matrices}


def _caught(report, kinds):
    """Share of each kind of void above the threshold that loses each share of the correctly labelled pixels."""
    counts = report.tally.histograms[report.tally.scores.index(report.primary_score)].sum(1)
    names = scorecard.void_names(report.tally.layout)
    curves = {}
    for kind in kinds:
        void = counts[[2 + place for place in names[kind]]].sum(0)
        curves[kind] = [round(float(value), 6) for value in histograms.caught_at(void, counts[0], LOST)]
    return {"lost": [round(float(value), 6) for value in LOST], "kinds": curves}


def _native_point(report, values, kinds):
    """The native rule as a point of the curve: share of correctly labelled pixels lost, share of each void caught."""
    right = [int(np.trace(report.matrix(name)[:-1, :-1])) for name in ("forced", "native")]
    return {
        "lost": 1 - right[1] / right[0] if right[0] else 0.0,
        "caught": {kind: 1 - values["void"][kind]["leak"] for kind in kinds},
    }


def _training(path):
    """{"loss": [[step, loss], ...], "mean_iou": [[step, native mIoU on held-out images], ...]}."""
    out = {"loss": [], "mean_iou": []}
    with open(path, encoding="utf-8") as file:
        for line in map(json.loads, file):
            for name, key in (("loss", "loss"), ("mean_iou", "eval_mean_iou")):
                if line.get(key) is not None:
                    out[name].append([line["step"], round(line[key], 6)])
    return {name: points for name, points in out.items() if points}


def _flops(model, config):
    """Multiplications and additions of one image at the size the network sees, as TensorFlow counts them; None if it
    cannot."""
    height, width = config.eval.input_size if any(config.eval.input_size) else config.data.crop_size
    try:
        graph = tf.function(lambda image: model(image, training=False)).get_concrete_function(
            tf.TensorSpec([1, height, width, 3], tf.float32)
        )
        options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
        options["output"] = "none"
        return int(tf.compat.v1.profiler.profile(graph.graph, options=options).total_float_ops)
    except (AttributeError, ValueError, TypeError):
        return None
