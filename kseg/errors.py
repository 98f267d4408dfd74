"""Errors in one line: any exception's, and TensorFlow's that an ordinary mistake causes, which say more than they said.

Loads TensorFlow only where its errors are asked for.
"""

import contextlib
import errno
import os
import re

from tfrecords.errors import one_line

__all__ = ["explained", "first_line", "is_memory", "one_line", "writing"]

# In the name of every operation of TensorFlow that asks an input pipeline for what comes next, on one device or many.
_ASKS_THE_INPUT = "IteratorGetNext"

_LIGHTER_TRAINING = (
    "set config.train.remat=True, raise config.train.accumulation_steps, or lower config.train.batch_size, "
    "config.eval.batch_size or config.data.crop_size"
)


def first_line(error: BaseException) -> str:
    """The first line of what an exception says, or its type's name: for libraries whose messages go on for pages."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextlib.contextmanager
def explained(config, folder="the workdir", lighter=_LIGHTER_TRAINING):
    """While inside, records that cannot be decoded and memory that does not suffice are a ValueError, in one line.

    So is a full disk, an OSError in any case, which says itself neither what was written nor what to do.

    Args:
      config: the run's ConfigDict.
      folder: what is written to.
      lighter: what to do where memory does not suffice.
    """
    import tensorflow as tf

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
        raise ValueError(f"out of memory ({_reason(error)}); {lighter}.") from error
    except (
        tf.errors.InvalidArgumentError,
        tf.errors.DataLossError,
        tf.errors.NotFoundError,
        tf.errors.OutOfRangeError,
    ) as error:
        if _ASKS_THE_INPUT not in str(error):  # the model's, not the records'
            raise
        records = config.data.records_dir
        raise ValueError(
            f"a record of {records} cannot be read ({_reason(error)}); "
            f"kseg inspect-records --records_dir={records} --verify says which."
        ) from error


def is_memory(error):
    """Whether an exception that `explained` raised is of too little memory."""
    import tensorflow as tf

    return isinstance(error.__cause__, tf.errors.ResourceExhaustedError)


@contextlib.contextmanager
def writing(path):
    """While inside, TensorFlow's failure to write files below `path`, such as on a full disk, is an OSError."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(f"{path} cannot be written ({_reason(error)}).") from error


def _reason(error):
    """The first line of TensorFlow's message, without the names of its nodes."""
    return re.sub(r"\{\{.*?\}\}\s*", "", first_line(error))
