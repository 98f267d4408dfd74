"""What inspect_records prints and draws, and that --verify finds what reading alone does not."""

import dataclasses
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tiny_folders
from PIL import Image

import tfrecords
from tfrecords import example, images, labels, manifest, png, shards
from tfrecords.conversion import verify

ROOT = pathlib.Path(__file__).parents[2]


def _tool(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "tools" / "inspect_records.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> pathlib.Path:
    """Records of two labelled frames and one without labels."""
    root = tmp_path_factory.mktemp("records")
    ids = np.zeros((4, 8), np.uint8)  # 32 pixels
    ids[:, :2] = 7  # 8 of road
    ids[:, 2] = 1  # 4 of ego vehicle: geometry
    ids[:, 3] = 9  # 4 of parking: dropped; 16 stay unlabeled: scene
    for name in ("a", "b"):
        tiny_folders.save(root / f"{name}.png", tiny_folders.image(0, 4, 8))
        tiny_folders.save(root / f"{name}_ids.png", ids)
    pairs = [tfrecords.Pair(name, f"{root}/{name}.png", f"{root}/{name}_ids.png") for name in ("a", "b")]
    splits = {"train": pairs, "test": [tfrecords.Pair("c", f"{root}/a.png")]}
    tfrecords.write(root / "records", labels.CITYSCAPES, splits, num_workers=1)
    return root / "records"


def test_the_summary_gives_examples_and_shares_of_classes_and_kinds(records):
    done = _tool(f"--records_dir={records}")
    assert done.returncode == 0, done.stderr
    rows = {line[:30].strip(): line[30:].split() for line in done.stdout.splitlines()}
    assert rows["road"] == ["25.000"]
    assert rows["sidewalk"] == ["0.000"]
    assert rows["void"] == ["75.000"]
    assert rows["of kind scene"] == ["50.000"]
    assert rows["of kind dropped"] == rows["of kind geometry"] == ["12.500"]
    assert rows["9 parking"] == ["12.500"]
    summary = [line.split() for line in done.stdout.splitlines()]
    assert ["test", "1", "1", "0.0", "4x8", "none"] in summary
    assert ["train", "2", "2", "0.0", "4x8", "fine"] in summary


def test_a_good_folder_is_verified(records):
    done = _tool(f"--records_dir={records}", "--verify", "--num_workers=1")
    assert done.returncode == 0, done.stderr
    assert "verified" in done.stdout


def test_the_contact_sheet_shows_image_and_coloured_labels_side_by_side(records, tmp_path):
    done = _tool(f"--records_dir={records}", f"--contact_sheet={tmp_path}/sheet.png", "--contact_images=1")
    assert done.returncode == 0, done.stderr
    colors = {tuple(color) for color in np.asarray(Image.open(tmp_path / "sheet.png")).reshape(-1, 3).tolist()}
    road, scene, dropped, geometry = (128, 64, 128), (255, 0, 255), (255, 140, 0), (0, 255, 255)
    assert {road, scene, dropped, geometry} <= colors


def test_an_image_that_cannot_be_drawn_ends_in_one_line_that_names_it(records, tmp_path):
    def with_bad_transparency(one):
        data = one.image_encoded
        return dataclasses.replace(one, image_encoded=data[:-12] + png.chunk(b"tRNS", b"\0") + data[-12:])

    target = _rewritten(records, tmp_path / "records", with_bad_transparency)
    done = _tool(f"--records_dir={target}", f"--contact_sheet={tmp_path}/sheet.png")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: b cannot be decoded: ") or line.startswith("error: a cannot be decoded: ")
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--bogus"], "Unknown command line flag 'bogus'"),
        (["--num_workers=-1"], "num_workers=-1: -1 is not a non-negative integer"),
        ([], "--records_dir is missing or empty"),
        (["--records_dir="], "--records_dir is missing or empty"),
    ],
)
def test_a_wrong_flag_ends_in_one_line_and_nothing_else(arguments, words):
    done = _tool(*arguments)
    assert done.returncode == 1 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and words in line


def test_what_cannot_be_read_ends_in_one_line(tmp_path):
    done = _tool(f"--records_dir={tmp_path}", "--verify")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"error: {tmp_path} has no dataset.json: it is no folder of records, or its conversion has not finished; "
        "convert (again)"
    ]


