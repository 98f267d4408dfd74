"""What a review finds in records that were made wrong on purpose, and that it is quiet about those that were not."""

import io
import pathlib
import re
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

import tfrecords
from tfrecords import labels, shards
from tfrecords.review import edges, findings, look, page, review, text, thumbs

ROOT = pathlib.Path(__file__).parent.parent.parent
H, W = 72, 96
TABLE = labels.LabelTable(
    "toy",
    (
        labels.Label(0, "road", 0, None, (128, 64, 128)),
        labels.Label(1, "car <fast>", 1, None, (0, 0, 142)),
        labels.Label(2, "sky", 2, None, (70, 130, 180)),
        labels.Label(5, "rare", 3, None, (9, 9, 9)),
        labels.Label(254, "bonnet", None, "geometry", (0, 0, 0)),
        labels.Label(255, "void", None, "scene", (0, 0, 0)),
    ),
)


def _scene(seed, ids=(0, 1, 2, 255), height=H, width=W):
    """A picture whose regions are its labels': (uint8 [H, W, 3], uint8 [H, W])."""
    random = np.random.default_rng(seed)
    label_map = np.full((height, width), ids[0], np.uint8)
    for number in [*ids[1:], *random.choice(ids, 9)]:
        top, left = random.integers(0, height - 12), random.integers(0, width - 12)
        label_map[top : top + random.integers(6, 30), left : left + random.integers(6, 30)] = number
    grey = np.random.default_rng(seed + 1000).permutation(np.linspace(20, 230, 256))[label_map]
    noisy = grey + random.normal(0, 4, grey.shape)
    return np.repeat(np.clip(noisy, 0, 255).astype(np.uint8)[..., None], 3, 2), label_map


def _records(root, splits, name="records", num_shards=2, table=TABLE):
    """splits: {split: {image id: (picture, label map or None)}} -> the folder of records."""
    pairs = {}
    for split, frames in splits.items():
        pairs[split] = []
        for image_id, (picture, ids) in frames.items():
            stem = root / f"{name}_{split}_{image_id}"
            Image.fromarray(picture).save(f"{stem}.png")
            if ids is not None:
                Image.fromarray(ids).save(f"{stem}_ids.png")
            pairs[split].append(tfrecords.Pair(image_id, f"{stem}.png", None if ids is None else f"{stem}_ids.png"))
    tfrecords.write(root / name, table, pairs, num_shards=num_shards, num_workers=1)
    return root / name


def _found(folder):
    return findings.find(tfrecords.info(folder), look.look(folder, num_workers=1))


def _titles(folder):
    return [one.title for one in _found(folder)]


def _frames(count, prefix="drive", seed=0, **options):
    return {f"{prefix}{n}_{n:04d}": _scene(seed + n, **options) for n in range(count)}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    ids = (0, 1, 2, 5, 255)
    return _records(
        tmp_path_factory.mktemp("good"), {"train": _frames(6, ids=ids), "val": _frames(4, "city", 50, ids=ids)}
    )


def test_nothing_is_said_of_records_that_are_in_order(good):
    assert _titles(good) == []
    said = []
    review.review(good, num_workers=1, say=said.append)
    assert said[-1] == "nothing suspicious: ids, sizes, sequences, edges and likeness of all 10 pictures"


@pytest.mark.parametrize(
    "down, right, words",
    [(0, 5, "were the labels 5 px left,"), (-4, 0, "were the labels 4 px down,"), (3, -6, "6 px right and 3 px up,")],
)
def test_labels_that_were_moved_are_said_to_belong_where_they_were(tmp_path, down, right, words):
    frames = {name: (picture, np.roll(ids, (down, right), (0, 1))) for name, (picture, ids) in _frames(6).items()}
    (one,) = [x for x in _found(_records(tmp_path, {"train": frames})) if "shifted" in x.title]
    assert words in one.text and one.is_hint


