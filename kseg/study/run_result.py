"""One finished training run of a study -> its result: evaluated, counted per frame, reduced to what comparing needs.

Answers what goes into result.json beside the run's name; kseg/study/results.py says how it is written and read. Loads
the model, so it runs in the run's own process. Everything that any page says of a run is in its result: the model does
not outlive the study.

Counts are kept per unit: `frames_per_unit` frames that follow each other in a sequence, 1 unless the study says so.
Resampling draws blocks of many frames, so units of a few of them lose little, and a result is smaller by as much.
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
from kseg.study import grid, identity, objects, results
from kseg.study.report import picture_sheets

LOST = np.geomspace(0.001, 0.2, 40)  # shares of correctly labelled pixels at which curves are read
# Where the histograms of every score have bin edges: shares of correctly labelled pixels lost, dense around the 5 % at
# which void caught is read, and shares of void caught.
_LOST_EDGES = (0.005, 0.01, 0.02, 0.035, 0.045, 0.05, 0.055, 0.065, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75)
_CAUGHT_EDGES = (0.3, 0.5, 0.7, 0.9)
_FRAME_BINS = 64  # per-frame histograms serve resampling alone; the AUROC moves by less than 2 / 64 of the tied share


def of_run(folder: str, config, request: dict, pictures_dir: str = "") -> dict:
    """The result of a finished training run.

    Args:
      folder: its workdir (kseg/training/train.py).
      config: its configuration.
      request: of the study. "test_split": what the run is evaluated on ("" = the images held out of training).
        "sequence_pattern" and "frames_per_unit": which frames are counted together. "objects": {name: folder} of photos
        with never-seen objects. "objects_seen": the height and aspect they are seen at (kseg/study/objects.py).
      pictures_dir: gets pictures of the test split (kseg/study/report/picture_sheets.py); "" = none.

    Returns:
      JSON values: identity, classes, primary_score, parameters, flops, training, calibration, evaluation; held_out and
      objects where there are such.
    """
    run = finished.load_run(folder)
    manifest = tfrecords.info(config.data.records_dir)
    split, held_out = request["test_split"], splits.split_calibration(config, manifest)[1]
    threshold = run.calibration["threshold"] if run.calibration else None

    def evaluated(treatment, split, indices=None):
        return evaluate.evaluate(
            run.model, treatment, manifest, run.config, split, indices, threshold=threshold, progress=False
        )

    before = None
    if len(held_out):
        before = evaluated(run.treatment, config.data.train_split, held_out)
        treatment = run.treatment.with_evidences({score: before.moments(score) for score in run.treatment.evidences})
        if treatment is not run.treatment:  # the sum of evidences has held-out thresholds, too
            before = evaluated(treatment, config.data.train_split, held_out)
    else:
        treatment = run.treatment
    report = evaluated(treatment, split) if split else before
    if pictures_dir and split:
        picture_sheets.save(pictures_dir, run, manifest, split)
    result = {
        "identity": identity.identity(manifest.digest),
        "classes": list(run.table.class_names),
        "primary_score": report.primary_score,
        "parameters": int(run.model.count_params()),
        "flops": _flops(run.model, run.config),
        "training": _training(os.path.join(folder, "metrics.jsonl")),
        "calibration": run.calibration,
        "evaluation": of_report(
            report, split or "held_out", request.get("sequence_pattern", ""), request.get("frames_per_unit", 1)
        ),
    }
    if split and before is not None:
        result["held_out"] = _held_out(before, report)
    if request.get("objects"):
        result["objects"] = {
            name: objects.evaluate(run.model, treatment, photos, **request.get("objects_seen", {}))
            for name, photos in request["objects"].items()
        }
    return result


def of_report(report, split: str, sequence_pattern: str = "", frames_per_unit: int = 1) -> dict:
    """What comparing needs of an evaluation: report, counts per unit of frames, curve, native point. See summary.py."""
    values = report.to_json()
    kinds = [kind for kind in ("all", *pixel_counts.REPORTED_KINDS) if values["void"][kind]["pixels"]]
    return {
        "split": split,
        "kinds": kinds,
        "report": _slim(values, kinds),
        "frames": _frames(report, sequence_pattern, frames_per_unit),
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


def _frames(report, sequence_pattern, frames_per_unit):
    """Per unit: confusion matrices, off-edge histograms of the primary score by group, and those of every score."""
    arrays = report.arrays()
    order, starts, names = _units(report.image_ids, sequence_pattern, frames_per_unit)
    arrays = {
        name: np.add.reduceat(array[order].astype(np.int64), starts, axis=0)
        for name, array in arrays.items()
        if name.startswith(("confusion_", "histogram_"))
    } | {name: array for name, array in arrays.items() if name.startswith("thresholds_")}
    off_edge = arrays[f"histogram_{report.primary_score}"][:, :, 1]  # [units, groups, bins]
    totals = off_edge.sum(0)
    groups = {name: totals[place] for place, name in enumerate(pixel_counts.GROUPS)}
    labelled = groups["right"] + groups["wrong"]
    bins = histograms.balanced_bins(labelled, sum(groups[kind] for kind in pixel_counts.REPORTED_KINDS), _FRAME_BINS)
    coarse = np.add.reduceat(off_edge, bins, axis=-1)
    packed = {"labelled": results.pack(coarse[:, 0] + coarse[:, 1])}
    for place, name in enumerate(pixel_counts.GROUPS):
        if name in pixel_counts.REPORTED_KINDS and groups[name].sum():
            packed[name] = results.pack(coarse[:, place])
    matrices = {
        name.removeprefix("confusion_"): results.pack(array)
        for name, array in arrays.items()
        if name.startswith("confusion_")
    }
    scores = {
        score: _of_score(arrays[f"histogram_{score}"], arrays[f"thresholds_{score}"]) for score in report.tally.scores
    }
    return {"ids": names, "histograms": packed, "scores": scores, **matrices}


def _units(image_ids, sequence_pattern, frames_per_unit):
    """(order of the frames, where each unit starts in it, each unit's name: that of its first frame)."""
    if frames_per_unit == 1:
        return np.arange(len(image_ids)), np.arange(len(image_ids)), list(image_ids)
    order = np.argsort(np.array(image_ids))
    starts, place_in, before = [], 0, None
    for place, index in enumerate(order):
        sequence = grid.sequence(image_ids[index], sequence_pattern)
        place_in = place_in + 1 if sequence == before else 0
        before = sequence
        if place_in % frames_per_unit == 0:
            starts.append(place)
    return order, np.array(starts), [image_ids[order[start]] for start in starts]


def _of_score(counts, thresholds):
    """Counts of one score, int [units, groups, edge, bins], in the bins that reading prices needs; no empty groups.

    Edge 0 is at most 2 px from a change of label. Score > thresholds[b] flags bins b and above.
    """
    totals = counts.sum((0, 2))
    right, void = totals[0], totals[2:].sum(0)
    starts = {0}
    for side, shares in ((right, _LOST_EDGES), (void, _CAUGHT_EDGES)):
        above = np.cumsum(side[::-1])[::-1]  # in bins b and above
        if above[0]:
            starts |= {int(np.argmin(np.abs(above / above[0] - share))) for share in shares}
    starts = np.array(sorted(starts))
    coarse = np.add.reduceat(counts, starts, axis=-1)
    packed = {
        name: results.pack(coarse[:, place])
        for place, name in enumerate(pixel_counts.GROUPS)
        if place < 2 or totals[place].sum()
    }
    return {"thresholds": [float(value) for value in thresholds[np.append(starts, -1)]], **packed}


def _held_out(before, after):
    """What thresholds of the held-out images do on the test split, and how the network did on the held-out ones.

    {"forced_miou", "native_miou", "labelled_pixels", "moments": {score: [mean, deviation]}, "at": {score: {share:
    {"threshold", "lost": of correct pixels on the test split, "caught": {kind: share of void}}}}}; a threshold loses at
    most `share` of the held-out images' correctly labelled pixels.
    """
    values = before.to_json()
    names = scorecard.void_names(after.tally.layout)
    at = {}
    for place, score in enumerate(before.tally.scores):
        own = before.tally.histograms[place, 0].sum(0)
        there = after.tally.histograms[place].sum(1)
        at[score] = {}
        for share in histograms.LOST_SHARES:
            threshold, _ = histograms.threshold_for(own, share)
            first = int(np.searchsorted(histograms.thresholds(), np.float32(threshold)))
            shares = (there[:, first:].sum(-1) / np.maximum(there.sum(-1), 1)).tolist()
            sums = there[:, first:].sum(-1), there.sum(-1)
            kinds = {
                kind: float(sums[0][rows].sum() / sums[1][rows].sum())
                for kind, rows in (
                    (kind, [2 + i for i in names[kind]]) for kind in ("all", *pixel_counts.REPORTED_KINDS)
                )
                if rows and sums[1][rows].sum()
            }
            at[score][f"{share:.2f}"] = {"threshold": threshold, "lost": shares[0], "caught": kinds}
    return {
        "forced_miou": values["mean_iou_forced"],
        "native_miou": values["mean_iou"],
        "labelled_pixels": int(before.matrix("forced")[:-1].sum()),
        "moments": {score: list(before.moments(score)) for score in before.tally.scores},
        "at": at,
    }


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