def _rewritten(records, target, change, state=lambda shard: shard, pixels=None) -> pathlib.Path:
    """A copy whose train examples went through `change`, with shards and manifest that fit the new bytes."""
    shutil.copytree(records, target)
    found = tfrecords.info(target)
    train, new = found.splits["train"], []
    for shard in train.shards:
        examples = list(shards.read_shard(target / shard.file, shard))
        with shards.Writer(target / shard.file) as writer:
            for one in examples:
                writer.write(example.encode(change(one)))
        entry = dataclasses.replace(shard, bytes=writer.bytes, sha256=writer.sha256, offsets=tuple(writer.offsets))
        new.append(state(entry))
    train = dataclasses.replace(train, shards=tuple(new), id_pixels=pixels or train.id_pixels)
    data = manifest.to_bytes(found.full_table, found.image_format, found.jpeg_quality, [train, found.splits["test"]])
    (target / "dataset.json").write_bytes(data)
    return target


def _map(value, height=4, width=8) -> bytes:
    return images.encode_map(np.full((height, width), value, np.uint8))


def _replace(**changes):
    return lambda one: dataclasses.replace(one, **changes)


# Checksums, offsets and counts fit in all of these: only looking at what the records mean finds them.
WRONG = {
    "labels of void as a class": (_replace(ignore_png=_map(0)), "label/ignore is not what label/ids gives"),
    "void as 255 in background": (_replace(background_png=_map(255)), "label/background is not what label/ids gives"),
    "ids of another picture": (_replace(ids_png=_map(7)), "label/ignore is not what label/ids gives"),
    "an id that the table lacks": (_replace(ids_png=_map(99)), "id 99, which the label table does not have"),
    "ids of another size": (_replace(ids_png=_map(7, height=5)), "label map is"),
    "a map of another size": (_replace(ignore_png=_map(255, width=9)), "label/ignore is not what label/ids gives"),
    "a stated size that is wrong": (_replace(height=5), "the record says png of 5x8"),
    "a truncated image": (lambda one: _replace(image_encoded=one.image_encoded[:-5])(one), "is truncated"),
    "a format that is wrong": (_replace(image_format="jpeg"), "the record says jpeg"),
    "no labels in a labelled split": (_replace(ids_png=b"", ignore_png=b"", background_png=b""), "are missing"),
    "a header that promises too much": (
        lambda one: _replace(ids_png=one.ids_png[:16] + (60000).to_bytes(4, "big") * 2 + one.ids_png[24:])(one),
        "wrong CRC",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_verifying_finds_records_whose_parts_do_not_belong_together(name, records, tmp_path):
    change, words = WRONG[name]
    target = _rewritten(records, tmp_path / "records", change)
    tfrecords.info(target)
    with pytest.raises(ValueError, match=words) as caught:
        verify.check(target, num_workers=1)
    assert "train-00000-of-00002" in str(caught.value) and "\n" not in str(caught.value)


def test_an_unchanged_copy_is_verified(records, tmp_path):
    target = _rewritten(records, tmp_path / "records", lambda one: one)
    assert tiny_folders.contents(target) == tiny_folders.contents(records)
    verify.check(target, num_workers=1)


def test_verifying_compares_the_pixel_counts(records, tmp_path):
    target = _rewritten(records, tmp_path / "records", lambda one: one, pixels={0: 32, 1: 8, 7: 17, 9: 7})
    with pytest.raises(ValueError, match=r"split train has 16 pixels of id 7, dataset.json says 17"):
        verify.check(target, num_workers=1)


def test_verifying_compares_the_hash_of_each_shard(records, tmp_path):
    target = _rewritten(
        records, tmp_path / "records", lambda one: one, lambda shard: dataclasses.replace(shard, sha256="0" * 64)
    )
    with pytest.raises(ValueError, match="does not have the SHA-256"):
        verify.check(target, num_workers=1)


def test_verifying_by_two_processes_finds_the_same(records, tmp_path):
    verify.check(records, num_workers=2)
    target = _rewritten(records, tmp_path / "records", _replace(height=5))
    with pytest.raises(ValueError, match="the record says png of 5x8"):
        verify.check(target, num_workers=2)