@pytest.mark.parametrize("width", [4, 5])
def test_void_borders_around_things_are_no_shift(tmp_path, width):
    frames = {}
    for name, (picture, ids) in _frames(6, ids=(0, 1, 2)).items():
        edge = np.zeros((H, W), bool)
        edge[1:] |= ids[1:] != ids[:-1]
        edge[:, 1:] |= ids[:, 1:] != ids[:, :-1]
        places = np.argwhere(edge)
        for row in range(-(width // 2), width - width // 2):
            for column in range(-(width // 2), width - width // 2):
                y, x = (places + (row, column)).T
                inside = (y >= 0) & (y < H) & (x >= 0) & (x < W)
                ids[y[inside], x[inside]] = 255
        frames[name] = (picture, ids)
    assert not [title for title in _titles(_records(tmp_path, {"train": frames})) if "shifted" in title]


def test_labels_of_a_large_picture_are_moved_by_its_own_pixels(tmp_path):
    def large(scene):
        return tuple(part.repeat(10, 0).repeat(10, 1) for part in scene)

    frames = {}
    for name, scene in _frames(5).items():
        picture, ids = large(scene)
        frames[name] = (picture, np.roll(ids, 16, 1))
    assert edges.reduction(10 * H, 10 * W) == 2
    (one,) = [x for x in _found(_records(tmp_path, {"train": frames})) if "shifted" in x.title]
    assert "were the labels 16 px left" in one.text


def test_a_label_map_of_another_frame_is_named_among_good_ones(tmp_path):
    frames = _frames(9)
    frames["drive9_0009"] = (_scene(9)[0], _scene(77)[1])
    (one,) = [x for x in _found(_records(tmp_path, {"train": frames})) if "edges" in x.title]
    assert one.frames == (("train", "drive9_0009"),)


def test_labels_that_all_belong_to_other_pictures_follow_no_edges(tmp_path):
    frames = {name: (picture, _scene(500 + n)[1]) for n, (name, (picture, _)) in enumerate(_frames(12).items())}
    assert "train: labels follow no edges" in _titles(_records(tmp_path, {"train": frames}))


def test_edge_agreement_is_the_steepness_at_boundaries_over_the_mean():
    # One step of 100 between columns 39 and 40: of 80 columns one is steep, by 10 (the root). The mean is 10/80.
    picture = np.repeat(np.where(np.arange(80) < 40, 50, 150)[None], 60, 0).astype(np.uint8)
    ids = np.repeat((np.arange(80) >= 37)[None], 60, 0).astype(np.uint8)  # three columns too far left
    found = edges.agreement(Image.fromarray(picture), ids, np.zeros(256, bool))
    middle = edges.MAX_SHIFT
    assert found[middle, middle + 3] == pytest.approx(80, rel=1e-3)
    assert found[middle, middle] == pytest.approx(0, abs=1e-3)
    # One border does not meet the other: six columns left of column 4 there is nothing, which is chance, not column 78.
    picture = np.repeat(np.where(np.arange(80) < 78, 50, 150)[None], 60, 0).astype(np.uint8)
    beside = np.repeat((np.arange(80) >= 4)[None], 60, 0).astype(np.uint8)
    found = edges.agreement(Image.fromarray(picture), beside, np.zeros(256, bool))
    assert found[middle, middle - 6] == pytest.approx(1, abs=1e-3)
    assert edges.agreement(Image.fromarray(picture), ids, np.arange(256) == 1) is None  # that boundary does not count


def test_copies_look_the_same_and_neighbours_do_not():
    picture = Image.fromarray(_scene(3)[0].repeat(4, 0).repeat(4, 1))
    buffer = io.BytesIO()
    picture.resize((2 * W, 2 * H)).save(buffer, "JPEG", quality=50)
    other = Image.fromarray(_scene(4)[0])
    made = [thumbs.thumb(one.convert("L")) for one in (other, Image.open(buffer), picture)]
    assert thumbs.same(np.stack(made[:2]), np.stack(made[2:])) == [(1, 0)]
    dark = np.full((2, thumbs.SIDE**2), 3, np.uint8)
    dark[1, ::2] = 7  # 2 levels from the mean: small, yet all the contrast there is
    assert thumbs.same(dark[:1], dark[1:]) == [] and thumbs.same(dark[:1], dark[:1]) == [(0, 0)]


def test_a_picture_of_train_that_is_in_val_is_found(tmp_path):
    train, val = _frames(6, ids=(0, 1, 2, 5)), _frames(4, "city", 50, ids=(0, 1, 2, 5))
    val["city9_0001"] = train["drive2_0002"]
    (one,) = _found(_records(tmp_path, {"train": train, "val": val}))
    assert one.title == "1 picture of train seen again in val"
    assert one.frames == (("train", "drive2_0002"), ("val", "city9_0001"))


def test_sequences_in_two_splits_are_named_unless_names_are_numbers(tmp_path):
    ids = (0, 1, 2, 5)
    train = {f"seq_{n:03d}": _scene(n, ids) for n in range(3)} | {f"{n:04d}": _scene(20 + n, ids) for n in range(3)}
    val = {f"seq_{n:03d}": _scene(n, ids) for n in range(50, 52)} | {f"{n:04d}": _scene(n, ids) for n in range(60, 62)}
    (one,) = _found(_records(tmp_path, {"train": train, "val": val}))
    assert one.title == "train and val share 1 sequence" and "seq (3 and 2 frames)" in one.text


def test_scenes_that_each_split_numbers_anew_are_no_shared_sequences(tmp_path):
    train = {f"{n:06d}_10": _scene(n, (0, 1, 2, 5)) for n in range(4)}
    test = {f"{n:06d}_10": _scene(n + 60, (0, 1, 2, 5)) for n in range(4)}
    assert _titles(_records(tmp_path, {"train": train, "test": test})) == []
    train = {f"{n // 2:06d}_{n:02d}": frame for n, frame in enumerate(train.values())}
    assert _titles(_records(tmp_path, {"train": train, "test": test}, "drives")) == ["train and test share 2 sequences"]


@pytest.mark.parametrize(
    "name, drive",
    [
        ("0001TP_006690", "0001TP"),
        ("0006R0_f01080", "0006R0"),
        ("a_1_2", "a_1"),
        ("0012", ""),
        ("frame 012", "frame"),
        ("scan (3)", "scan"),
    ],
)
def test_a_sequence_is_what_comes_before_the_frame_number(name, drive):
    assert look.sequence(name) == drive


def test_ids_that_are_missing_or_rare_and_maps_without_a_class(tmp_path):
    train = _frames(5)
    train["drive1_0001"][1][:3, :3] = 5
    train["drive2_0002"][1][:3, :3] = 5
    train["drive7_0007"] = (_scene(7)[0], np.full((H, W), 255, np.uint8))
    val = _frames(3, "city", 50, ids=(0, 1, 255))
    found = {one.title: one for one in _found(_records(tmp_path, {"train": train, "val": val}))}
    assert set(found) == {
        "val lacks 2 classes",
        "1 id is in under 3 images",
        "train: 1 label map has no pixel of a class",
    }
    assert '"sky", "rare"' in found["val lacks 2 classes"].text
    assert "5 rare (2)" in found["1 id is in under 3 images"].text
    assert found["train: 1 label map has no pixel of a class"].frames == (("train", "drive7_0007"),)
    assert "No label map has a pixel" not in str(found)
    assert "1 class has no pixel at all" in _titles(_records(tmp_path, {"train": _frames(5)}, "without"))


@pytest.mark.parametrize("name, said", [("drive_{:03d}", "drive"), ("city_{:06d}_000019", "all frames")])
@pytest.mark.parametrize("number, words", [(255, ["train: void at fixed places"]), (254, [])])
def test_void_that_stands_still_is_found_unless_it_is_of_kind_geometry(tmp_path, number, words, name, said):
    frames = {name.format(n): _scene(n, (0, 1, 2, 5)) for n in range(12)}
    for _, ids in frames.values():
        ids[-18:, :48] = number  # 23 of 90 rows of positions, half of the columns
    found = [one for one in _found(_records(tmp_path, {"train": frames})) if "fixed" in one.title]
    assert [one.title for one in found] == words
    assert all(f": {said} 12.8 % of the frame" in one.text for one in found)


def test_a_picture_of_another_size_is_found_and_many_sizes_are_not(tmp_path):
    ids = (0, 1, 2, 5, 255)
    train = _frames(11, ids=ids) | {"odd0_0001": _scene(90, ids, W, H)}
    val = {f"city{n}_0001": _scene(50 + n, ids, H + n, W) for n in range(5)}
    (one,) = _found(_records(tmp_path, {"train": train, "val": val}))
    assert one.title == "train: few pictures of another size"
    assert "11 of 12 pictures is 72x96; besides there are 96x72 (1)" in one.text and "turned" in one.text


def test_a_picture_that_cannot_be_decoded_is_found_and_the_page_is_written(tmp_path):
    good = _frames(3, ids=(0, 1, 2, 5))
    folder = _records(tmp_path, {"train": good}, num_shards=1)
    manifest = tfrecords.info(folder)
    name = manifest.splits["train"].shards[0].image_ids[1]
    data = bytearray((tmp_path / f"records_train_{name}.png").read_bytes())
    start = data.index(b"IDAT")
    data[start + 6 : start + 40] = bytes(34)
    size = int.from_bytes(data[start - 4 : start], "big")
    data[start + 4 + size : start + 8 + size] = zlib.crc32(data[start : start + 4 + size]).to_bytes(4, "big")
    (tmp_path / f"records_train_{name}.png").write_bytes(data)  # whole to a checksum, unlike to a decoder
    pairs = [
        tfrecords.Pair(x, f"{tmp_path}/records_train_{x}.png", f"{tmp_path}/records_train_{x}_ids.png") for x in good
    ]
    tfrecords.write(tmp_path / "again", TABLE, {"train": pairs}, num_shards=1, num_workers=1)
    review.review(tmp_path / "again", str(tmp_path / "page.html"), num_workers=1, say=lambda line: None)
    assert f"Training will fail on them: {name} (" in (tmp_path / "page.html").read_text()


def test_shares_and_images_worked_by_hand(tmp_path):
    picture = np.zeros((4, 8, 3), np.uint8)
    one, two = np.zeros((4, 8), np.uint8), np.zeros((4, 8), np.uint8)
    one[:2], one[2, :4] = 1, 255  # 16 of car, 4 of void, 12 of road
    two[0, :2], two[1, :] = 254, 255  # 2 of bonnet, 8 of void, 22 of road
    folder = _records(tmp_path, {"train": {"a": (picture, one), "b": (picture, two)}})
    rows = text.rows(tfrecords.info(folder), look.look(folder, num_workers=1))
    shown = [(row.level, row.ids, row.name, row.shares[0] * 64, row.frames[0]) for row in rows]
    assert shown == [
        ("class", (0,), "road", 34, 2),
        ("class", (1,), "car <fast>", 16, 1),
        ("class", (2,), "sky", 0, 0),
        ("class", (5,), "rare", 0, 0),
        ("void", (254, 255), "void", 14, None),
        ("kind", (255,), "of kind scene", 12, 2),
        ("id", (255,), "void", 12, 2),
        ("kind", (254,), "of kind geometry", 2, 1),
        ("id", (254,), "bonnet", 2, 1),
    ]
    assert [text.share(value) for value in (None, 0.0, 1e-9, 0.25)] == ["-", "0", "<0.001", "25.000"]


@pytest.mark.parametrize("num_shards", [1, 4])
def test_shards_and_processes_do_not_change_the_page(tmp_path, monkeypatch, num_shards):
    monkeypatch.setattr(look, "_FEW_RECORDS", 0)
    monkeypatch.setattr(look, "_WORTH_PROCESSES", 0)
    splits = {"train": _frames(6) | {"drive9_0001": _scene(3)}, "val": _frames(3, "city", 2)}
    one = _records(tmp_path, splits, "one", num_shards=2)
    other = _records(tmp_path, splits, "other", num_shards=num_shards)

    def pages(folder, workers):
        manifest, looks = tfrecords.info(folder), look.look(folder, num_workers=workers)
        return page.page(manifest, looks, findings.find(manifest, looks))

    def without_shards(html):
        return re.sub(r"[\d.]+ MiB in \d+ shards", "", html)

    assert pages(one, 1) == pages(one, 2)
    assert without_shards(pages(one, 1)) == without_shards(pages(other, 1))


def test_the_page_loads_nothing_and_escapes_names(good, tmp_path):
    path = tmp_path / "page.html"
    review.review(good, str(path), num_workers=1, say=lambda line: None)
    html = path.read_text()
    assert set(re.findall(r'(?:src|href)="(\w+:|#)', html)) == {"data:", "#"}
    assert not re.search(r"https?:|@import|url\(", html)
    assert "car &lt;fast&gt;" in html and "<fast>" not in html
    assert html.count("<img") == 2 * 10 + 2 + 5  # six and four frames with labels, where void lies, each id that occurs
    before = path.read_bytes()
    review.review(good, str(path), num_workers=1, say=lambda line: None)
    assert path.read_bytes() == before


def test_records_without_labels_have_a_page(tmp_path):
    folder = _records(tmp_path, {"test": {name: (picture, None) for name, (picture, _) in _frames(3).items()}})
    said = []
    review.review(folder, str(tmp_path / "page.html"), num_workers=1, say=said.append)
    assert said[0].startswith("nothing suspicious") and "no labels" in (tmp_path / "page.html").read_text()


def test_of_many_records_some_are_read_and_the_pixels_are_exact(tmp_path, good):
    manifest = tfrecords.info(good)
    looks = look.look(good, 2, 4, num_workers=1)
    train = looks["train"]
    assert [len(x) for x in (train.image_ids, train.read, train.looked_at)] == [6, 4, 2]
    assert train.frames.max() == 4 and sum(count for count, _ in train.sizes.values()) == 4
    whole = look.look(good, num_workers=1)
    shares = [[row.shares for row in text.rows(manifest, one)] for one in (looks, whole)]
    assert shares[0] == shares[1]
    assert text.lines(manifest, looks)[0].split() == ["train", "(4", "read)", "val"]
    assert text.checked(looks) == "ids and sizes of 8, sequences of all, edges of 4 of 10 pictures"


def test_of_many_pictures_some_are_decoded_evenly_spread():
    chosen = [place for place in range(100) if look._is_chosen(place, 100, 4)]
    assert chosen == [24, 49, 74, 99]
    assert all(look._is_chosen(place, 3, 4) for place in range(3))


def test_a_page_that_cannot_be_written_is_refused_before_the_work(tmp_path, good):
    (tmp_path / "mine.txt").write_text("mine")
    for path, words in (
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "page.html", "there is no folder"),
        (tmp_path / "mine.txt", "is there and is no such page"),
    ):
        with pytest.raises(ValueError, match=words):
            review.check_path(str(path), tmp_path / "records")
    assert (tmp_path / "mine.txt").read_text() == "mine"
    review.check_path(str(tmp_path / "records" / "page.html"), tmp_path / "records")  # the folder to be made


def test_one_record_is_read_from_where_it_lies(good):
    files, file_of, offsets, names = tfrecords.info(good).index("train")
    assert shards.read_one(files[file_of[3]], int(offsets[3])).image_id == names[3]
    with pytest.raises(ValueError, match="no record begins at byte 1"):
        shards.read_one(files[0], 1)


def test_converting_a_folder_says_what_it_holds_and_writes_the_page(tmp_path):
    for name, (picture, ids) in _frames(6).items():
        for folder, array in (("images", picture), ("labels", np.roll(ids, 5, 1))):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / folder / f"{name}.png")
    command = [sys.executable, "-m", "kseg", "convert-folder", f"--records_dir={tmp_path}/records", "--num_workers=1"]
    command += [f"--images_dir={tmp_path}/images", f"--labels_dir={tmp_path}/labels"]
    done = subprocess.run([*command, f"--report={tmp_path}/no/p.html"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and not (tmp_path / "records").exists()
    done = subprocess.run([*command, f"--report={tmp_path}/records/p.html"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^0 class_0 +\d+\.\d+ +5 ", done.stdout, re.M)
    assert "look at: train: labels look shifted against the pictures." in done.stdout
    assert page.MARK in (tmp_path / "records" / "p.html").read_text()
    again = [sys.executable, "-m", "kseg", "inspect-records", f"--records_dir={tmp_path}/records"]
    done = subprocess.run([*again, f"--report={tmp_path}/q.html"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "q.html").read_bytes() == (tmp_path / "records" / "p.html").read_bytes()
