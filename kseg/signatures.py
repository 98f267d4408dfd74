"""What a served model computes: from bytes or pixels, past the guards, through the network, to masks.

Every output has the batch first, because TF-Serving's REST answers by row demand it. Everything a request can get
wrong is refused by an op of the graph before memory is spent on it, as INVALID_ARGUMENT with a text that starts with
"kseg:". Only damage inside a PNG's or JPEG's body is left to TensorFlow's decoder, which refuses it in words of its
own. This module builds graph functions; kseg/export.py writes them.
"""

import dataclasses
import math

import tensorflow as tf

from kseg import serving

_CPU = "/CPU:0"  # strings and codecs exist there alone
_PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_MAX_JPEG_SEGMENTS = 1024  # before the frame header; a picture straight from a camera has about ten
_JPEG_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive: what libjpeg decodes


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a request may ask for.

    Attributes:
      max_pixels: of one encoded image, and of all images of one `tensor` request together.
      max_side: px, height and width.
      max_images: of one request.
      max_image_bytes: of one encoded image.
    """

    max_pixels: int = 4096 * 2048
    max_side: int = 16384
    max_images: int = 64
    max_image_bytes: int = 64 * 2**20


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
    if threshold is not None:
        score, at_threshold = treatment.primary, False
    elif treatment.native_score is not None:
        score, threshold, at_threshold = treatment.native_score, 0.0, treatment.abstains_at_zero
    else:
        score, at_threshold = treatment.primary, False
    if threshold is None:
        below = ((0.0, 0.0), (top, 127.0)) if score == "entropy" else ((-20.0, 0.0), (20.0, 127.0))
        return ScoreMap(score, None, below)
    threshold = float(threshold)
    if score == "entropy" and 0 < threshold < top:
        knots = ((0.0, 0.0), (threshold, 128.0), (top, 255.0))
    else:  # logits: fine steps near the threshold, coarse ones far away
        knots = tuple(
            (threshold + offset, byte)
            for offset, byte in ((-20.0, 0.0), (-4.0, 64.0), (0.0, 128.0), (4.0, 192.0), (20.0, 255.0))
        )
    return ScoreMap(score, threshold, knots, at_threshold)


def answer(treatment, threshold, logits):
    """Logits [N, H, W, C] -> {"mask", "class", "void_score"}, each uint8 [N, H, W].

    "class" is the best of the K classes; "mask" is the same, or K exactly where "void_score" is 128 or more.
    """
    logits = tf.convert_to_tensor(logits)
    mapping = score_map(treatment, threshold)
    best = treatment.forced(logits)
    score = treatment.scores[mapping.score](logits)
    byte = _byte(score, mapping)
    if mapping.threshold is None:
        byte = tf.minimum(byte, 127.0)
        mask = best
    else:
        # The decision is the treatment's own; the byte follows it even where rounding would carry it across.
        abstain = score >= mapping.threshold if mapping.at_threshold else score > mapping.threshold
        byte = tf.where(abstain, tf.maximum(byte, 128.0), tf.minimum(byte, 127.0))
        mask = tf.where(abstain, treatment.num_classes, best)
    return {name: tf.cast(x, tf.uint8) for name, x in {"mask": mask, "class": best, "void_score": byte}.items()}


def build(network, treatment, threshold, limits, about_json, png_compression=-1):
    """The served signatures.

    Args:
      network: f(images float32 [N, H, W, 3], 0..255) -> logits float32 [N, H, W, treatment.num_outputs].
      treatment: treatments.Treatment.
      threshold: of its primary score; None for its native decision.
      limits: Limits.
      about_json: text that the `about` signature returns.
      png_compression: 0..9, zlib's levels; -1 for its default.

    Returns:
      {signature name: (function, [tf.TensorSpec])}, for keras.export.ExportArchive.add_endpoint.
    """

    def answer_images(images):
        return answer(treatment, threshold, network(tf.cast(images, tf.float32)))

    def tensor(image):
        return answer_images(_checked_pixels(image, limits))

    def encoded(outputs):
        """The signature that answers encoded images by {output name: key of `answer`}."""

        def signature(image_bytes):
            with tf.device(_CPU):
                image_bytes = _checked_strings(image_bytes, "image_bytes", limits.max_images)
                image_bytes = _checked_headers(image_bytes, limits)

                def one(contents):
                    image = tf.io.decode_image(contents, channels=3, expand_animations=False)
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
        with tf.device(_CPU):
            query = _checked_strings(query, "query", limits.max_images)
            return {"about_json": tf.fill(tf.shape(query), tf.constant(about_json))}

    strings = [tf.TensorSpec([None], tf.string, name="image_bytes")]
    mask = {"mask_png_bytes": "mask"}
    detail = {**mask, "class_png_bytes": "class", "void_score_png_bytes": "void_score"}
    return {
        serving.SERVING_DEFAULT: (encoded(mask), strings),
        serving.DETAIL: (encoded(detail), strings),
        serving.TENSOR: (tensor, [tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")]),
        serving.ABOUT: (about, [tf.TensorSpec([None], tf.string, name="query")]),
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


def _checked_pixels(image, limits):
    # A tensor of another rank than the signature's reaches the graph, since the server compares names and types only,
    # and ends the process in the first convolution. Its shape must be asked for at run time: see _forget_shape.
    unknown = _forget_shape(image)
    shape = tf.shape(unknown, out_type=tf.int64)
    rank = tf.size(shape)
    # For the comparisons below: the shape, or one that passes them, where the rank is refused anyway.
    shape = tf.cond(tf.equal(rank, 4), lambda: shape, lambda: tf.constant([1, 1, 1, 3], tf.int64))
    shape = tf.ensure_shape(shape, [4])
    images, height, width, channels = tf.unstack(shape)
    pixels = images * height * width
    size = [_text(height), " x ", _text(width), " px"]
    with tf.control_dependencies(
        [
            _require(tf.equal(rank, 4), "image must be [images, height, width, 3], got ", _text(rank), " dimensions"),
            _require(tf.equal(channels, 3), "image must have 3 channels, got ", _text(channels)),
            _require(images >= 1, "the request has no images"),
            _require(images <= limits.max_images, "at most ", limits.max_images, " images, got ", _text(images)),
            _require(tf.minimum(height, width) >= 1, "the image is empty: ", *size),
            _require(tf.maximum(height, width) <= limits.max_side, _too_long(limits), *size),
            _require(
                pixels <= limits.max_pixels,
                *("at most ", limits.max_pixels, " pixels in one request, got "),
                *(_text(images), " x ", *size),
            ),
        ]
    ):
        return tf.ensure_shape(unknown, [None, None, None, 3])


def _checked_strings(strings, name, max_images):
    unknown = _forget_shape(strings)
    rank = tf.size(tf.shape(unknown))  # tf.rank would be folded: the optimizer looks through the placeholder for it
    count = tf.size(unknown)
    with tf.control_dependencies(
        [
            _require(tf.equal(rank, 1), name, " must be a list of strings, got ", _text(rank), " dimensions"),
            _require(count >= 1, "the request has no images" if name == "image_bytes" else f"{name} is empty"),
            _require(count <= max_images, "at most ", max_images, " per request, got ", _text(count)),
        ]
    ):
        return tf.ensure_shape(unknown, [None])


def _checked_headers(image_bytes, limits):
    """The same strings, once every one of them is known to be a PNG or JPEG of a permitted size."""

    def check(item):
        index, contents = item
        size = tf.strings.length(contents)
        which = ["image ", _text(index), " of the request"]
        with tf.control_dependencies(
            [
                _require(size >= 1, *which, " is empty"),
                _require(
                    size <= limits.max_image_bytes,
                    *(*which, " has ", _text(size), " bytes; at most ", limits.max_image_bytes),
                ),
            ]
        ):
            start = tf.strings.substr(contents, 0, tf.minimum(size, 24))
        is_png = tf.equal(tf.strings.substr(start, 0, tf.minimum(size, 16)), _PNG_START) & (size >= 24)
        is_jpeg = tf.equal(tf.strings.substr(start, 0, tf.minimum(size, 3)), b"\xff\xd8\xff")
        with tf.control_dependencies([_require(is_png | is_jpeg, *which, " is neither a PNG nor a JPEG")]):
            contents = tf.identity(contents)
        height, width = tf.cond(is_png, lambda: _png_size(start), lambda: _jpeg_size(contents, which))
        shape, long = [_text(height), " x ", _text(width), " px"], _too_long(limits)
        with tf.control_dependencies(
            [
                _require(tf.minimum(height, width) >= 1, *which, " is empty: ", *shape),
                _require(tf.maximum(height, width) <= limits.max_side, *which, ": ", long, *shape),
                _require(
                    height * width <= limits.max_pixels,
                    *(*which, ": at most ", limits.max_pixels, " pixels, got ", *shape),
                ),
            ]
        ):
            return tf.identity(contents)

    return tf.map_fn(
        check, (tf.range(tf.size(image_bytes)), image_bytes), parallel_iterations=1, fn_output_signature=tf.string
    )


def _png_size(start):
    """Height and width from the first 24 bytes: int64 scalars, negative (as an impossible size is) never."""
    numbers = tf.cast(tf.io.decode_raw(tf.strings.substr(start, 16, 8), tf.uint8), tf.int64)
    weights = tf.constant([1 << 24, 1 << 16, 1 << 8, 1], tf.int64)
    return tf.reduce_sum(numbers[4:] * weights), tf.reduce_sum(numbers[:4] * weights)


def _jpeg_size(contents, which):
    """Height and width from the frame header, found by walking the segments before it, as a decoder does."""
    size = tf.strings.length(contents)

    def bytes_at(position):  # nine bytes, zeros beyond the end
        piece = tf.strings.substr(
            contents, tf.minimum(position, size), tf.minimum(9, size - tf.minimum(position, size))
        )
        return tf.cast(tf.io.decode_raw(tf.strings.join([piece, b"\0" * 9]), tf.uint8)[:9], tf.int32)

    def walking(position, segments):
        head = bytes_at(position)
        in_frame = tf.reduce_any(tf.equal(head[1], _JPEG_FRAMES))
        # Segments without a length (SOI, EOI, RST, TEM) and a scan before the frame end the walk as well.
        has_length = (head[1] >= 0xC0) & ((head[1] < 0xD0) | (head[1] > 0xDA)) | tf.equal(head[1], 0xFF)
        return tf.equal(head[0], 0xFF) & ~in_frame & has_length & (segments < _MAX_JPEG_SEGMENTS)

    def step(position, segments):
        head = bytes_at(position)
        fill = tf.equal(head[1], 0xFF)  # any number of FF may stand before a marker
        length = tf.where(fill, 1, 2 + tf.maximum(head[2] * 256 + head[3], 2))
        return position + length, segments + 1

    position, _ = tf.while_loop(walking, step, (tf.constant(2), tf.constant(0)), parallel_iterations=1)
    head = bytes_at(position)
    found = tf.equal(head[0], 0xFF) & tf.reduce_any(tf.equal(head[1], _JPEG_FRAMES)) & (position + 9 <= size)
    with tf.control_dependencies([_require(found, *which, " is a JPEG without a usable frame header")]):
        head = tf.cast(tf.identity(head), tf.int64)
    return head[5] * 256 + head[6], head[7] * 256 + head[8]


def _too_long(limits):
    return f"at most {limits.max_side} px high and wide, got "


def _require(condition, *parts):
    """An op that fails the request with one line made of the parts."""
    # debugging.Assert prints its data in brackets; a single string keeps the sentence whole.
    with tf.device(_CPU):
        text = tf.strings.join([str(part) if isinstance(part, int) else part for part in ("kseg: ", *parts)])
        return tf.debugging.Assert(condition, [text], summarize=1)


def _text(number):
    return tf.strings.as_string(number)


def _forget_shape(tensor):
    """The same tensor with nothing known about its shape, to the graph optimizer neither.

    With the signature's static shape every question about the rank would be answered while the graph is built, and
    the guard that depends on it would be optimized away.
    """
    return tf.raw_ops.PlaceholderWithDefault(input=tensor, shape=tf.TensorShape(None))
