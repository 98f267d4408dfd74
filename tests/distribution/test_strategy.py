"""What kseg.distribution.strategy takes of TensorFlow without a public name is still there, and answers as it must."""

import inspect

import tensorflow as tf

from kseg.distribution import strategy


def test_the_health_of_peers_is_asked_with_the_arguments_that_tensorflow_takes():
    context = strategy.context.context()
    inspect.signature(context.check_collective_ops_peer_health).bind("/job:worker/replica:0/task:1", timeout_in_ms=1)
    inspect.signature(context.abort_collective_ops).bind(tf.errors.UNAVAILABLE, "a peer does not answer")


def test_a_strategy_of_one_process_is_not_one_of_several_workers():
    for alone in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0"])):
        assert strategy._several_workers(alone) is False
