"""The converters: what is written, what is refused, and that neither workers, kills nor errors change a byte."""

import json
import os
import pathlib
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
import tiny_folders
from cityscapesscripts.helpers import labels as official
from PIL import Image

import tfrecords
from tfrecords import images, labels, png
from tfrecords.conversion import build, runners

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "records"


def _tool(name, *arguments, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, **options)


def _cityscapes(source, records, *arguments, **options) -> subprocess.CompletedProcess:
    return _tool("convert_cityscapes", f"--cityscapes_dir={source}", f"--records_dir={records}", *arguments, **options)


def _refused(done: subprocess.CompletedProcess) -> str:
    """The one line of an error that a user sees, besides the progress bar."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    return line


def _pairs(source, split="train", annotation="gtFine") -> list[tfrecords.Pair]:
    suffix = "_leftImg8bit.png"
    return [
        tfrecords.Pair(
            path.name.removesuffix(suffix),
            str(path),
            str(
                source
                / annotation
                / split
                / path.parent.name
                / path.name.replace(suffix, f"_{annotation}_labelIds.png")
            ),
        )
        for path in sorted((source / "leftImg8bit" / split).glob(f"*/*{suffix}"))
    ]


def _write(source, records, splits=("train",), **options) -> tfrecords.Manifest:
    options = {"num_shards": 2, "num_workers": 1} | options
    return tfrecords.write(records, labels.CITYSCAPES, {split: _pairs(source, split) for split in splits}, **options)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> pathlib.Path:
    """Cityscapes in small: 7 train, 3 val, 2 test frames; test has dummy label maps, as published."""
    root = tmp_path_factory.mktemp("cityscapes")
    tiny_folders.cityscapes(root, {"train": 7, "val": 3, "test": 2})
    return root


@pytest.fixture
def own_source(tmp_path) -> pathlib.Path:
    """A data set of 3 train frames to damage."""
    tiny_folders.cityscapes(tmp_path / "source", {"train": 3})
    return tmp_path / "source"


def _one(folder, pattern) -> pathlib.Path:
    return sorted(folder.glob(pattern))[0]


# What is written.


def test_image_bytes_are_verbatim_and_the_maps_are_those_of_the_official_table(source, tmp_path):
    _write(source, tmp_path / "records")
    found = {one.image_id: one for one in tfrecords.read(tmp_path / "records", "train")}
    pairs = _pairs(source)
    assert found.keys() == {pair.image_id for pair in pairs}
    for pair in pairs:
        one = found[pair.image_id]
        assert one.image_encoded == pathlib.Path(pair.image_path).read_bytes()
        assert (one.image_format, one.height, one.width) == ("png", tiny_folders.HEIGHT, tiny_folders.WIDTH)
        ids = np.asarray(Image.open(pair.label_path))
        train_ids = np.vectorize(lambda number: official.id2label[number].trainId)(ids)
        assert one.ids_png == pathlib.Path(pair.label_path).read_bytes()
        assert (images.decode_map(one.ignore_png, "ignore") == train_ids).all()
        background = images.decode_map(one.background_png, "background")
        assert (background == np.where(train_ids == 255, 19, train_ids)).all()


def test_the_manifest_counts_the_pixels_of_each_id(source, tmp_path):
    split = _write(source, tmp_path / "records").splits["train"]
    ids = np.concatenate([np.asarray(Image.open(pair.label_path)).ravel() for pair in _pairs(source)])
    assert split.id_pixels == {n: int((ids == n).sum()) for n in np.unique(ids).tolist()}
    assert split.examples == 7 and split.has_labels


def test_the_tool_converts_test_without_labels_whatever_its_label_folder_holds(source, tmp_path):
    done = _cityscapes(source, tmp_path / "records", "--num_shards=2")
    assert done.returncode == 0, done.stderr
    manifest = tfrecords.info(tmp_path / "records")
    assert {name: split.examples for name, split in manifest.splits.items()} == {"train": 7, "val": 3, "test": 2}
    assert [split.has_labels for split in manifest.splits.values()] == [False, True, True]
    assert all(one.ids_png == b"" for one in tfrecords.read(tmp_path / "records", "test"))
    assert manifest.table == labels.CITYSCAPES


def write_golden(scratch: pathlib.Path, target: pathlib.Path) -> None:
    """Two images made without any random generator or image library's encoder, converted."""
    ids = np.arange(34, dtype=np.uint8).repeat(4).reshape(8, 17)
    pairs = []
    for number, name in enumerate(("aachen_000000_000019", "ulm_000001_000019")):
        for kind, array in (("image", (ids * 7 + number).astype(np.uint8)), ("ids", np.roll(ids, number, 0))):
            path = scratch / f"{name}_{kind}.png"
            path.write_bytes(images.encode_map(array))
        pairs.append(tfrecords.Pair(name, str(scratch / f"{name}_image.png"), str(scratch / f"{name}_ids.png")))
    tfrecords.write(target, labels.CITYSCAPES, {"train": pairs}, num_shards=1, num_workers=1)


def test_the_bytes_of_shard_and_manifest_are_the_golden_ones(tmp_path):
    write_golden(tmp_path, tmp_path / "records")
    assert tiny_folders.contents(tmp_path / "records") == tiny_folders.contents(GOLDEN)


