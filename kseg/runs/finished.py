"""Opens a training run that has ended: its configuration, label table, treatment and model."""

import dataclasses
import os

import keras
import ml_collections

import tfrecords
from kseg import errors, treatments
from kseg.models import layers  # noqa: F401  a saved model holds them
from kseg.runs import workdir


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished training run.

    Attributes:
      folder: the workdir.
      config: its ConfigDict, keys it lacked at their defaults.
      digest: of the records it was trained on.
      table: its LabelTable.
      treatment, model: what was trained.
      calibration: content of calibration.json, or None.
    """

    folder: str
    config: ml_collections.ConfigDict
    digest: str
    table: tfrecords.LabelTable
    treatment: treatments.Treatment
    model: keras.Model
    calibration: dict | None


def load_run(folder, checkpoint="model"):
    """Opens a training run; inside a strategy's scope the model's variables are that strategy's.

    Args:
      folder: the workdir.
      checkpoint: "model" (the final step) or "best".

    Raises:
      ValueError: the folder holds no run, the model is missing or unreadable, or its outputs do not fit the treatment.
    """
    config, stored = workdir.read_config(folder)
    path = os.path.join(folder, f"{checkpoint}.keras")
    try:
        table = tfrecords.LabelTable.from_json(stored["dataset"]["table"])
        digest = stored["dataset"]["digest"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder}/config.json does not describe the data set ({error}); train again.") from None
    if not os.path.exists(path):
        raise ValueError(f"{path} does not exist; let kseg train --workdir={folder} finish first.")
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be loaded ({errors.first_line(error)}); it is corrupt or was not written by kseg."
        ) from None
    treatment = treatments.get(config.treatment, table.num_classes, config.loss)
    if model.output.shape[-1] != treatment.num_outputs:
        raise ValueError(
            f"{path} has {model.output.shape[-1]} outputs, treatment {treatment.name} of {table.num_classes} classes "
            f"needs {treatment.num_outputs}; config.json and model are of different runs."
        )
    calibration_path = os.path.join(folder, "calibration.json")
    calibration = workdir.read_json(calibration_path) if os.path.exists(calibration_path) else None
    if calibration and calibration.get("score") != treatment.primary:
        raise ValueError(
            f"{calibration_path} is of score {calibration.get('score')!r}, the run's is {treatment.primary!r}; "
            "train again."
        )
    return Run(folder, config, digest, table, treatment, model, calibration)
