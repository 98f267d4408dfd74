"""The guide's example runs as printed, and what it makes can be trained on."""

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
from PIL import Image

import tfrecords

GUIDE = pathlib.Path(__file__).parents[2] / "docs" / "guide.md"


def _own_script(tmp_path, text):
    """Runs the guide's example, changed or not, as the file that a reader pastes it into, with two workers."""
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
    environment = {**os.environ, "PYTHONPATH": str(GUIDE.parent.parent)}
    return subprocess.run([sys.executable, "own.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)


def _example():
    return re.search(r"```python\n(.*?)```", GUIDE.read_text(), re.S)[1]


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
    assert "ReimportedError" in done.stderr.splitlines()[-1] and 'if __name__ == "__main__":' in said[-1]
    assert not (tmp_path / "records").exists()


def test_every_key_that_the_pages_name_exists():
    from kseg import config as defaults

    for page in (GUIDE, GUIDE.parent.parent / "README.md"):
        for section, key in re.findall(r"config\.(?:base\.)?(\w+)\.(\w+)", page.read_text()):
            assert key == "KEY" or key in defaults.default()[section], f"{page.name}: config.{section}.{key}"
