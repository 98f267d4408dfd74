"""What a training run would be, before it is started: its size, its memory, and the first batch as a picture."""

import os

import keras
import numpy as np

import tfrecords
from kseg import errors, optimizers, pictures, treatments
from kseg.data import input_pipeline, splits
from kseg.distribution import strategy as distribution
from kseg.models import unet
from kseg.training import checks

_REMAT = 0.63  # of the activations' memory, with recomputation; measured on UNets from scratch (docs/scale.md)


def dry_run(config, folder):
    """Prints parameters and a memory estimate, and draws the first batch to first_batch.png in `folder`.

    The estimate counts, per replica, what every step must hold at once. That is each layer's output once, which the
    backward pass needs, or with config.train.remat the share of it that was measured. Float32 weights, their averages,
    gradients and optimizer slots are added. Workspace of the kernels comes on top.

    Args:
      config: the run's ConfigDict.
      folder: str; nothing but the picture is written.

    Raises:
      ValueError: as training would.
    """
    manifest = tfrecords.info(config.data.records_dir)
    table = splits.label_table(config, manifest)
    strategy = distribution.make_strategy(config)
    checks.check(config, manifest, strategy, folder)
    treatment = treatments.get(config.treatment, table.num_classes, config.loss)
    model = unet.build(
        config.model, treatment.num_outputs, config.train.precision, config.train.seed, treatment.detached_outputs
    )
    optimizer = optimizers.create(config.optimizer, config.train.total_steps, config.train.precision)
    optimizer.build(model.trainable_variables)
    train, calibration = splits.split_calibration(config, manifest)

    parameters = model.count_params()
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    slots = sum(int(np.prod(v.shape)) for v in optimizer.variables)
    batch = config.train.batch_size // strategy.num_replicas_in_sync // config.train.accumulation_steps
    remat = _REMAT if config.train.remat else 1
    activations = remat * batch * activation_bytes(model, config.data.crop_size)
    averages = parameters if config.optimizer.ema_decay else 0
    fixed = 4 * (parameters + averages + trainable + slots)
    lines = {
        "treatment": f"{treatment.name}, targets encoded as {treatment.encoding}, {treatment.num_outputs} outputs",
        "records": f"{len(train):,} images to train on, {len(calibration):,} held out for calibration",
        "steps": f"{config.train.total_steps:,} x {config.train.batch_size} images "
        f"= {config.train.total_steps * config.train.batch_size / max(len(train), 1):.1f} epochs",
        "parameters": f"{parameters:,} ({trainable:,} trained)",
        "memory": f"about {(activations + fixed) / 2**30:.3g} GiB on each of {strategy.num_replicas_in_sync} replicas: "
        f"activations {activations / 2**30:.3g}{f' (remat: x {_REMAT})' if config.train.remat else ''}, weights"
        f"{', averages' if averages else ''}, gradients and optimizer {fixed / 2**30:.3g}",
        "work": f"{3 * config.train.batch_size * forward_flops(model, config.data.crop_size) / 1e12:.3g} TFLOP a step, "
        "convolutions alone",
    }
    for name, text in lines.items():
        print(f"{name:12}{text}")

    with errors.explained(config):
        first = next(iter(input_pipeline.train_dataset(config, manifest, treatment.encoding)))
    rows = []
    for image, target in list(zip(first["image"].numpy(), first["target"].numpy()))[:4]:
        rows.append(np.concatenate([image, pictures.colorize(target, table)], 1))
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "first_batch.png")
    pictures.save_png(path, np.concatenate(rows))
    print(f"{'first batch':12}{path}")


def activation_bytes(model, crop_size):
    """Bytes of all layer outputs of one image of that size, each in its own type."""
    size = {"float16": 2, "bfloat16": 2}
    return sum(int(np.prod(output.shape[1:])) * size.get(output.dtype, 4) for _, output in _outputs(model, crop_size))


def forward_flops(model, crop_size):
    """Floating-point operations of the convolutions for one image of that size, 2 for a multiplication with addition.

    The backward pass has twice as many (the first layer's aside): a training step costs three times this.
    """
    total = 0
    shapes = {}
    for operation, output in _outputs(model, crop_size):
        shape = shapes[id(operation.output)] = output.shape
        kernel = getattr(operation, "kernel", None)
        if kernel is None or len(shape) != 4:
            continue
        # A transposed convolution applies its kernel at every pixel of its input.
        where = shapes[id(operation.input)] if isinstance(operation, keras.layers.Conv2DTranspose) else shape
        total += 2 * int(np.prod(kernel.shape)) * where[1] * where[2]
    return total


def _outputs(model, crop_size):
    """(layer or operation, its output as a KerasTensor) for one image of that size, in order."""
    operations = [operation for operation in model.operations if not isinstance(operation, keras.layers.InputLayer)]
    graph = keras.Function(model.inputs, [operation.output for operation in operations])
    return zip(operations, graph.compute_output_spec([keras.KerasTensor((1, *crop_size, 3))]))
