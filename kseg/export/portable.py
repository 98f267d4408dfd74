"""A trained run -> one network file for another runtime: TensorFlow Lite, ONNX Runtime or OpenVINO.

The file computes what the `tensor` signature of a served model does: pixels in, mask, class map and void score out. It
has no guards, which are for a server. It is checked in its own runtime against Keras before it is put in its place.
Pictures are decoded and resized by whoever calls the runtime.
"""

import contextlib
import json
import os

import numpy as np
import tensorflow as tf

import tfrecords
from kseg import errors
from kseg.data import input_pipeline
from kseg.export import converters, folding, runtimes, served_model, signatures, verify, versions
from kseg.export import export as savedmodel
from kseg.models import full_size

METADATA = "kseg.json"
_ODD_SIZES = ((101, 203), (33, 50))  # px, that the runtime must answer as Keras does


def export(run, export_dir, format, abstain="", precision="float32", records_dir=None, num_pictures=64, **options):
    """Exports a run's network for another runtime.

    Args:
      run: a workdir, or what finished.load_run returned for one.
      export_dir: folder of versions, of this format alone.
      format: "tflite" | "onnx" | "openvino".
      abstain: as in `kseg.export.export.export`.
      precision: "float32", or "int8": weights and activations of the convolutions, on scales that pictures of the
        training split calibrate. OpenVINO's, and TensorFlow Lite's, not ONNX's.
      records_dir: where these pictures are; None = the run's records.
      num_pictures: how many of them, spread over the split.
      **options: further arguments of `export_model`.

    Returns:
      Path of the version folder: the model's file and kseg.json.

    Raises:
      ValueError, OSError: in one line.
    """
    runtimes.require(format, precision)
    run, threshold, calibration = savedmodel.opened(run, abstain)
    if threshold is not None and run.config.eval.average:
        raise ValueError(
            f"the calibrated threshold is one of averaged views (config.eval.average={run.config.eval.average}), and a "
            f"file for {format} sees one; export with --abstain=native, or as a SavedModel."
        )
    options.setdefault("input_size", tuple(run.config.eval.input_size))
    options.setdefault("origin", {"dataset_digest": run.digest, "config": json.loads(run.config.to_json())})
    if precision == "int8":
        options["pictures"] = _pictures(run, records_dir, num_pictures)
    return export_model(
        run.model, run.treatment, run.table, export_dir, format, threshold=threshold, calibration=calibration, **options
    )


def export_model(
    model,
    treatment,
    table,
    export_dir,
    format,
    threshold=None,
    calibration=None,
    version="1",
    size=None,
    input_size=(0, 0),
    pictures=None,
    origin=None,
    report=lambda line: None,
):
    """Exports a model for another runtime.

    Args:
      model, treatment, table, export_dir, threshold, calibration, version, input_size, origin, report: as in
        `kseg.export.export.export_model`.
      format: "tflite" | "onnx" | "openvino".
      size: (height, width) in px that the file is for, one image at a time; None = any size, any number of images.
      pictures: list of uint8 [H, W, 3] that calibrate int8; None = float32.

    Returns:
      Path of the version folder.
    """
    runtimes.require(format, "int8" if pictures else "float32")
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise ValueError(f"size={size}: expected a height and a width in px.")
    runtimes.refuse_other_formats(export_dir, format)
    with versions.writing(export_dir, version) as (temporary, target):
        network = folding.fold(model)

        def answer(image):
            with tf.name_scope(full_size.EXACT):
                images = tf.cast(image, tf.float32)
            return _answer(network, treatment, threshold, images, input_size)

        shape = [None, None, None, 3] if size is None else [1, *size, 3]
        specification = tf.TensorSpec(shape, tf.uint8, name="image")
        if pictures and size is not None:
            pictures = [_resized(picture, size) for picture in pictures]
        report(f"converting {network.count_params():,} parameters" + (", int8" if pictures else ""))
        with errors.writing(temporary):
            os.makedirs(temporary, exist_ok=True)
        path = os.path.join(temporary, runtimes.FORMATS[format][0])
        with _explained(format):
            converters.write(format, path, network, answer, specification, pictures)
        about = {
            **served_model.describe(table, treatment, threshold, calibration),
            "format": format,
            "precision": "int8" if pictures else "float32",
            "size": None if size is None else list(size),
            "input_size": list(input_size),
            "parameters": int(network.count_params()),
        }
        report("checking it in its own runtime")
        with _explained(format):
            run = runtimes.load(temporary)
            if pictures:
                about["same_class_as_float32"] = _agreement(run, answer, pictures[:8])
            else:
                sizes = _ODD_SIZES if size is None else (tuple(size),)
                _check(run, network, treatment, threshold, input_size, sizes)
        metadata = {**about, "origin": origin, "files": versions.digests(temporary)}
        with errors.writing(temporary), open(os.path.join(temporary, METADATA), "w") as file:
            json.dump(metadata, file, indent=1, allow_nan=False)
            file.write("\n")
    return target


