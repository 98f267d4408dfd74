"""The replica law for counting: 1, 2 and 4 replicas, or 2 workers, count the same pixels, each once.

Run as a program this file is one of those processes: devices are set up once a process.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def child(replicas, records_dir, output):
    """One process with that many devices: counts, and writes the results to `output`."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
    several_workers = "TF_CONFIG" in os.environ
    if several_workers:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
    pathlib.Path(output).write_text(json.dumps(count(strategy, records_dir, keras_too=not several_workers)))


def count(strategy, records_dir, keras_too=True):
    """What kseg's evaluation and, by Keras' own, the metrics count under a strategy."""
    import evaluation_cases as cases
    import keras
    import numpy as np
    import tensorflow as tf

    import tfrecords
    from kseg import metrics
    from kseg.distribution import replicas
    from kseg.evaluation import evaluate

    results = {}
    spread = replicas.Replicas(strategy)
    doubled = spread.compile(lambda images: {"doubled": 2 * images})
    for images in (1, 3, 8):
        given = [np.full([2, 2], i) for i in range(images)]
        assert np.array_equal(spread.run(doubled, given)["doubled"], 2 * np.stack(given))
    manifest = tfrecords.info(records_dir)
    config = cases.config()
    config.eval.batch_size = 3
    with strategy.scope():
        model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Lambda(cases.model)])
    report = evaluate.evaluate(
        model, cases.treatment(), manifest, config, "val", threshold=-6.0, strategy=strategy, progress=False
    )
    results["report"] = report.to_json()
    results["arrays"] = {key: value.tolist() for key, value in report.arrays().items()}

    if keras_too:
        rng = np.random.default_rng(0)
        logits = rng.normal(size=(11, 6, 7, 4)).astype(np.float32)  # 11 = 8 + 3: a ragged last batch
        truth = rng.integers(0, 4, (11, 6, 7)).astype(np.int32)
        truth[:4] = np.where(rng.random((4, 6, 7)) < 0.9, 255, truth[:4])  # very unequal void
        with strategy.scope():
            model = keras.Sequential([keras.Input((6, 7, 4)), keras.layers.Activation("linear")])
            matrix = metrics.ConfusionMatrix(3)
            histogram = metrics.ScoreHistogram(3, score=lambda z: z[..., 3] - z[..., 0])
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
            model.compile(loss=loss, metrics=[matrix, histogram])
        batches = tf.data.Dataset.from_tensor_slices((logits, truth)).batch(8)
        results["logged"] = model.evaluate(batches, verbose=0, return_dict=True)
        del results["logged"]["loss"]  # Keras' own, which is a mean of the replicas' means
        results["matrix"] = matrix.matrix().tolist()
        sides = histogram.histogram()
        results["histogram"] = [[np.flatnonzero(side).tolist(), side[side > 0].tolist()] for side in sides]
        assert sides[0].sum() + sides[1].sum() == (truth != 255).sum()
        results["expected"] = metrics.confusion_matrix(truth, logits.argmax(-1), 3).numpy().tolist()
    return results


def start(replicas, records_dir, output, **environment):
    command = [sys.executable, __file__, str(replicas), str(records_dir), str(output)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")])
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": path, **environment}
    return subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE, text=True)


def finish(processes, outputs):
    """The results of processes that were started."""
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-3000:]
    return [json.loads(output.read_text()) for output in outputs]


@pytest.fixture(scope="module")
def records_dir(tmp_path_factory):
    import evaluation_cases as cases

    return cases.write_records(tmp_path_factory.mktemp("toy")).records_dir


@pytest.fixture(scope="module")
def one_replica(records_dir):
    import tensorflow as tf

    return json.loads(json.dumps(count(tf.distribute.get_strategy(), records_dir)))


def test_two_and_four_replicas_count_what_one_counts(records_dir, one_replica, tmp_path):
    assert one_replica["matrix"] == one_replica["expected"]
    outputs = [tmp_path / f"{replicas}.json" for replicas in (2, 4)]
    processes = [start(replicas, records_dir, output) for replicas, output in zip((2, 4), outputs)]
    for found in finish(processes, outputs):
        assert found == one_replica


def test_two_workers_each_get_the_whole_report(records_dir, one_replica, tmp_path):
    outputs = [tmp_path / f"worker{i}.json" for i in range(2)]
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("localhost", 0))
        workers = [f"localhost:{one.getsockname()[1]}" for one in (first, second)]
    tasks = [{"cluster": {"worker": workers}, "task": {"type": "worker", "index": i}} for i in range(2)]
    processes = [start(1, records_dir, output, TF_CONFIG=json.dumps(task)) for task, output in zip(tasks, outputs)]
    for found in finish(processes, outputs):
        for key in ("report", "arrays"):
            assert found[key] == one_replica[key], key


if __name__ == "__main__":
    child(int(sys.argv[1]), *sys.argv[2:])
