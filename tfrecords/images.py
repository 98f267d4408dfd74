"""PNG and JPEG bytes: checks that cost little, sizes from headers, and label maps to and from PNG.

Answers: are these bytes a whole picture, how large is it, which ids does this label map hold. A check reads every
byte once (a checksum per PNG chunk) but decodes nothing; `decode_fully` does. What is in a PNG, png.py knows. Does not
know data sets or labels.
"""

import io
import os
import re
import stat
import struct
import zlib

import numpy as np
from PIL import Image

from tfrecords import errors, png, strips
from tfrecords.png import Header

# A header may promise any size; what it promises would be allocated. 2^26 px is 8192 x 8192.
MAX_PIXELS = 2**26
MAX_FILE_BYTES = 2**29  # more than any picture of that many pixels has

# A marker inside JPEG's entropy-coded data: 0xFF followed by neither a stuffed 0, a restart marker nor another 0xFF.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_JPEG_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive: what decoders in the field read


def read_file(path: str) -> bytes:
    """The bytes of a picture's file.

    Raises:
      OSError: it cannot be read.
      ValueError: it is no plain file (a pipe would wait for ever) or larger than `MAX_FILE_BYTES`.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is not a plain file; expected a picture")
    if status.st_size > MAX_FILE_BYTES:
        raise ValueError(f"{path} has {status.st_size} bytes; expected a picture of at most {MAX_FILE_BYTES}")
    with open(path, "rb") as file:
        return file.read()


def check(data: bytes, name: str, cmyk: bool = False) -> Header:
    """Checks that `data` is one whole PNG or JPEG, without decoding pixels.

    PNG: as png.check. JPEG: every marker from start to end of image, size, EOI as the last bytes.

    Args:
      data: the file's bytes.
      name: what to call it in messages, such as its path.
      cmyk: take a JPEG of four channels, which records cannot hold as it is.

    Raises:
      ValueError: neither format, truncated, damaged, followed by other bytes, or more than `MAX_PIXELS` pixels.
    """
    if data[:8] == png.SIGNATURE:
        header = png.check(data, name)
    elif data[:2] == b"\xff\xd8":
        header = _check_jpeg(data, name)
        if header.color == "CMYK" and not cmyk:
            raise ValueError(f"{name} is 4 channels, 8 bits; expected 8-bit grey or colour")
    elif not data:
        raise ValueError(f"{name} is empty; expected a PNG or JPEG")
    else:
        raise ValueError(f"{name} is neither PNG nor JPEG: it begins with {data[:8].hex(' ')}")
    check_size(header.height, header.width, name)
    return header


def check_size(height: int, width: int, name: str) -> None:
    """ValueError where a picture of this size has no pixel, or more than `MAX_PIXELS`."""
    if not 0 < height * width <= MAX_PIXELS:
        raise ValueError(f"{name} says it is {height}x{width}; expected 1 to {MAX_PIXELS} pixels in all")


def decode_fully(data: bytes, name: str) -> np.ndarray:
    """Decodes every pixel: uint8 [H, W, 3]. Raises ValueError where that fails.

    In a PNG, missing rows are found. In a JPEG they are not: its decoder makes up what a scan that ends early lacks.
    """
    if check(data, name).format == "png":
        png.check_pixels(data, name)
    return np.asarray(_decode(data, name, ("PNG", "JPEG"), "RGB"))


def decode_map(data: bytes, name: str, header: Header | None = None) -> np.ndarray:
    """A label map's values.

    Args:
      data: PNG of 8-bit grey, or with a palette (whose indices are the values).
      name: what to call it in messages.
      header: what `check` has said of it, where it has been asked.

    Returns:
      uint8 [H, W].

    Raises:
      ValueError: not a whole PNG, one that lacks rows, or one whose values are not bytes (colour picture, 16-bit,
        1-bit grey).
    """
    header = header or check(data, name)
    if header.format != "png":
        raise ValueError(f"{name} is a {header.format}; label maps must be PNG, which loses nothing")
    if not (header.color == "palette" or (header.color == "grey" and header.bit_depth == 8)):
        raise ValueError(
            f"{name} is {header.color} with {header.bit_depth} bits; expected a label map of one 8-bit channel "
            "(ids, not colours)"
        )
    values = np.asarray(_decode(data, name, ("PNG",)))
    # Rows that are missing come out as 0, from the last one up; unpacking once more costs as much as decoding does.
    if png.is_interlaced(data) or not values[-1].any():
        png.check_pixels(data, name)
    return values


def encode_map(label_map: np.ndarray) -> bytes:
    """A label map as PNG: 8-bit grey, each row stored as its difference to the row above, run-length coded.

    Label maps are flat areas, so the differences are nearly all zero. For 1024x2048 px zlib's run-length strategy takes
    4.5 ms where Pillow takes 12 (level 1) to 18 ms (level 6), and fewer bytes than either
    (tools/benchmarks/convert.py). The strategy also searches no history, so its output depends on the pixels alone.
    Large maps are stored in strips instead, of which training unpacks those that its crop needs (strips.py): 3.6 ms and
    as many bytes as Pillow's level 6.

    Args:
      label_map: uint8 [H, W].
    """
    height, width = label_map.shape
    if label_map.size >= strips.MIN_PIXELS:
        return strips.encode(label_map)
    rows = np.empty((height, width + 1), np.uint8)
    rows[:, 0] = 2  # filter type "Up"
    rows[0, 1:] = label_map[0]
    np.subtract(label_map[1:], label_map[:-1], out=rows[1:, 1:])
    compressor = zlib.compressobj(6, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    pixels = compressor.compress(rows) + compressor.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, png.GRAY, 0, 0, 0)
    return png.SIGNATURE + png.chunk(b"IHDR", header) + png.chunk(b"IDAT", pixels) + png.chunk(b"IEND", b"")


def is_plain_map(data: bytes) -> bool:
    """Whether a PNG is stored as label maps are: 8-bit grey, rows from top to bottom."""
    return data[24:29] == struct.pack(">BBBBB", 8, png.GRAY, 0, 0, 0)


def histogram(label_map: np.ndarray) -> np.ndarray:
    """Pixels of each value: int64 [256] from uint8 [H, W]. (np.bincount would first make int64 of every pixel.)"""
    return np.array(Image.fromarray(label_map).histogram(), np.int64)


def encode_png(image: np.ndarray) -> bytes:
    """An image uint8 [H, W, 3] as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(
        buffer, "PNG", compress_level=3
    )  # of a photo, level 6 saves 3 % and takes twice as long
    return buffer.getvalue()


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """An image uint8 [H, W, 3] as baseline JPEG with 4:2:0 chroma (what cameras write and decoders are fastest at)."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()


def _decode(data: bytes, name: str, formats, mode: str | None = None) -> Image.Image:
    """The picture, in this mode where one is given; ValueError where Pillow fails, in whichever of its many ways."""
    try:
        picture = Image.open(io.BytesIO(data), formats=formats)
        picture.load()
        if mode and picture.mode.startswith("I"):  # 16 bits, which Pillow would clip; TensorFlow takes the upper byte
            picture = Image.fromarray((np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8))
        return picture.convert(mode) if mode else picture
    except MemoryError:  # says nothing about the picture
        raise
    except Exception as error:
        raise ValueError(f"{name} cannot be decoded: {errors.one_line(error)}") from error


def _check_jpeg(data: bytes, name: str) -> Header:
    header, scanned, position = None, False, 2
    while True:
        if data[position : position + 1] != b"\xff" or position + 2 > len(data):
            raise ValueError(f"{name} is truncated or damaged: no JPEG marker at byte {position}; copy it again")
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == 0xD9:
            position += 2
            break
        if position + 4 > len(data):
            raise ValueError(f"{name} is truncated: {len(data)} bytes end before the JPEG's end; copy it again")
        length = struct.unpack_from(">H", data, position + 2)[0]
        end = position + 2 + length
        if length < 2 or end > len(data):
            raise ValueError(
                f"{name} is truncated or damaged: segment ff{marker:02x} at byte {position}; copy it again"
            )
        if marker in _JPEG_FRAMES:
            if header is not None or length < 8:
                raise ValueError(f"{name} is not a valid JPEG: it must have one frame header")
            depth, height, width, channels = struct.unpack_from(">BHHB", data, position + 4)
            color = {1: "grey", 3: "RGB", 4: "CMYK"}.get(channels, f"{channels} channels")
            header = Header("jpeg", height, width, depth, color)
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            raise ValueError(f"{name} is a JPEG of a kind (SOF{marker - 0xC0}) that TensorFlow does not decode")
        position = end
        if marker == 0xDA:
            scanned = True
            match = _JPEG_MARKER.search(data, position)
            if match is None:
                raise ValueError(f"{name} is truncated: its JPEG data has no end marker; copy it again")
            position = match.start()
    if header is None or not scanned:
        raise ValueError(f"{name} is not a valid JPEG: frame header or pixel data is missing")
    if position != len(data):
        raise ValueError(
            f"{name} has {len(data) - position} bytes after the JPEG's end, as phones append a film or more pictures; "
            "open it and save it again as JPEG or PNG"
        )
    if header.bit_depth != 8 or header.color not in ("grey", "RGB", "CMYK"):
        raise ValueError(f"{name} is {header.color}, {header.bit_depth} bits; expected 8-bit grey or colour")
    return header
