"""Model + split -> Report, at full image size: every pixel decided once, scored once, counted once.

`evaluate` runs the network on the replicas of a tf.distribute strategy and counts on the host. `evaluate_run` does so
for a finished training run. `answering` gives the maps of one picture, as they are counted. `calibration` chooses the
abstention threshold from a report on held-out images. What is counted is in kseg/evaluation/pixel_counts.py, what is
made of it in kseg/evaluation/report.py.
"""

import dataclasses
import os

import numpy as np
import tensorflow as tf
from PIL import Image

import tfrecords
from kseg import errors, metrics
from kseg.data import input_pipeline
from kseg.distribution import replicas
from kseg.evaluation import pixel_counts
from kseg.evaluation import report as scorecard
from kseg.models import averaging, layers
from kseg.progress import NONE, Progress
from kseg.runs import finished
from kseg.serving import tiles
from tfrecords import files

Report = scorecard.Report


def evaluate(
    model,
    treatment,
    manifest,
    config,
    split,
    indices=None,
    threshold=None,
    official_dir=None,
    strategy=None,
    progress=True,
):
    """Evaluates a model on a split.

    Images keep their size: those of one size are batched, config.eval.batch_size over all replicas. Where a batch has
    fewer images than there are replicas, or their number does not divide, its last image is repeated. The repetitions
    are not counted. So no replica is ever without an image. With several workers, each takes every n-th image and all
    get the whole report.

    Args:
      model: keras.Model, or any function, from images [N, H, W, 3] (0..255) to logits [N, H, W, outputs].
      treatment: treatments.Treatment.
      manifest: tfrecords.Manifest.
      config: the run's ConfigDict; `data`, `eval` and `treatment.abstain` are read.
      split: its name.
      indices: positions in manifest.index(split); None = all.
      threshold: of the calibrated decision, abstain where the primary score is greater; None = no such decision.
      official_dir: folder for the decisions as PNGs of published ids at full size, one `<image id>.png` per image;
        native or calibrated as config.treatment.abstain says. An abstention is `LabelTable.abstain_id` (Cityscapes' 0,
        CamVid's 11). Made if missing.
      strategy: tf.distribute strategy under which the model was built; None = the current one.
      progress: True for a bar at a terminal and lines elsewhere, "lines", or False.

    Returns:
      Report; None for a split without labels, which only `official_dir` makes sense for.

    Raises:
      ValueError: nothing to evaluate, a table that does not fit the treatment, NaN scores, or a folder with other
        content. Also official_dir, where the decision may abstain and the table has no void id for it.
    """
    table = manifest.split(split).table.select(config.data.seen_void_ids, config.data.unseen_void_ids)
    if table.num_classes != treatment.num_classes:
        raise ValueError(
            f"split {split!r} of {manifest.records_dir} has {table.num_classes} classes, the model "
            f"{treatment.num_classes}; evaluate on records with the classes it was trained on."
        )
    image_ids = manifest.index(split).image_ids
    indices = np.arange(len(image_ids)) if indices is None else np.asarray(indices)
    image_ids = tuple(image_ids[i] for i in indices)
    has_labels = manifest.split(split).has_labels
    if not image_ids:
        raise ValueError(f"split {split!r} of {manifest.records_dir}: no images to evaluate on.")
    if not has_labels and not official_dir:
        raise ValueError(f"split {split!r} of {manifest.records_dir} has no labels; only predictions can be written.")
    shown = "calibrated" if threshold is not None and config.treatment.abstain == "calibrated" else "native"
    abstains = shown == "calibrated" or treatment.rule() is not None
    write = _official_writer(official_dir, image_ids, table, abstains) if official_dir else None

    spread = replicas.Replicas(strategy)
    decisions = ["native", "forced"] + (["calibrated"] if threshold is not None else [])
    counted = pixel_counts.Tally(pixel_counts.Layout.of(table), decisions, treatment.scores, len(image_ids))
    tiled, _ = tile_size(config), averaging.views(config.eval.average)
    predict = spread.compile(_predict_function(model, treatment, threshold, config.eval))
    mine = np.arange(spread.worker, len(image_ids), spread.workers)
    examples = input_pipeline.eval_dataset(manifest, split, indices[mine]).as_numpy_iterator()
    batch_size = spread.local * max(1, config.eval.batch_size // (spread.local * spread.workers))
    done = 0
    with Progress(split, len(mine), "image", style=NONE if spread.worker else progress) as bar:
        for batch in _batches(zip(mine, examples), batch_size):
            pixels = [example["image"] for _, example in batch]
            if tiled and np.any(np.greater(pixels[0].shape[:2], tiled)):
                results = _joined(
                    lambda pieces: spread.run(predict, pieces), pixels, tiled, config.eval.tile_overlap, model
                )
            else:
                results = spread.run(predict, pixels)
            for place, (image, example) in enumerate(batch):
                maps = {name: results[name][place] for name in decisions}
                if write:
                    write(image_ids[image], maps[shown])
                if has_labels:
                    _count(counted, image, image_ids[image], example["ids"], maps, results["bins"][place])
            done += len(batch)
            shows = bar.is_due(done)
            bar.advance(done)
            if shows:
                bar.show()
    if not has_labels:
        return None
    histograms = _over_workers(spread, counted)
    return Report(split, treatment.name, treatment.primary, image_ids, threshold, counted, histograms)


def answering(model, treatment, config, threshold=None):
    """A function that answers one picture as `evaluate` counts it: of the same size, in the same tiles and views.

    Args:
      model, treatment, threshold: as in `evaluate`.
      config: the run's ConfigDict; `eval` and `treatment.abstain` are read.

    Returns:
      f(image [H, W, 3], values 0..255) -> (decision uint8 [H, W], primary score float32 [H, W]). The decision is native
      or calibrated as config.treatment.abstain says.

    Raises:
      ValueError: settings that make no sense.
    """
    settings, tiled = config.eval, tile_size(config)
    calibrated = config.treatment.abstain == "calibrated" and threshold is not None

    def run(images):
        z = averaging.logits(model, treatment, np.stack(images), tuple(settings.input_size), settings.average)
        decision = treatment.decide(z, tf.constant(threshold, tf.float32)) if calibrated else treatment.native(z)
        score = treatment.scores[treatment.primary](z)
        return {"decision": tf.cast(decision, tf.uint8).numpy(), "score": tf.cast(score, tf.float32).numpy()}

    def answer(image):
        if tiled and np.any(np.greater(image.shape[:2], tiled)):
            maps = _joined(run, [image], tiled, settings.tile_overlap, model)
        else:
            maps = run([image])
        return maps["decision"][0], maps["score"][0]

    return answer


def calibration(report, config):
    """The threshold at which config.treatment.abstain_rate of the labelled pixels of held-out images are lost.

    Args:
      report: Report on the held-out images.
      config: the run's ConfigDict.

    Returns:
      The content of calibration.json: {"score": name, "threshold": float, "nominal": share asked for, "realised": share
      lost, "images", "labelled_pixels"}. The realised share is never above the nominal
      one, and below it by less than a bin of the score's histogram.

    Raises:
      ValueError: the images have no labelled pixel.
    """
    nominal = float(config.treatment.abstain_rate)
    threshold, realised = report.threshold_for(nominal)
    return {
        "score": report.primary_score,
        "threshold": threshold,
        "nominal": nominal,
        "realised": realised,
        "images": len(report.image_ids),
        "labelled_pixels": int(report.matrix("forced")[:-1].sum()),
    }


def evaluate_run(
    folder, split, records_dir=None, official_dir=None, checkpoint="model", progress=True, average=None, tile_size=None
):
    """Evaluates a finished training run, on all GPUs, and writes eval_<split>.json and .npz into its folder.

    What is asked in another way than the run's own has a name of its own, so that no page takes the one for the other:
    eval_<split>_best of the best weights, _other_records of records with another digest, _averaged of other views and
    _tiled of other tiles; several in this order. The threshold stays the one that was calibrated in the run's own way.

    Args:
      folder: the workdir.
      split: its name.
      records_dir: records of the same classes, other ones or moved; None = those of the run, unchanged.
      official_dir, progress: as in `evaluate`.
      checkpoint: "model" or "best".
      average, tile_size: other values of config.eval.average and config.eval.tile_size than the run's; None = its own.

    Returns:
      Report; None for a split without labels.

    Raises:
      ValueError, FileNotFoundError: run, records or split are not there or do not fit.
    """
    many = len(tf.config.list_physical_devices("GPU")) > 1
    strategy = tf.distribute.MirroredStrategy() if many else tf.distribute.get_strategy()
    with strategy.scope():
        run = finished.load_run(folder, checkpoint)
    try:
        manifest = tfrecords.info(records_dir or run.config.data.records_dir)
    except FileNotFoundError as error:
        if records_dir:
            raise
        raise FileNotFoundError(
            f"the records that {folder} was trained on: {error}; --records_dir=FOLDER says where they are now."
        ) from error
    if not records_dir and manifest.digest != run.digest:
        raise ValueError(
            f"{manifest.records_dir} has changed since {folder} was trained on it (dataset.json differs); name it with "
            "--records_dir to evaluate on it all the same."
        )
    table = manifest.split(split).table.select(run.config.data.seen_void_ids, run.config.data.unseen_void_ids)
    if table.class_names != run.table.class_names:
        raise ValueError(
            f"{manifest.records_dir} has the classes {', '.join(table.class_names)}; {folder} was trained on "
            f"{', '.join(run.table.class_names)}."
        )
    if run.config.treatment.abstain == "calibrated" and not run.calibration:
        raise ValueError(
            f"config.treatment.abstain is calibrated, but {folder} has no calibration.json; train with "
            "config.data.calibration_fraction > 0."
        )
    suffix = ("_best" if checkpoint == "best" else "") + ("_other_records" if manifest.digest != run.digest else "")
    for key, value, name in (("average", average, "_averaged"), ("tile_size", tile_size, "_tiled")):
        if value is not None and value != run.config.eval[key]:
            run.config.eval[key], suffix = value, suffix + name
    run.config.data.records_dir = manifest.records_dir  # for what is said of a damaged record
    threshold = run.calibration["threshold"] if run.calibration else None
    with errors.explained(run.config, folder, "evaluate in tiles (kseg evaluate --tile=512x512)"):
        report = evaluate(
            run.model, run.treatment, manifest, run.config, split,
            threshold=threshold, official_dir=official_dir, strategy=strategy, progress=progress,
        )  # fmt: skip
    if report is not None:
        settings = run.config.eval
        report.notes.update(checkpoint=checkpoint, records=manifest.digest, total_steps=run.config.train.total_steps)
        report.notes.update(average=settings.average, tile_size=list(settings.tile_size))
        report = dataclasses.replace(report, suffix=suffix)
        report.save(folder)
    return report


def tile_size(config):
    """config.eval.tile_size, or None if images are seen whole; raises ValueError if it makes no sense."""
    size = tuple(config.eval.tile_size)
    if size == (0, 0):
        return None
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"config.eval.tile_size={size}: expected a height and a width in px, or (0, 0) for no tiles.")
    if any(config.eval.input_size):
        raise ValueError(
            f"config.eval.tile_size={size}: a network that sees every image at config.eval.input_size="
            f"{tuple(config.eval.input_size)} would see parts enlarged; set one of them to (0, 0)."
        )
    return size


