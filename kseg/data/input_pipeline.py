"""Records in, augmented batches out: which example a step trains on, and how its pixels come to the model.

A training batch is a pure function of (seed, global step). Example number n = step * batch_size + j belongs to epoch n
// N. It is the (n % N)-th of that epoch's permutation of all N examples; its augmentation depends on (seed, epoch,
example) alone. So there is no position to save, and any step is reached at once. The batches do not depend on the
number of input pipelines, threads or shards. Records are read at the byte offsets that the manifest lists.

Scale and crop are drawn from the image's size, before it is decoded. Of a JPEG only the crop is decoded, and only the
crop is resized, coloured and copied. One label map is decoded per example, of a large one the strips under the crop.

Which images are held out to choose thresholds kseg/data/splits.py decides.
"""

import functools

import numpy as np
import tensorflow as tf

import tfrecords
from kseg.data import augment, decoding, mixing, splits, tfa_ops

_CROP_TRIES = 10  # with augment.cat_max_ratio; the last crop is taken as it is
# Seeds: a crop has the number of its example; what is mixed into it, and how, have numbers beyond all examples.
_SHUFFLE, _MIX, _CLASSES, _PARTNER, _SECOND_PARTNER, _ADDONS = -1, 1 << 40, 2 << 40, 3 << 40, 4 << 40, 5 << 40

# What the uniform numbers of an example decide: scale, mirroring and turn; colours; places of its crop; mixing.
_SCALE, _FLIP, _TURN, _COLOURS, _PLACES = 0, 1, 2, slice(3, 7), 7
_CUTMIX, _CUTMIX_PARTNER, _CUTMIX_SHAPE, _PASTE, _PASTE_PARTNER = 0, 1, slice(2, 5), 5, 6


def train_dataset(
    config,
    manifest,
    encoding: str,
    start_step: int = 0,
    num_input_pipelines: int = 1,
    input_pipeline_id: int = 0,
    batch_size: int | None = None,
) -> tf.data.Dataset:
    """The training batches from global step `start_step` on, without end.

    Args:
      config: reads config.data, config.augment, config.train.seed and config.train.batch_size.
      manifest: of the records.
      encoding: "ignore", "background" or "hybrid": how void becomes a target value.
      start_step: the global step of the first batch.
      num_input_pipelines, input_pipeline_id: this pipeline gives the id-th contiguous part of every global batch.
      batch_size: global, over all input pipelines; None takes config.train.batch_size.

    Returns:
      Dataset of {"image": uint8 [b, h, w, 3], "target": uint8 [b, h, w]}, b = batch_size / num_input_pipelines.

    Raises:
      ValueError: an option that cannot be meant, a split without labels or without images.
    """
    batch_size = config.train.batch_size if batch_size is None else batch_size
    augment.check_options(config.augment, config.data.crop_size)
    tfa_ops.check_names(config.augment.addons)
    if batch_size < 1 or batch_size % num_input_pipelines:
        raise ValueError(
            f"the global batch size {batch_size} cannot be shared evenly by {num_input_pipelines} input pipelines; "
            "use a multiple."
        )
    if not 0 <= config.train.seed < 2**31:
        raise ValueError(f"config.train.seed={config.train.seed}: expected 0 to {2**31 - 1}.")
    split = config.data.train_split
    indices = splits.split_calibration(config, manifest)[0]
    if not len(indices) or not manifest.split(split).has_labels:
        raise ValueError(
            f"split {split!r} of {manifest.records_dir} has {len(indices)} images to train on and "
            f"{'' if manifest.split(split).has_labels else 'no '}labels; training needs both."
        )
    # AutoGraph has nothing to convert here, and takes seconds to find out.
    load = tf.autograph.experimental.do_not_convert(_example_function(config, manifest, encoding, indices))
    local = batch_size // num_input_pipelines
    examples = _example_numbers(config.train.seed, len(indices), start_step * batch_size)
    if num_input_pipelines > 1:
        first = input_pipeline_id * local
        examples = examples.batch(batch_size, drop_remainder=True)
        examples = examples.map(lambda *batch: tuple(part[first : first + local] for part in batch)).unbatch()
    threads = config.data.num_parallel_calls or tf.data.AUTOTUNE
    batches = examples.map(load, num_parallel_calls=threads, deterministic=True)
    batches = batches.batch(local, drop_remainder=True).prefetch(2)
    return batches.with_options(_options())


