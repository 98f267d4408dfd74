"""Writes masks in official ids, and overlays with a legend, for images.

  python tools/predict.py --model=E --output_dir=O IMAGE...
  python tools/predict.py --server=grpc://HOST:8500|http://HOST:8501 --output_dir=O IMAGE...

IMAGE is a file or a folder of PNGs and JPEGs. For each: O/NAME_mask.png (0 or the void id where the model abstains),
O/NAME_overlay.png and, with --void_score, O/NAME_void_score.png. With --server TensorFlow is not needed.
"""

import sys

from absl import app, flags

import kseg

_MODEL = flags.DEFINE_string("model", "", "An export of tools/export.py: its folder of versions, or one version.")
_SERVER = flags.DEFINE_string("server", "", "Address of a model server instead: grpc://HOST:8500 or http://HOST:8501.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Where to write.", required=True)
_VOID_SCORE = flags.DEFINE_bool("void_score", False, "Also write the void score, uint8, 128 = the threshold.")
_MODEL_NAME = flags.DEFINE_string("model_name", "kseg", "The model's name on the server.")
_MODEL_LABEL = flags.DEFINE_string("model_label", "", "Version label on the server, such as stable or canary.")
_DEADLINE = flags.DEFINE_float("deadline_seconds", 60.0, "For one image, retries included.", lower_bound=0.001)
_PARALLEL = flags.DEFINE_integer("parallel", 4, "Images at work at the same time.", lower_bound=1)


def main(argv):
    if _MODEL.value and not _SERVER.value:
        kseg.load_tensorflow_quietly()  # a server is asked without TensorFlow
    from kseg.serving import client, local, predict

    try:
        if bool(_MODEL.value) == bool(_SERVER.value):
            raise ValueError("give either --model or --server.")
        if _SERVER.value:
            model = client.Client(
                _SERVER.value,
                model=_MODEL_NAME.value,
                label=_MODEL_LABEL.value,
                deadline_seconds=_DEADLINE.value,
                report=lambda line: print(line, file=sys.stderr),
            )
        else:
            model = local.Local(_MODEL.value)
        with model:
            failures = predict.predict_files(
                model, argv[1:], _OUTPUT_DIR.value, void_score=_VOID_SCORE.value, parallel=_PARALLEL.value
            )
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    if failures:
        sys.exit("\n".join(f"error: {path}: {message}" for path, message in failures))


if __name__ == "__main__":
    app.run(main)
