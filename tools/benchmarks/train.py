"""The training loop against the bare step, Keras' fit, the machine's matmul peak and a plain UNet, in one run.

    loop      kseg.training.train.train_and_evaluate on 1024x2048 JPEG or PNG records; width 32, depth 4, crops 256x512
    constant  the same call, its batches one constant batch in memory
    fit       Keras' compile and fit of the same model, loss and optimizer on that batch
    peak      the share of the speed of a 2048^3 float32 matmul that a training step reaches, convolutions counted
    peer      a UNet as in textbooks and Keras' examples: Keras' BatchNormalization, 2x2 transposed convolutions, Keras'
              own loss and AdamW; channels chosen for as many parameters as ours has at width 16

All run on all cores, in turn; a figure is a ratio of medians or, for single steps, of the fastest rounds. Where the
name ends in `_cpu`, time is the processor time of the process: steadier on a machine that others use too.
"""

import functools
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf

import tfrecords
from kseg import config as config_module
from kseg import losses, optimizers
from kseg.data import input_pipeline
from kseg.models import recompute, unet
from kseg.training import dry_run, train

_CROP, _BATCH, _CLASSES = (256, 512), 2, 19
_STEPS, _ROUNDS = 8, 3


def run() -> dict[str, dict]:
    """The figures: {name: {"value", "goal", "unit", "note"}}."""
    return _loop_figures() | _step_figures() | _memory_figures()


def _loop_figures():
    with tempfile.TemporaryDirectory() as folder:
        manifests = _records(pathlib.Path(folder))
        times = {
            "jpeg": _train(_config(manifests["jpeg"])),
            "constant": _train(_config(manifests["jpeg"]), constant=True),
            "png": _train(_config(manifests["png"])),
            "fit": _fit(_config(manifests["jpeg"])),
        }
        again = _train(_config(manifests["jpeg"]), constant=True)
        times["constant"] = [a + b for a, b in zip(times["constant"], again)]
    wall, cpu = ({name: statistics.median(t[i]) for name, t in times.items()} for i in (0, 1))
    figures = {}
    for kind, t in (("", wall), ("_cpu", cpu)):
        figures |= {
            f"jpeg_share_of_constant{kind}": _figure(t["constant"] / t["jpeg"], ">= 0.95", "ratio"),
            f"png_share_of_constant{kind}": _figure(t["constant"] / t["png"], ">= 0.9", "ratio"),
            f"constant_times_fit{kind}": _figure(t["fit"] / t["constant"], ">= 1.0", "ratio"),
        }
    for name, seconds in wall.items():
        figures[f"images_per_s_{name}"] = _figure(_BATCH / seconds, "", "images/s", "width 32, crops 256x512")
    return figures


def _step_figures():
    steps = {
        "width16": _step(16, "float32"),
        "width32": _step(32, "float32"),
        "width48": _step(48, "float32", batch=1),
        "width48_bfloat16": _step(48, "mixed_bfloat16", batch=1),
        "peer": _peer_step(_parameters(16)),
        "matmul": _matmul(),
    }
    times = {name: ([], []) for name in steps}
    for _ in range(_ROUNDS):
        for name, (call, _) in steps.items():
            begin = time.perf_counter(), time.process_time()
            call()
            times[name][0].append(time.perf_counter() - begin[0])
            times[name][1].append(time.process_time() - begin[1])
    figures = {}
    for kind, i in (("", 0), ("_cpu", 1)):
        t = {name: min(values[i]) for name, values in times.items()}
        speed = {name: steps[name][1] / t[name] for name in steps}
        for width in (16, 32):
            share = speed[f"width{width}"] / speed["matmul"]
            figures[f"width{width}_share_of_peak{kind}"] = _figure(share, ">= 0.65", "ratio")
        figures |= {
            f"width48_bfloat16_times_float32{kind}": _figure(
                t["width48"] / t["width48_bfloat16"], ">= 1.25", "ratio", "a step of one 256x512 crop"
            ),
            f"speed_times_peer{kind}": _figure(t["peer"] / t["width16"], "", "ratio", "equal parameters, same batch"),
            f"peak{kind}": _figure(speed["matmul"] / 1e9, "", "GFLOP/s", "float32 matmul"),
        }
    return figures


def _memory_figures():
    """Peak of a process of its own that trains two steps; growth over what it had before the first."""
    peaks = {}
    for kind in ("plain", "remat"):
        command = [sys.executable, __file__, kind]
        peaks[kind] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    grown, least = peaks["plain"]["grown"], peaks["plain"]["activations"]
    return {
        "peak_over_activations": _figure(grown / least, "", "ratio", "width 16, two 256x512 crops, float32"),
        "remat_peak_over_plain": _figure(peaks["remat"]["grown"] / grown, "", "ratio"),
        "remat_cpu_time_over_plain": _figure(peaks["remat"]["seconds"] / peaks["plain"]["seconds"], "", "ratio"),
    }