def test_bytes_depend_neither_on_workers_nor_on_the_order_of_the_pairs(source, tmp_path):
    _write(source, tmp_path / "a", ("train", "val"), num_shards=4)
    _write(source, tmp_path / "b", ("train", "val"), num_shards=4, num_workers=3)
    pairs = {split: _pairs(source, split)[::-1] for split in ("val", "train")}
    tfrecords.write(tmp_path / "c", labels.CITYSCAPES, pairs, num_shards=4, num_workers=1)
    assert tiny_folders.contents(tmp_path / "a") == tiny_folders.contents(tmp_path / "b")
    assert tiny_folders.contents(tmp_path / "a") == tiny_folders.contents(tmp_path / "c")


def test_bytes_do_not_depend_on_where_the_data_set_lies_or_how_old_it_is(source, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    for name, data in tiny_folders.contents(source).items():
        path = elsewhere / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (1, 1))
    _write(source, tmp_path / "a")
    _write(elsewhere, tmp_path / "b")
    assert tiny_folders.contents(tmp_path / "a") == tiny_folders.contents(tmp_path / "b")


def test_label_maps_with_a_palette_are_stored_as_grey(own_source, tmp_path):
    for path in own_source.glob(LABEL):
        picture = Image.open(path)
        picture.putpalette([200, 0, 0] * 256)
        picture.save(path)
    _write(own_source, tmp_path / "records")
    for pair in _pairs(own_source):
        assert images.check(pathlib.Path(pair.label_path).read_bytes(), "x").color == "palette"
    for one in tfrecords.read(tmp_path / "records", "train"):
        assert images.check(one.ids_png, "x") == images.Header("png", 24, 48, 8, "grey")
        ids = images.decode_map(one.ids_png, "x")
        assert (ids[:2] == 0).all() and len(np.unique(ids)) > 10


def test_fewer_images_than_shards_give_one_shard_each(source, tmp_path):
    split = _write(source, tmp_path / "records", ("val",), num_shards=10).splits["val"]
    assert [shard.examples for shard in split.shards] == [1, 1, 1]
    assert split.shards[2].file == "val-00002-of-00003.tfrecord"


def test_coarse_labels_are_255_where_nobody_looked_and_differ_by_split(tmp_path):
    source = tmp_path / "source"
    tiny_folders.cityscapes(source, {"train": 2})
    tiny_folders.cityscapes(source, {"train_extra": 2}, annotation="gtCoarse")
    done = _cityscapes(source, tmp_path / "records", "--splits=train,train_extra")
    assert done.returncode == 0, done.stderr
    manifest = tfrecords.info(tmp_path / "records")
    assert manifest.table == labels.CITYSCAPES
    assert manifest.splits["train"].table == labels.CITYSCAPES
    assert manifest.splits["train_extra"].table == labels.CITYSCAPES_COARSE
    for split, void in (("train", 19), ("train_extra", 255)):
        for one in tfrecords.read(tmp_path / "records", split):
            unlabelled = images.decode_map(one.ids_png, "ids") == 0
            assert unlabelled.any()
            assert (images.decode_map(one.background_png, "background")[unlabelled] == void).all()
            assert (images.decode_map(one.ignore_png, "ignore")[unlabelled] == 255).all()
    done = _cityscapes(source, tmp_path / "coarse", "--splits=train_extra")
    assert done.returncode == 0, done.stderr
    assert tfrecords.info(tmp_path / "coarse").table == labels.CITYSCAPES_COARSE


def test_jpeg_transcodes_png_and_keeps_jpeg_bytes(source, tmp_path):
    pairs = _pairs(source, "val")
    jpeg = tmp_path / "published.jpg"
    Image.fromarray(tiny_folders.image(5)).save(jpeg, quality=40)
    pairs[0] = tfrecords.Pair(pairs[0].image_id, str(jpeg), pairs[0].label_path)
    manifest = tfrecords.write(
        tmp_path / "records", labels.CITYSCAPES, {"val": pairs}, image_format="jpeg", jpeg_quality=90, num_workers=1
    )
    assert (manifest.image_format, manifest.jpeg_quality) == ("jpeg", 90)
    for one in tfrecords.read(tmp_path / "records", "val"):
        assert images.check(one.image_encoded, "x") == images.Header("jpeg", 24, 48, 8, "RGB")
        if one.image_id == pairs[0].image_id:
            assert one.image_encoded == jpeg.read_bytes()
    with pytest.raises(ValueError, match="published.jpg is a jpeg; convert with --image_format=jpeg"):
        tfrecords.write(tmp_path / "png", labels.CITYSCAPES, {"val": pairs}, num_workers=1)
    assert not (tmp_path / "png").exists()


# CamVid.


def _camvid_frames(count, sequence, seed=0):
    """Frames whose last row is void in all of them, whose first row in 8 of 10, and with void elsewhere at times."""
    frames = []
    for number in range(count):
        ids = tiny_folders.label_map(seed + number, ids=range(12))
        ids[-1] = 11
        ids[0] = 11 if number % 10 < 8 else 3
        frames.append((f"{sequence}_{number:05d}", ids))
    return frames