def eval_dataset(manifest, split: str, indices=None) -> tf.data.Dataset:
    """The images of a split one by one, at full size, in record order.

    Args:
      manifest: of the records.
      split: its name.
      indices: int [n], positions in manifest.index(split); None is all.

    Returns:
      Dataset of {"image": uint8 [H, W, 3], "ids": uint8 [H, W], the published ids ([0, 0] where the split has no
      labels), "image_id": string}.
    """
    count = len(manifest.index(split).image_ids)
    indices = np.arange(count) if indices is None else np.asarray(indices)
    read, image_format = decoding.reader(manifest, split), manifest.image_format
    has_labels = manifest.split(split).has_labels

    def load(index):
        example = tfrecords.parse(read(index))
        image = decoding.decode_image(example, image_format)
        ids = decoding.decode_labels(example, "ids_png") if has_labels else tf.zeros([0, 0], tf.uint8)
        return {"image": image, "ids": ids, "image_id": example["image_id"]}

    images = tf.data.Dataset.from_tensor_slices(indices.astype(np.int64))
    # A full-size image takes megabytes: few at a time.
    images = images.map(load, num_parallel_calls=2, deterministic=True).prefetch(1)
    return images.with_options(_options())


def _options() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    # Every worker opens every file and reads its part of each batch: batches do not depend on the number of workers.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    # Examples are processed side by side, so the ops of one example need not be.
    options.threading.max_intra_op_parallelism = 1
    return options


