"""Exports a trained run as a SavedModel for TF-Serving.

  kseg export --workdir=W --export_dir=E [--version=N|next] [--precision=float32|bfloat16]
      [--abstain=native|calibrated] [--max_pixels=N] [--warmup_sizes=512x1024,1024x2048] [--average=flip,0.75,1.25]

Writes E/1/saved_model.pb and what belongs to it, checked through TensorFlow's C++ session against Keras. A version
that exists is never touched.
"""

import sys

from absl import flags, logging

import kseg

_WORKDIR = flags.DEFINE_string("workdir", None, "The run: --workdir of kseg train.", required=True)
_EXPORT_DIR = flags.DEFINE_string("export_dir", None, "Folder of versions, TF-Serving's base_path.", required=True)
_VERSION = flags.DEFINE_string("version", "1", "Number of the version to write, or next for one more than the highest.")
_PRECISION = flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "Of weights and arithmetic.")
_ABSTAIN = flags.DEFINE_enum(
    "abstain",
    "",
    ["", "native", "calibrated"],
    "When to answer no class; empty takes the run's config.treatment.abstain.",
)
_MAX_PIXELS = flags.DEFINE_integer("max_pixels", 0, "That one request may have; 0 = what 2 GiB of activations allow.")
_AVERAGE = flags.DEFINE_string(
    "average", "", "Views whose probabilities the served model averages, such as flip,0.75,1.25; each costs a pass."
)
_WARMUP_SIZES = flags.DEFINE_list(
    "warmup_sizes", None, "HEIGHTxWIDTH of images to run before serving; default: the crop size of training."
)


def main(argv):
    if len(argv) > 1:
        sys.exit(f"error: unknown argument {argv[1]}")
    logging.set_verbosity(logging.WARNING)  # TensorFlow reports every renamed input otherwise
    kseg.load_tensorflow_quietly()
    from kseg.export import export

    try:
        options = {
            "max_pixels": _MAX_PIXELS.value,
            "average": _AVERAGE.value,
            "report": lambda line: print(line, file=sys.stderr),
        }
        if _WARMUP_SIZES.value is not None:
            options["warmup_sizes"] = [_size(text) for text in _WARMUP_SIZES.value if text]
        path = export.export(
            _WORKDIR.value,
            _EXPORT_DIR.value,
            version=_VERSION.value,
            precision=_PRECISION.value,
            abstain=_ABSTAIN.value,
            **options,
        )
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"{path}: checked through TensorFlow's C++ session, equal to Keras")


def _size(text):
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise ValueError(f"--warmup_sizes={text}: expected HEIGHTxWIDTH, such as 512x1024.")
    return int(height), int(width)
