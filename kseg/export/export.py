"""A trained run -> a version folder that TF-Serving loads.

The folder holds the SavedModel with the signatures of kseg/export/signatures.py, warm-up requests and metadata. It is
written beside its place, checked through TensorFlow's C++ session against Keras, and only then renamed into place. So a
server that polls the folder never sees half of one. Batching, precision on other devices and the server's own
configuration are not this module's business (see deploy/).
"""

import contextlib
import json
import logging
import os

import keras
import tensorflow as tf

from kseg import errors
from kseg.export import runtimes, served_model, verify, versions
from kseg.runs import finished
from kseg.serving import client, messages

METADATA = os.path.join("assets.extra", "kseg.json")
WARMUP = os.path.join("assets.extra", "tf_serving_warmup_requests")


def export(run, export_dir, version="1", precision="float32", abstain="", **options):
    """Exports a run's model (its EMA weights, where it was trained with them).

    Args:
      run: a workdir, or what evaluate.load_run returned for one.
      export_dir: folder of versions, TF-Serving's base_path.
      version: number, or "next" for one more than the highest there.
      precision: "float32" or "bfloat16".
      abstain: operating point: "native" | "calibrated"; "" takes the run's config.treatment.abstain.
      **options: further arguments of `export_model`; input_size and average are the run's where they are not given.

    Returns:
      Path of the version folder.

    Raises:
      ValueError, OSError: in one line, when the run is not finished, the version exists, or the check fails.
    """
    run, threshold, calibration = opened(run, abstain)
    options.setdefault("warmup_sizes", [tuple(run.config.data.crop_size)])
    options.setdefault("input_size", tuple(run.config.eval.input_size))
    options.setdefault("average", run.config.eval.average)
    options.setdefault("origin", {"dataset_digest": run.digest, "config": json.loads(run.config.to_json())})
    return export_model(
        run.model,
        run.treatment,
        run.table,
        export_dir,
        threshold=threshold,
        calibration=calibration,
        version=version,
        precision=precision,
        **options,
    )


def opened(run, abstain=""):
    """(run, threshold or None for its native decision, content of its calibration.json or None); as in `export`."""
    if isinstance(run, (str, os.PathLike)):
        run = finished.load_run(run)
    calibration = dict(run.calibration) if run.calibration else None
    abstain = abstain or run.config.treatment.abstain
    if abstain not in ("native", "calibrated"):
        raise ValueError(f"abstain={abstain!r}: expected native or calibrated.")
    if abstain == "calibrated" and calibration is None:
        raise ValueError(
            "the run has no calibration.json (it was trained with data.calibration_fraction=0); "
            "export with --abstain=native."
        )
    return run, calibration["threshold"] if abstain == "calibrated" else None, calibration


def export_model(
    model,
    treatment,
    table,
    export_dir,
    threshold=None,
    calibration=None,
    version="1",
    warmup_sizes=((256, 512),),
    origin=None,
    report=lambda line: None,
    **options,
):
    """Exports a model.

    Args:
      model: functional keras.Model from images 0..255 [N, H, W, 3] to logits [N, H, W, treatment.num_outputs].
      treatment: treatments.Treatment; decides inside the graph.
      table: tfrecords.labels.LabelTable of its classes.
      export_dir: folder of versions.
      threshold: of the treatment's primary score; None for its native decision.
      calibration: dict to be shown by `about`, or None.
      version: number or "next".
      warmup_sizes: (height, width) of requests that the server runs before it serves; () for none.
      origin: JSON object that says where the model comes from; goes into the metadata file.
      report: called with a line before each long step.
      **options: precision, max_pixels, input_size, average and png_compression, as in served_model.Options.

    Returns:
      Path of the version folder.
    """
    serving = served_model.Options(**options)
    runtimes.refuse_other_formats(export_dir, "savedmodel")
    with versions.writing(export_dir, version) as (temporary, target):
        report(f"folding {model.count_params():,} parameters, {serving.precision}")
        ready = served_model.prepare(model, treatment, table, threshold, calibration, serving)
        served = ready.signatures
        report(f"writing {len(served)} signatures")
        requests = list(_warmup_requests(served, warmup_sizes, ready.limits))
        with errors.writing(temporary):
            write_saved_model(temporary, ready.network, served)
            os.makedirs(os.path.join(temporary, "assets.extra"))
            with tf.io.TFRecordWriter(os.path.join(temporary, WARMUP)) as writer:
                for request in requests:
                    log = messages.PredictionLog()
                    log.predict_log.request.CopyFrom(request)
                    writer.write(log.SerializeToString())
        report("checking them through TensorFlow's C++ session")
        tie = verify.TIES[serving.precision]
        verify.check(temporary, ready.logits, treatment, threshold, ready.about_json, tie, requests)
        metadata = {**ready.about, "origin": origin, "files": versions.digests(temporary)}
        with open(os.path.join(temporary, METADATA), "w") as file:
            json.dump(metadata, file, indent=1, allow_nan=False)
            file.write("\n")
    return target


def write_saved_model(folder, network, served):
    """Writes a SavedModel that TensorFlow's C++ loader reads, each weight once.

    Args:
      folder: to write into.
      network: keras.Model whose variables the functions use.
      served: {signature name: (function, [tf.TensorSpec])}.
    """
    # Tracking a Keras layer stores every weight twice; saving one without ExportArchive leaves variables that the C++
    # loader cannot find. The variables' TensorFlow values as a collection give one copy that it finds.
    archive = keras.export.ExportArchive()
    archive.add_variable_collection("weights", [variable.value for variable in network.variables])
    for name, (function, input_signature) in served.items():
        archive.add_endpoint(name, function, input_signature=input_signature)
    with _quiet():
        archive.write_out(folder, verbose=False)


@contextlib.contextmanager
def _quiet():
    """Without TensorFlow's notes on renamed inputs and written files, which tell the user nothing to act on."""
    loggers = [logging.getLogger(name) for name in ("absl", "tensorflow")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


def _warmup_requests(served, sizes, limits):
    """A PredictRequest for each signature at each size; encoded images as PNG and as JPEG."""
    for height, width in sizes:
        if height * width > limits.max_pixels or max(height, width) > limits.max_side:
            raise ValueError(
                f"warm-up size {height}x{width} is beyond max_pixels={limits.max_pixels} or "
                f"max_side={limits.max_side}; export with a larger --max_pixels or other --warmup_sizes."
            )
    for name, (_, (spec, *_)) in served.items():
        if name == client.ABOUT:
            yield messages.predict_request(name, {spec.name: [b""]})
            continue
        for height, width in sizes:
            image = verify.picture(height, width)
            if name == client.TENSOR:
                yield messages.predict_request(name, {spec.name: image[None]})
            else:
                yield messages.predict_request(name, {spec.name: [verify.encode(image, "PNG")]})
                yield messages.predict_request(name, {spec.name: [verify.encode(image, "JPEG")]})
