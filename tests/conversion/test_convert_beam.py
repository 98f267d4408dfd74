"""The converter through Apache Beam's local runner: the same bytes, the same one-line errors."""

import pathlib
import subprocess
import sys

import pytest
import tiny_folders

import tfrecords
from tfrecords import labels

pytestmark = pytest.mark.extras

ROOT = pathlib.Path(__file__).parents[2]


def _convert(source, records, *arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "tools" / "convert_cityscapes.py"), "--num_shards=3"]
    command += [f"--cityscapes_dir={source}", f"--records_dir={records}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.fixture
def source(tmp_path) -> pathlib.Path:
    tiny_folders.cityscapes(tmp_path / "source", {"train": 7, "val": 3, "test": 2})
    tiny_folders.cityscapes(tmp_path / "source", {"train_extra": 4}, annotation="gtCoarse")
    return tmp_path / "source"


def test_beam_writes_the_bytes_that_the_local_runner_writes(source, tmp_path):
    splits = "--splits=train,val,test,train_extra"
    for runner in ("local", "beam"):
        done = _convert(source, tmp_path / runner, splits, f"--runner={runner}")
        assert done.returncode == 0, done.stderr
    assert tiny_folders.contents(tmp_path / "beam") == tiny_folders.contents(tmp_path / "local")
    assert tfrecords.info(tmp_path / "beam").splits["train_extra"].table == labels.CITYSCAPES_COARSE
    again = _convert(source, tmp_path / "beam", splits, "--runner=beam")
    assert again.returncode == 0, again.stderr


def test_beams_own_options_reach_it(source, tmp_path):
    options = "--beam_options=--direct_num_workers=2,--direct_running_mode=multi_processing"
    done = _convert(source, tmp_path / "beam", "--splits=val", "--runner=beam", options)
    assert done.returncode == 0, done.stderr
    assert _convert(source, tmp_path / "local", "--splits=val").returncode == 0
    assert tiny_folders.contents(tmp_path / "beam") == tiny_folders.contents(tmp_path / "local")


def test_a_bad_file_ends_in_one_line_and_leaves_nothing(source, tmp_path):
    path = next(iter(sorted(source.glob("leftImg8bit/train/*/*.png"))))
    path.write_bytes(path.read_bytes()[:-20])
    done = _convert(source, tmp_path / "records", "--runner=beam")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {path} is truncated"), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "records").exists()
