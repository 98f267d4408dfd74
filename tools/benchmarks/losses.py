"""Cross entropy + Dice, forward and backward, at 2 x 512 x 1024 pixels and 20 channels.

Against (a) stock Keras, SparseCategoricalCrossentropy(ignore_class=255) + keras.losses.Dice on one-hot labels, and (b)
the bare limit, TensorFlow's fused sparse softmax cross entropy alone, each by itself and compiled by XLA. Times are the
fastest of interleaved rounds in one process. Memory is the peak of a process of its own, TensorFlow included. It is the
median of three, since XLA compiles on several threads, whose heaps differ by some 10 MiB from run to run.
"""

import json
import pathlib
import subprocess
import sys

SHAPE, CHANNELS, ROUNDS = (2, 512, 1024), 20, 9
LARGE_BATCH, PROCESSES = 8, 3
NAMES = ("kseg", "stock", "bare")


def run() -> dict[str, dict]:
    """{figure: {value, goal, unit, note}}; about a minute on two cores."""
    seconds = _child("time")
    peak = {name: _peak(name, SHAPE[0]) for name in NAMES}
    peak |= {f"{name} large": _peak(name, LARGE_BATCH) for name in ("kseg", "bare")}
    before = _peak("nothing", SHAPE[0])

    def time_ratio(goal, top, bottom, xla=False):
        suffix = " xla" if xla else ""
        a, b = seconds[top + suffix], seconds[bottom + suffix]
        note = (
            f"{1e3 * min(a):.0f} against {1e3 * min(b):.0f} ms; medians {1e3 * _median(a):.0f}, {1e3 * _median(b):.0f}"
        )
        return {"value": min(a) / min(b), "goal": goal, "unit": "x", "note": note}

    def memory_ratio(goal, top, bottom, base=0):
        a, b = peak[top] - base, peak[bottom] - base
        note = f"{a / 2**20:.0f} against {b / 2**20:.0f} MiB"
        return {"value": a / b, "goal": goal, "unit": "x", "note": note}

    return {
        "time of the fused cross entropy": time_ratio("<= 1.3", "kseg", "bare"),
        "time of the fused cross entropy, XLA": time_ratio("<= 2", "kseg", "bare", xla=True),
        "faster than stock Keras": time_ratio(">= 1.5", "stock", "kseg"),
        "faster than stock Keras, XLA": time_ratio("", "stock", "kseg", xla=True),
        "peak memory of the fused cross entropy": memory_ratio("<= 1.15", "kseg", "bare"),
        f"peak memory of the fused cross entropy, batch of {LARGE_BATCH}": memory_ratio("", "kseg large", "bare large"),
        "peak memory of the fused cross entropy, beyond TensorFlow and the inputs": memory_ratio(
            "", "kseg", "bare", before
        ),
        "peak memory of stock Keras over kseg's": memory_ratio("", "stock", "kseg"),
    }


def _median(values):
    return sorted(values)[len(values) // 2]


def _peak(name, images):
    return _median([_child("memory", name, str(images)) for _ in range(PROCESSES)])


def _child(*arguments):
    """What this file prints in a process of its own."""
    command = [sys.executable, str(pathlib.Path(__file__).resolve()), *arguments]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def _functions(name, images=SHAPE[0]):
    """f(logits) -> (loss, gradient) and the logits."""
    import keras
    import tensorflow as tf

    from kseg import losses

    # Made small and repeated: making them must not be the peak that is measured.
    tf.random.set_seed(0)
    logits = tf.tile(tf.random.normal([images, SHAPE[1], 16, CHANNELS]), [1, 1, SHAPE[2] // 16, 1])
    labels = tf.tile(tf.random.uniform([images, SHAPE[1], 16], 0, CHANNELS, tf.int32), [1, 1, SHAPE[2] // 16])
    void = tf.tile(tf.random.uniform([images, SHAPE[1], 16]) < 0.12, [1, 1, SHAPE[2] // 16])
    labels = tf.cast(tf.where(void, 255, labels), tf.uint8)
    valid_labels = tf.where(void, 0, tf.cast(labels, tf.int32))
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    dice = keras.losses.Dice(axis=(0, 1, 2))
    kseg = losses.WeightedSum([(losses.MaskedSparseCategoricalCrossentropy(), 1.0, None), (losses.Dice(), 1.0, None)])
    values = {
        "kseg": lambda z: kseg(labels, z),
        "stock": lambda z: cross_entropy(labels, z) + dice(tf.one_hot(labels, CHANNELS), tf.nn.softmax(z)),
        "bare": lambda z: tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(valid_labels, z)),
    }

    def forward_and_backward(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = values[name](logits)
        return value, tape.gradient(value, logits)

    return forward_and_backward, logits


def _times():
    import time

    import tensorflow as tf

    functions = {}
    for name in NAMES:
        function, logits = _functions(name)
        functions[name] = tf.function(function)
        functions[f"{name} xla"] = tf.function(function, jit_compile=True)
    for function in functions.values():
        function(logits)
    seconds = {name: [] for name in functions}
    for _ in range(ROUNDS):
        for name, function in functions.items():
            start = time.perf_counter()
            function(logits)[0].numpy()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def _memory(name, images):
    import tensorflow as tf

    function, logits = _functions("bare" if name == "nothing" else name, int(images))
    if name != "nothing":
        function = tf.function(function)
        for _ in range(3):
            function(logits)[0].numpy()
    (peak,) = (line for line in pathlib.Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024


if __name__ == "__main__":
    print(json.dumps(_times() if sys.argv[1] == "time" else _memory(*sys.argv[2:])))
