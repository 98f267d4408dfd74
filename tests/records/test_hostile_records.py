"""Damaged and hostile inputs: every one ends in one clear ValueError, quickly, in little memory, or changes nothing.

Properties over drawn damage (hypothesis): bytes cut, flipped, replaced and inserted, in manifests, shards, records and
pictures. The long run of the same is marked `soak`.
"""

import copy
import io
import json
import pathlib
import random
import shutil
import subprocess
import sys
import zlib

import hypothesis
import numpy as np
import pytest
import tiny_folders
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import tfrecords
from tfrecords import example, images, labels, manifest, png, shards
from tfrecords.conversion import verify

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LONG = settings(max_examples=5_000, deadline=None, suppress_health_check=list(HealthCheck))

_IMAGE, _IDS = tiny_folders.image(1, 6, 5), tiny_folders.label_map(1, height=6, width=5)


def _saved(array, format, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format, **options)
    return buffer.getvalue()


PICTURES = [
    _saved(_IMAGE, "PNG"),
    _saved(_IMAGE, "JPEG"),
    _saved(tiny_folders.image(2, 40, 40), "JPEG", progressive=True),
    _saved(_IDS, "PNG"),
    images.encode_map(_IDS),
]


def _apply(data: bytes, edits) -> bytes:
    """`data` with edits (kind, share of the length, value) done to it."""
    data = bytearray(data)
    for kind, share, value in edits:
        position = int(share * len(data))
        if kind == "flip" and position < len(data):
            data[position] ^= 1 << value % 8
        elif kind == "set" and position < len(data):
            data[position] = value
        elif kind == "cut":
            del data[position:]
        elif kind == "drop":
            del data[position : position + value]
        elif kind == "repeat":
            data[position:position] = data[position : position + value]
    return bytes(data)


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "cut", "drop", "repeat"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=4,
)


def _one_line(function, *arguments):
    """The function's result, or None after a ValueError of one line; any other error fails the test."""
    try:
        return function(*arguments)
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
        return None


def _repaired(data: bytes) -> bytes:
    """A PNG with the CRC of each chunk made right, so that damage reaches what lies behind that check."""
    out, position = bytearray(data[:8]), 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        body = data[position + 4 : position + 8 + length]
        out += data[position : position + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        position += 12 + length
    return bytes(out)


def _decode(data: bytes) -> None:
    header = _one_line(images.check, data, "x")
    pixels = _one_line(images.decode_fully, data, "x")
    assert header is None or header.height * header.width <= images.MAX_PIXELS
    if pixels is not None:
        assert pixels.shape == (header.height, header.width, 3)
    ids = _one_line(images.decode_map, data, "x")
    if ids is not None:
        assert ids.shape == (header.height, header.width) and ids.dtype == np.uint8


def _damage_pictures(data, edits, repair):
    damaged = _apply(data, edits)
    _decode(_repaired(damaged) if repair else damaged)


@QUICK
@given(st.sampled_from(PICTURES), EDITS, st.booleans())
def test_a_damaged_picture_is_refused_or_decodes_to_its_stated_size(data, edits, repair):
    _damage_pictures(data, edits, repair)


_PNGS = [data for data in PICTURES if data[:4] == b"\x89PNG"]
_KNOWN_CHUNKS = b"PLTE tRNS iCCP sRGB gAMA cHRM pHYs tEXt zTXt iTXt eXIf IDAT acTL fcTL fdAT IHDR IEND".split()
CHUNKS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(_KNOWN_CHUNKS) | st.text("abcdYZ", min_size=4, max_size=4).map(str.encode),
        st.binary(max_size=40),
    ),
    min_size=1,
    max_size=3,
)


def _insert_chunks(data: bytes, chunks) -> bytes:
    """`data` with chunks (number of the chunk before which it goes, kind, payload) inserted, their CRCs right."""
    for place, kind, payload in chunks:
        position = 8
        for _ in range(place):
            if position < len(data):
                position += 12 + int.from_bytes(data[position : position + 4], "big")
        data = data[:position] + png.chunk(kind, payload) + data[position:]
    return data


