"""A network on photos with objects that its training never showed: how its scores tell object from the rest.

A folder of photos holds images/NAME.jpg or .png and labels/NAME.png: 1 the object, 0 the rest, 255 counted nowhere.
RoadAnomaly and the public part of RoadAnomaly21 come so. The photos are no records: their labels say nothing of
classes, so there is no accuracy on them. Loads TensorFlow, in the run's own process.
"""

import os

import numpy as np
import tensorflow as tf
from PIL import Image

from kseg import histograms, metrics
from kseg.models import full_size
from kseg.study import results

HEIGHT = 360  # px at which the network sees a photo, unless the study says the height of its training frames
_BINS = 32  # of a photo's histograms, which serve resampling; the statistics are of all bins


def evaluate(model, treatment, folder: str, height: int = HEIGHT, aspect: float = 1.0) -> dict:
    """Counts every score of a treatment on the photos of a folder, photo by photo.

    Args:
      model: keras.Model, images [N, H, W, 3] (0..255) to logits.
      treatment: treatments.Treatment.
      folder: of photos.
      height: px at which the network sees a photo; logits are resized to the photo's own size before they are scored.
      aspect: factor of a photo's width beside that; below 1 where the frames of training were squeezed so.

    Returns:
      {"ids": [P names], "height", "aspect", "scores": {score: {"statistics": of all photos together
      (`histograms.statistics`), "thresholds": [B + 1], "rest", "object": packed [P, B]}}}; score > thresholds[b] flags
      bins b and above.

    Raises:
      ValueError, FileNotFoundError: no photos, one without a label of its size, or another label than 0, 1 and 255.
    """
    pairs = photos(folder)
    fine = np.zeros((len(treatment.scores), len(pairs), 2, histograms.NUM_BINS), np.uint32)
    for place, (image_path, label_path) in enumerate(pairs):
        image, label = _read(image_path, label_path)
        size = (height, max(1, round(aspect * height * image.shape[1] / image.shape[0])))
        bins = _bins(model, treatment, tf.constant(image)[None], tf.constant(size)).numpy()
        for score, score_bins in enumerate(bins):
            for side in (0, 1):
                counted = np.bincount(score_bins[label == side], minlength=histograms.NUM_BINS)
                fine[score, place, side] = counted
    out = {}
    for score, counts in zip(treatment.scores, fine):
        totals = counts.sum(0, dtype=np.int64)
        starts = histograms.balanced_bins(totals[0], totals[1], _BINS)
        coarse = np.add.reduceat(counts, starts, axis=-1)
        edges = histograms.thresholds()
        out[score] = {
            "statistics": histograms.statistics(totals[0], totals[1]),
            "thresholds": [float(value) for value in np.append(edges[starts], edges[-1])],
            "rest": results.pack(coarse[:, 0]),
            "object": results.pack(coarse[:, 1]),
        }
    names = [os.path.splitext(os.path.basename(image))[0] for image, _ in pairs]
    return {"ids": names, "height": height, "aspect": aspect, "scores": out}


def photos(folder: str) -> list[tuple[str, str]]:
    """(image, label) paths of a folder, by name."""
    images, labels = (os.path.join(folder, name) for name in ("images", "labels"))
    if not os.path.isdir(images):
        raise FileNotFoundError(f"{images}: no such folder; photos are {folder}/images/NAME.jpg, labels/NAME.png.")
    pairs = []
    for name in sorted(os.listdir(images)):
        stem, suffix = os.path.splitext(name)
        if name.startswith(".") or suffix.lower() not in (".jpg", ".jpeg", ".png"):
            continue
        label = os.path.join(labels, f"{stem}.png")
        if not os.path.exists(label):
            raise FileNotFoundError(f"{label}: no such file; every photo needs its label.")
        pairs.append((os.path.join(images, name), label))
    if not pairs:
        raise ValueError(f"{images}: no .jpg or .png in it; give a folder of photos.")
    return pairs


def _bins(model, treatment, images, size):
    """uint16-sized int32 [scores, H, W] of one photo [1, H, W, 3]."""
    z = full_size.resized_logits(model, images, size)
    return tf.stack([metrics.score_bins(score(z))[0] for score in treatment.scores.values()])


def _read(image_path, label_path):
    with Image.open(image_path) as picture:
        image = np.asarray(picture.convert("RGB"))
    with Image.open(label_path) as picture:
        label = np.asarray(picture)
    if label.shape != image.shape[:2]:
        raise ValueError(f"{label_path}: it is {label.shape}, its photo {image.shape[:2]}; expected one value a pixel.")
    others = sorted(set(np.unique(label).tolist()) - {0, 1, 255})
    if others:
        raise ValueError(f"{label_path}: it has the values {others[:5]}; expected 0 (rest), 1 (object) and 255 alone.")
    return image, label
