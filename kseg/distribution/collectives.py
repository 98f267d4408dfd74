"""Sums over the replicas that compute in step, inside and outside tf.distribute."""

import tensorflow as tf


def num_replicas() -> int:
    """Number of replicas that compute in step; 1 outside tf.distribute."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def all_reduce_sum(tensors):
    """Sum of a tensor (or a list of them) over all replicas; the argument itself where there is one replica.

    In a cross-replica context (Keras builds a model there, once, symbolically) it is the identity as well.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)