def test_camvids_bonnet_is_void_in_nine_frames_of_ten_over_all_splits(tmp_path):
    moving = [(f"0006R0_f{n:05d}", tiny_folders.label_map(50 + n, ids=range(12))) for n in range(12)]
    still = _camvid_frames(20, "0001TP")
    short = _camvid_frames(3, "Seq05VD", seed=90)
    tiny_folders.camvid(tmp_path / "camvid", {"train": still[:5] + moving, "val": still[5:], "test": short})
    done = _tool("convert_camvid", f"--camvid_dir={tmp_path}/camvid", f"--records_dir={tmp_path}/records")
    assert done.returncode == 0, done.stderr
    published = dict(moving + still + short)
    for split in ("train", "val", "test"):
        for one in tfrecords.read(tmp_path / "records", split):
            ids = images.decode_map(one.ids_png, "ids")
            expected = published[one.image_id].copy()
            if one.image_id.startswith("0001TP"):
                expected[-1] = 12
            assert (ids == expected).all(), one.image_id
            assert (images.decode_map(one.ignore_png, "ignore") == np.where(ids > 10, 255, ids)).all()
            assert (images.decode_map(one.background_png, "b") == np.where(ids > 10, 11, ids)).all()
    done = _tool(
        "convert_camvid", f"--camvid_dir={tmp_path}/camvid", f"--records_dir={tmp_path}/kept", "--keep_published_ids"
    )
    assert done.returncode == 0, done.stderr
    for one in tfrecords.read(tmp_path / "kept", "val"):
        assert (images.decode_map(one.ids_png, "ids") == published[one.image_id]).all()


def test_one_split_of_camvid_has_the_same_bytes_alone_as_with_the_others(tmp_path):
    still = _camvid_frames(20, "0001TP")
    tiny_folders.camvid(tmp_path / "camvid", {"train": still[:15], "val": still[15:]})
    common = (f"--camvid_dir={tmp_path}/camvid", "--num_workers=1")
    assert _tool("convert_camvid", *common, f"--records_dir={tmp_path}/both").returncode == 0
    for split in ("val", "train"):
        done = _tool("convert_camvid", *common, f"--records_dir={tmp_path}/one", f"--splits={split}")
        assert done.returncode == 0, done.stderr
    assert tiny_folders.contents(tmp_path / "both") == tiny_folders.contents(tmp_path / "one")


# Killed and started again.


@pytest.mark.parametrize("scenario, steps", [("fresh", 30), ("add", 20), ("overwrite", 30)])
def test_killed_at_any_step_the_same_call_gives_the_undisturbed_folder(scenario, steps, tmp_path):
    command = [sys.executable, str(ROOT / "tests" / "helpers" / "kill_points.py"), scenario, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > steps


def _interrupted(source, records, monkeypatch, **options) -> list[str]:
    """Converts until the second shard is begun, as a kill would leave it; returns the finished shards."""
    real = build.build
    begun = []

    def stops(job, count):
        begun.append(job)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return real(job, count)

    with monkeypatch.context() as patch:
        patch.setattr(build, "build", stops)
        with pytest.raises(KeyboardInterrupt):
            _write(source, records, num_shards=3, **options)
    return [path.name for path in (records / ".converting").glob("*.tfrecord")]


def test_a_finished_shard_is_not_made_again(source, tmp_path, monkeypatch):
    records = tmp_path / "records"
    (finished,) = _interrupted(source, records, monkeypatch)
    made = (records / ".converting" / finished).stat().st_ino
    _write(source, records, num_shards=3)
    assert (records / finished).stat().st_ino == made
    _write(source, tmp_path / "undisturbed", num_shards=3)
    assert tiny_folders.contents(records) == tiny_folders.contents(tmp_path / "undisturbed")


@pytest.mark.parametrize(
    "changed", ["an image", "an option", "the checks", "the number of shards", "the shard itself", "the program"]
)
def test_a_finished_shard_is_made_again_where_anything_has_changed(changed, own_source, tmp_path, monkeypatch):
    records = tmp_path / "records"
    (finished,) = _interrupted(own_source, records, monkeypatch)
    made = (records / ".converting" / finished).stat().st_ino
    os.link(records / ".converting" / finished, tmp_path / "keeps the inode in use")
    options = {"num_shards": 3}
    if changed == "an image":
        for path in own_source.glob("leftImg8bit/train/*/*.png"):
            stat = path.stat()
            tiny_folders.save(path, tiny_folders.image(77))
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif changed == "an option":
        options |= {"image_format": "jpeg"}
    elif changed == "the checks":
        options |= {"verify": "full"}
    elif changed == "the number of shards":
        options |= {"num_shards": 2}
    elif changed == "the program":
        monkeypatch.setattr(build, "_program", lambda: "another")
    else:
        with open(records / ".converting" / finished, "r+b") as file:
            file.write(b"x")
    _write(own_source, records, **options)
    assert not (records / finished).exists() or (records / finished).stat().st_ino != made
    _write(own_source, tmp_path / "undisturbed", **options)
    assert tiny_folders.contents(records) == tiny_folders.contents(tmp_path / "undisturbed")


def test_any_change_to_the_program_is_noticed_when_going_on(tmp_path):
    """The fingerprint of a shard, told by a copy of the package: before and after a changed line, and without kseg."""
    package = tmp_path / "tfrecords"
    shutil.copytree(ROOT / "tfrecords", package, ignore=shutil.ignore_patterns("__pycache__"))
    code = """
import sys
from tfrecords import labels
from tfrecords.conversion import build
print(build._fingerprint(build.Job("w", "r", "f", (), labels.CITYSCAPES, "png", 0, "fast")))
assert "kseg" not in sys.modules
"""

    def fingerprint():
        command = [sys.executable, "-B", "-c", code]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    before = fingerprint()
    assert fingerprint() == before
    with open(package / "images.py", "a") as file:
        file.write("# changed\n")
    assert fingerprint() != before


@pytest.fixture(scope="module")
def long_conversion(tmp_path_factory):
    """Starts converting 1000 frames into a folder by two workers: the process and the ids of its workers."""
    source = tmp_path_factory.mktemp("long")
    tiny_folders.cityscapes(source, {"train": 1})
    for pattern in (IMAGE, LABEL):
        path = _one(source, pattern)
        for number in range(1, 1000):
            os.link(path, path.with_name(path.name.replace("000000", f"{number:06d}")))

    def start(records):
        command = [sys.executable, str(ROOT / "tools" / "convert_cityscapes.py"), "--num_workers=2", "--num_shards=4"]
        command += [f"--cityscapes_dir={source}", f"--records_dir={records}"]
        tool = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        _wait(lambda: list((records / ".converting").glob("*.tmp")) and len(_workers(tool.pid)) == 2)
        return tool, _workers(tool.pid)

    start.source = source
    return start


def test_killing_the_tool_ends_its_workers_and_running_it_again_finishes(long_conversion, tmp_path):
    records = tmp_path / "records"
    tool, workers = long_conversion(records)
    tool.kill()
    tool.communicate()
    _wait(lambda: not any(_alive(pid) for pid in workers))
    assert [path.name for path in records.iterdir()] == [".converting"]
    done = _cityscapes(long_conversion.source, records, "--num_shards=4")
    assert done.returncode == 0, done.stderr
    names = ["dataset.json", *(f"train-0000{i}-of-00004.tfrecord" for i in range(4))]
    assert sorted(tiny_folders.contents(records)) == names
    assert tfrecords.info(records).splits["train"].examples == 1000


def test_a_worker_that_is_killed_ends_the_run_in_one_line_and_leaves_what_is_finished(long_conversion, tmp_path):
    tool, workers = long_conversion(tmp_path / "records")
    os.kill(int(workers[0]), signal.SIGKILL)
    _, errors = tool.communicate(timeout=20)
    assert tool.returncode == 1
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("error: a worker process ended by itself")
    assert [path.name for path in (tmp_path / "records").iterdir()] == [".converting"]


def _workers(pid: int) -> list[str]:
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for child in children if b"spawn_main" in pathlib.Path(f"/proc/{child}/cmdline").read_bytes()]


