"""TensorFlow's errors that an ordinary mistake causes, in one line that says which."""

import contextlib
import errno
import os
import re

import tensorflow as tf

_INPUT = (
    tf.errors.InvalidArgumentError,
    tf.errors.DataLossError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
)


@contextlib.contextmanager
def explained(config, folder="the workdir"):
    """While inside, records that cannot be decoded and memory that does not suffice are a ValueError, in one line.

    So is a full disk, an OSError in any case, which says itself neither what was written nor what to do.

    Args:
      config: the run's ConfigDict.
      folder: what is written to.
    """
    full = f"{folder} cannot be written: {os.strerror(errno.ENOSPC)}; make room and start the same command again."
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise OSError(full) from error
    except tf.errors.ResourceExhaustedError as error:
        if os.strerror(errno.ENOSPC) in str(error):
            raise OSError(full) from error
        raise ValueError(
            f"out of memory ({_reason(error)}); set config.train.remat=True, raise config.train.accumulation_steps, or "
            "lower config.train.batch_size, config.eval.batch_size or config.data.crop_size."
        ) from error
    except _INPUT as error:
        # Not of the model: of an operation that asks the input pipeline for what comes next.
        if "IteratorGetNext" not in str(error):
            raise
        records = config.data.records_dir
        raise ValueError(
            f"a record of {records} cannot be read ({_reason(error)}); "
            f"tools/inspect_records.py --records_dir={records} --verify says which."
        ) from error


def is_memory(error):
    """Whether an exception that `explained` raised is of too little memory."""
    return isinstance(error.__cause__, tf.errors.ResourceExhaustedError)


@contextlib.contextmanager
def writing(path):
    """While inside, TensorFlow's failure to write files below `path`, such as on a full disk, is an OSError."""
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(f"{path} cannot be written ({_reason(error)}).") from error


def _reason(error):
    """The first line of TensorFlow's message, without the names of its nodes."""
    return re.sub(r"\{\{.*?\}\}\s*", "", str(error)).strip().splitlines()[0]
