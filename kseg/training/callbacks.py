"""config.log.callbacks: functions by their dotted names, each called for a Keras callback.

    def tracker(config, workdir):
        return MyCallback(project="roads", folder=workdir)

`on_epoch_end(step, logs)` is called for every line of metrics.jsonl, with its values: what most trackers log.
docs/tracking.md has Weights & Biases and MLflow.
"""

import importlib
import os
import sys

import keras


def find(names):
    """The functions of these names.

    Args:
      names: "module.function" each; modules are looked for in the current folder too.

    Raises:
      ValueError: in one line, where there is none of that name.
    """
    return [_find(name) for name in names]


def make(functions, config, folder):
    """What the functions return for a run.

    Raises:
      ValueError: in one line, where one returns something else than a keras.callbacks.Callback.
    """
    made = []
    for function in functions:
        callback = function(config, folder)
        if not isinstance(callback, keras.callbacks.Callback):
            raise ValueError(
                f"config.log.callbacks: {function.__module__}.{function.__qualname__}(config, workdir) returned "
                f"{type(callback).__name__}; expected a keras.callbacks.Callback."
            )
        made.append(callback)
    return made


def _find(name):
    module, _, function = str(name).rpartition(".")
    if not module:
        raise ValueError(f"config.log.callbacks: {name!r} is no name like my_callbacks.tracker (module.function).")
    here = os.getcwd()
    added = here not in sys.path
    if added:
        sys.path.append(here)  # a console script has it not
    try:
        found = getattr(importlib.import_module(module), function, None)
    except ImportError as error:
        raise ValueError(f"config.log.callbacks: {module} of {name!r} cannot be imported ({error}).") from None
    finally:
        if added:
            sys.path.remove(here)
    if not callable(found):
        raise ValueError(f"config.log.callbacks: {module} has no function {function!r}.")
    return found
