"""Semantic segmentation on TensorFlow and Keras 3 that knows what it does with pixels of no class.

Importing this package loads neither TensorFlow nor Keras; its modules do. kseg.train, evaluate, export_model, predict,
load and config.default() do from a notebook what the commands do; `python -m kseg` lists those.
"""

import importlib
import os
import sys
import tempfile

__version__ = "0.1.0"

# TensorFlow uses its oneDNN kernels by itself only where the CPU has AVX-512 VNNI or newer; elsewhere a training step
# takes several times as long without them. It reads this once, when it is loaded, and each module of ours that loads it
# imports this one first. A value of the user's own stays.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def load_tensorflow_quietly():
    """Imports TensorFlow with its notices about drivers and instruction sets kept off stderr.

    They are written before any log level applies, a dozen lines a process. What fails is raised, so the rest of
    TensorFlow's log is off too, unless TF_CPP_MIN_LOG_LEVEL says otherwise. The notices are shown after all where they
    matter: if the import fails, or if the machine has an NVIDIA device that TensorFlow does not see.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notices:
        os.dup2(notices.fileno(), 2)
        show = True
        try:
            import tensorflow as tf

            tf.get_logger().setLevel("WARNING")
            show = os.path.exists("/dev/nvidia0") and not tf.config.list_physical_devices("GPU")
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            if show:
                notices.seek(0)
                sys.stderr.write(notices.read().decode(errors="replace"))


_LAZY = ("train", "evaluate", "export_model", "predict", "load")


def __getattr__(name):
    """kseg.train and its like, loaded when they are first asked for: most users of a loss need none of it."""
    if name in _LAZY:
        return getattr(importlib.import_module("kseg.api"), name)
    if name == "config":
        return importlib.import_module("kseg.config")
    raise AttributeError(f"module 'kseg' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_LAZY, "config"})