def _answer(network, treatment, threshold, images, input_size):
    z = full_size.portable_logits(network, images, input_size)
    with tf.name_scope(full_size.EXACT):
        return signatures.answer(treatment, threshold, z)


def _check(run, network, treatment, threshold, input_size, sizes):
    """Raises ValueError if the runtime's answer differs from Keras' beyond ties."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8)])
    def keras(image):
        z = full_size.portable_logits(network, tf.cast(image, tf.float32), input_size)
        return z, signatures.answer(treatment, threshold, z)

    for height, width in sizes:
        image = verify.picture(height, width)[None]
        z, expected = keras(image)
        got = run(image)
        clear = ~verify.near_tie(treatment, threshold, z.numpy(), verify.TIES["float32"])
        for name in ("mask", "class"):
            if got[name].shape != clear.shape:
                raise ValueError(f"`{name}` of a {height}x{width} image is {got[name].shape[1:]} in the runtime.")
            wrong = int(np.sum((got[name] != expected[name].numpy()) & clear))
            if wrong:
                raise ValueError(f"`{name}` differs from Keras' in {wrong} of {clear.size} pixels at {height}x{width}.")
        apart = np.abs(got["void_score"].astype(int) - expected["void_score"].numpy())
        if np.any(apart[clear] > 1):
            raise ValueError(f"`void_score` differs from Keras' by up to {apart.max()} of 255 at {height}x{width}.")


def _agreement(run, answer, pictures):
    """Share of pixels whose class is the float network's, over pictures."""
    keras = tf.function(answer, autograph=False, input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8)])
    same = [np.mean(run(image)["class"] == keras(image)["class"]) for image in (picture[None] for picture in pictures)]
    return round(float(np.mean(same)), 4)


def _pictures(run, records_dir, number):
    manifest = tfrecords.info(records_dir or run.config.data.records_dir)
    split = run.config.data.train_split
    total = len(manifest.index(split).image_ids)
    if number < 1:
        raise ValueError(f"num_pictures={number}: expected at least 1.")
    indices = np.unique(np.linspace(0, total - 1, min(number, total)).astype(int))
    named = run.config.copy_and_resolve_references()
    named.data.records_dir = manifest.records_dir  # for what is said of a damaged record
    with errors.explained(named, lighter="lower --num_pictures"):
        examples = input_pipeline.eval_dataset(manifest, split, indices).as_numpy_iterator()
        return [example["image"] for example in examples]


def _resized(picture, size):
    return np.clip(np.rint(tf.image.resize(picture, size, antialias=True).numpy()), 0, 255).astype(np.uint8)


@contextlib.contextmanager
def _explained(format):
    """While inside, what a converter or runtime raises about the network is a ValueError, in one line."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # they raise what they meet
        raise ValueError(f"this network cannot be had as {format}: {errors.first_line(error)[:300]}") from None