def _alive(pid: str) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def _wait(condition, seconds=60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.soak
def test_killed_at_random_times_with_two_workers_the_tool_gives_the_undisturbed_folder(tmp_path):
    tiny_folders.cityscapes(tmp_path / "source", {"train": 60, "val": 20})
    options = ("--num_shards=5", "--num_workers=2")
    began = time.monotonic()
    assert _cityscapes(tmp_path / "source", tmp_path / "undisturbed", *options).returncode == 0
    whole = time.monotonic() - began
    expected = tiny_folders.contents(tmp_path / "undisturbed")
    random = np.random.default_rng(0)
    for trial in range(40):
        records = tmp_path / f"records{trial}"
        for _ in range(3):
            try:
                _cityscapes(tmp_path / "source", records, *options, timeout=random.uniform(0.3, whole))
            except subprocess.TimeoutExpired:  # subprocess.run has killed it by SIGKILL
                continue
        done = _cityscapes(tmp_path / "source", records, *options)
        assert done.returncode == 0, done.stderr
        assert tiny_folders.contents(records) == expected


# Onto a folder that is there.


def _written(folder) -> dict:
    """Name -> inode, size and time of the last change of each file."""
    stats = {path.name: path.stat() for path in folder.iterdir()}
    return {name: (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in stats.items()}


def test_the_same_call_again_writes_nothing_and_succeeds(source, tmp_path):
    arguments = (source, tmp_path / "records", "--splits=train,val", "--num_shards=2", "--num_workers=1")
    assert _cityscapes(*arguments).returncode == 0
    before = _written(tmp_path / "records")
    done = _cityscapes(*arguments)
    assert done.returncode == 0, done.stderr
    assert _written(tmp_path / "records") == before


def test_a_new_split_is_added_and_the_result_is_that_of_converting_both_at_once(source, tmp_path):
    _write(source, tmp_path / "one by one", ("val",))
    before = _written(tmp_path / "one by one")
    _write(source, tmp_path / "one by one", ("train",))
    _write(source, tmp_path / "at once", ("train", "val"))
    assert tiny_folders.contents(tmp_path / "one by one") == tiny_folders.contents(tmp_path / "at once")
    kept = "val-00000-of-00002.tfrecord"
    assert _written(tmp_path / "one by one")[kept] == before[kept]


def _change_image(source, records):
    tiny_folders.save(_one(source, "leftImg8bit/train/*/*.png"), tiny_folders.image(99))


def _change_label(source, records):
    tiny_folders.save(_one(source, "gtFine/train/*/*.png"), tiny_folders.label_map(99))


def _remove_frame(source, records):
    _one(source, "leftImg8bit/train/*/*.png").unlink()
    _one(source, "gtFine/train/*/*.png").unlink()


def _damage_shard(source, records):
    path = _one(records, "*.tfrecord")
    path.write_bytes(path.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize(
    "change, options, words",
    [
        (_change_image, {}, "an image or label file has changed"),
        (_change_label, {}, "an image or label file has changed"),
        (_remove_frame, {}, "split train has 3 images where the data set has 2"),
        (_damage_shard, {}, "the shard has been damaged"),
        (None, {"num_shards": 3}, "has 2 shards where 3 are asked"),
        (None, {"image_format": "jpeg"}, "image_format png where jpeg is asked"),
        (None, {"unannotated_ids": {"train": (0,)}}, "has other labels"),
    ],
)
def test_anything_else_is_refused_unless_it_may_be_overwritten(change, options, words, own_source, tmp_path):
    records = tmp_path / "records"
    _write(own_source, records)
    if change:
        change(own_source, records)
    before = tiny_folders.contents(records)
    with pytest.raises(ValueError, match=words) as caught:
        _write(own_source, records, **options)
    assert "overwrite" in str(caught.value) and "\n" not in str(caught.value)
    assert tiny_folders.contents(records) == before
    _write(own_source, records, overwrite=True, **options)
    _write(own_source, tmp_path / "new", **options)
    assert tiny_folders.contents(records) == tiny_folders.contents(tmp_path / "new")


def test_overwriting_removes_the_splits_and_shards_that_are_not_asked_for(source, tmp_path):
    _write(source, tmp_path / "records", ("train", "val"), num_shards=3)
    _write(source, tmp_path / "records", ("val",), overwrite=True)
    _write(source, tmp_path / "new", ("val",))
    assert tiny_folders.contents(tmp_path / "records") == tiny_folders.contents(tmp_path / "new")


def test_a_folder_of_something_else_is_refused_and_left_alone(source, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match=r"holds 'thesis.tex' but no dataset.json"):
        _write(source, tmp_path)
    assert tiny_folders.contents(tmp_path) == {"thesis.tex": b"x"}
    with pytest.raises(NotADirectoryError, match="thesis.tex is a file"):
        _write(source, tmp_path / "thesis.tex")


def test_two_conversions_do_not_write_into_one_folder(source, tmp_path):
    (tmp_path / "records" / ".converting").mkdir(parents=True)
    with runners.lock(tmp_path / "records" / ".converting"):
        with pytest.raises(ValueError, match="another conversion is writing"):
            _write(source, tmp_path / "records")
    _write(source, tmp_path / "records")


def test_the_lock_of_a_folder_that_is_gone_is_not_held(tmp_path, monkeypatch):
    """A conversion that ends removes its hidden folder; what a waiting one locks then is nobody's."""
    (tmp_path / "work").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(runners.fcntl, "flock", lambda *arguments: (tmp_path / "work").rmdir())
        with pytest.raises(ValueError, match="another conversion is writing"), runners.lock(tmp_path / "work"):
            pass


def test_checking_a_finished_folder_leaves_a_conversion_alone_that_runs_in_it(source, tmp_path):
    _write(source, tmp_path / "records", ("val",))
    work = tmp_path / "records" / ".converting"
    work.mkdir()
    (work / "train-00000-of-00002.tfrecord").write_bytes(b"of the other")
    with runners.lock(work):
        _write(source, tmp_path / "records", ("val",))
        assert tiny_folders.contents(work) == {"train-00000-of-00002.tfrecord": b"of the other"}
    _write(source, tmp_path / "records", ("val",))
    assert not work.exists()


@pytest.mark.parametrize("before, options", [(("val",), {}), ((), {}), (("val",), {"overwrite": True})])
def test_a_split_that_another_process_adds_meanwhile_is_not_lost(before, options, source, tmp_path, monkeypatch):
    records = tmp_path / "records"
    if before:
        _write(source, records, before)
    expected = {}
    real_lock = runners.lock

    def lock(folder):
        """The other conversion, from begin to end, before this one has the lock."""
        with monkeypatch.context() as patch:
            patch.setattr(runners, "lock", real_lock)
            folder.rmdir()
            _write(source, records, ("test",))
        expected.update(tiny_folders.contents(records))
        folder.mkdir()
        return real_lock(folder)

    monkeypatch.setattr(runners, "lock", lock)
    with pytest.raises(
        ValueError, match=r"dataset.json has been changed by another conversion .*; run again"
    ) as caught:
        _write(source, records, ("train",), **options)
    assert "\n" not in str(caught.value)
    assert tiny_folders.contents(records) == expected
    assert not (records / ".converting").exists()
    monkeypatch.setattr(runners, "lock", real_lock)
    assert _write(source, records, ("train",)).splits.keys() == {*before, "test", "train"}


# Bad input.


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-20])


def _as_folder(path):
    path.unlink()
    path.mkdir()


IMAGE, LABEL = "leftImg8bit/train/*/*.png", "gtFine/train/*/*.png"
BAD_INPUT = {
    "a missing label": (LABEL, pathlib.Path.unlink, "has no label file; expected"),
    "a missing image": (IMAGE, pathlib.Path.unlink, "has no image under"),
    "a truncated image": (IMAGE, _truncate, "is truncated"),
    "a truncated label": (LABEL, _truncate, "is truncated"),
    "an empty image": (IMAGE, lambda path: path.write_bytes(b""), "is empty"),
    "a label of another size": (
        LABEL,
        lambda path: tiny_folders.save(path, tiny_folders.label_map(0, height=12)),
        "is 12x48 but its image",
    ),
    "an id outside the table": (
        LABEL,
        lambda path: tiny_folders.save(path, tiny_folders.label_map(0, ids=[7, 34])),
        "pixels of id 34, which the label table cityscapes does not have",
    ),
    "train ids instead of ids": (
        LABEL,
        lambda path: tiny_folders.save(path, tiny_folders.label_map(0, ids=[1, 255])),
        "pixels of id 255",
    ),
    "colours instead of ids": (LABEL, lambda path: tiny_folders.save(path, tiny_folders.image(0)), "ids, not colours"),
    "a folder in place of an image": (IMAGE, _as_folder, "is not a plain file"),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_refused_in_one_line_that_names_the_file(name, own_source, tmp_path):
    pattern, damage, words = BAD_INPUT[name]
    path = _one(own_source, pattern)
    damage(path)
    line = _refused(_cityscapes(own_source, tmp_path / "records", "--num_workers=1"))
    assert words in line
    assert path.name.split("_")[0] in line
    assert not (tmp_path / "records").exists()


def test_an_error_in_one_of_several_workers_is_the_one_that_is_told(own_source, tmp_path):
    _truncate(_one(own_source, IMAGE))
    with pytest.raises(ValueError, match="aachen_000000_000019_leftImg8bit.png is truncated"):
        _write(own_source, tmp_path / "records", num_workers=2, num_shards=3)
    assert not (tmp_path / "records").exists()


def test_an_error_leaves_the_old_good_folder_as_it_was(source, own_source, tmp_path):
    _write(source, tmp_path / "records", ("val",))
    before = tiny_folders.contents(tmp_path / "records")
    _truncate(_one(own_source, IMAGE))
    for options in ({}, {"overwrite": True}):
        with pytest.raises(ValueError, match="is truncated"):
            _write(own_source, tmp_path / "records", **options)
        assert tiny_folders.contents(tmp_path / "records") == before
        assert not (tmp_path / "records" / ".converting").exists()


def test_an_error_takes_along_the_folders_that_were_made_for_the_records_and_no_others(own_source, tmp_path):
    _truncate(_one(own_source, IMAGE))
    (tmp_path / "n0").mkdir()
    (tmp_path / "n1").mkdir()
    (tmp_path / "n1" / "mine").write_text("x")
    for records in ("n0/n1/n2", "n1/n2/n3", "n3/n4/n5"):
        with pytest.raises(ValueError, match="is truncated"):
            _write(own_source, tmp_path / records)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("n*/**")) == ["n0", "n1"]


def test_an_error_that_nobody_foresaw_leaves_nothing_either(own_source, tmp_path, monkeypatch):
    def fails(job, count):
        (tmp_path / "n1" / "records" / ".converting" / "x").write_text("begun")
        raise ZeroDivisionError

    monkeypatch.setattr(build, "build", fails)
    with pytest.raises(ZeroDivisionError):
        _write(own_source, tmp_path / "n1" / "records")
    assert not (tmp_path / "n1").exists()


@pytest.mark.parametrize("verify", ["fast", "full"])
def test_chunks_that_pillow_trips_over_end_in_one_line_and_leave_nothing(verify, own_source, tmp_path):
    path = _one(own_source, LABEL)
    data = path.read_bytes()
    path.write_bytes(data[:-12] + png.chunk(b"iCCP", b"") + data[-12:])
    line = _refused(_cityscapes(own_source, tmp_path / "records", "--num_workers=1", f"--verify={verify}"))
    assert f"{path} cannot be decoded" in line
    assert not (tmp_path / "records").exists()


def test_a_full_disk_ends_in_one_line_and_leaves_the_old_good_folder(source, tmp_path):
    _write(source, tmp_path / "records", ("val",))
    before = tiny_folders.contents(tmp_path / "records")
    limit = 9_000  # bytes a file may have: writing more fails as a full disk does

    def no_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    arguments = ("--splits=train,val", "--num_shards=2", "--num_workers=1")
    line = _refused(_cityscapes(source, tmp_path / "records", *arguments, preexec_fn=no_room))
    assert re.search(r"train-00000-of-00002\.tfrecord\.[0-9a-f]+\.tmp", line) and "File too large" in line
    assert tiny_folders.contents(tmp_path / "records") == before
    assert not (tmp_path / "records" / ".converting").exists()


def test_a_folder_that_cannot_be_written_ends_in_one_line(source):
    line = _refused(_cityscapes(source, "/proc/records", "--num_workers=1"))
    assert "/proc/records" in line


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--splits=train,vla"], "unknown split 'vla'"),
        (["--splits=train_extra"], "train_extra is not a folder"),
        (["stray"], "unexpected argument 'stray'"),
    ],
)
def test_a_wrong_argument_ends_in_one_line(arguments, words, source, tmp_path):
    assert words in _refused(_cityscapes(source, tmp_path / "records", *arguments))
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize("tool, folder", [("convert_cityscapes", "cityscapes_dir"), ("convert_camvid", "camvid_dir")])
@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--bogus"], "Unknown command line flag 'bogus'"),
        (["--num_workers=-1"], "num_workers=-1: -1 is not a non-negative integer"),
        (["--image_format=webp"], "image_format=webp: value should be one of <png|jpeg>"),
        (["--records_dir="], "--records_dir is missing or empty"),
        (["--records_dir=", "--overwrite"], "--records_dir is missing or empty"),
        (["--{folder}="], "--{folder} is missing or empty"),
        (None, "--{folder} is missing or empty"),
    ],
)
def test_a_wrong_flag_ends_in_one_line_and_nothing_else(arguments, words, tool, folder, tmp_path):
    given = [f"--{folder}={tmp_path}", f"--records_dir={tmp_path}/records"] if arguments else []
    done = _tool(tool, *given, *(argument.format(folder=folder) for argument in arguments or ()))
    assert words.format(folder=folder) in _refused(done)
    assert len(done.stderr.splitlines()) == 1 and not done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tool", ["convert_cityscapes", "convert_camvid"])