def _example_numbers(seed: int, count: int, start: int) -> tf.data.Dataset:
    """(epoch, place) of every example from number `start` on, int64; place < count is the permuted position."""

    def permuted(epoch):
        places = tf.range(count, dtype=tf.int64)
        places = tf.random.experimental.stateless_shuffle(places, seed=_seed(seed, epoch, _SHUFFLE), alg="philox")
        places = places[tf.where(epoch == start // count, tf.constant(start % count, tf.int64), 0) :]
        return tf.data.Dataset.from_tensor_slices((tf.fill(tf.shape(places), epoch), places))

    return tf.data.Dataset.range(start // count, np.iinfo(np.int64).max).flat_map(permuted)


def _seed(seed: int, epoch, example):
    """int64 [2], different for every (seed, epoch, example)."""
    return tf.stack([tf.constant(seed << 32, tf.int64) + epoch, tf.cast(example, tf.int64)])


def _example_function(config, manifest, encoding: str, indices):
    """A function (epoch, place) -> {"image", "target"}: an example's crop and what is mixed into it."""
    options, seed = config.augment, config.train.seed
    split = manifest.split(config.data.train_split)
    read = decoding.reader(manifest, split.name, config.data.cache)
    table = split.table.select(config.data.seen_void_ids, config.data.unseen_void_ids)
    labels_key, lookup = _label_source(split.table, table, encoding)
    indices = tf.constant(indices)

    @functools.partial(tf.function, autograph=False)  # traced once, called up to three times
    def crop(place, epoch, number):
        """The crop of the example at `place`, augmented by the random numbers of `number`."""
        example, key = tfrecords.parse(read(indices[place])), _seed(seed, epoch, number)
        image, target = _crop(example, key, config, manifest.image_format, labels_key, lookup, table.num_classes)
        return tfa_ops.apply(options.addons, image, target, _seed(seed, epoch, number + _ADDONS))

    def load(epoch, place):
        image, target = crop(place, epoch, place)
        if options.cutmix_probability or options.copy_paste_probability:
            uniforms = _uniforms(_seed(seed, epoch, place + _MIX), 7)
        if options.cutmix_probability:

            def mixed(image=image, target=target):
                partner = tf.cast(uniforms[_CUTMIX_PARTNER] * len(indices), tf.int64)
                other = crop(partner, epoch, place + _PARTNER)
                return mixing.cutmix(uniforms[_CUTMIX_SHAPE], image, target, *other)

            image, target = _sometimes(uniforms[_CUTMIX], options.cutmix_probability, mixed, (image, target))
        if options.copy_paste_probability:

            def pasted(image=image, target=target):
                partner = tf.cast(uniforms[_PASTE_PARTNER] * len(indices), tf.int64)
                other = crop(partner, epoch, place + _SECOND_PARTNER)
                classes = _uniforms(_seed(seed, epoch, place + _CLASSES), table.num_classes)
                return mixing.copy_paste(classes, image, target, *other, table.num_classes)

            image, target = _sometimes(uniforms[_PASTE], options.copy_paste_probability, pasted, (image, target))
        return {"image": image, "target": target}

    return load


def _label_source(stored_table, table, encoding: str):
    """Which stored map to decode, and the look-up to apply to it: None where it is the target already."""
    lookup = table.encoding(encoding, training=True)
    if encoding in ("ignore", "background") and np.array_equal(lookup, stored_table.encoding(encoding)):
        return f"{encoding}_png", None
    return "ids_png", lookup


def _sometimes(uniform, probability, changed, unchanged):
    return tf.cond(uniform < probability, changed, lambda: unchanged)


def _uniforms(seed, count: int):
    return tf.random.stateless_uniform([count], seed, alg="philox")


def _crop(example, seed, config, image_format, labels_key, lookup, num_classes):
    """One augmented crop: (uint8 [h, w, 3], uint8 [h, w])."""
    options, crop_size = config.augment, tuple(config.data.crop_size)
    balanced, rotated = options.cat_max_ratio < 1, options.rotate_degrees > 0
    tries = _CROP_TRIES if balanced else 1
    uniforms = _uniforms(seed, _PLACES + 2 * tries)
    size = decoding.image_size(example)
    # One crop meets a part of the label map; where several are tried, the map is decoded once, as a whole.
    labels = decoding.decode_labels(example, labels_key) if balanced else None

    def draw(attempt):
        place = tf.slice(uniforms, [_PLACES + 2 * attempt], [2])
        numbers = [uniforms[_SCALE], place[0], place[1], uniforms[_FLIP], uniforms[_TURN]]
        window = augment.draw_window(
            tf.stack(numbers),
            size,
            crop_size,
            options.scale_min,
            options.scale_max,
            options.flip,
            options.rotate_degrees,
        )
        box = augment.turned_box(window, size, crop_size) if rotated else window[:2]
        shown = tf.slice(labels, *box) if balanced else decoding.decode_label_box(example, labels_key, box)
        if rotated:
            target = augment.turn_target(shown, window, box, crop_size, lookup)
        else:
            target = augment.crop_target(shown, window, crop_size, lookup)
        return window, box, target

    window, box, target = draw(0)
    if balanced:

        def one_class_fills_it(attempt, window, box, target):
            del window, box
            share = augment.largest_class_share(target, num_classes)
            return (attempt < tries - 1) & (share > options.cat_max_ratio)

        def again(attempt, *_):
            return (attempt + 1, *draw(attempt + 1))

        _, window, box, target = tf.while_loop(one_class_fills_it, again, [0, window, box, target])

    pixels = decoding.decode_box(example, image_format, box)
    colours = [options.brightness, options.contrast, options.saturation, options.hue]
    matrix, offset = augment.colour_matrix(uniforms[_COLOURS], *colours)
    if rotated:
        image = augment.turn_image(pixels, window, box, crop_size, matrix, offset)
    else:
        image = augment.crop_image(pixels, window, crop_size, matrix, offset, antialias=options.scale_min < 0.5)
    return image, target
