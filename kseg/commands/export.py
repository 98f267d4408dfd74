"""Exports a trained run as a SavedModel for TF-Serving, or as one file for another runtime.

  kseg export --workdir=W --export_dir=E [--version=N|next] [--precision=float32|bfloat16]
      [--abstain=native|calibrated] [--max_pixels=N] [--warmup_sizes=512x1024,1024x2048] [--average=flip,0.75,1.25]
  kseg export --workdir=W --export_dir=E --format=tflite|onnx|openvino [--size=512x1024]
      [--precision=float32|int8 [--records_dir=R] [--num_pictures=64]] [--version=N|next] [--abstain=...]

Writes E/1/saved_model.pb and what belongs to it, checked through TensorFlow's C++ session against Keras. A version
that exists is never touched. The second form writes the network alone, E/1/model.tflite, model.onnx or model.xml:
pixels in, mask, class map and void score out. It is checked in the runtime that will run it.
"""

import json
import os
import sys

from absl import flags, logging

import kseg
from tfrecords import files

_WORKDIR = flags.DEFINE_string("workdir", None, "The run: --workdir of kseg train.", required=True)
_EXPORT_DIR = flags.DEFINE_string("export_dir", None, "Folder of versions, TF-Serving's base_path.", required=True)
_VERSION = flags.DEFINE_string("version", "1", "Number of the version to write, or next for one more than the highest.")
_FORMAT = flags.DEFINE_enum(
    "format",
    "savedmodel",
    ["savedmodel", "tflite", "onnx", "openvino"],
    "savedmodel: for TF-Serving; else the network for TensorFlow Lite, ONNX Runtime or OpenVINO.",
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    "float32",
    ["float32", "bfloat16", "int8"],
    "Of weights and arithmetic; bfloat16 is savedmodel's, int8 tflite's and openvino's.",
)
_SIZE = flags.DEFINE_string("size", "", "HEIGHTxWIDTH of the one image that the file takes; empty: any, of any number.")
_RECORDS_DIR = flags.DEFINE_string(
    "records_dir", "", "Where the pictures are that calibrate int8; empty: the run's records."
)
_NUM_PICTURES = flags.DEFINE_integer("num_pictures", 64, "How many pictures calibrate int8.", lower_bound=1)
_ABSTAIN = flags.DEFINE_enum(
    "abstain",
    "",
    ["", "native", "calibrated"],
    "When to answer no class; empty takes the run's config.treatment.abstain.",
)
_MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels", 0, "That one request may have; 0 = what 2 GiB of activations allow, at most 8.4 M."
)
_AVERAGE = flags.DEFINE_string(
    "average",
    None,
    "Views whose probabilities the served model averages, such as flip,0.75,1.25; each costs a pass. Without the flag "
    "the run's config.eval.average; empty: none.",
)
_WARMUP_SIZES = flags.DEFINE_list(
    "warmup_sizes", None, "HEIGHTxWIDTH of images to run before serving; default: the crop size of training."
)


def main(argv):
    if len(argv) > 1:
        sys.exit(f"error: {argv[1]!r} is not a flag; the run is given as --workdir={argv[1]}.")
    logging.set_verbosity(logging.WARNING)  # TensorFlow reports every renamed input otherwise
    common = {
        "version": _VERSION.value,
        "precision": _PRECISION.value,
        "abstain": _ABSTAIN.value,
        "report": lambda line: print(line, file=sys.stderr),
    }
    try:
        files.check_folder(_EXPORT_DIR.value, "--export_dir")
        print(_saved_model(common) if _FORMAT.value == "savedmodel" else _file(common))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


def _saved_model(common):
    """Exports for TF-Serving; returns what to say of it."""
    _refuse_given("another --format", size=_SIZE, records_dir=_RECORDS_DIR, num_pictures=_NUM_PICTURES)
    if _PRECISION.value == "int8":
        _refuse_given("--format=tflite or openvino", precision=_PRECISION)
    options = {"max_pixels": _MAX_PIXELS.value}
    if _AVERAGE.value is not None:
        options["average"] = _AVERAGE.value
    if _WARMUP_SIZES.value is not None:
        options["warmup_sizes"] = [_size("warmup_sizes", text) for text in _WARMUP_SIZES.value if text]
    kseg.load_tensorflow_quietly()
    from kseg.export import export

    path = export.export(_WORKDIR.value, _EXPORT_DIR.value, **common, **options)
    return f"{path}: checked through TensorFlow's C++ session, equal to Keras"


def _file(common):
    """Exports for another runtime; returns what to say of it."""
    _refuse_given("--format=savedmodel", max_pixels=_MAX_PIXELS, average=_AVERAGE, warmup_sizes=_WARMUP_SIZES)
    if _PRECISION.value != "int8":
        _refuse_given("--precision=int8", records_dir=_RECORDS_DIR, num_pictures=_NUM_PICTURES)
    size = _size("size", _SIZE.value) if _SIZE.value else None
    kseg.load_tensorflow_quietly()
    from kseg.export import portable

    path = portable.export(
        _WORKDIR.value,
        _EXPORT_DIR.value,
        _FORMAT.value,
        size=size,
        records_dir=_RECORDS_DIR.value or None,
        num_pictures=_NUM_PICTURES.value,
        **common,
    )
    with open(os.path.join(path, portable.METADATA)) as file:
        same = json.load(file).get("same_class_as_float32")
    if same is None:
        return f"{path}: checked in its own runtime, equal to Keras"
    return f"{path}: in its own runtime {100 * same:.1f} % of the pixels have the float network's class"


def _refuse_given(where, **settings):
    """A flag that would have no effect is an error."""
    for name, flag in settings.items():
        if flags.FLAGS[name].present:
            raise ValueError(f"--{name}={flag.value} goes with {where} alone.")


def _size(name, text):
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise ValueError(f"--{name}={text}: expected HEIGHTxWIDTH, such as 512x1024.")
    return int(height), int(width)
