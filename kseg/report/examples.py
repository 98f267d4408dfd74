"""The best and the worst pictures of an evaluation, by IoU and by void: which they are, and how they look.

Loads TensorFlow, since the model is asked again.
"""

import dataclasses
import io

import keras
import numpy as np
from PIL import Image

import tfrecords
from kseg import iou, pictures, treatments
from kseg.data import input_pipeline
from kseg.evaluation import evaluate, pixel_counts
from kseg.report.run import HELD_OUT

_WIDTH = 300  # px of one picture


@dataclasses.dataclass(frozen=True)
class Opened:
    """A run with its model and records at hand.

    Attributes:
      model, treatment: of the run; the model has the weights that were evaluated.
      manifest: tfrecords Manifest of its records.
    """

    model: keras.Model
    treatment: treatments.Treatment
    manifest: tfrecords.Manifest


def open_run(folder, report):
    """Opened, from a workdir, with the weights that a report is of; ValueError or OSError in one line where they or the
    records are not there, or the report is of other records."""
    from kseg.runs import finished

    run = finished.load_run(folder, report.get("checkpoint", "model"))
    if report.get("records", run.digest) != run.digest:
        raise ValueError("this evaluation is of other records than the run's, and pictures are drawn of its own alone")
    manifest = tfrecords.info(run.config.data.records_dir)
    if manifest.digest != run.digest:
        raise ValueError(f"{manifest.records_dir} has changed since {folder} was trained on it (dataset.json differs)")
    return Opened(run.model, run.treatment, manifest)


def sheets(run, evaluation, opened, count=2):
    """[(title, caption, JPEG bytes)]: the best and worst pictures by IoU, and by void caught.

    Args:
      run: run.Run.
      evaluation: run.Evaluation.
      opened: Opened.
      count: how many best and how many worst ones.
    """
    made = []
    for title, caption, values, name in (
        ("Best and worst by IoU", _IOU, image_iou(evaluation), "mean IoU"),
        ("Best and worst by void", _VOID, void_caught(evaluation), "void caught"),
    ):
        chosen = best_and_worst(values, count)
        if chosen:
            sheet = _sheet(run, evaluation, opened, chosen, values, name)
            made.append((title, caption.format(score=evaluation.report["primary_score"]), sheet))
    return made


_IOU = (
    "Images with the highest and the lowest mean IoU over their own classes. Left to right: image, truth, decision, "
    "void score ({score}; dark low, bright high). Void is striped magenta, what nothing is said about grey."
)
_VOID = (
    "Images of which most and least of the void is above the threshold of {score}, among those with at least 0.5 % of "
    "void."
)


def image_iou(evaluation):
    """Mean IoU of each image over the classes that it has: float64 [images], NaN where it has none."""
    matrices = evaluation.arrays["confusion_native"]
    own = matrices[:, :-1].sum(-1) > 0
    values = np.where(own, iou.per_class_iou(matrices), 0.0)
    return np.divide(values.sum(-1), own.sum(-1), out=np.full(len(own), np.nan), where=own.any(-1))


def void_caught(evaluation):
    """Share of each image's void above the threshold: float64 [images], NaN where less than 0.5 % of it is void.

    The threshold is the calibrated one, or where there is none the one that loses 5 % of the labelled pixels.
    """
    counts = evaluation.histogram().sum(2).astype(np.float64)  # [images, groups, bins]
    groups = list(evaluation.arrays["groups"])
    void = counts[:, [groups.index(kind) for kind in pixel_counts.REPORTED_KINDS]].sum(1)
    labelled = counts[:, :2].sum((0, 1))
    edges = evaluation.arrays[f"thresholds_{evaluation.report['primary_score']}"]
    if evaluation.threshold:
        first = np.searchsorted(edges, np.float32(evaluation.threshold["threshold"]))
    else:
        lost = labelled[::-1].cumsum()[::-1] / max(labelled.sum(), 1)
        first = int(np.argmax(lost <= 0.05)) if (lost <= 0.05).any() else len(lost)
    total = void.sum(1)
    enough = total >= 0.005 * counts.sum((1, 2))
    return np.divide(void[:, first:].sum(1), total, out=np.full(len(total), np.nan), where=enough & (total > 0))


def best_and_worst(values, count):
    """[("best" | "worst", position)] of at most `count` each, no position twice; NaN is neither."""
    order = [int(place) for place in np.argsort(-values, kind="stable") if not np.isnan(values[place])]
    best = order[: min(count, -(-len(order) // 2))]
    worst = [place for place in order[::-1][:count] if place not in best]
    return [("best", place) for place in best] + [("worst", place) for place in worst]


def predictions(run, opened, evaluation, image_ids):
    """{image id: (image, truth, decision, void score)} as they are shown: answered as they were counted."""
    report, config = evaluation.report, run.config.copy_and_resolve_references()
    for key in ("average", "tile_size"):
        config.eval[key] = report.get(key, config.eval[key])
    threshold, split = evaluation.threshold["threshold"] if evaluation.threshold else None, report["split"]
    answer = evaluate.answering(opened.model, opened.treatment, config, threshold)
    records_split = run.config.data.train_split if split == HELD_OUT else split
    places = {name: place for place, name in enumerate(opened.manifest.index(records_split).image_ids)}
    lacking = [name for name in image_ids if name not in places]
    if lacking:
        raise ValueError(f"the records of {run.folder} have no image {lacking[0]!r} in split {records_split!r}")
    truth = run.table.encoding("background")
    shown = {}
    wanted = np.array([places[name] for name in image_ids])
    for name, example in zip(image_ids, input_pipeline.eval_dataset(opened.manifest, records_split, wanted)):
        image = example["image"].numpy()
        shown[name] = image, truth[example["ids"].numpy()], *answer(image)
    return shown


def _sheet(run, evaluation, opened, chosen, values, name):
    names = [str(evaluation.arrays["image_ids"][place]) for _, place in chosen]
    shown = predictions(run, opened, evaluation, names)
    scores = np.concatenate([score.ravel()[::17] for *_, score in shown.values()])
    low, high = np.quantile(scores[np.isfinite(scores)], [0.01, 0.99])
    rows = []
    for image_id in names:
        image, truth, decision, score = shown[image_id]
        maps = [pictures.colorize(shrunk(m), run.table) for m in (truth, decision)]
        rows.append([_fit(image), *maps, _fit(pictures.heat_map(score, low=low, high=max(high, low + 1e-6)))])
    titles = [
        f"{kind}: {image_id}, {name} {100 * values[place]:.0f} %" for (kind, place), image_id in zip(chosen, names)
    ]
    sheet = pictures.grid(rows, ["image", "truth", "decision", "void score"], titles)
    return jpeg(np.concatenate([sheet, pictures.legend(run.table, sheet.shape[1])]))


def jpeg(picture):
    """The bytes of a picture, uint8 [H, W, 3], as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=88, optimize=True)
    return buffer.getvalue()


def shrunk(class_map, width=_WIDTH):
    """A class map in the sheet's size, no value that was not there."""
    height = max(1, round(class_map.shape[0] * width / class_map.shape[1]))
    return np.asarray(Image.fromarray(class_map).resize((width, height), Image.Resampling.NEAREST))


def _fit(picture):
    height = max(1, round(picture.shape[0] * _WIDTH / picture.shape[1]))
    return np.asarray(Image.fromarray(picture).resize((_WIDTH, height), Image.Resampling.BILINEAR))
