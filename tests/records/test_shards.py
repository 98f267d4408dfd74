"""Shards and manifest: the frame against TensorFlow's reader, and what a reader refuses."""

import hashlib
import json
import pathlib

import pytest
import tiny_folders

import tfrecords
from tfrecords import files as tfrecords_files
from tfrecords import labels, manifest, shards
from tfrecords.conversion import build, convert


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Records of 5 training and 2 validation images, in 2 shards each."""
    root = tmp_path_factory.mktemp("cityscapes")
    tiny_folders.cityscapes(root, {"train": 5, "val": 2})
    pairs = {split: _pairs(root, split) for split in ("train", "val")}
    convert.write(root / "records", labels.CITYSCAPES, pairs, num_shards=2, num_workers=1)
    return root / "records"


def _pairs(root, split):
    images = sorted((root / "leftImg8bit" / split).glob("*/*.png"))
    ids = [path.name.removesuffix("_leftImg8bit.png") for path in images]
    found = {p.name.removesuffix("_gtFine_labelIds.png"): str(p) for p in (root / "gtFine" / split).glob("*/*.png")}
    return [tfrecords.Pair(name, str(path), found[name]) for name, path in zip(ids, images)]


@pytest.fixture
def copy(folder, tmp_path) -> pathlib.Path:
    """A copy to damage."""
    target = tmp_path / "records"
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def _edit(folder, change) -> None:
    path = folder / "dataset.json"
    obj = json.loads(path.read_text())
    obj = change(obj) or obj
    path.write_text(json.dumps(obj))


def test_tensorflow_reads_the_same_records_in_the_same_order(folder):
    import tensorflow as tf

    files, file_of, offsets, image_ids = tfrecords.info(folder).index("train")
    ours = list(tfrecords.read(folder, "train"))
    theirs = [tfrecords.parse(record) for record in tf.data.TFRecordDataset(files)]
    assert [one.image_id for one in ours] == image_ids
    assert [one["image_id"].numpy().decode() for one in theirs] == image_ids
    assert [one["ids_png"].numpy() for one in theirs] == [one.ids_png for one in ours]
    assert file_of.tolist() == [0, 0, 1, 1, 1] and offsets[0] == offsets[2] == 0


def test_the_offsets_of_the_manifest_are_where_tensorflow_finds_each_record(folder):
    import tensorflow as tf

    files, file_of, offsets, image_ids = tfrecords.info(folder).index("train")
    order = [3, 0, 4, 1, 2]

    def first_at(file, offset):
        variant = tf.raw_ops.TFRecordDatasetV2(
            filenames=file[None], compression_type="", buffer_size=0, byte_offsets=offset[None]
        )
        return tf.data.experimental.from_variant(variant, tf.TensorSpec((), tf.string)).take(1)

    places = ([files[file_of[i]] for i in order], offsets[order])
    records = tf.data.Dataset.from_tensor_slices(places).flat_map(first_at)
    found = [tfrecords.parse(record)["image_id"].numpy().decode() for record in records]
    assert found == [image_ids[i] for i in order]


def test_the_writer_writes_what_tensorflow_writes(tmp_path):
    import tensorflow as tf

    payloads = [b"", b"a", b"b" * 1000]
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as theirs:
        for payload in payloads:
            theirs.write(payload)
    with shards.Writer(tmp_path / "ours") as ours:
        for payload in payloads:
            ours.write(payload)
    data = (tmp_path / "ours").read_bytes()
    assert data == (tmp_path / "theirs").read_bytes()
    assert (ours.bytes, ours.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert list(shards.records(tmp_path / "ours")) == list(zip(ours.offsets, payloads))


def test_a_shard_that_fails_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError), shards.Writer(tmp_path / "shard") as writer:
        writer.write(b"first")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_two_attempts_at_one_shard_do_not_write_into_one_file(tmp_path):
    """As where Beam starts a second attempt beside the first: either may be the last, both are whole."""
    with shards.Writer(tmp_path / "shard") as first:
        first.write(b"a" * 100)
        with shards.Writer(tmp_path / "shard") as second:
            second.write(b"a" * 100)
            temporary = [path.name for path in tmp_path.iterdir()]
            assert len(temporary) == 2 and all(name.endswith(".tmp") for name in temporary)
        first.write(b"b")
    assert [path.name for path in tmp_path.iterdir()] == ["shard"]
    assert [payload for _, payload in shards.records(tmp_path / "shard")] == [b"a" * 100, b"b"]
    assert tfrecords_files.file_sha256(tmp_path / "shard") == first.sha256 != second.sha256


@pytest.mark.parametrize("damage", ["another byte", "a byte more", "none", "none, and moved"])
def test_a_shard_that_is_not_what_its_workers_note_says_is_refused(damage, tmp_path):
    tiny_folders.cityscapes(tmp_path, {"train": 1})
    (tmp_path / "work").mkdir()
    pairs = tuple(_pairs(tmp_path, "train"))
    job = build.Job(str(tmp_path / "work"), str(tmp_path), "train-00000-of-00001.tfrecord", pairs, labels.CITYSCAPES,
                    "png", 0, "fast")  # fmt: skip
    note, path = build.build(job), tmp_path / "work" / job.file
    data = path.read_bytes()
    if damage.startswith("none"):
        if damage != "none":
            path.rename(tmp_path / job.file)
        assert build.read_note(job) == json.loads(json.dumps(note))
        return
    path.write_bytes(data[:-1] + b"x" if damage == "another byte" else data + b"x")
    with pytest.raises(ValueError, match=r"train-00000-of-00001.tfrecord has \d+ bytes .* run again") as caught:
        build.read_note(job)
    assert "\n" not in str(caught.value)


def test_examples_lie_in_the_order_of_the_hash_of_their_id(folder):
    for split in tfrecords.info(folder).splits.values():
        names = [name for shard in split.shards for name in shard.image_ids]
        assert names == sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())


def test_the_digest_is_that_of_the_manifest_file(folder):
    data = (folder / "dataset.json").read_bytes()
    assert tfrecords.info(folder).digest == hashlib.sha256(data).hexdigest()


def test_an_unknown_split_is_refused_with_those_there_are(folder):
    with pytest.raises(ValueError, match="no split 'test'; it has train, val"):
        tfrecords.info(folder).index("test")


def test_a_folder_that_is_no_folder_of_records_is_refused(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        tfrecords.info(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"no dataset\.json"):
        tfrecords.info(tmp_path)


def test_a_missing_shard_is_named(copy):
    (copy / "train-00001-of-00002.tfrecord").unlink()
    with pytest.raises(ValueError, match="split train has 1 of 2 shards .train-00001-of-00002.tfrecord is missing"):
        tfrecords.info(copy)


def test_a_truncated_shard_is_named(copy):
    path = copy / "val-00000-of-00002.tfrecord"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"val-00000-of-00002.tfrecord has \d+ bytes, dataset.json says"):
        tfrecords.info(copy)


def _shard(obj, index=0):
    return obj["splits"]["train"]["shards"][index]


CONTRADICTIONS = {
    "another version": (lambda o: o.update(version=2), "version 2; this program reads 'tfrecords' version 1"),
    "a version that equals 1 but is none": (lambda o: o.update(version=True), "version True"),
    "another format": (lambda o: o.update(format="parquet"), "format 'parquet'"),
    "a list": (lambda o: [o], "is damaged"),
    "no splits": (lambda o: o.update(splits={}), "splits is wrong"),
    "a missing key": (lambda o: o.pop("classes") and None, "classes"),
    "a class too few": (lambda o: o["classes"].pop() and None, "contradicts itself"),
    "an id twice in the table": (lambda o: o["void"][0].update(id=7), "ids must differ"),
    "a kind that is none": (lambda o: o["void"][0].update(kind="odd"), "kind 'odd'"),
    "a colour that is none": (lambda o: o["void"][0].update(color=[0, 0, 999]), "colour"),
    "a wrong number of examples": (lambda o: o["splits"]["train"].update(examples=6), "6 examples, its shards have 5"),
    "offsets that fall": (lambda o: _shard(o)["offsets"].reverse(), "offsets do not rise"),
    "an offset past the end": (lambda o: _shard(o)["offsets"].__setitem__(1, 10**9), "offsets do not rise"),
    "an offset that is no number": (lambda o: _shard(o)["offsets"].__setitem__(1, "x"), "expected a count"),
    "an offset too few": (lambda o: _shard(o)["offsets"].pop() and None, "2 examples, 1 offsets"),
    "a negative size": (lambda o: _shard(o).update(bytes=-1), "expected a count"),
    "a huge number": (lambda o: _shard(o).update(bytes=10**30), "expected a count"),
    "a fraction": (lambda o: _shard(o).update(examples=2.0), "expected a count"),
    "an image twice": (lambda o: _shard(o, 1)["image_ids"].__setitem__(0, _shard(o)["image_ids"][0]), "id twice"),
    "a shard elsewhere": (lambda o: _shard(o).update(file="../../etc/passwd"), "is called '../../etc/passwd'"),
    "shards swapped": (lambda o: o["splits"]["train"]["shards"].reverse(), "shard 0 of train is called"),
    "a hash that is none": (lambda o: _shard(o).update(sha256="abc"), "no sha256"),
    "pixels of an unknown id": (lambda o: o["splits"]["train"]["id_pixels"].update({"77": 5}), "id_pixels"),
    "labels without pixels": (lambda o: o["splits"]["train"].update(id_pixels={}), "id_pixels"),
    "a class unannotated": (lambda o: o["splits"]["train"].update(unannotated_ids=[7]), "not all void"),
    "a split name with a slash": (lambda o: o["splits"].update({"a/b": o["splits"].pop("val")}), "split name 'a/b'"),
    "another image format": (lambda o: o.update(image_format="gif"), "image_format"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_manifest_that_contradicts_itself_is_refused(copy, name):
    change, words = CONTRADICTIONS[name]
    _edit(copy, change)
    with pytest.raises(ValueError, match=words) as caught:
        tfrecords.info(copy)
    assert "dataset.json" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\xff", '{"format": NaN}'])
def test_a_manifest_that_is_no_manifest_is_refused(copy, text):
    (copy / "dataset.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"dataset\.json is damaged"):
        tfrecords.info(copy)


def test_two_shards_swapped_on_disk_are_not_read_as_each_other(copy):
    a, b = (copy / f"val-0000{i}-of-00002.tfrecord" for i in (0, 1))
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)
    with pytest.raises(ValueError, match="val-00000"):
        list(tfrecords.read(copy, "val"))


def test_every_damaged_byte_of_a_shard_stops_the_reader(copy):
    path = copy / "val-00000-of-00002.tfrecord"
    good = path.read_bytes()
    for position in range(0, len(good), 97):
        damaged = bytearray(good)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="val-00000"):
            list(tfrecords.read(copy, "val"))


def test_a_record_that_promises_more_than_the_file_holds_is_not_read(tmp_path):
    head = (2**62).to_bytes(8, "little")
    (tmp_path / "shard").write_bytes(head + shards._masked_crc(head) + b"abc")
    with pytest.raises(ValueError, match="byte 0 is not whole"):
        list(shards.records(tmp_path / "shard"))


def test_the_same_splits_in_any_order_give_the_same_manifest(folder):
    found = tfrecords.info(folder)
    splits = list(found.splits.values())
    arguments = found.full_table, found.image_format, found.jpeg_quality
    forward, backward = (manifest.to_bytes(*arguments, order) for order in (splits, splits[::-1]))
    assert forward == backward == (folder / "dataset.json").read_bytes()
