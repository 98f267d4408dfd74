"""One record -> pixels, as TensorFlow ops: read at its byte offset, and decoded whole or inside a box.

Of a JPEG, and of a label map in strips, no more is decoded than the box needs.
Refuses images and label maps whose size is not what their record states. Knows nothing of steps, augmentation or label
tables.
"""

import tensorflow as tf

from tfrecords import strips

_READ_BUFFER = 256 * 1024  # bytes; few requests per record on a network file system, little waste on a disk
# libjpeg's own default and everybody's. TensorFlow's is the fast transform: up to 13 levels off, for 3 % of the time.
_DCT = "INTEGER_ACCURATE"
_ZLIB_HEADER = b"\x78\x9c"  # of a stream with a window of 32 KiB


def reader(manifest, split: str, cache: bool = False):
    """A function from a position in manifest.index(split) to the serialized example, made of TensorFlow ops.

    Args:
      manifest, split: of the records.
      cache: read all of them now, and keep them in memory as they are stored.
    """
    files, file_of, offsets, _ = manifest.index(split)
    files, file_of, starts = tf.constant(files), tf.constant(file_of), tf.constant(offsets)
    buffer = tf.constant(_READ_BUFFER, tf.int64)

    def read(index):
        # Checks the record's CRC: a hundredth of the time of an image, and all that covers a part of a label map.
        records = tf.raw_ops.TFRecordDatasetV2(
            filenames=[files[file_of[index]]], compression_type="", buffer_size=buffer, byte_offsets=[starts[index]]
        )
        return tf.data.experimental.from_variant(records, tf.TensorSpec([], tf.string)).take(1).get_single_element()

    if not cache:
        return read
    records = tf.stack(list(tf.data.Dataset.range(len(offsets)).map(read)))
    return lambda index: records[index]


def image_size(example):
    """int32 [2], height and width in px, as the record states them."""
    return tf.cast(tf.stack([example["height"], example["width"]]), tf.int32)


def decode_labels(example, key: str):
    """A label map: uint8 [H, W]."""
    labels = tf.squeeze(tf.io.decode_png(example[key], channels=1), -1)
    _check_size("label map", example, tf.shape(labels))
    return labels


def decode_label_box(example, key: str, box):
    """The part of a label map inside `box` (int32 [2] start and size): uint8 [h, w].

    Of a map in strips (tfrecords/strips.py) only those are unpacked that the box meets; any other map is decoded whole.
    """
    encoded, (start, size) = example[key], box
    is_striped = tf.strings.substr(encoded, strips.PLACE + 4, 4) == strips.KIND
    return tf.cond(
        is_striped,
        lambda: _decode_strips(example, encoded, start, size),
        lambda: tf.slice(decode_labels(example, key), start, size),
    )


def decode_image(example, image_format: str):
    """A whole image: uint8 [H, W, 3]."""
    encoded = example["image_encoded"]
    if image_format == "jpeg":
        image = tf.io.decode_jpeg(encoded, channels=3, dct_method=_DCT)
    else:
        image = tf.io.decode_png(encoded, channels=3)
    _check_size("image", example, tf.shape(image)[:2])
    return image


def decode_box(example, image_format: str, box):
    """The part of an image inside `box` (int32 [2] start and size): uint8 [h, w, 3].

    Bit by bit as in the whole image, but for the outermost columns of a JPEG. Their chroma has half the resolution, and
    is not interpolated with that of the neighbour outside.
    """
    start, size = box
    if image_format != "jpeg":
        whole = decode_image(example, image_format)
        return tf.slice(whole, tf.concat([start, [0]], 0), tf.concat([size, [3]], 0))
    encoded = example["image_encoded"]
    _check_size("image", example, tf.image.extract_jpeg_shape(encoded)[:2])
    return tf.image.decode_and_crop_jpeg(encoded, tf.concat([start, size], 0), channels=3, dct_method=_DCT)


def _decode_strips(example, encoded, start, size):
    def numbers(place, length):
        return tf.io.decode_raw(tf.strings.substr(encoded, place, length), tf.int32, little_endian=False)

    _check_size("label map", example, numbers(16, 8)[::-1])
    height, width = tf.unstack(image_size(example))
    table = numbers(strips.PLACE + 8, numbers(strips.PLACE, 4)[0])
    rows, offsets = table[0], table[1:]
    first, last = start[0] // rows, (start[0] + size[0] - 1) // rows + 1
    packed = tf.strings.substr(encoded, offsets[first], offsets[last] - offsets[first])
    # The record's CRC covers these bytes: no checksum of the whole map is needed.
    unpacked = tf.io.decode_compressed(tf.strings.join([_ZLIB_HEADER, packed]), "ZLIB")
    count = tf.minimum(last * rows, height) - first * rows
    # A byte before each row is its filter type: none.
    pixels = tf.reshape(tf.io.decode_raw(unpacked, tf.uint8), [count, width + 1])
    return tf.slice(pixels, [start[0] - first * rows, 1 + start[1]], size)


def _check_size(what: str, example, size):
    stated = image_size(example)
    facts = [f"height and width of this record's {what}, and as stated:", example["image_id"], size, stated]
    tf.debugging.Assert(tf.reduce_all(size == stated), facts)
