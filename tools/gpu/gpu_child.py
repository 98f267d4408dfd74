"""What tools/gpu_checks.py has done in processes of their own: trainings and exports, in order, on this device.

  python tools/gpu/gpu_child.py TASKS.json RESULTS.json

TASKS.json: {"setup": {...}, "tasks": [{"name", "do", ...}, ...]}. RESULTS.json is written after each task, so that what
was measured before a failure stays: {"device": {...}, "tasks": {name: figures, or {"error": one line}}}. A task that
fails does not keep the next one from being tried. This module measures; what is expected is gpu_checks.py's to say.
"""

import contextlib
import importlib
import json
import os
import pathlib
import signal
import sys
import time

ROOT = pathlib.Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

import kseg  # noqa: E402

kseg.load_tensorflow_quietly()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

import tfrecords  # noqa: E402
from kseg import config as defaults  # noqa: E402
from kseg.data import input_pipeline  # noqa: E402
from kseg.export import export  # noqa: E402
from kseg.runs import finished  # noqa: E402
from kseg.serving import client, cpp_session  # noqa: E402
from kseg.study import identity  # noqa: E402
from kseg.training import train  # noqa: E402
from tfrecords import files  # noqa: E402


def main(tasks_path, results_path):
    with open(tasks_path, encoding="utf-8") as file:
        request = json.load(file)
    _set_up(request["setup"])
    results = {"device": _device(), "tasks": {}}
    _write(results_path, results)
    for task in request["tasks"]:
        do = {"train": _train, "export": _export}[task["do"]]
        try:
            results["tasks"][task["name"]] = do(task)
        except Exception as error:  # whatever a driver or a kernel raises is a finding
            text = " ".join(str(error).split()) or "no message"
            results["tasks"][task["name"]] = {"error": f"{type(error).__name__}: {text}"[:300]}
        _write(results_path, results)
        keras.backend.clear_session()


class Timer(keras.callbacks.Callback):
    """Seconds between two steps that the device has finished, and SIGTERM in the middle of a run.

    Args:
      warm: steps before the clock starts: the first ones trace, compile and choose kernels.
      total: the run's last step.
      stop_at: the step in which this process gets a SIGTERM; 0 = never.
    """

    def __init__(self, warm, total, stop_at=0):
        super().__init__()
        self._marks, self._at, self._stop_at = (warm - 1, total - 1), {}, stop_at

    def on_train_batch_end(self, batch, logs=None):
        if batch in self._marks:
            float(logs["loss"])  # waits for the device
            self._at[batch] = time.perf_counter()
        if self._stop_at and batch + 1 == self._stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    def seconds_per_step(self):
        """None where the run was too short for two marks."""
        first, last = self._marks
        return (self._at[last] - self._at[first]) / (last - first) if len(self._at) == 2 else None


def configure(task):
    """The configuration of a training task: a recipe of configs/ or the defaults, and what the task sets."""
    recipe = task.get("recipe")
    config = importlib.import_module(f"configs.{recipe}").get_config() if recipe else defaults.default()
    for key, value in task["settings"].items():
        if key not in defaults.flatten(config):
            raise KeyError(f"there is no key config.{key}")
        defaults.set_key(config, key, value)
    return config


def _train(task):
    config = configure(task)
    tf.config.experimental.enable_tensor_float_32_execution(task.get("tensor_float_32", True))
    gpus = tf.config.list_logical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.reset_memory_stats(gpu.name.removeprefix("/device:"))
    timer = Timer(task.get("warm_steps", 1), config.train.total_steps, task.get("stop_at", 0))
    begin = time.perf_counter()
    outcome = train.train_and_evaluate(config, task["workdir"], [timer], progress=False)
    seconds = timer.seconds_per_step()
    return {
        "outcome": outcome,
        "images_per_s": config.train.batch_size / seconds if seconds else None,
        "peak_bytes": max(map(_peak, gpus), default=None),
        "mean_iou": _mean_iou(os.path.join(task["workdir"], "metrics.jsonl")),
        "batch_size": config.train.batch_size,
        "seconds": time.perf_counter() - begin,
    }


def _export(task):
    """Exports a run, which checks itself, and asks the export and Keras about whole pictures on this device."""
    path = export.export(task["workdir"], task["export_dir"])
    run = finished.load_run(task["workdir"])
    manifest, split = tfrecords.info(run.config.data.records_dir), run.config.data.train_split
    decide = tf.function(lambda image: run.treatment.native(run.model(image, training=False)), autograph=False)
    equal, pixels, seconds = 0, 0, []
    with cpp_session.CppSession(path) as session:
        for example in input_pipeline.eval_dataset(manifest, split, np.arange(task["images"])):
            image = example["image"].numpy()[None]
            begin = time.perf_counter()
            mask = session.run(client.TENSOR, image=image)["mask"]
            seconds.append(time.perf_counter() - begin)
            equal += int(np.sum(mask == decide(tf.cast(image, tf.float32)).numpy()))
            pixels += mask.size
    return {"pixels_equal": equal / pixels, "images_per_s": 1 / min(seconds)}


def _set_up(setup):
    """Devices must be as they shall be before TensorFlow runs anything."""
    gpus = tf.config.list_physical_devices("GPU")
    if setup.get("split_gpu") and len(gpus) == 1:
        halves = [tf.config.LogicalDeviceConfiguration(memory_limit=setup["half_mebibytes"])] * 2
        tf.config.set_logical_device_configuration(gpus[0], halves)
    elif not gpus:
        parts = [tf.config.LogicalDeviceConfiguration()] * setup["virtual_cpus"]
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
    else:
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)


def _device():
    gpus = tf.config.list_physical_devices("GPU")
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    return {
        "name": identity.device(),
        "gpus": len(gpus),
        "compute_capability": ".".join(map(str, details.get("compute_capability", ()))),
        "versions": identity.versions() | _cuda(),
        "cores": len(os.sched_getaffinity(0)),
    }


def _cuda():
    built = tf.sysconfig.get_build_info()
    return {key.removesuffix("_version"): str(built[key]) for key in ("cuda_version", "cudnn_version") if key in built}


def _peak(gpu):
    return int(tf.config.experimental.get_memory_info(gpu.name.removeprefix("/device:"))["peak"])


def _mean_iou(path):
    """Of the last evaluation on held-out images; None without one."""
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
        found = [line["eval_mean_iou"] for line in map(json.loads, file) if line.get("eval_mean_iou") is not None]
        return found[-1] if found else None
    return None


def _write(path, results):
    files.write_whole(path, json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
