"""The arrows of the code base: who may import whom, read off the source."""

import ast
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent

# From the top: a module of kseg imports only from lines below its own. A line may hold several that do not meet.
ORDER = [
    "study",
    "study_run",
    "report answer outcome grid study_folder",
    "figures findings",
    "forests",
    "captions charts tables contrasts gallery",
    "export predict",
    "export_check",
    "signatures folding",
    "guards",
    "train dry_run",
    "training_log distribution checkpoints checks failures remat",
    "evaluate",
    "scorecard replicas",
    "tally pictures",
    "statistics results workdir",
    "input_pipeline",
    "addons mixing reading",
    "augment",
    "treatments",
    "losses metrics unet",
    "label_map_loss histograms optimizers layers",
    "pixel_losses",
    "global_sums",
    "serving",
    "wire",
    "cpp_session",
    "config termination",
]


def imports(path):
    """Dotted names that a file imports, those inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def ours(path):
    return {name for name in imports(path) if name.split(".")[0] in ("kseg", "tfrecords", "tools", "configs", "tests")}


def test_every_module_has_its_place():
    placed = set(" ".join(ORDER).split())
    present = {path.stem for path in (ROOT / "kseg").glob("*.py")} - {"__init__"}
    assert present - placed == set()


def test_kseg_imports_only_downwards():
    level = {name: i for i, line in enumerate(ORDER) for name in line.split()}
    for path in (ROOT / "kseg").glob("*.py"):
        if path.stem == "__init__":
            continue
        for name in ours(path):
            parts = name.split(".")
            if parts[0] == "kseg" and len(parts) > 1 and parts[1] in level and path.stem in level:
                assert level[parts[1]] > level[path.stem], f"kseg/{path.name} imports kseg.{parts[1]} from above"
            assert parts[0] in ("kseg", "tfrecords"), f"kseg/{path.name} imports {name}"


def test_tfrecords_imports_nothing_of_ours():
    for path in (ROOT / "tfrecords").glob("*.py"):
        outside = {name for name in ours(path) if not name.startswith("tfrecords")}
        assert not outside, f"tfrecords/{path.name} imports {outside}"


def test_configs_import_only_the_defaults():
    for path in (ROOT / "configs").glob("*.py"):
        for name in ours(path):
            assert name in ("kseg", "kseg.config") or name.startswith("configs"), f"configs/{path.name} imports {name}"


def test_library_code_reads_no_flags():
    for folder in ("kseg", "tfrecords"):
        for path in (ROOT / folder).glob("*.py"):
            assert not {"absl.flags", "absl.app"} & imports(path), f"{path} reads flags"


def test_importing_the_packages_loads_neither_tensorflow_nor_keras():
    heavy = "{'tensorflow', 'keras'}"
    code = f"import sys, kseg, tfrecords; sys.exit(' '.join({heavy} & sys.modules.keys()) or None)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("users", [None, "0", "1"])
def test_onednn_kernels_are_on_unless_the_user_says_otherwise(users):
    environment = {key: value for key, value in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}
    if users is not None:
        environment["TF_ENABLE_ONEDNN_OPTS"] = users
    code = """
import kseg, os
kseg.load_tensorflow_quietly()
from tensorflow.python.util import _pywrap_util_port
print(os.environ["TF_ENABLE_ONEDNN_OPTS"], int(_pywrap_util_port.IsMklEnabled()))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [users or "1", users or "1"]
