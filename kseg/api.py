"""What `import kseg` offers to a notebook: kseg.train, evaluate, export_model, predict, load. Commands do the same."""

import dataclasses
import io
import os

import numpy as np
import PIL.Image

import kseg
from kseg import pictures
from kseg.serving import images as files
from tfrecords import labels, pixels


def train(config, workdir):
    """Trains one model, or goes on with it from the newest checkpoint in its folder.

    Args:
      config: ml_collections.ConfigDict from `kseg.config.default()`; `data.records_dir` must be set.
      workdir: folder of the run; made if missing. Gets model.keras, report.html, checkpoints,
        metrics.jsonl and more.

    Returns:
      "finished", or "preempted" after Ctrl-C or SIGTERM: the state is saved, and the same call goes on.

    Raises:
      ValueError: in one line, if the configuration or the records cannot be trained.
      OSError: if a file cannot be read or written.
    """
    kseg.load_tensorflow_quietly()
    from kseg.training import train as training

    return training.train_and_evaluate(config, os.fspath(workdir))


def evaluate(workdir, split="val"):
    """Scores a finished run on a split of its records, at full image size.

    Args:
      workdir: the folder of `train`.
      split: its name.

    Returns:
      evaluation.report.Report: `summary()` is the table as text, `to_json()` every figure. None for a split without
      labels. Also written to workdir/eval_SPLIT.json.

    Raises:
      ValueError, FileNotFoundError: in one line, if run, records or split are not there or do not fit.
    """
    kseg.load_tensorflow_quietly()
    from kseg.evaluation import evaluate as evaluation

    return evaluation.evaluate_run(os.fspath(workdir), split)


def export_model(workdir, export_dir, **options):
    """Exports a finished run as a SavedModel for TF-Serving, checked through TensorFlow's C++ session.

    Args:
      workdir: the folder of `train`.
      export_dir: folder of versions; a version that exists is not touched.
      **options: `version` (number or "next"), `precision` ("float32" | "bfloat16"), `abstain` ("native" |
        "calibrated") and the others of export.export.export_model.

    Returns:
      str, the path of the version.

    Raises:
      ValueError, OSError: in one line, if the run is not finished, the version exists, or the check fails.
    """
    kseg.load_tensorflow_quietly()
    from kseg.export import export

    return export.export(os.fspath(workdir), os.fspath(export_dir), **options)


def load(workdir):
    """Opens a finished run.

    Args:
      workdir: the folder of `train`.

    Returns:
      runs.finished.Run with config, label table, treatment, and `model`: a functional keras.Model from images 0..255
      [N, H, W, 3] to logits [N, H, W, outputs].

    Raises:
      ValueError: in one line, if the folder holds no finished run.
    """
    kseg.load_tensorflow_quietly()
    from kseg.runs import finished

    return finished.load_run(os.fspath(workdir))


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model says of one image; a notebook shows the overlay.

    Attributes:
      mask: uint8 [H, W], class indices 0..K-1, K where the model abstains.
      class_map: uint8 [H, W], the best class everywhere.
      void_score: uint8 [H, W]; the model abstains from 128 on.
      overlay: uint8 [H, W, 3], the image under the mask's colours.
      class_names: K str.
    """

    mask: np.ndarray
    class_map: np.ndarray
    void_score: np.ndarray
    overlay: np.ndarray
    class_names: tuple

    def _repr_png_(self):
        return files.encode_png(self.overlay)


def predict(model, images, tile="auto"):
    """Asks a model about images.

    Args:
      model: an export's folder, the workdir of a finished run, or a server's address (grpc://HOST:8500,
        http://HOST:8501), which needs no TensorFlow; or an open serving.Client.
      images: paths of pictures, or uint8 arrays [H, W, 3], in any mixture of sizes.
      tile: "auto": a picture that the model does not take at once is asked for in tiles. "off": never. A size such as
        "1024x1024": every picture that is larger is.

    Returns:
      list of Prediction, one an image.

    Raises:
      ValueError: in one line, if the model or an image cannot be used.
      serving.ServingError: if a server does not answer.
    """
    from kseg.serving import tiles

    contents = [
        files.encode_png(image) if isinstance(image, np.ndarray) else files.read_image(image) for image in images
    ]
    if isinstance(model, (str, os.PathLike)):
        with _opened(os.fspath(model)) as opened:
            return _ask(tiles.Tiled(opened, tile), contents)
    return _ask(tiles.Tiled(model, tile), contents)


def _opened(model):
    if "://" in model:
        from kseg.serving import client

        return client.Client(model)
    kseg.load_tensorflow_quietly()
    if os.path.isfile(os.path.join(model, "config.json")):
        from kseg.export import in_process

        return in_process.RunModel(model)
    from kseg.serving import local

    return local.Local(model)


def _ask(model, contents):
    table = labels.LabelTable.from_json(model.about()["table"])
    predictions = []
    for picture in contents:
        detail = model.detail([picture])[0]
        mask, class_map, score = map(files.decode_png, (detail.mask_png, detail.class_png, detail.void_score_png))
        with PIL.Image.open(io.BytesIO(picture)) as image:
            overlay = pictures.overlay(pixels.rgb(image), mask, table)
        predictions.append(Prediction(mask, class_map, score, overlay, tuple(table.class_names)))
    return predictions
