"""What becomes of pictures that are not upright 8-bit PNG or JPEG: nothing is lost unsaid, and labels still fit."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tiny_folders
from PIL import Image, ImageOps

import tfrecords
from tfrecords import images, labels, pixels, png, png16
from tfrecords.conversion import pictures

H, W = 24, 40
TABLE = labels.LabelTable(
    "own", (labels.Label(0, "road", 0, None, (128, 64, 128)), labels.Label(1, "car", 1, None, (0, 0, 142)))
)


def _smooth():
    """A picture that JPEG keeps well, different at each corner: uint8 [H, W, 3]."""
    rows, columns = np.mgrid[:H, :W]
    return np.stack([rows * 255 // H, columns * 255 // W, 255 - rows * 255 // H], -1).astype(np.uint8)


def _encoded(array, suffix="png", orientation=1, mode=None, **options):
    picture = Image.fromarray(array)
    if mode:
        picture = picture.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    options |= {"exif": exif} if orientation != 1 else {}
    kind = {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper())
    picture.save(buffer, kind, **options | ({"lossless": True} if suffix == "webp" else {}))
    return buffer.getvalue()


def _deep_color(values: np.ndarray) -> bytes:
    """A PNG of uint16 [H, W, 3], each row with the next of the five filters."""
    height, width, _ = values.shape
    raw = values.astype(">u2").view(np.uint8).reshape(height, -1).astype(int)
    above, rows = np.zeros(raw.shape[1], int), b""
    for number, row in enumerate(raw):
        left, corner = np.roll(row, 6), np.roll(above, 6)
        left[:6] = corner[:6] = 0
        estimate = left + above - corner
        distances = np.stack([abs(estimate - left), abs(estimate - above), abs(estimate - corner)])
        paeth = np.choose(distances.argmin(0), [left, above, corner])
        predicted = [0, left, above, (left + above) // 2, paeth][number % 5]
        rows += bytes([number % 5]) + ((row - predicted) % 256).astype(np.uint8).tobytes()
        above = row
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return png.SIGNATURE + b"".join(png.chunk(*chunk) for chunk in chunks)


def _deep_tiff(values: np.ndarray) -> bytes:
    """A TIFF of uint16 [H, W, 3] without compression."""
    height, width, _ = values.shape
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2)]
    entries += [(273, 4, 1, 14), (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, values.nbytes)]
    head = struct.pack("<2sHI3H", b"II", 42, 14 + values.nbytes, 16, 16, 16)
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return head + values.astype("<u2").tobytes() + struct.pack("<H", len(entries)) + table + bytes(4)


def _pair(tmp_path, data, suffix, ids=None, name="a"):
    image = tmp_path / f"{name}.{suffix}"
    image.write_bytes(data)
    label = tmp_path / f"{name}_ids.png"
    tiny_folders.save(label, np.zeros((H, W), np.uint8) if ids is None else ids)
    return tfrecords.Pair(name, image, label)


def _write(tmp_path, *pairs, said=None, **options):
    """The examples that are made of these pairs."""
    options = {"num_workers": 1, "image_format": "auto", "say": (said if said is not None else []).append} | options
    tfrecords.write(tmp_path / "records", TABLE, {"train": list(pairs)}, **options)
    return {one.image_id: one for one in tfrecords.read(tmp_path / "records", "train")}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_every_orientation_is_applied_as_a_viewer_applies_it(suffix, orientation):
    data = _encoded(_smooth(), suffix, orientation)
    with Image.open(io.BytesIO(data)) as picture:
        shown = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    np.testing.assert_array_equal(pixels.decode(data, "x"), shown)
    header, found = pixels.look(data, "x")
    assert (header.height, header.width, found) == (H, W, orientation)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_turned_picture_is_stored_upright_and_counted(tmp_path, suffix):
    said, ids = [], np.zeros((W, H), np.uint8)
    pair = _pair(tmp_path, _encoded(_smooth(), suffix, 6), suffix, ids)
    one = _write(tmp_path, pair, said=said)["a"]
    assert (one.height, one.width, one.image_format) == (W, H, {"jpg": "jpeg"}.get(suffix, suffix))
    stored = images.decode_fully(one.image_encoded, "x").astype(int)
    expected = pixels.decode(open(pair.image_path, "rb").read(), "x").astype(int)
    assert abs(stored - expected).max() <= (0 if suffix == "png" else 8)
    assert pixels.look(one.image_encoded, "x")[1] == 1
    assert said[0].startswith("1 picture turned upright")


@pytest.mark.parametrize(("cells", "sampling", "most"), [((64, 96), "4:4:4", 0.2), ((8, 12), "4:2:0", 0.6)])
def test_a_turned_jpeg_keeps_size_and_nearly_the_pixels_of_its_file(cells, sampling, most):
    # 128x192 px are whole blocks, either way up. Of noise in colour at half the resolution, resampling alone loses.
    array = np.asarray(Image.fromarray(tiny_folders.image(0, *cells)).resize((192, 128)))
    data = _encoded(array, "jpg", 6, quality=60, subsampling=sampling)
    stored, *_ = pictures.stored(data, "x", pixels.look(data, "x"), "jpeg", 95, 0, False, False)
    assert abs(len(stored) - len(data)) < 0.05 * len(data)
    assert abs(images.decode_fully(stored, "x").astype(int) - pixels.decode(data, "x")).mean() < most


def test_a_label_of_the_stored_size_is_an_error_that_names_exif(tmp_path):
    pair = _pair(tmp_path, _encoded(_smooth(), "png", 6), "png")
    with pytest.raises(ValueError, match=r"a_ids.png is 24x40 but its image .*a.png is 40x24 .*EXIF orientation 6"):
        _write(tmp_path, pair)


@pytest.mark.parametrize(
    ("suffix", "mode", "words"),
    [
        ("tif", None, "transcoded from TIFF to PNG, without loss"),
        ("bmp", None, "transcoded from BMP to PNG, without loss"),
        ("webp", None, "transcoded from WebP to PNG, without loss"),
        ("jpg", "CMYK", "transcoded from CMYK JPEG to PNG, without loss"),
        ("tif", "CMYK", "transcoded from CMYK TIFF to PNG, without loss"),
        ("tif", "L", "transcoded from grey TIFF to PNG, without loss"),
    ],
)
def test_other_formats_become_png_without_loss_and_are_counted(tmp_path, suffix, mode, words):
    data, said = _encoded(_smooth(), suffix, mode=mode), []
    one = _write(tmp_path, _pair(tmp_path, data, suffix), said=said)["a"]
    with Image.open(io.BytesIO(data)) as picture:
        expected = np.asarray(picture.convert("RGB"))
    assert images.check(one.image_encoded, "x") == images.Header("png", H, W, 8, "RGB")
    np.testing.assert_array_equal(images.decode_fully(one.image_encoded, "x"), expected)
    assert said == [f"1 picture {words}"]


def test_png_and_jpeg_keep_their_bytes_and_one_format_wins_where_they_are_mixed(tmp_path):
    plain, jpeg, said = _encoded(_smooth()), _encoded(_smooth(), "jpg"), []
    found = _write(tmp_path, _pair(tmp_path, plain, "png"), _pair(tmp_path, jpeg, "JPG", name="b"), said=said)
    assert found["a"].image_encoded == plain
    np.testing.assert_array_equal(
        images.decode_fully(found["b"].image_encoded, "x"), np.asarray(Image.open(io.BytesIO(jpeg)))
    )
    assert said == ["1 picture transcoded from JPEG to PNG, without loss (--image_format=jpeg keeps their bytes)"]
    said.clear()
    found = _write(tmp_path, _pair(tmp_path, jpeg, "JPG", name="b"), said=said, overwrite=True)
    assert found["b"].image_encoded == jpeg and said == []


def test_sixteen_bits_are_seen_by_their_upper_byte(tmp_path):
    grey = np.linspace(0, 65535, H * W).reshape(H, W).astype(np.uint16)
    color = np.stack([grey, grey[::-1], grey[:, ::-1]], -1)
    for number, data in enumerate((_encoded(grey), _encoded(grey, "tif"), _deep_color(color))):
        expected = color if number == 2 else np.stack([grey] * 3, -1)
        said = []
        pair = _pair(tmp_path, data, "tif" if number == 1 else "png")
        one = _write(tmp_path, pair, said=said, overwrite=True)["a"]
        np.testing.assert_array_equal(images.decode_fully(one.image_encoded, "x"), expected >> 8)
        assert said[0].startswith("1 picture transcoded from 16-bit") and "upper 8 bits" in said[0]


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("kind", ["grey", "tif", "colour"])
def test_a_dark_16_bit_picture_is_refused_and_bits_read_it(tmp_path, bits, kind):
    grey = np.linspace(0, 2**bits - 1, H * W).reshape(H, W).astype(np.uint16)
    color = np.stack([grey, grey[::-1], grey[:, ::-1]], -1)
    data = _deep_color(color) if kind == "colour" else _encoded(grey, "tif" if kind == "tif" else "png")
    pair = _pair(tmp_path, data, "tif" if kind == "tif" else "png")
    with pytest.raises(ValueError, match=rf"a.(png|tif) has 16 bits but no pixel over .* --bits={bits}"):
        _write(tmp_path, pair)
    assert not (tmp_path / "records").exists()
    one = _write(tmp_path, pair, bits=bits)["a"]
    expected = color if kind == "colour" else np.stack([grey] * 3, -1)
    np.testing.assert_array_equal(images.decode_fully(one.image_encoded, "x"), expected >> (bits - 8))
    if bits == 12:
        with pytest.raises(ValueError, match="a pixel of 4095, which is more than --bits=10 can hold"):
            _write(tmp_path, pair, bits=10, overwrite=True)


def test_deep_tiff_in_colour_is_seen_by_its_upper_byte_or_refused(tmp_path):
    color = np.random.default_rng(0).integers(0, 65536, (H, W, 3), np.uint16)
    one = _write(tmp_path, _pair(tmp_path, _deep_tiff(color), "tif"))["a"]
    np.testing.assert_array_equal(images.decode_fully(one.image_encoded, "x"), color >> 8)
    pair = _pair(tmp_path, _deep_tiff(color >> 4), "tif")
    with pytest.raises(ValueError, match="has 16 bits but no pixel over 4095"):
        _write(tmp_path, pair, overwrite=True)
    with pytest.raises(ValueError, match="whose lower bits cannot be read; save it as PNG"):
        _write(tmp_path, pair, bits=12, overwrite=True)


def test_deep_grey_with_alpha_is_read_by_its_bits():
    grey = np.random.default_rng(0).integers(0, 4096, (5, 6), np.uint16)
    rows = np.stack([grey, grey * 0 + 65535], -1).astype(">u2").tobytes()
    packed = zlib.compress(b"".join(b"\0" + rows[i : i + 24] for i in range(0, len(rows), 24)))
    header = struct.pack(">IIBBBBB", 6, 5, 16, 4, 0, 0, 0)
    data = png.SIGNATURE + b"".join(png.chunk(*one) for one in ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")))
    np.testing.assert_array_equal(pixels.decode(data, "x", 12), np.stack([grey >> 4] * 3, -1))


def test_every_filter_of_deep_colour_is_undone():
    values = np.random.default_rng(0).integers(0, 65536, (13, 7, 3), np.uint16)
    np.testing.assert_array_equal(png16.decode(_deep_color(values), "x"), values)


def test_what_has_no_known_brightness_is_refused(tmp_path):
    for array, words in (
        (np.zeros((H, W), np.float32), "floating point pixels"),
        (np.full((H, W), 70000, np.int32), "has pixels from 70000 to 70000"),
    ):
        with pytest.raises(ValueError, match=words):
            _write(tmp_path, _pair(tmp_path, _encoded(array, "tif"), "tif"))
    eight = np.arange(H * W, dtype=np.int32).reshape(H, W) % 256  # 8 bits in a wide type
    one = _write(tmp_path, _pair(tmp_path, _encoded(eight, "tif"), "tif"))["a"]
    np.testing.assert_array_equal(images.decode_fully(one.image_encoded, "x")[..., 0], eight)


def test_a_finished_folder_of_turned_pictures_is_found_the_same_and_its_reading_is_part_of_that(tmp_path):
    grey = np.full((H, W), 700, np.uint16)
    pair = _pair(tmp_path, _encoded(grey), "png")
    _write(tmp_path, pair, bits=10)
    before = tiny_folders.contents(tmp_path / "records")
    _write(tmp_path, pair, bits=10)
    assert tiny_folders.contents(tmp_path / "records") == before
    with pytest.raises(ValueError, match="is not what converting gives"):
        _write(tmp_path, pair, bits=12)


def test_bytes_of_transcoded_pictures_depend_on_nothing_but_the_pictures(tmp_path):
    pairs = []
    for number in range(4):
        suffix = ("jpg", "tif", "png", "webp")[number]
        data = _encoded(tiny_folders.image(number, H, W), suffix, orientation=3)
        pairs.append(_pair(tmp_path, data, suffix, name=f"p{number}"))
    _write(tmp_path, *pairs, num_workers=1, num_shards=2)
    one = tiny_folders.contents(tmp_path / "records")
    _write(tmp_path, *reversed(pairs), num_workers=2, num_shards=2, overwrite=True)
    assert tiny_folders.contents(tmp_path / "records") == one


@pytest.mark.parametrize("tool", tiny_folders.CONVERTERS)
def test_every_converter_turns_refuses_and_counts(tmp_path, tool):
    flags, first, label = tiny_folders.for_converter(tmp_path / "in", tool)
    second = sorted(first.parent.iterdir())[1]
    array = tiny_folders.image(0)
    first.write_bytes(_encoded(array, orientation=3))
    second.write_bytes(_encoded(array[..., 0].astype(np.uint16) * 16))

    def run(*more):
        command = [sys.executable, "-m", "kseg", tool, "--num_workers=1", f"--records_dir={tmp_path / 'records'}"]
        return subprocess.run([*command, *flags, *more], capture_output=True, text=True)

    done = run()
    assert done.returncode == 1 and f"{second} has 16 bits but no pixel over" in done.stderr
    assert "--bits=12 reads it" in done.stderr and not (tmp_path / "records").exists()
    done = run("--bits=12")
    assert done.returncode == 0, done.stderr
    assert "1 picture turned upright by EXIF orientation" in done.stdout
    assert "1 picture transcoded from 16-bit PNG to PNG, upper 8 bits" in done.stdout
    stored = [images.decode_fully(one.image_encoded, "x") for one in tfrecords.read(tmp_path / "records", "train")]
    assert any((picture == array[::-1, ::-1]).all() for picture in stored)
    assert any((picture == array[..., :1]).all() for picture in stored)


@pytest.mark.parametrize("tool", ["convert_cityscapes", "convert_camvid"])
def test_upper_case_suffixes_are_paired_and_hidden_files_counted(tmp_path, tool):
    if tool == "convert_cityscapes":
        tiny_folders.cityscapes(tmp_path / "in", {"train": 3})
        image = sorted((tmp_path / "in/leftImg8bit/train/aachen").iterdir())[0]
        label = sorted((tmp_path / "in/gtFine/train/aachen").iterdir())[0]
    else:
        frames = [(f"a_{i:03d}", tiny_folders.label_map(i, range(12))) for i in range(3)]
        tiny_folders.camvid(tmp_path / "in", {"train": frames})
        image, label = tmp_path / "in/train/a_000.png", tmp_path / "in/trainannot/a_001.png"
    for path in (image, label):
        path.rename(path.with_suffix(".PNG"))
        (path.parent / f"._{path.name}").write_bytes(b"x")
        (path.parent / "Thumbs.db").write_bytes(b"x")
    folder = tool.removeprefix("convert_") + "_dir"
    done = subprocess.run(
        [sys.executable, "-m", "kseg", tool, f"--{folder}={tmp_path / 'in'}", f"--records_dir={tmp_path / 'records'}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "train, 3 examples" in done.stdout and "passed over: 4 hidden files" in done.stdout