def _add_chunks(data, chunks):
    added = _insert_chunks(data, chunks)
    _decode(added)
    ids, good = _one_line(images.decode_map, added, "x"), _one_line(images.decode_map, data, "x")
    assert ids is None or (ids == good).all()


@QUICK
@given(st.sampled_from(_PNGS), CHUNKS)
@hypothesis.example(_PNGS[0], [(2, b"iCCP", b"")])
@hypothesis.example(_PNGS[0], [(2, b"tRNS", b"\0")])
def test_a_picture_with_chunks_of_any_kind_is_refused_or_shows_the_same(data, chunks):
    _add_chunks(data, chunks)


@pytest.mark.soak
@LONG
@given(st.sampled_from(_PNGS), CHUNKS)
def test_a_picture_with_chunks_of_any_kind_is_refused_or_shows_the_same_over_many_draws(data, chunks):
    _add_chunks(data, chunks)


@pytest.mark.soak
@LONG
@given(st.sampled_from(PICTURES), EDITS, st.booleans())
def test_a_damaged_picture_is_refused_or_decodes_to_its_stated_size_over_many_draws(data, edits, repair):
    _damage_pictures(data, edits, repair)


def test_a_small_file_that_promises_a_large_picture_is_refused_in_little_memory():
    """Headers of up to 60000x60000, and of 16x16, with some hundred KB of zeros behind them. In 600 MB of addresses."""
    program = """
import resource, struct, zlib
from tfrecords import images
resource.setrlimit(resource.RLIMIT_AS, (600 * 2**20,) * 2)
def png(width, height, pixels):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(p)) + k + p + struct.pack(">I", zlib.crc32(k + p)) for k, p in chunks)
    return b"\\x89PNG\\r\\n\\x1a\\n" + body
endless = zlib.compress(bytes(200 * 2**20), 9)
sizes = ((60000, 60000), (8192, 8193), (8192, 8192), (16, 16))
for data in (*(png(*size, endless) for size in sizes), png(1, 2**31 - 1, b""), png(8192, 8192, b"")):
    try:
        images.decode_map(data, "bomb.png")
    except ValueError as error:
        assert "bomb.png" in str(error), error
    else:
        raise SystemExit("accepted")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# A folder of records.


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> pathlib.Path:
    root = tmp_path_factory.mktemp("hostile")
    for i in range(4):
        tiny_folders.save(root / f"{i}.png", tiny_folders.image(i, 6, 5))
        tiny_folders.save(root / f"{i}_ids.png", tiny_folders.label_map(i, height=6, width=5))
    pairs = [tfrecords.Pair(f"frame_{i}", f"{root}/{i}.png", f"{root}/{i}_ids.png") for i in range(4)]
    tfrecords.write(root / "records", labels.CITYSCAPES, {"train": pairs}, num_shards=2, num_workers=1)
    return root / "records"


def _same_labels(found, good) -> bool:
    """Whether what a reader got from the damaged folder is what the good one holds."""
    return all(a == b for a, b in zip(found, good))


def _damage_shard(records, edits):
    found = tfrecords.info(records)
    shard = found.splits["train"].shards[0]
    good = list(shards.read_shard(records / shard.file, shard))
    scratch = records.parent / "damaged.tfrecord"
    data = (records / shard.file).read_bytes()
    damaged = _apply(data, edits)
    scratch.write_bytes(damaged)
    read = []
    try:
        for one in shards.read_shard(scratch, shard):
            read.append(one)
    except ValueError as error:
        assert "damaged.tfrecord" in str(error) and "\n" not in str(error)
    else:
        assert damaged == data
    assert _same_labels(read, good)


@QUICK
@given(edits=EDITS)
def test_no_damage_to_a_shard_gives_another_example(records, edits):
    _damage_shard(records, edits)


@pytest.mark.soak
@LONG
@given(edits=EDITS)
def test_no_damage_to_a_shard_gives_another_example_over_many_draws(records, edits):
    _damage_shard(records, edits)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("train") | st.just([0]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _places(value, path=()):
    """The path of every value within a JSON object."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _places(inner, (*path, key))


