"""The example of docs/losses.md, run as it stands there: kseg's losses and metrics in a model that is not kseg's."""

import pathlib
import re

import keras
import numpy as np

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "losses.md"


def street(count, seed):
    """Images of three colours in stripes; a frame of void (255), where the picture shows noise."""
    random = np.random.default_rng(seed)
    labels = np.repeat(random.integers(0, 3, (count, 4, 4)), 8, axis=1).repeat(8, axis=2).astype(np.uint8)
    images = np.eye(3, dtype=np.float32)[labels] + random.normal(scale=0.3, size=(*labels.shape, 3))
    labels[:, :4] = labels[:, :, :4] = 255
    images[labels == 255] = random.normal(scale=5.0, size=(np.sum(labels == 255), 3))
    return images.astype(np.float32), labels


def test_the_documented_ten_lines_train_a_model_of_ones_own_under_fit(tmp_path, monkeypatch):
    (example,) = re.findall(r"```python\n(import keras.*?)```", PAGE.read_text(), re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    images, labels = street(32, seed=0)
    names = {"images": images, "labels": labels}
    exec(compile(example, PAGE, "exec"), names)
    history = names["history"].history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert history["mean_iou"][-1] > 0.9

    # The saved model comes back with its loss, metric and optimizer, and scores unseen pictures.
    model = keras.saving.load_model(tmp_path / "model.keras")
    loss, mean_iou = model.evaluate(*street(8, seed=1), verbose=0)
    assert mean_iou > 0.9 and loss < 0.5
    pixels = np.argmax(model.predict(images, verbose=0), -1)[labels != 255]
    assert np.mean(pixels == labels[labels != 255]) > 0.95
