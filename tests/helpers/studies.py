"""Configurations of studies, and records for them, for the tests of kseg.study."""

import importlib.util
import pathlib
import subprocess
import sys

import tiny_folders

from kseg.study import folder as study_folder

ROOT = pathlib.Path(__file__).parents[2]
PYTHON = [sys.executable]
TOOL = """
import json, os, sys
from kseg.commands import flags, study
for arguments in json.loads(sys.argv[1]):
    if not os.fork():
        flags.run(study, ["kseg study", *arguments])
    status = os.waitstatus_to_exitcode(os.wait()[1])
    print(f"exit status {status}", file=sys.stderr, flush=True)
"""


def load_config(name, *arguments):
    spec = importlib.util.spec_from_file_location(name, ROOT / "configs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(*arguments)


def make_records(tmp_path, counts):
    folder = tmp_path / "cityscapes"
    tiny_folders.cityscapes(folder, counts)
    command = [str(ROOT / "tools/convert_cityscapes.py"), f"--cityscapes_dir={folder}", "--num_shards=1"]
    command += [f"--records_dir={tmp_path / 'records'}", f"--splits={','.join(counts)}", "--num_workers=1"]
    subprocess.run(PYTHON + command, check=True, capture_output=True)
    return str(tmp_path / "records")


def study_of_docs(name):
    return study_folder.load_summary(ROOT / "docs" / "study" / name)
