"""The guide's example runs as printed, and what it makes can be trained on."""

import pathlib
import re

import numpy as np
from PIL import Image

import tfrecords

GUIDE = pathlib.Path(__file__).parents[2] / "docs" / "guide.md"


def test_the_example_of_own_data_makes_records_with_both_encodings(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for i in range(5):
        Image.fromarray(rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)).save(tmp_path / f"images/drive_{i:04d}.png")
        Image.fromarray(rng.choice([0, 1, 7, 26, 29], (20, 30)).astype(np.uint8)).save(
            tmp_path / f"labels/drive_{i:04d}.png"
        )
    monkeypatch.chdir(tmp_path)
    exec(re.search(r"```python\n(.*?)```", GUIDE.read_text(), re.S)[1], {})
    manifest = tfrecords.info("records")
    assert {name: split.examples for name, split in manifest.splits.items()} == {"train": 3, "val": 2}
    assert manifest.table.num_classes == 2
    assert manifest.table.encoding("hybrid")[[0, 1, 7, 26, 29]].tolist() == [2, 255, 0, 1, 2]


def test_every_key_that_the_pages_name_exists():
    from kseg import config as defaults

    for page in (GUIDE, GUIDE.parent.parent / "README.md"):
        for section, key in re.findall(r"config\.(?:base\.)?(\w+)\.(\w+)", page.read_text()):
            assert key == "KEY" or key in defaults.default()[section], f"{page.name}: config.{section}.{key}"
