"""Errors of TensorFlow that a person can do something about are told in one line; others stay what they are."""

import errno
import os

import pytest
import tensorflow as tf

from kseg import config as defaults
from kseg import errors


def explain(error):
    config = defaults.default()
    config.data.records_dir = "R"
    with errors.explained(config):
        raise error


def test_too_little_memory_names_the_settings_that_need_less():
    message = "Graph execution error:\n\nOOM when allocating tensor with shape[8,512]"
    with pytest.raises(ValueError, match=r"out of memory.*train\.remat.*accumulation_steps") as caught:
        explain(tf.errors.ResourceExhaustedError(None, None, message))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        tf.errors.ResourceExhaustedError(None, None, "W/checkpoints/1; No space left on device"),
    ],
)
def test_a_full_disk_is_not_too_little_memory_and_names_the_folder(error):
    with pytest.raises(OSError, match=r"^W cannot be written: No space left on device; make room") as caught:
        with errors.explained(defaults.default(), "W"):
            raise error
    assert "memory" not in str(caught.value)


def test_an_error_of_the_model_is_not_blamed_on_the_records():
    with pytest.raises(tf.errors.InvalidArgumentError):
        with errors.explained(defaults.default()):
            tf.reshape(tf.zeros(3), [2, 2])


def _over_replicas(dataset):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    examples = iter(strategy.experimental_distribute_dataset(dataset))
    return tf.function(lambda: strategy.run(tf.shape, (next(examples),)))()


@pytest.mark.parametrize("read", [lambda dataset: next(iter(dataset)), _over_replicas])
def test_an_error_of_the_input_is(read):
    # Told by the name of TensorFlow's operation, whichever way a batch is asked for.
    broken = tf.data.Dataset.from_tensors(b"no picture").map(tf.io.decode_png)
    with pytest.raises(ValueError, match=r"a record of \S* ?cannot be read \(.*PNG.*--verify") as caught:
        with errors.explained(defaults.default()):
            read(broken)
    assert "\n" not in str(caught.value) and "{{" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "whole", "first"),
    [
        (ValueError("a\n  b"), "a b", "a"),
        (KeyError("no key 'x'\nhere"), "no key 'x' here", '"no key \'x\'\\nhere"'),
        (ValueError(), "ValueError", "ValueError"),
        (OSError(errno.ENOENT, "No such file", "f"), "[Errno 2] No such file: 'f'", "[Errno 2] No such file: 'f'"),
        (RuntimeError("bad:\nTraceback (most recent call last):\n  File\nKeyError: 3"), "bad: KeyError: 3", "bad:"),
        (RuntimeError(ValueError("inner")), "inner", "inner"),
    ],
)  # fmt: skip
def test_an_exception_is_told_in_one_line(error, whole, first):
    assert errors.one_line(error) == whole and errors.first_line(error) == first
