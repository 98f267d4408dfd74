"""The tutorial of docs/own_folder.md, run as printed; its example of records from Python; keys that pages name."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
from in_process import kseg_command
from PIL import Image

import tfrecords

ROOT = next(folder for folder in pathlib.Path(__file__).parents if (folder / "setup.cfg").is_file())
PAGE = ROOT / "docs/own_folder.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_tutorial_runs_as_printed_and_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text().partition("## What labels may look like")[0]
    printed, checked = "", 0
    for kind, block in BLOCK.findall(text):
        if kind == "python":
            exec(block, {})
        elif kind == "csv":
            pathlib.Path("classes.csv").write_text(block)
        elif kind == "sh":
            printed = ""
            for line in block.replace("\\\n", " ").splitlines():
                program, *arguments = shlex.split(line)
                assert program == "kseg"
                done = kseg_command(*arguments)
                assert done.status == 0, done.err[-3000:]
                printed += done.out + done.err
        else:
            assert kind == "text"
            for line in block.splitlines():
                assert line in printed, f"{line!r} is not in:\n{printed}"
                checked += 1
    assert checked >= 6
    masks = {path.name.removesuffix("_mask.png") for path in pathlib.Path("masks").glob("*_mask.png")}
    assert masks == {path.stem for path in pathlib.Path("images").iterdir()} and len(masks) == 40
    assert {int(i) for name in masks for i in np.unique(Image.open(f"masks/{name}_mask.png"))} <= {*range(7), 255}
    said = float(re.search(r"mean IoU of\s+this run is (\d+) %", text)[1])
    found = 100 * json.loads(pathlib.Path("runs/first/eval_val.json").read_text())["mean_iou"]
    assert abs(found - said) <= 10, found


def _own_script(tmp_path, text):
    """Runs the example, changed or not, as the file that a reader pastes it into, with two workers."""
    rng = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for i in range(5):
        Image.fromarray(rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)).save(tmp_path / f"images/drive_{i:04d}.png")
        Image.fromarray(rng.choice([0, 1, 7, 26, 29], (20, 30)).astype(np.uint8)).save(
            tmp_path / f"labels/drive_{i:04d}.png"
        )
    assert "num_shards=2)" in text
    (tmp_path / "own.py").write_text(text.replace("num_shards=2)", "num_shards=2, num_workers=2)"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "own.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)


def _example():
    (example,) = [block for kind, block in BLOCK.findall(PAGE.read_text()) if "tfrecords.write" in block]
    return example


def test_the_example_of_own_data_makes_records_with_both_encodings(tmp_path):
    done = _own_script(tmp_path, _example())
    assert done.returncode == 0, done.stderr
    manifest = tfrecords.info(tmp_path / "records")
    assert {name: split.examples for name, split in manifest.splits.items()} == {"train": 3, "val": 2}
    assert manifest.table.num_classes == 2
    assert manifest.table.encoding("hybrid")[[0, 1, 7, 26, 29]].tolist() == [2, 255, 0, 1, 2]


def test_a_script_without_a_guard_is_told_what_it_lacks(tmp_path):
    text = _example().replace('if __name__ == "__main__":', "if True:")
    done = _own_script(tmp_path, text)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if "import the script that starts them" in line]
    assert any(line.startswith("error: ") for line in said)  # the worker
    assert 'if __name__ == "__main__":' in said[-1]
    # On a busy machine the parent may see that the worker is gone before it learns why; the worker has said it.
    assert any(name in done.stderr.splitlines()[-1] for name in ("ReimportedError", "WorkerLostError"))
    assert not (tmp_path / "records").exists()


def test_every_key_that_the_pages_name_exists():
    from kseg import config as defaults

    named = 0
    for page in (*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "deploy/README.md"):
        for section, key in re.findall(r"config\.(?:base\.)?(\w+)\.(\w+)", page.read_text()):
            if key.isupper() or (section, key) == ("train", "steps"):  # a placeholder; the typo of troubleshooting.md
                continue
            assert key in defaults.default().get(section, ()), f"{page.name}: config.{section}.{key}"
            named += 1
    assert named > 20
