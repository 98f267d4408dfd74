"""What a request must pass before the network runs: ops of the graph that refuse it otherwise.

TF-Serving compares a request's names and types with the signature, nothing else. Rank, size, format and memory are for
the graph to refuse. Some of what it would not refuse by itself ends the server's process. Each refusal is an
INVALID_ARGUMENT with a text that starts with "kseg:". Damage inside a PNG's or JPEG's body is left to the decoder.
"""

import dataclasses

import tensorflow as tf

CPU = "/CPU:0"  # strings and codecs exist there alone
_PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_MAX_JPEG_SEGMENTS = 1024  # before the frame header; a picture straight from a camera has about ten
_MAX_JPEG_SCANS = 2000  # a progressive picture has about ten, a film behind one looks like some hundred
_JPEG_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive: what libjpeg decodes


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a request may ask for.

    Attributes:
      max_pixels: of one encoded image, and of all images of one `tensor` request together, counted as the network
        computes them: both sides rounded up to `stride`.
      max_side: px, height and width.
      max_images: of one request.
      max_image_bytes: of one encoded image.
      stride: px, to whose multiples the network pads both sides.
      least_pixels: that each image of a `tensor` request counts, where the network sees all images at one size.
    """

    max_pixels: int = 4096 * 2048
    max_side: int = 16384
    max_images: int = 64
    max_image_bytes: int = 64 * 2**20
    stride: int = 1
    least_pixels: int = 0


def pixels(image, limits):
    """The tensor, uint8 [N, H, W, 3], once its rank and size are known to be permitted."""
    # A tensor of another rank than the signature's reaches the graph, since the server compares names and types only,
    # and ends the process in the first convolution. Its shape must be asked for at run time: see _forget_shape.
    unknown = _forget_shape(image)
    shape = tf.shape(unknown, out_type=tf.int64)
    rank = tf.size(shape)
    # For the comparisons below: the shape, or one that passes them, where the rank is refused anyway.
    shape = tf.cond(tf.equal(rank, 4), lambda: shape, lambda: tf.constant([1, 1, 1, 3], tf.int64))
    shape = tf.ensure_shape(shape, [4])
    images, height, width, channels = tf.unstack(shape)
    each = tf.maximum(_padded_pixels(height, width, limits), limits.least_pixels)
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
                images * each <= limits.max_pixels,
                *("at most ", limits.max_pixels, " pixels in one request, got "),
                *(_text(images), " x ", *size, _counted(images * each, images * height * width)),
            ),
        ]
    ):
        return tf.ensure_shape(unknown, [None, None, None, 3])


def strings(values, name, max_images):
    """The tensor, string [N], once its rank and size are known to be permitted; `name` is for the message."""
    unknown = _forget_shape(values)
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


def headers(image_bytes, limits):
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
        count = _padded_pixels(height, width, limits)
        with tf.control_dependencies(
            [
                _require(tf.minimum(height, width) >= 1, *which, " is empty: ", *shape),
                _require(tf.maximum(height, width) <= limits.max_side, *which, ": ", long, *shape),
                _require(
                    count <= limits.max_pixels,
                    *(*which, ": at most ", limits.max_pixels, " pixels, got ", *shape),
                    _counted(count, height * width),
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
    # A scan of twenty bytes makes the decoder visit every pixel: a megabyte of them would keep it busy for ten minutes.
    codes = tf.io.decode_raw(contents, tf.uint8)
    scans = tf.size(tf.where(tf.equal(codes[:-1], 0xFF) & tf.equal(codes[1:], 0xDA)))
    with tf.control_dependencies(
        [
            _require(found, *which, " is a JPEG without a usable frame header"),
            _require(
                scans <= _MAX_JPEG_SCANS,
                *(*which, " is a JPEG of ", _text(scans), " scans; at most ", _MAX_JPEG_SCANS),
            ),
        ]
    ):
        head = tf.cast(tf.identity(head), tf.int64)
    return head[5] * 256 + head[6], head[7] * 256 + head[8]


def _padded_pixels(height, width, limits):
    return (height + -height % limits.stride) * (width + -width % limits.stride)


def _counted(count, pixels):
    """What a refusal adds where the network computes more pixels than the request has."""
    with tf.device(CPU):
        note = tf.strings.join([", which count as ", _text(count), " pixels"])
        return tf.where(tf.equal(count, pixels), "", note)


def _too_long(limits):
    return f"at most {limits.max_side} px high and wide, got "


def _require(condition, *parts):
    """An op that fails the request with one line made of the parts."""
    # debugging.Assert prints its data in brackets; a single string keeps the sentence whole.
    with tf.device(CPU):
        text = tf.strings.join([str(part) if isinstance(part, int) else part for part in ("kseg: ", *parts)])
        return tf.debugging.Assert(condition, [text], summarize=1)


def _text(number):
    return tf.strings.as_string(number)


def _forget_shape(tensor):
    """The same tensor with nothing known about its shape, to the graph optimizer neither.

    With the signature's static shape every question about the rank would be answered while the graph is built. The
    guard that depends on it would be optimized away.
    """
    return tf.raw_ops.PlaceholderWithDefault(input=tensor, shape=tf.TensorShape(None))