def _print_peak(kind):
    def mebibytes(name):
        with open("/proc/self/status") as file:
            return int(next(line for line in file if line.startswith(name)).split()[1]) / 1024

    config = config_module.default()
    config.model.width = 16
    model = unet.build(config.model, _CLASSES)
    image, target = _batch(_BATCH)
    loss, optimizer = losses.MaskedSparseCategoricalCrossentropy(), optimizers.create(config.optimizer, 100)
    optimizer.build(model.trainable_variables)
    forward = recompute.by_blocks(model) if kind == "remat" else functools.partial(model, training=True)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            value = loss(target, forward(image))
        optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
        return value

    before = mebibytes("VmRSS")
    step()
    begin = time.process_time()
    step().numpy()
    print(
        json.dumps(
            {
                "grown": mebibytes("VmHWM") - before,
                "activations": _BATCH * dry_run.activation_bytes(model, _CROP) / 2**20,
                "seconds": time.process_time() - begin,
            }
        )
    )


def _figure(value, goal, unit, note=""):
    return {"value": value, "goal": goal, "unit": unit, "note": note}


def _config(manifest):
    config = config_module.default()
    config.data.records_dir, config.data.crop_size = manifest.records_dir, _CROP
    config.data.calibration_fraction, config.data.cache = 0.0, True
    config.train.batch_size, config.train.total_steps = _BATCH, _STEPS
    config.log.every_steps = _STEPS
    return config


class _Timer(keras.callbacks.Callback):
    """Wall and processor seconds of each step after the first two."""

    def __init__(self):
        super().__init__()
        self._ends = []

    def on_train_batch_end(self, batch, logs=None):
        self._ends.append((time.perf_counter(), time.process_time()))

    def steps(self):
        pairs = list(zip(self._ends[1:], self._ends[2:]))
        return [[b[i] - a[i] for a, b in pairs] for i in (0, 1)]


def _train(config, constant=False):
    timer, original = _Timer(), input_pipeline.train_dataset
    if constant:
        batch = next(iter(original(config, tfrecords.info(config.data.records_dir), "ignore")))
        input_pipeline.train_dataset = lambda *_, **__: tf.data.Dataset.from_tensors(batch).repeat()
    try:
        with tempfile.TemporaryDirectory() as folder:
            train.train_and_evaluate(config, folder, [timer], progress=False)
    finally:
        input_pipeline.train_dataset = original
    return timer.steps()


def _fit(config):
    batch = next(iter(input_pipeline.train_dataset(config, tfrecords.info(config.data.records_dir), "ignore")))
    timer = _Timer()
    model = unet.build(config.model, _CLASSES)
    model.compile(optimizers.create(config.optimizer, _STEPS), losses.MaskedSparseCategoricalCrossentropy())
    data = tf.data.Dataset.from_tensors((batch["image"], batch["target"])).repeat()
    model.fit(data, steps_per_epoch=_STEPS, verbose=0, callbacks=[timer])
    return timer.steps()


def _batch(size):
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (size, *_CROP, 3)).astype(np.uint8)
    return tf.constant(image), tf.constant(random.integers(0, _CLASSES, (size, *_CROP)).astype(np.uint8))


def _step(width, precision, batch=_BATCH):
    """(f() that trains one step, its floating-point operations)."""
    config = config_module.default()
    config.model.width = width
    model = unet.build(config.model, _CLASSES, precision)
    optimizer = optimizers.create(config.optimizer, 100, precision)
    return _compiled(model, losses.MaskedSparseCategoricalCrossentropy(), optimizer, batch)


def _peer_step(parameters):
    base = min(range(4, 64), key=lambda base: abs(_peer(base).count_params() - parameters))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    return _compiled(_peer(base), loss, keras.optimizers.AdamW(), _BATCH)


def _compiled(model, loss, optimizer, size):
    image, target = _batch(size)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            value = loss(target, model(image, training=True))
        optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
        return value

    step()
    return lambda: step().numpy(), 3 * size * dry_run.forward_flops(model, _CROP)


def _parameters(width):
    config = config_module.default()
    config.model.width = width
    return unet.build(config.model, _CLASSES).count_params()


def _peer(base):
    def block(x, channels):
        for _ in range(2):
            x = keras.layers.Conv2D(channels, 3, padding="same")(x)
            x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        return x

    image = keras.Input((*_CROP, 3))
    x, skips = keras.layers.Rescaling(1 / 255)(image), []
    for level in range(5):
        x = block(x, base * 2**level)
        if level < 4:
            skips.append(x)
            x = keras.layers.MaxPooling2D()(x)
    for level in reversed(range(4)):
        x = keras.layers.Conv2DTranspose(base * 2**level, 2, strides=2)(x)
        x = block(keras.layers.Concatenate()([x, skips[level]]), base * 2**level)
    return keras.Model(image, keras.layers.Conv2D(_CLASSES, 1)(x))


def _matmul(side=2048):
    a = tf.random.stateless_normal([side, side], [0, 0])

    @tf.function
    def multiply():
        return tf.reduce_sum(a @ a)

    multiply()
    return lambda: multiply().numpy(), 2 * side**3


def _records(folder):
    """PNG and JPEG records of the frames that the input benchmark uses."""
    import input as input_benchmark  # tools/benchmarks/input.py

    return input_benchmark._records(folder)


if __name__ == "__main__":
    _print_peak(sys.argv[1])
