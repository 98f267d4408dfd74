"""Small exported models for the tests of export, serving and prediction, each made once a test session."""

import functools
import io

import keras
import numpy as np
import PIL.Image

from kseg import config, treatments
from kseg.export import export
from kseg.models import unet
from tfrecords import labels


def network(treatment_name="ignore", width=4, depth=2, norm="batch", seed=0, num_classes=19):
    """(model, treatment): an untrained UNet whose batch statistics look trained and whose classes all occur."""
    settings = config.default()
    settings.model.width, settings.model.depth, settings.model.norm = width, depth, norm
    settings.treatment.name = treatment_name
    treatment = treatments.get(settings.treatment, num_classes)
    model = unet.build(settings.model, treatment.num_outputs, seed=seed)
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights(
                [
                    random.uniform(0.5, 1.5, gamma.shape),
                    random.normal(0, 0.3, beta.shape),
                    random.normal(0, 0.3, mean.shape),
                    random.uniform(0.5, 1.5, variance.shape),
                ]
            )
    # Logits as far apart as a trained network's: every output of mean 0 and deviation 2 over a picture.
    head = model.get_layer("head")
    logits = model(picture(64, 96, seed)[None].astype(np.float32)).numpy().reshape(-1, treatment.num_outputs)
    factor = 2 / logits.std(0)
    head.set_weights([head.kernel * factor, -logits.mean(0) * factor])
    return model, treatment


def exported(base, treatment_name="ignore", threshold=None, precision="float32", norm="batch"):
    """(path of the version folder, model, treatment) below the folder `base`."""
    return _exported(base, treatment_name, threshold, precision, norm)


@functools.cache
def _exported(base, treatment_name, threshold, precision, norm):
    model, treatment = network(treatment_name, norm=norm)
    folder = base / f"{treatment_name}-{threshold}-{precision}-{norm}"
    path = export.export_model(
        model,
        treatment,
        labels.CITYSCAPES,
        str(folder),
        threshold=threshold,
        precision=precision,
        max_pixels=1024 * 1600,
        warmup_sizes=[(32, 48)],
    )
    return path, model, treatment


def picture(height, width, seed=0):
    """uint8 [height, width, 3], smooth enough that classes form regions."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    image = np.array(PIL.Image.fromarray(coarse).resize((width, height), PIL.Image.Resampling.BICUBIC), np.int16)
    return np.clip(image + random.integers(-20, 20, image.shape), 0, 255).astype(np.uint8)


def encode(image, image_format="PNG", **options):
    """Bytes of a file."""
    buffer = io.BytesIO()
    if isinstance(image, np.ndarray):
        image = PIL.Image.fromarray(image)
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def decode(contents):
    return np.array(PIL.Image.open(io.BytesIO(contents)))
