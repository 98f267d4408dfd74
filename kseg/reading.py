"""One record -> pixels, as TensorFlow ops: read at its byte offset, decode whole or only a box of it.

Refuses images and label maps whose size is not what their record states. Knows nothing of steps, augmentation or label
tables.
"""

import tensorflow as tf

_READ_BUFFER = 256 * 1024  # bytes; few requests per record on a network file system, little waste on a disk
_CHROMA = 2  # px around a box of a JPEG: an edge pixel's chroma is interpolated from its neighbours


def reader(manifest, split: str, cache: bool = False):
    """A function from a position in manifest.index(split) to the serialized example, made of TensorFlow ops."""
    files, file_of, offsets, _ = manifest.index(split)
    files, file_of, offsets = tf.constant(files), tf.constant(file_of), tf.constant(offsets, tf.int64)

    def read(index):
        dataset = tf.raw_ops.TFRecordDatasetV2(
            filenames=[files[file_of[index]]],
            compression_type="",
            buffer_size=tf.constant(_READ_BUFFER, tf.int64),
            byte_offsets=[offsets[index]],
        )
        records = tf.data.experimental.from_variant(dataset, tf.TensorSpec([], tf.string))
        return records.take(1).get_single_element()

    if not cache:
        return read
    # Held as one tensor of strings outside the graph; all of them are read here, once, in record order.
    records = tf.stack(list(tf.data.Dataset.range(len(offsets)).map(read)))
    return lambda index: records[index]


def decode_labels(example, key):
    """uint8 [H, W]; refuses a map of another size than the record states for its image."""
    labels = tf.io.decode_png(example[key], channels=1)[..., 0]
    _check_size("label map", example, tf.shape(labels))
    return labels


def decode_image(example, image_format):
    """uint8 [H, W, 3]. JPEG by the accurate transform: libjpeg's and everybody's default, but not TensorFlow's."""
    if image_format == "jpeg":
        image = tf.io.decode_jpeg(example["image_encoded"], channels=3, dct_method="INTEGER_ACCURATE")
    else:
        image = tf.io.decode_png(example["image_encoded"], channels=3)
    _check_size("image", example, tf.shape(image)[:2])
    return image


def decode_box(example, image_format, size, box):
    """The pixels of `box` (top, left, height, width), bit by bit as in the whole image: uint8 [height, width, 3]."""
    top, left, height, width = box
    if image_format != "jpeg":
        return tf.slice(decode_image(example, image_format), [top, left, 0], [height, width, 3])
    encoded = example["image_encoded"]
    _check_size("image", example, tf.image.extract_jpeg_shape(encoded)[:2])
    start = tf.maximum(tf.stack([top, left]) - _CHROMA, 0)
    end = tf.minimum(tf.stack([top + height, left + width]) + _CHROMA, size)
    larger = tf.image.decode_and_crop_jpeg(
        encoded, tf.concat([start, end - start], 0), channels=3, dct_method="INTEGER_ACCURATE"
    )
    return tf.slice(larger, [top - start[0], left - start[1], 0], [height, width, 3])


def _check_size(what: str, example, size):
    stated = tf.stack([example["height"], example["width"]])
    wrong = tf.reduce_any(tf.cast(size, tf.int64) != stated)
    name = example["image_id"]
    tf.debugging.Assert(~wrong, [f"height and width of this record's {what}, and as stated:", name, size, stated])