def _joined(run, images, size, overlap, model):
    """What `run` answers to the tiles of images of one shape, put together as kseg predict does."""
    stride = max(
        (layer.stride for layer in getattr(model, "layers", ()) if isinstance(layer, layers.PadToStride)), default=1
    )
    height, width = images[0].shape[:2]
    whole = {}
    for piece in tiles.plan(height, width, size, overlap, stride):
        answers = run([image[piece.rows, piece.columns] for image in images])
        for name, answer in answers.items():
            if name not in whole:
                whole[name] = np.empty((*answer.shape[:-2], height, width), answer.dtype)
            whole[name][..., piece.kept_rows, piece.kept_columns] = answer[(..., *piece.kept)]
    return whole


def _predict_function(model, treatment, threshold, settings):
    """f(images [n, H, W, 3]) -> {decision: uint8 [n, H, W], "bins": uint16 [n, scores, H, W]}."""

    def replica(images):
        z = averaging.logits(model, treatment, images, tuple(settings.input_size), settings.average)
        maps = {"native": treatment.native(z), "forced": treatment.forced(z)}
        if threshold is not None:
            maps["calibrated"] = treatment.decide(z, tf.constant(threshold, tf.float32))
        maps = {name: tf.cast(decision, tf.uint8) for name, decision in maps.items()}
        bins = [tf.cast(metrics.score_bins(score(z)), tf.uint16) for score in treatment.scores.values()]
        return maps | {"bins": tf.stack(bins, 1)}

    return replica


