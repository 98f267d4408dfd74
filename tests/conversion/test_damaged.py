"""Damaged files: an error by default, and with --skip_damaged listed, counted, and left out."""

import subprocess
import sys

import numpy as np
import pytest
import tiny_folders

import tfrecords
from tfrecords import images
from tfrecords.conversion import damaged


def _run(tool, *flags):
    return subprocess.run(
        [sys.executable, "-m", "kseg", tool, "--num_workers=1", *flags], capture_output=True, text=True
    )


@pytest.mark.parametrize("tool", tiny_folders.CONVERTERS)
def test_the_first_damaged_file_is_an_error_and_a_list_goes_on_past_it(tmp_path, tool):
    flags, image, label = tiny_folders.for_converter(tmp_path / "in", tool)
    records, listed = tmp_path / "records", tmp_path / "damaged.txt"
    image.write_bytes(image.read_bytes()[:-20])
    label.write_bytes(b"")
    done = _run(tool, *flags, f"--records_dir={records}")
    assert done.returncode == 1 and len([x for x in done.stderr.splitlines() if x.startswith("error: ")]) == 1
    assert not records.exists()
    done = _run(tool, *flags, f"--records_dir={records}", f"--skip_damaged={listed}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"passed over: 2 of 9 examples with a damaged file, listed in {listed}"
    lines = [line.split("\t") for line in listed.read_text().splitlines()[1:]]
    assert {name for name, _ in lines} == {str(image), str(label)}
    assert "is truncated" in dict(lines)[str(image)] and "is empty" in dict(lines)[str(label)]
    assert tfrecords.info(records).splits["train"].examples == 7


def test_what_is_wrong_but_whole_stays_an_error(tmp_path):
    tiny_folders.save(tmp_path / "a.png", tiny_folders.image(0))
    tiny_folders.save(tmp_path / "a_ids.png", np.full((3, 3), 99, np.uint8))
    pairs = [tfrecords.Pair("a", tmp_path / "a.png", tmp_path / "a_ids.png")]
    kept, lines = damaged.without({"train": pairs}, tmp_path / "list.txt")
    assert kept == {"train": pairs} and lines[0].startswith("passed over: 0 of 1")


def test_a_file_of_something_else_and_a_split_that_would_be_empty_are_refused(tmp_path):
    (tmp_path / "train.txt").write_text("a\nb\n")
    with pytest.raises(ValueError, match="train.txt is a file of something else"):
        damaged.without({"train": []}, tmp_path / "train.txt")
    assert (tmp_path / "train.txt").read_text() == "a\nb\n"
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(ValueError, match="split train: all 1 examples have a damaged file"):
        damaged.without({"train": [tfrecords.Pair("a", tmp_path / "a.png")]}, tmp_path / "list.txt")
    assert "a.png is neither PNG nor JPEG" in (tmp_path / "list.txt").read_text()


def test_rows_that_a_label_lacks_are_damage(tmp_path):
    data = images.encode_map(tiny_folders.label_map(0))
    tiny_folders.save(tmp_path / "a.png", tiny_folders.image(0))
    (tmp_path / "a_ids.png").write_bytes(data[: len(data) // 2])
    pairs = [tfrecords.Pair("a", tmp_path / "a.png", tmp_path / "a_ids.png"), tfrecords.Pair("b", tmp_path / "a.png")]
    kept, _ = damaged.without({"train": pairs}, tmp_path / "list.txt")
    assert [pair.image_id for pair in kept["train"]] == ["b"]
