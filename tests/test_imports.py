"""The arrows of the code base: who may import whom, read off the source."""

import ast
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent

# From the top: a package (or module beside them) imports only from lines below its own.
ORDER = [
    "__main__ api",
    "commands",
    "study",
    "export",
    "training",
    "report",
    "evaluation",
    "runs",
    "serving",
    "data",
    "models",
    "treatments optimizers pictures",
    "heads losses metrics",
    "distribution errors histograms inputs iou progress",
    "config",
]
LEVEL = {name: level for level, line in enumerate(ORDER) for name in line.split()}


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


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(folder):
    return {name_of(path): path for path in (ROOT / folder).rglob("*.py")}


def test_every_package_has_its_place():
    present = {name.split(".")[1] for name in modules("kseg") if "." in name}
    assert present == set(LEVEL)


def test_packages_import_only_downwards():
    for name, path in modules("kseg").items():
        for imported in ours(path):
            parts = imported.split(".")
            assert parts[0] in ("kseg", "tfrecords"), f"{name} imports {imported}"
            if name == "kseg" or parts[0] != "kseg" or parts[1:2] == [] or parts[1] not in LEVEL:
                continue
            own = name.split(".")[1]
            assert parts[1] == own or LEVEL[parts[1]] > LEVEL[own], f"{name} imports {imported} from above"


@pytest.mark.parametrize("folder", ["kseg", "tfrecords"])
def test_no_modules_import_each_other_in_a_circle(folder):
    known = modules(folder)
    arrows = {}
    for name, path in known.items():
        # `from kseg.losses import dice` means the package's file as well; the file itself imports what it collects.
        arrows[name] = {imported for imported in ours(path) if imported in known and imported != name}
        if path.name == "__init__.py":
            continue
        arrows[name] -= {package for package in arrows[name] if known[package].name == "__init__.py"}
    done = set()

    def follow(name, way):
        assert name not in way, " -> ".join([*way, name])
        if name not in done:
            for imported in arrows[name]:
                follow(imported, [*way, name])
            done.add(name)

    for name in arrows:
        follow(name, [])


def test_every_package_says_what_it_is_for_in_five_lines():
    for name, path in modules("kseg").items():
        if path.name == "__init__.py" and name.count(".") and name not in ("kseg.losses", "kseg.metrics"):
            text = ast.get_docstring(ast.parse(path.read_text()))
            assert text and len(text.splitlines()) <= 5, name


def test_tfrecords_imports_nothing_of_ours():
    for path in (ROOT / "tfrecords").rglob("*.py"):
        outside = {name for name in ours(path) if not name.startswith("tfrecords")}
        assert not outside, f"tfrecords/{path.name} imports {outside}"


def test_configs_import_only_the_defaults_and_what_fits_pictures():
    for path in (ROOT / "configs").glob("*.py"):
        for name in ours(path):
            allowed = name in ("kseg", "kseg.config", "kseg.data", "kseg.data.seen_size") or name.startswith("configs")
            assert allowed, f"configs/{path.name} imports {name}"


def test_library_code_reads_no_flags():
    for folder in ("kseg", "tfrecords"):
        for path in (ROOT / folder).rglob("*.py"):
            if "commands" not in path.parts:
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


def test_a_study_is_read_and_compared_without_tensorflow():
    code = "import sys; from kseg.study import contrasts, folder, grid, publish, runner, summary; "
    code += "from kseg.study.report import figures, page; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_importing_the_metrics_registers_them_with_keras():
    # A model that was saved with them is loaded by a program that names the package alone.
    code = "import kseg.losses, kseg.metrics, kseg.optimizers, keras; "
    code += "print([bool(keras.saving.get_registered_object(f'kseg>{name}')) for name in "
    code += "('ConfusionMatrix', 'ScoreHistogram', 'Dice', 'WeightedSum', 'AdamW')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split("\n")[0] == str([True] * 5), done.stderr[-2000:]


def test_no_folder_of_tests_hides_a_package():
    # A program in tests/ has this folder first on its path, and a folder there is found before an editable install.
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
    assert not folders & {"kseg", "tfrecords", "street_scenes", "configs", "tools"}


def test_no_test_imports_a_conftest():
    # There are several of that name, and which one is found depends on what pytest has collected before.
    for path in (ROOT / "tests").rglob("*.py"):
        assert not re.search(r"^\s*(from conftest import|import conftest)", path.read_text(), re.M), path
