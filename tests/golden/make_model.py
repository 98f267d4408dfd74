"""Writes golden/models/: compiled models as version 0.1.0 saved them, and what they answered.

Together they hold every class that kseg registered with Keras' serialization then: layers, losses, metrics and
optimizers. They were written before the modules moved into packages, and are not written again: a user's `.keras` file
is just as old. At version 0.1.0 this was run as

  PYTHONPATH=. python tests/golden/make_model.py tests/golden/models
"""

import pathlib
import sys

import keras
import numpy as np

from kseg import config, layers, losses, metrics, optimizers, unet


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (2, 6, 10, 3)).astype(np.float32)
    targets = random.integers(0, 4, (2, 6, 10))

    settings = config.default()
    settings.model.width, settings.model.depth = 2, 1
    model = unet.build(settings.model, 4, seed=1, detached_outputs=1)
    parts = [
        (losses.MaskedSparseCategoricalCrossentropy(label_smoothing=0.1), 1.0, (0, 4)),
        (losses.Dice(), 0.5, None),
        (losses.InvertedDice(), 0.5, None),
        (losses.Entropic(), 0.1, None),
        (losses.OneVsAllBinaryCrossentropy(), 0.1, None),
        (losses.VoidBinaryCrossentropy(3), 0.1, (3, 4)),
    ]
    rate = optimizers.Schedule(0.01, 10)
    optimizer = optimizers.LossScaleOptimizer(optimizers.AdamW(rate, global_clipnorm=1.0))
    model.compile(optimizer, losses.WeightedSum(parts), metrics=[metrics.ConfusionMatrix(4)])
    model.fit(images, targets, verbose=0, epochs=2)
    model.save(folder / "unet.keras")
    answers = {"unet": model.predict(images, verbose=0), "unet_loss": model.evaluate(images, targets, verbose=0)[0]}

    # The layers and optimizers that are left, in no order that makes sense.
    image = keras.Input((None, None, 3), name="image")
    x = layers.PadToStride(32)(layers.SubtractMeanBGR()(image))
    x = keras.layers.Conv2D(1, 3, padding="same", strides=2, kernel_initializer="ones")(x)
    other = keras.Model(image, layers.ResizeLike()([x, image]))
    for name, optimizer in (("sgd", optimizers.SGD(0.1)), ("lamb", optimizers.Lamb(0.1))):
        other.compile(optimizer, losses.MaskedSparseCategoricalCrossentropy(), metrics=[metrics.ScoreHistogram(4)])
        other.save(folder / f"{name}.keras")
    answers["layers"] = other.predict(images, verbose=0)
    np.savez_compressed(folder / "answers.npz", images=images, targets=targets, **answers)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
