"""What makes runs of a study comparable: the code, the library versions, the records and the device."""

import glob
import hashlib
import importlib.metadata
import json
import os
import platform

import kseg

# What decides a run's numbers.
COMPUTES = (
    "tfrecords",
    "kseg.config",
    "kseg.data",
    "kseg.distribution",
    "kseg.evaluation",
    "kseg.heads",
    "kseg.histograms",
    "kseg.inputs",
    "kseg.iou",
    "kseg.losses",
    "kseg.metrics",
    "kseg.models",
    "kseg.optimizers",
    "kseg.training",
    "kseg.treatments",
)


def identity(records_digest: str) -> dict:
    """What a run's numbers depend on beside its settings; runs that differ in it are not compared.

    `code` hashes every Python file of kseg/ and tfrecords/. Called in the run's own process: it asks TensorFlow for
    the device.
    """
    return {
        "code": code_fingerprint(),
        "records": records_digest,
        "versions": versions(),
        "device": device(),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute, as installed; loads none of them."""
    packages = importlib.metadata.packages_distributions()  # tensorflow-cpu is tensorflow too
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in ("tensorflow", "keras", "numpy"):
        found[name] = importlib.metadata.version(packages[name][0]) if name in packages else "unknown"
    return found


def device() -> str:
    """The first GPU's name, or the processor's; asks TensorFlow."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU") if gpus else _processor()


def code_fingerprint() -> str:
    """sha256 over names and contents of the Python files that compute a run.

    Those of tfrecords/ and of the parts of kseg/ from data to evaluation. Another page, command, export or comparison
    does not end a study.
    """
    root = os.path.dirname(os.path.dirname(kseg.__file__))
    paths = []
    for part in COMPUTES:
        path = os.path.join(root, *part.split("."))
        inside = glob.glob(os.path.join(path, "**", "*.py"), recursive=True)
        paths += inside or [f"{path}.py"]
    digest = hashlib.sha256()
    for path in sorted(paths):
        with open(path, "rb") as file:
            content = file.read()
        digest.update(f"{os.path.relpath(path, root)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def fingerprint(value) -> str:
    """sha256, hex, of a JSON value; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _processor():
    """The processor's model name where Linux tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return f"CPU {names[0] if names else platform.machine()}"
