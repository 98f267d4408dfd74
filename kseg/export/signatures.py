"""What a served model computes: from bytes or pixels, past the guards, through the network, to masks.

Every output has the batch first, because TF-Serving's REST answers by row demand it. This module builds graph
functions; kseg/export/guards.py refuses bad requests, kseg/export/export.py writes the SavedModel.
"""

import dataclasses
import math

import tensorflow as tf

from kseg.export import guards
from kseg.serving import client


@dataclasses.dataclass(frozen=True)
class ScoreMap:
    """How a void score becomes a byte: piecewise linear, never falling, 128 exactly where the model abstains.

    Attributes:
      score: the treatment's name of the score.
      threshold: abstain beyond it; None if the model never abstains, and then the byte stays below 128.
      knots: ((score, byte), ...), rising in both; beyond the ends the byte stays at theirs.
      at_threshold: whether a score of exactly the threshold abstains.
    """

    score: str
    threshold: float | None
    knots: tuple[tuple[float, float], ...]
    at_threshold: bool = False

    def to_json(self):
        return {**dataclasses.asdict(self), "knots": [list(knot) for knot in self.knots]}


def score_map(treatment, threshold=None):
    """The ScoreMap of a treatment at an operating point.

    Args:
      treatment: treatments.Treatment.
      threshold: of the primary score, None for the native decision.
    """
    top = math.log(max(treatment.num_classes, 2))  # of the entropy, the one bounded score
    rule = treatment.rule(threshold)
    if rule is None:
        below = ((0.0, 0.0), (top, 127.0)) if treatment.primary == "entropy" else ((-20.0, 0.0), (20.0, 127.0))
        return ScoreMap(treatment.primary, None, below)
    threshold = float(rule.threshold)
    if rule.score == "entropy" and 0 < threshold < top:
        knots = ((0.0, 0.0), (threshold, 128.0), (top, 255.0))
    else:  # logits: fine steps near the threshold, coarse ones far away
        knots = tuple(
            (threshold + offset, byte)
            for offset, byte in ((-20.0, 0.0), (-4.0, 64.0), (0.0, 128.0), (4.0, 192.0), (20.0, 255.0))
        )
    return ScoreMap(rule.score, threshold, knots, rule.inclusive)


def answer(treatment, threshold, logits):
    """Logits [N, H, W, C] -> {"mask", "class", "void_score"}, each uint8 [N, H, W].

    "class" is the best of the K classes; "mask" is the same, or K exactly where "void_score" is 128 or more.
    """
    logits = tf.convert_to_tensor(logits)
    mapping, rule = score_map(treatment, threshold), treatment.rule(threshold)
    best = treatment.forced(logits)
    score = treatment.scores[mapping.score](logits)
    byte = _byte(score, mapping)
    if rule is None:
        byte = tf.minimum(byte, 127.0)
        mask = best
    else:
        # The decision is the treatment's own; the byte follows it even where rounding would carry it across.
        abstain = rule.abstains(score)
        byte = tf.where(abstain, tf.maximum(byte, 128.0), tf.minimum(byte, 127.0))
        mask = tf.where(abstain, treatment.num_classes, best)
    return {name: tf.cast(x, tf.uint8) for name, x in {"mask": mask, "class": best, "void_score": byte}.items()}


def build(network, treatment, threshold, limits, about_json, png_compression=-1):
    """The served signatures.

    Args:
      network: f(images float32 [N, H, W, 3], 0..255) -> logits float32 [N, H, W, treatment.num_outputs].
      treatment: treatments.Treatment.
      threshold: of its primary score; None for its native decision.
      limits: guards.Limits.
      about_json: text that the `about` signature returns.
      png_compression: 0..9, zlib's levels; -1 for its default.

    Returns:
      {signature name: (function, [tf.TensorSpec])}, for keras.export.ExportArchive.add_endpoint.
    """

    def answer_images(images):
        return answer(treatment, threshold, network(tf.cast(images, tf.float32)))

    def tensor(image):
        return answer_images(guards.pixels(image, limits))

    def encoded(outputs):
        """The signature that answers encoded images by {output name: key of `answer`}."""

        def signature(image_bytes):
            with tf.device(guards.CPU):
                image_bytes = guards.strings(image_bytes, "image_bytes", limits.max_images)
                image_bytes = guards.headers(image_bytes, limits)

                def one(contents):
                    # As in training and evaluation (kseg/data/decoding.py): TensorFlow's default for JPEG is less
                    # exact.
                    image = tf.cond(
                        tf.equal(tf.strings.substr(contents, 0, 2), b"\xff\xd8"),
                        lambda: tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE"),
                        lambda: tf.io.decode_png(contents, channels=3),
                    )
                    image = tf.ensure_shape(image, [None, None, 3])
                    with tf.device(None):  # the network goes where the device is
                        answers = answer_images(image[None])
                    return {
                        name: tf.io.encode_png(answers[key][0][..., None], compression=png_compression)
                        for name, key in outputs.items()
                    }

                # One image after the other: memory is that of the largest, and sizes may differ.
                results = tf.map_fn(
                    one, image_bytes, parallel_iterations=1, fn_output_signature=dict.fromkeys(outputs, tf.string)
                )
            return {name: tf.identity(value, name=name) for name, value in results.items()}

        return signature

    def about(query):
        with tf.device(guards.CPU):
            query = guards.strings(query, "query", limits.max_images)
            return {"about_json": tf.fill(tf.shape(query), tf.constant(about_json))}

    strings = [tf.TensorSpec([None], tf.string, name="image_bytes")]
    mask = {"mask_png_bytes": "mask"}
    detail = {**mask, "class_png_bytes": "class", "void_score_png_bytes": "void_score"}
    return {
        client.SERVING_DEFAULT: (encoded(mask), strings),
        client.DETAIL: (encoded(detail), strings),
        client.TENSOR: (tensor, [tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")]),
        client.ABOUT: (about, [tf.TensorSpec([None], tf.string, name="query")]),
    }


def _byte(score, mapping):
    """The piecewise linear map, rounded down. A sum of rising terms, so it never falls, rounding included."""
    (x, y), *rest = mapping.knots
    total = tf.constant(y, tf.float32)
    for next_x, next_y in rest:
        rise = next_y - y
        total += tf.clip_by_value((score - x) * (rise / (next_x - x)), 0.0, rise)
        x, y = next_x, next_y
    return tf.floor(tf.clip_by_value(total, 0.0, 255.0))