def test_help_names_every_flag(tool):
    done = _tool(tool, "--help")
    assert "--records_dir" in done.stdout and "overwrite" in done.stdout


UNREADABLE = {
    "a city of images": ("convert_cityscapes", "leftImg8bit/train/aachen"),
    "a city of labels": ("convert_cityscapes", "gtFine/train/bochum"),
    "a split": ("convert_cityscapes", "leftImg8bit/train"),
    "camvid's frames": ("convert_camvid", "train"),
    "camvid's labels": ("convert_camvid", "trainannot"),
    "another split of camvid": ("convert_camvid", "val"),
}
# Reading a folder fails as for a user without the right to; the tests may run as root, whom no mode stops.
_REFUSING = """
import os, runpy, sys
refused, tool = sys.argv[1:3]
real = os.scandir
def scandir(path="."):
    if os.path.realpath(path) == refused:
        raise PermissionError(13, "Permission denied", os.fspath(path))
    return real(path)
os.scandir = scandir
sys.path.insert(0, os.getcwd())
sys.argv[:] = sys.argv[2:]
runpy.run_path(tool, run_name="__main__")
"""


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_folder_that_cannot_be_read_is_no_empty_folder(name, tmp_path):
    tool, folder = UNREADABLE[name]
    source, records = tmp_path / "source", tmp_path / "records"
    if tool == "convert_cityscapes":
        tiny_folders.cityscapes(source, {"train": 3})
        options = [f"--cityscapes_dir={source}", f"--records_dir={records}"]
    else:
        tiny_folders.camvid(source, {"train": _camvid_frames(2, "0001TP"), "val": _camvid_frames(2, "0006R0")})
        options = [f"--camvid_dir={source}", f"--records_dir={records}", "--splits=train"]
    refused = os.path.realpath(source / folder)
    command = [sys.executable, "-c", _REFUSING, refused, f"tools/{tool}.py", *options, "--num_workers=1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    line = _refused(done)
    assert "Permission denied" in line and folder in line
    assert not records.exists()


@pytest.mark.parametrize("empty", ["val", "valannot", "both"])
def test_an_empty_split_of_camvid_that_is_not_asked_for_is_passed_over(empty, tmp_path):
    camvid = tmp_path / "camvid"
    tiny_folders.camvid(camvid, {"train": _camvid_frames(12, "0001TP"), "val": _camvid_frames(2, "0006R0")})
    for folder in ("val", "valannot"):
        for path in (camvid / folder).iterdir() if empty in (folder, "both") else ():
            path.unlink()
    done = _tool("convert_camvid", f"--camvid_dir={camvid}", f"--records_dir={tmp_path}/records", "--splits=train")
    assert done.returncode == 0, done.stderr
    assert "0001TP: bonnet at" in done.stdout
    done = _tool("convert_camvid", f"--camvid_dir={camvid}", f"--records_dir={tmp_path}/records")
    assert "has no *.png" in _refused(done)


def test_a_wrong_folder_ends_in_one_line(source, tmp_path):
    assert "has no folder leftImg8bit" in _refused(_cityscapes(source / "gtFine", tmp_path / "records"))
    done = _tool("convert_camvid", f"--camvid_dir={source}", f"--records_dir={tmp_path}/records")
    assert "has none of the folders train, val, test" in _refused(done)
    (tmp_path / "empty" / "leftImg8bit").mkdir(parents=True)
    assert "has none of the folders" in _refused(_cityscapes(tmp_path / "empty", tmp_path / "records"))


def test_an_interrupted_tool_says_how_to_go_on(long_conversion, tmp_path):
    tool, workers = long_conversion(tmp_path / "records")
    tool.send_signal(signal.SIGINT)
    _, errors = tool.communicate(timeout=60)
    assert tool.returncode == 1
    assert errors.splitlines()[-1] == "interrupted: the same command goes on from here"
    assert "Traceback" not in errors
    assert [path.name for path in (tmp_path / "records").iterdir()] == [".converting"]


def test_full_verification_finds_pixels_that_do_not_decode(own_source, tmp_path):
    path = _one(own_source, IMAGE)
    data = path.read_bytes()
    start = data.index(b"IDAT")
    length = struct.unpack(">I", data[start - 4 : start])[0]
    pixels = b"IDAT" + b"\x00" * length
    path.write_bytes(data[:start] + pixels + struct.pack(">I", zlib.crc32(pixels)) + data[start + 8 + length :])
    _write(own_source, tmp_path / "fast")
    with pytest.raises(ValueError, match=f"{path.name} cannot be decoded"):
        _write(own_source, tmp_path / "full", verify="full")


def test_full_verification_of_a_finished_folder_decodes_its_inputs(own_source, tmp_path):
    path = _one(own_source, IMAGE)
    _without_rows(path)
    _write(own_source, tmp_path / "records")
    before = _written(tmp_path / "records")
    _write(own_source, tmp_path / "records")
    with pytest.raises(ValueError, match=f"{path.name} cannot be decoded"):
        _write(own_source, tmp_path / "records", verify="full")
    assert _written(tmp_path / "records") == before


def test_sixteen_bits_are_not_made_jpeg(own_source, tmp_path):
    path = _one(own_source, IMAGE)
    tiny_folders.save(path, np.full((tiny_folders.HEIGHT, tiny_folders.WIDTH), 700, np.uint16))
    arguments = (own_source, tmp_path / "records", "--num_workers=1")
    line = _refused(_cityscapes(*arguments, "--image_format=jpeg"))
    assert f"{path} has 16 bits per channel, which JPEG cannot hold" in line
    assert not (tmp_path / "records").exists()
    assert _cityscapes(*arguments).returncode == 0


def _without_rows(path, count=8):
    """Takes rows from the end of a PNG whose compressed stream still ends in good order."""
    array = np.asarray(Image.open(path))
    rows = np.concatenate([np.zeros((len(array), 1), np.uint8), array.reshape(len(array), -1)], 1)
    data = path.read_bytes()
    packed = zlib.compress(rows[:-count].tobytes())
    path.write_bytes(data[:33] + png.chunk(b"IDAT", packed) + png.chunk(b"IEND", b""))


def test_rows_that_are_missing_are_found_in_label_maps_always_and_in_images_by_full_verification(own_source, tmp_path):
    path = _one(own_source, IMAGE)
    _without_rows(path)
    _write(own_source, tmp_path / "fast")
    with pytest.raises(ValueError, match=rf"{path.name} cannot be decoded: its pixel data end after \d+ of \d+"):
        _write(own_source, tmp_path / "full", verify="full")
    path = _one(own_source, LABEL)
    _without_rows(path)
    with pytest.raises(ValueError, match=rf"{path.name} cannot be decoded: its pixel data end after \d+ of \d+"):
        _write(own_source, tmp_path / "label")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["fast", "source"]


def test_one_id_in_two_cities_is_refused(own_source, tmp_path):
    path = _one(own_source, IMAGE)
    tiny_folders.save(path.parent.parent / "zurich" / path.name, tiny_folders.image(0))
    assert "have the same id" in _refused(_cityscapes(own_source, tmp_path / "records"))


def test_without_beam_asking_for_it_says_what_to_install(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.delitem(sys.modules, "tfrecords.conversion.beam", raising=False)
    with pytest.raises(ValueError, match=r"pip install 'kseg\[beam\]'"):
        _write(source, tmp_path / "records", runner="beam")
    assert not (tmp_path / "records").exists()


def test_the_converter_does_not_load_tensorflow():
    code = "import sys, tfrecords, tfrecords.conversion.verify; assert not {'tensorflow', 'kseg'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_manifest_holds_no_path_and_no_time(source, tmp_path):
    _write(source, tmp_path / "records")
    text = (tmp_path / "records" / "dataset.json").read_text()
    assert str(source) not in text and str(tmp_path) not in text
    keys = set(json.loads(text)["splits"]["train"]["shards"][0])
    assert keys == {"file", "examples", "bytes", "sha256", "inputs_sha256", "offsets", "image_ids"}


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    """The peak of one process over 120 images of 1.2 MB is that over 12."""
    source = tmp_path / "source"
    tiny_folders.save(source / "0.png", tiny_folders.image(0, 512, 800))
    tiny_folders.save(source / "0_ids.png", tiny_folders.label_map(0, height=512, width=800))
    program = """
import resource, sys, tfrecords
from tfrecords import labels
source, target, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
pairs = [tfrecords.Pair(str(i), f"{source}/0.png", f"{source}/0_ids.png") for i in range(count)]
tfrecords.write(target, labels.CITYSCAPES, {"train": pairs}, num_shards=2, num_workers=1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    peaks = []
    for count in (12, 120):
        command = [sys.executable, "-c", program, str(source), str(tmp_path / str(count)), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout) / 1024)
    assert (tmp_path / "120" / "train-00000-of-00002.tfrecord").stat().st_size > 60 * 2**20
    assert peaks[1] - peaks[0] < 20, peaks  # MiB
