"""One record -> pixels, as TensorFlow ops: read at its byte offset, decoded whole or, of a JPEG, only inside a box.

Refuses images and label maps whose size is not what their record states. Knows nothing of steps, augmentation or label
tables.
"""

import numpy as np
import tensorflow as tf

_READ_BUFFER = 256 * 1024  # bytes; few requests per record on a network file system, little waste on a disk
# libjpeg's own default and everybody's. TensorFlow's is the fast transform: up to 13 levels off, for 3 % of the time.
_DCT = "INTEGER_ACCURATE"
_FRAME = 12, 4  # bytes of a TFRecord before its data (length and its CRC) and after it (CRC of the data)


def reader(manifest, split: str, cache: bool = False):
    """A function from a position in manifest.index(split) to the serialized example, made of TensorFlow ops.

    Args:
      manifest, split: of the records.
      cache: read all of them now, and keep them in memory as they are stored.
    """
    files, file_of, offsets, _ = manifest.index(split)
    shards = manifest.split(split).shards
    ends = np.concatenate([[*shard.offsets[1:], shard.bytes] for shard in shards]).astype(np.int64)
    sizes = tf.constant([shard.bytes for shard in shards], tf.int64)
    files, file_of, starts, ends = tf.constant(files), tf.constant(file_of), tf.constant(offsets), tf.constant(ends)
    buffer = tf.constant(_READ_BUFFER, tf.int64)

    def checked(index):
        return tf.raw_ops.TFRecordDatasetV2(
            filenames=[files[file_of[index]]], compression_type="", buffer_size=buffer, byte_offsets=[starts[index]]
        )

    def unchecked(index):
        # The record's CRC costs more than its reading. In a PNG, each piece has a CRC of its own, which libpng checks.
        header, data_end = starts[index] + _FRAME[0], ends[index] - _FRAME[1]
        return tf.raw_ops.FixedLengthRecordDatasetV2(
            filenames=[files[file_of[index]]],
            header_bytes=header,
            record_bytes=data_end - header,
            footer_bytes=sizes[file_of[index]] - data_end,
            buffer_size=buffer,
            compression_type="",
        )

    open_at = unchecked if manifest.image_format == "png" else checked

    def read(index):
        records = tf.data.experimental.from_variant(open_at(index), tf.TensorSpec([], tf.string))
        return records.take(1).get_single_element()

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

    Bit by bit as in the whole image, but for the outermost columns of a JPEG: their chroma, stored at half the
    resolution, is not interpolated with that of the neighbour outside.
    """
    start, size = box
    if image_format != "jpeg":
        whole = decode_image(example, image_format)
        return tf.slice(whole, tf.concat([start, [0]], 0), tf.concat([size, [3]], 0))
    encoded = example["image_encoded"]
    _check_size("image", example, tf.image.extract_jpeg_shape(encoded)[:2])
    return tf.image.decode_and_crop_jpeg(encoded, tf.concat([start, size], 0), channels=3, dct_method=_DCT)


def _check_size(what: str, example, size):
    stated = image_size(example)
    facts = [f"height and width of this record's {what}, and as stated:", example["image_id"], size, stated]
    tf.debugging.Assert(tf.reduce_all(size == stated), facts)
