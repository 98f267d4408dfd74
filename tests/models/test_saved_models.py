"""Models that version 0.1.0 saved, before the modules moved into packages, still load and answer the same."""

import pathlib

import keras
import numpy as np
import pytest

from kseg import losses, metrics, optimizers
from kseg.models import unet  # noqa: F401  registers the layers

FOLDER = pathlib.Path(__file__).parents[1] / "golden" / "models"


@pytest.fixture(scope="module")
def answers():
    with np.load(FOLDER / "answers.npz") as stored:
        return dict(stored)


def test_a_compiled_unet_loads_and_answers_as_it_did(answers):
    model = keras.saving.load_model(FOLDER / "unet.keras")
    assert isinstance(model.loss, losses.WeightedSum) and isinstance(model.optimizer, optimizers.LossScaleOptimizer)
    assert int(model.optimizer.iterations) == 2
    np.testing.assert_allclose(model.predict(answers["images"], verbose=0), answers["unet"], rtol=1e-4, atol=1e-5)
    loss = model.evaluate(answers["images"], answers["targets"], verbose=0)[0]
    assert loss == pytest.approx(float(answers["unet_loss"]), rel=1e-4)


@pytest.mark.parametrize(("name", "optimizer"), [("sgd", optimizers.SGD), ("lamb", optimizers.Lamb)])
def test_the_other_layers_and_optimizers_load(answers, name, optimizer):
    model = keras.saving.load_model(FOLDER / f"{name}.keras")
    assert type(model.optimizer) is optimizer
    (metric,) = keras.saving.deserialize_keras_object(model.get_compile_config())["metrics"]
    assert type(metric) is metrics.ScoreHistogram and metric.num_classes == 4
    np.testing.assert_allclose(model.predict(answers["images"], verbose=0), answers["layers"], rtol=1e-4, atol=1e-3)
