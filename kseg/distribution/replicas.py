"""A batch of images over the replicas of a tf.distribute strategy, and host-side counts summed over its workers.

Answers which share of the images is this worker's, and gives results in the images' order. Knows nothing of models.
"""

import functools

import numpy as np
import tensorflow as tf


class Replicas:
    """The replicas of a strategy, as seen from one of its workers.

    Attributes:
      strategy: tf.distribute.Strategy; None = the current one.
      worker, workers: this worker's number, and how many there are.
      local: replicas of this worker.
    """

    def __init__(self, strategy=None):
        self.strategy = strategy or tf.distribute.get_strategy()
        numbers = []

        def note(context):
            numbers.append(context.replica_id_in_sync_group)
            return tf.constant(0)

        self.strategy.experimental_distribute_values_from_function(note)
        self.local = len(numbers)
        self.worker = numbers[0] // self.local
        self.workers = self.strategy.num_replicas_in_sync // self.local

    def compile(self, function):
        """A function of one replica's images -> dict of tensors, as the graph that `run` wants."""
        return tf.function(lambda images: self.strategy.run(function, args=(images,)), reduce_retracing=True)

    def run(self, compiled, images):
        """Applies `compile`d code to a batch.

        Where the images are fewer than the replicas, or do not divide, the last one is repeated and the results of the
        repetitions are dropped: a replica without any image fails on CPUs.

        Args:
          compiled: what `compile` returned; its tensors have the images' axis first.
          images: at least one array, all of one shape.

        Returns:
          {name: array [images, ...]}.
        """
        share = -(-len(images) // self.local)
        padded = images + images[-1:] * (share * self.local - len(images))
        parts = iter([np.stack(padded[i : i + share]) for i in range(0, len(padded), share)])
        distributed = self.strategy.experimental_distribute_values_from_function(lambda _: tf.constant(next(parts)))
        return {
            name: np.concatenate([part.numpy() for part in self.strategy.experimental_local_results(values)])[
                : len(images)
            ]
            for name, values in compiled(distributed).items()
        }

    def sum_over_workers(self, array):
        """The sum of every worker's int64 array; all workers must call it, in the same order, and all get it."""
        if self.workers == 1:
            return array
        total = _summing_over_workers(self.strategy, self.local)
        return total(tf.constant(array.reshape(-1))).numpy().reshape(array.shape)


@functools.lru_cache(maxsize=1)
def _summing_over_workers(strategy, local):
    """Compiled f(int64 [n] of this worker) -> the sum over workers; traced once, whatever n."""

    def replica(values):
        context = tf.distribute.get_replica_context()
        first = context.replica_id_in_sync_group % local == 0
        return context.all_reduce("SUM", tf.where(first, values, 0))

    def total(values):
        return strategy.experimental_local_results(strategy.run(replica, args=(values,)))[0]

    return tf.function(total, input_signature=[tf.TensorSpec([None], tf.int64)])
