"""Integrity checks of PNG and JPEG bytes, and label maps to PNG and back."""

import io
import struct
import zlib

import numpy as np
import pytest
import tiny_folders
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from tfrecords import images, png


def _encode(array, format="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format, **options)
    return buffer.getvalue()


PNG = _encode(tiny_folders.image(0, 9, 7))
JPEG = _encode(tiny_folders.image(0, 9, 7), "JPEG")
PROGRESSIVE = _encode(tiny_folders.image(0, 40, 50), "JPEG", progressive=True, restart_marker_blocks=2)


def _png_of(width, height, depth=8, color=2) -> bytes:
    """A PNG whose header and checksums are right and whose pixels are not there."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(p)) + k + p + struct.pack(">I", zlib.crc32(k + p)) for k, p in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    "data, expected",
    [
        (PNG, images.Header("png", 9, 7, 8, "RGB")),
        (JPEG, images.Header("jpeg", 9, 7, 8, "RGB")),
        (PROGRESSIVE, images.Header("jpeg", 40, 50, 8, "RGB")),
        (_encode(np.zeros((3, 4), np.uint8)), images.Header("png", 3, 4, 8, "grey")),
        (_encode(np.zeros((3, 4), np.uint8), "JPEG"), images.Header("jpeg", 3, 4, 8, "grey")),
        (_encode(np.zeros((3, 4), np.uint16)), images.Header("png", 3, 4, 16, "grey")),
        (_encode(np.zeros((3, 4, 4), np.uint8)), images.Header("png", 3, 4, 8, "RGB with alpha")),
    ],
)
def test_a_whole_picture_passes_and_its_header_is_read(data, expected):
    assert images.check(data, "x") == expected


@pytest.mark.parametrize("data", [PNG, JPEG, PROGRESSIVE])
def test_every_truncation_is_found(data):
    for length in range(len(data)):
        with pytest.raises(ValueError, match="my file"):
            images.check(data[:length], "my file")


def test_every_flipped_bit_of_a_png_is_found():
    for position in range(len(PNG)):
        for bit in range(8):
            damaged = bytearray(PNG)
            damaged[position] ^= 1 << bit
            with pytest.raises(ValueError):
                images.check(bytes(damaged), "x")


@pytest.mark.parametrize("data", [PNG, JPEG])
def test_bytes_after_the_end_are_refused(data):
    with pytest.raises(ValueError, match="3 bytes after"):
        images.check(data + b"abc", "x")


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "is empty"),
        (b"GIF89a...........", "neither PNG nor JPEG"),
        (_png_of(60000, 60000), "60000x60000"),
        (_png_of(0, 5), "5x0"),
        (_png_of(5, 5, depth=3), "bit depth 3"),
        (PNG[:8] + PNG[33:], "header chunk, as its first"),
        (PNG[:33] + PNG[8:33] + PNG[33:], "header chunk, as its first"),
        (PNG[:33] + PNG[-12:], "no pixel data"),
        (b"\xff\xd8\xff\xd9", "frame header or pixel data"),
        (JPEG[:2] + JPEG[2:].replace(b"\xff\xc0", b"\xff\xc3", 1), "SOF3"),
        (_encode(np.zeros((3, 4, 4), np.uint8)[..., :4], "PNG")[:20] + b"\xff" * 40, "truncated or damaged|wrong CRC"),
    ],
)
def test_what_is_not_a_usable_picture_is_refused_in_one_line(data, words):
    with pytest.raises(ValueError, match=words) as caught:
        images.check(data, "x")
    assert "\n" not in str(caught.value)


def test_a_four_channel_jpeg_is_refused():
    buffer = io.BytesIO()
    Image.new("CMYK", (4, 4)).save(buffer, "JPEG")
    with pytest.raises(ValueError, match="4 channels"):
        images.check(buffer.getvalue(), "x")


def _grey_png(rows: bytes, width=5, height=4, depth=8, color=0, interlace=0, pieces=1) -> bytes:
    """A PNG of these bytes of unpacked rows, its pixel data in so many chunks."""
    packed = zlib.compress(rows)
    cuts = [len(packed) * i // pieces for i in range(pieces + 1)]
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace))]
    chunks += [(b"PLTE", bytes(3 * 2**depth))] if color == 3 else []
    chunks += [(b"IDAT", packed[a:b]) for a, b in zip(cuts, cuts[1:])]
    return png.SIGNATURE + b"".join(png.chunk(kind, payload) for kind, payload in [*chunks, (b"IEND", b"")])


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("missing", [1, 6, 12, 24])
def test_rows_that_the_pixel_data_lack_are_found_though_their_stream_ends_in_good_order(missing, pieces):
    rows = (b"\0" + b"\7" * 5) * 4  # 24 bytes: a filter byte and five pixels, four times
    assert (images.decode_map(_grey_png(rows, pieces=pieces), "x") == 7).all()
    short = _grey_png(rows[: len(rows) - missing], pieces=pieces)
    images.check(short, "x")
    for decode in (images.decode_map, images.decode_fully):
        with pytest.raises(
            ValueError,
            match=f"x cannot be decoded: (its pixel data end after {24 - missing} of 24|image file is truncated)",
        ):
            decode(short, "x")


def test_more_pixel_data_than_rows_and_data_without_an_end_are_found():
    rows = (b"\0" + b"\7" * 5) * 4
    with pytest.raises(ValueError, match="more than the 24 bytes"):
        png.check_pixels(_grey_png(rows + b"\0"), "x")
    whole = zlib.compress(rows)
    endless = _grey_png(rows).replace(png.chunk(b"IDAT", whole), png.chunk(b"IDAT", whole[:-4]))
    with pytest.raises(ValueError, match="24 of 24 bytes, without an end marker"):
        png.check_pixels(endless, "x")


# Adam7 on 5x4 pixels: passes of 1x1, 1x1, none (row 4 is outside), 1x1, 3x1, 2x2 and 5x2 pixels.
@pytest.mark.parametrize(
    "depth, color, interlace, count",
    [
        (8, 0, 1, 2 + 2 + 2 + 4 + 2 * 3 + 2 * 6),
        (1, 0, 1, 2 + 2 + 2 + 2 + 2 * 2 + 2 * 2),
        (16, 2, 1, 7 + 7 + 7 + 19 + 2 * 13 + 2 * 31),
        (1, 0, 0, 4 * 2),
        (4, 3, 0, 4 * 4),
        (16, 0, 0, 4 * 11),
        (8, 2, 0, 4 * 16),
        (8, 4, 0, 4 * 11),
        (8, 6, 0, 4 * 21),
    ],
)
def test_the_bytes_of_all_rows_follow_from_depth_channels_and_interlacing(depth, color, interlace, count):
    options = {"depth": depth, "color": color, "interlace": interlace}
    assert images.decode_fully(_grey_png(bytes(count), **options), "x").shape == (4, 5, 3)
    with pytest.raises(ValueError, match=f"end after {count - 1} of {count} bytes"):
        images.decode_fully(_grey_png(bytes(count - 1), **options), "x")


@settings(deadline=None)
@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)), st.sampled_from("1 L P RGB".split())
)
def test_what_pillow_writes_has_all_its_rows(array, mode):
    buffer = io.BytesIO()
    Image.fromarray(array).convert(mode).save(buffer, "PNG")
    png.check_pixels(buffer.getvalue(), "x")


def test_a_large_map_in_many_chunks_has_all_its_rows():
    label_map = np.random.default_rng(0).integers(0, 34, (700, 900), np.uint8)
    data = _encode(label_map)
    assert data.count(b"IDAT") > 3
    assert (images.decode_map(data, "x") == label_map).all()
    flat = images.encode_map(np.zeros((2000, 3000), np.uint8))  # a few KB that become 6 MB
    assert not images.decode_map(flat, "x").any()


def test_pixel_data_in_two_places_and_animations_are_refused():
    data = _grey_png((b"\0" + b"\7" * 5) * 4, pieces=2)
    second = data.rindex(b"IDAT") - 4
    with pytest.raises(ValueError, match="chunk b'tEXt' lies between its pixel data"):
        images.check(data[:second] + png.chunk(b"tEXt", b"a\0b") + data[second:], "x")
    frame = struct.pack(">IIIIIHHBB", 0, 5, 2, 0, 2, 1, 1, 0, 0)  # the pixel data are those of the lower rows alone
    for kind, payload in ((b"acTL", struct.pack(">II", 1, 0)), (b"fcTL", frame)):
        with pytest.raises(ValueError, match="animated"):
            images.check(data[:33] + png.chunk(kind, payload) + data[33:], "x")


@pytest.mark.parametrize("kind, payload", [(b"iCCP", b""), (b"tRNS", b"\0"), (b"pHYs", b"")])
def test_chunks_that_the_decoder_trips_over_end_in_a_line(kind, payload):
    with pytest.raises(ValueError, match="x cannot be decoded: .") as caught:
        images.decode_fully(PNG[:-12] + png.chunk(kind, payload) + PNG[-12:], "x")
    assert "\n" not in str(caught.value)


def test_a_lack_of_memory_is_not_blamed_on_the_picture(monkeypatch):
    def no_memory(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(Image, "open", no_memory)
    with pytest.raises(MemoryError):
        images.decode_fully(PNG, "x")


def test_sixteen_bit_grey_is_decoded_to_its_upper_byte():
    wide = np.array([[0, 255, 256], [40000, 65535, 511]], np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(wide).save(buffer, "PNG")
    np.testing.assert_array_equal(images.decode_fully(buffer.getvalue(), "x"), np.stack([wide >> 8] * 3, -1))


def test_pixels_that_cannot_be_decoded_are_found_by_full_decoding_alone():
    data = _png_of(5, 5)
    images.check(data, "x")
    with pytest.raises(ValueError, match="x cannot be decoded"):
        images.decode_fully(data, "x")
    assert (images.decode_fully(PNG, "x") == tiny_folders.image(0, 9, 7)).all()


@settings(deadline=None)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_a_label_map_survives_png_and_pillow_reads_it_alike(label_map):
    data = images.encode_map(label_map)
    assert (images.decode_map(data, "x") == label_map).all()
    assert (np.asarray(Image.open(io.BytesIO(data))) == label_map).all()
    assert images.check(data, "x") == images.Header("png", *label_map.shape, 8, "grey")


def test_tensorflow_reads_an_encoded_label_map_alike():
    import tensorflow as tf

    label_map = tiny_folders.label_map(3, height=33, width=65)
    decoded = tf.io.decode_png(images.encode_map(label_map), channels=1)
    assert (decoded[..., 0].numpy() == label_map).all()


def test_tensorflow_checks_the_crc_of_every_chunk_that_matters():
    """What training relies on where it passes over the record's own CRC (FORMAT.md)."""
    import tensorflow as tf

    data = _encode(tiny_folders.image(0, 200, 300))
    assert data.count(b"IDAT") > 1
    position = 8
    while position < len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        damaged = data[: end - 1] + bytes([data[end - 1] ^ 1]) + data[end:]
        with pytest.raises(tf.errors.InvalidArgumentError):
            tf.io.decode_png(damaged, channels=3)
        position = end


def test_a_palette_is_read_as_indices_not_as_colours():
    label_map = tiny_folders.label_map(4, ids=range(8))
    picture = Image.fromarray(label_map, "P")
    picture.putpalette([v for i in range(8) for v in (255 - i, i, 7)])
    for bits in (4, 8):
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", bits=bits)
        assert (images.decode_map(buffer.getvalue(), "x") == label_map).all()


@pytest.mark.parametrize(
    "data, words",
    [
        (PNG, "ids, not colours"),
        (JPEG, "label maps must be PNG"),
        (_encode(np.zeros((3, 4), np.uint16)), "16 bits"),
        (_encode(np.zeros((3, 4), bool)), "1 bits"),
        (_encode(np.zeros((3, 4, 4), np.uint8)), "RGB with alpha"),
        (_png_of(5, 5, color=0), "cannot be decoded"),
    ],
)
def test_what_is_not_a_label_map_is_refused(data, words):
    with pytest.raises(ValueError, match=words):
        images.decode_map(data, "x")