def _batches(examples, batch_size):
    """Lists of (number, example) whose images have one size; few images wait at a time."""
    waiting = {}
    for number, example in examples:
        same = waiting.setdefault(example["image"].shape, [])
        same.append((number, example))
        if len(same) == batch_size:
            yield waiting.pop(example["image"].shape)
        elif sum(map(len, waiting.values())) >= 2 * batch_size:
            yield waiting.pop(max(waiting, key=lambda shape: len(waiting[shape])))
    yield from waiting.values()


def _count(counted, image, image_id, ids, maps, bins):
    try:
        counted.add(image, ids, maps, bins)
    except ValueError as error:
        raise ValueError(f"image {image_id}: {error}; the model has diverged or its weights are damaged.") from None


def _over_workers(spread, counted):
    """Sums the tally over workers, in place; returns its per-image histograms."""
    if spread.workers > 1:
        for counts in [*counted.counts.values(), *counted.histograms]:
            counts[:] = spread.sum_over_workers(counts)
    finished = []
    for score in range(len(counted.scores)):
        counts, starts = counted.image_histograms(score, scorecard.IMAGE_BINS)
        if spread.workers > 1:
            counts = spread.sum_over_workers(counts.astype(np.int64)).astype(np.uint32)
        finished.append((counts, starts))
    return tuple(finished)


def _official_writer(folder, image_ids, table, abstains):
    """f(image id, decision [H, W]): writes `<image id>.png`; the scorer wants exactly one such file per image."""
    if abstains and table.abstain_id is None:
        raise ValueError(
            f"the label table {table.name} has no void id, so an abstention cannot be written as a published id; leave "
            "--official_dir out, or take a treatment and an operating point that never abstain."
        )
    nested = [image_id for image_id in image_ids if "/" in image_id or "\\" in image_id]
    if nested:  # in records of earlier programs
        raise ValueError(
            f"image id {nested[0]!r} is no name for a file in {folder}; convert again, with ids without / and \\."
        )
    os.makedirs(folder, exist_ok=True)
    ours = {f"{image_id}.png" for image_id in image_ids}
    others = sorted(set(os.listdir(folder)) - ours)
    if others:
        raise ValueError(f"{folder} holds {len(others)} other files ({others[0]} ...); give an empty or a new folder.")
    official = table.official_ids()

    def write(image_id, decision):
        path = os.path.join(folder, f"{image_id}.png")
        files.write_whole(path, lambda file: Image.fromarray(official[decision]).save(file, format="PNG"))

    return write