def _replace_in_manifest(records, seed, value):
    text = (records / "dataset.json").read_text()
    obj = json.loads(text)
    place = random.Random(seed).choice(list(_places(obj))[1:])
    inner = obj
    for key in place[:-1]:
        inner = inner[key]
    old = copy.deepcopy(inner[place[-1]])
    inner[place[-1]] = value
    found = _one_line(manifest.from_bytes, json.dumps(obj).encode(), "somewhere")
    if found is not None:
        # What stays readable is a name, a colour, a kind of void, a count of pixels, or JSON that means the same.
        assert place[0] in ("name", "classes", "void", "image_format", "jpeg_quality", "splits"), (place, old, value)
        files, file_of, offsets, names = found.index(next(iter(found.splits)))
        assert len(file_of) == len(offsets) == len(names) and (offsets >= 0).all()
        assert all(pathlib.Path(file).parent.name == "somewhere" for file in files)


@QUICK
@given(seed=st.integers(0, 2**32), value=_JSON)
def test_a_manifest_with_any_value_replaced_is_refused_or_still_consistent(records, seed, value):
    _replace_in_manifest(records, seed, value)


@pytest.mark.soak
@LONG
@given(seed=st.integers(0, 2**32), value=_JSON)
def test_a_manifest_with_any_value_replaced_is_refused_or_still_consistent_over_many_draws(records, seed, value):
    _replace_in_manifest(records, seed, value)


@QUICK
@given(edits=EDITS)
def test_a_manifest_with_damaged_bytes_is_refused_or_still_consistent(records, edits):
    found = _one_line(manifest.from_bytes, _apply((records / "dataset.json").read_bytes(), edits), "somewhere")
    if found is not None:
        assert sum(split.examples for split in found.splits.values()) == 4


@QUICK
@given(data=st.binary(max_size=300))
def test_arbitrary_bytes_are_no_manifest(data):
    with pytest.raises(ValueError):
        manifest.from_bytes(data, "somewhere")


@QUICK
@given(edits=EDITS, which=st.sampled_from(["ids_png", "ignore_png", "background_png", "image_encoded"]))
def test_verifying_never_accepts_a_changed_label_map(records, edits, which):
    """A forger who also makes checksums fit may change an image, never what the labels say."""
    found = tfrecords.info(records)
    split, shard = found.splits["train"], found.splits["train"].shards[0]
    good = list(shards.read_shard(records / shard.file, shard))
    field = getattr(good[0], which)
    forged = _repaired(_apply(field, edits))
    changed = [tfrecords.Example(**{**vars(good[0]), which: forged}), *good[1:]]
    path = records.parent / shard.file
    with shards.Writer(path) as writer:
        for one in changed:
            writer.write(example.encode(one))
    entry = manifest.Shard(
        shard.file, shard.examples, writer.bytes, writer.sha256, "0" * 64, tuple(writer.offsets), shard.image_ids
    )
    pixels = _one_line(verify.check_shard, str(records.parent), split, entry, "png")
    if pixels is not None and which != "image_encoded":
        assert (images.decode_map(forged, "x") == images.decode_map(field, "x")).all()


@pytest.mark.parametrize("folder", ["links", "pipes"])
def test_what_is_no_plain_file_does_not_hang_the_converter(folder, tmp_path):
    import os

    tiny_folders.cityscapes(tmp_path / "source", {"train": 2})
    path = next(iter(sorted((tmp_path / "source" / "leftImg8bit").glob("*/*/*.png"))))
    path.unlink()
    if folder == "links":
        path.symlink_to(path)
    else:
        os.mkfifo(path)
    command = [sys.executable, "tools/convert_cityscapes.py", f"--cityscapes_dir={tmp_path}/source"]
    command += [f"--records_dir={tmp_path}/records", "--num_workers=1"]
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root, timeout=30)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert path.name in done.stderr.splitlines()[-1]
    assert not (tmp_path / "records").exists()


def test_two_shards_exchanged_between_folders_are_refused(records, tmp_path):
    target = tmp_path / "records"
    shutil.copytree(records, target)
    first, second = sorted(target.glob("*.tfrecord"))
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)
    with pytest.raises(ValueError, match="train-0000"):
        verify.check(target, num_workers=1)
