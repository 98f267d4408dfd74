"""Where a run computes: the tf.distribute strategy, which process writes, and how SIGTERM reaches all of them."""

import json
import os
import signal

import tensorflow as tf


def make_strategy(config):
    """The tf.distribute strategy of `config.train`; must run before TensorFlow has touched a device.

    `mirrored` uses every GPU, or the CPU split into config.train.num_virtual_devices devices where there is none.

    Raises:
      ValueError: on an unknown name, or if the devices were already set up otherwise.
    """
    name, virtual = config.train.distribution, config.train.num_virtual_devices
    if name not in ("mirrored", "multi_worker", "none"):
        raise ValueError(f"config.train.distribution={name!r}: expected mirrored, multi_worker or none.")
    if virtual < 1:
        raise ValueError(f"config.train.num_virtual_devices={virtual}: expected at least 1.")
    gpus = tf.config.list_physical_devices("GPU")
    if virtual > 1 and not gpus:
        split = [tf.config.LogicalDeviceConfiguration() for _ in range(virtual)]
        try:
            tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], split)
        except RuntimeError:
            if len(tf.config.list_logical_devices("CPU")) != virtual:
                raise ValueError(
                    f"config.train.num_virtual_devices={virtual}: TensorFlow has already set up its devices in this "
                    "process; start a new one."
                ) from None
    if name == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    if name == "none":
        return tf.distribute.get_strategy()
    return (
        tf.distribute.MirroredStrategy()
        if gpus
        else tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(virtual)])
    )


def is_chief(strategy):
    """Whether this process is the one that writes."""
    resolver = strategy.cluster_resolver
    return (
        resolver is None
        or not resolver.task_type
        or (resolver.task_type, resolver.task_id) in (("worker", 0), ("chief", 0))
    )


class TerminationRequest:
    """Turns SIGTERM into a question that every worker answers alike; restores the handler afterwards."""

    def __init__(self, strategy):
        self._asked = False
        self._strategy = strategy if len(json.loads(os.environ.get("TF_CONFIG", "{}") or "{}")) else None

    def __enter__(self):
        try:
            self._before = signal.signal(signal.SIGTERM, self._on_signal)
        except ValueError:  # not in the main thread: whoever runs us there handles signals
            self._before = None
        return self

    def __exit__(self, *_):
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _on_signal(self, *_):
        self._asked = True

    def requested(self):
        if self._strategy is None or self._strategy.num_replicas_in_sync == 1:
            return self._asked
        # A worker that stopped alone would leave the others waiting in their next all-reduce.
        asked = self._strategy.run(lambda: tf.constant(float(self._asked)))
        return float(self._strategy.reduce("SUM", asked, axis=None)) > 0
