"""Where a run computes: the tf.distribute strategy, which process writes, and how a worker's end reaches the others.

Three names of TensorFlow are used that are not public, because nothing public does the same: the context's
`check_collective_ops_peer_health` and `abort_collective_ops`, and a strategy's `extended._in_multi_worker_mode`.
Another version may lack them; tests/distribution/test_strategy.py then fails.
"""

import contextlib
import json
import os
import threading

import tensorflow as tf
from absl import logging
from tensorflow.python.eager import context  # not public, see above

from kseg.distribution import sigterm

# A dead process refuses connections at once: noticed after 3 x 5 s. A machine that is gone answers nothing: 3 x 15 s.
_CHECK_EVERY_S, _ANSWER_WITHIN_S, _ATTEMPTS = 5, 10, 3
_UNWIND_WITHIN_S = 10
# What a collective operation fails with when a peer is gone.
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)


class LostWorker(ConnectionError):
    """Another worker is gone: nothing is wrong here, and the run goes on when all are started again."""


def make_strategy(config):
    """The tf.distribute strategy of `config.train`; must run before TensorFlow has touched a device.

    `mirrored` uses every GPU, or the CPU split into config.train.num_virtual_devices devices where there is none.
    `multi_worker` waits until every worker that the environment variable TF_CONFIG lists has started.

    Raises:
      ValueError: on an unknown name, a TF_CONFIG that cannot be used, or if the devices were already set up otherwise.
    """
    name, virtual = config.train.distribution, config.train.num_virtual_devices
    if name not in ("mirrored", "multi_worker", "none"):
        raise ValueError(f"config.train.distribution={name!r}: expected mirrored, multi_worker or none.")
    if virtual < 1:
        raise ValueError(f"config.train.num_virtual_devices={virtual}: expected at least 1.")
    if name == "multi_worker":
        _check_cluster()
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        logging.info("TensorFlow sees no GPU: training on the CPU (an NVIDIA GPU needs pip install 'kseg[gpu]')")
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


def check_same_step(strategy, step, folder):
    """Refuses to go on unless every worker resumes at the same step; also the first moment at which all have met.

    Raises:
      ValueError: if the workers found different checkpoints.
    """
    if not _several_workers(strategy):
        return
    total = float(_sum_over_replicas(strategy)(tf.constant(float(step), tf.float64)))
    if total != step * strategy.num_replicas_in_sync:
        raise ValueError(
            f"{folder}: this worker resumes at step {step}, the mean over all is "
            f"{total / strategy.num_replicas_in_sync:g}; give every worker the same --workdir, on storage they share."
        )


@contextlib.contextmanager
def watching_peers(strategy):
    """While inside, a worker that is gone is an error here too, within a minute, instead of a wait without end.

    All workers leave together: nobody's end is taken for a failure while another is still writing.

    Raises:
      LostWorker: in one line, as soon as a collective operation has failed.
    """
    if not _several_workers(strategy):
        yield
        return
    watch = _PeerWatch(strategy)
    try:
        yield
        _sum_over_replicas(strategy)(tf.constant(0.0, tf.float64))
    except _LOST as error:
        raise LostWorker(watch.explain(error)) from None
    finally:
        watch.stop()


class TerminationRequest:
    """Turns SIGTERM into a question that every worker answers alike, while it is open.

    With several workers the answer is one step old. The sum over workers of one step is read in the next, so that no
    step waits for it.
    """

    def __init__(self, strategy):
        self._note = sigterm.Note()
        self._sum = _sum_over_replicas(strategy) if _several_workers(strategy) else None
        self._answer = None

    def __enter__(self):
        self._note.__enter__()
        return self

    def __exit__(self, *_):
        self._note.__exit__()

    def requested(self):
        if self._sum is None:
            return self._note.asked
        # A worker that stopped alone would leave the others waiting in their next all-reduce.
        answer, self._answer = self._answer, self._sum(tf.constant(float(self._note.asked), tf.float64))
        return answer is not None and float(answer) > 0


class _PeerWatch:
    """A thread that asks every other worker for a sign of life and, without one, aborts what waits for it."""

    def __init__(self, strategy):
        resolver = strategy.cluster_resolver
        self._peers = [
            f"/job:{job}/replica:0/task:{task}"
            for job, addresses in resolver.cluster_spec().as_dict().items()
            for task in range(len(addresses))
            if (job, task) != (resolver.task_type, resolver.task_id)
        ]
        self._lost = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="peer-watch", daemon=True)
        self._thread.start()

    def stop(self):
        self._stopped.set()

    def explain(self, error):
        who = f"worker {self._lost} does not answer" if self._lost else "another worker is gone"
        reason = type(error).__name__
        return f"{who} ({reason}); start all workers again with the same --workdir to go on from the last checkpoint."

    def _run(self):
        failures = dict.fromkeys(self._peers, 0)
        while not self._stopped.wait(_CHECK_EVERY_S):
            for peer in self._peers:
                try:
                    context.context().check_collective_ops_peer_health(peer, timeout_in_ms=1000 * _ANSWER_WITHIN_S)
                    failures[peer] = 0
                except tf.errors.OpError as error:
                    failures[peer] += 1
                    if failures[peer] >= _ATTEMPTS and not self._stopped.is_set():
                        self._give_up(peer, error)
                        return

    def _give_up(self, peer, error):
        self._lost = peer.rpartition(":")[2]
        context.context().abort_collective_ops(tf.errors.UNAVAILABLE, f"{peer} does not answer")
        # The main thread now gets an error from the operation that it waits in; unless it waits in something else.
        if not self._stopped.wait(_UNWIND_WITHIN_S):
            sigterm.leave(f"error: {self.explain(error)}", sigterm.AGAIN)


def _several_workers(strategy):
    return strategy.extended._in_multi_worker_mode()


def _sum_over_replicas(strategy):
    """Compiled f(float64 scalar of this worker) -> its sum over all replicas."""

    def total(value):
        return strategy.reduce("SUM", strategy.run(tf.identity, args=(value,)), axis=None)

    return tf.function(total, autograph=False)


def _check_cluster():
    text = os.environ.get("TF_CONFIG", "")
    example = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'
    try:
        settings = json.loads(text)
        workers, task = settings["cluster"]["worker"], settings["task"]
        if task["type"] != "worker" or not 0 <= int(task["index"]) < len(workers):
            raise ValueError(f"task {task} is none of its {len(workers)} workers")
        if len(settings["cluster"]) > 1:
            raise ValueError(f"cluster has {', '.join(settings['cluster'])}, expected worker alone")
    except (ValueError, KeyError, TypeError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        problem = f"cannot be used ({reason})" if text else "is not set"
        raise ValueError(
            f"config.train.distribution=multi_worker: the environment variable TF_CONFIG {problem}; expected {example}."
        ) from None
