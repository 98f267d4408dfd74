"""PNG bytes: their chunks, the header in them, and whether every row of pixels is there.

`check` reads every byte once (a checksum per chunk) and unpacks nothing; `check_pixels` unpacks the pixel data, and
keeps none. Neither judges how large a picture may be (images.py), nor what it shows.
"""

import dataclasses
import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY = 0

# Bit depths that the PNG standard allows for each colour type, the type's name, and its channels.
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_COLORS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
# Interlacing (Adam7): the column and row at which each pass begins, and its steps.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_PIECE_IN, _PIECE_OUT = 2**16, 2**18  # bytes that are unpacked at a time, and the most that they may become


@dataclasses.dataclass(frozen=True)
class Header:
    """What an image's header says: format "png" or "jpeg", size in px, channels, bits per channel, "grey"/"RGB"/..."""

    format: str
    height: int
    width: int
    bit_depth: int
    color: str


def check(data: bytes, name: str) -> Header:
    """Checks the chunks of a PNG: size, order and CRC of each, the pixel data in a row, IEND as the last bytes.

    Args:
      data: begins with `SIGNATURE`.
      name: what to call it in messages.

    Raises:
      ValueError: truncated, damaged, followed by other bytes, not a valid PNG, or an animation.
    """
    view = memoryview(data)
    header, previous, seen_pixels, position = None, b"", False, 8
    while True:
        if position + 12 > len(data):
            raise ValueError(f"{name} is truncated: {len(data)} bytes end before the PNG's end marker; copy it again")
        length, kind = struct.unpack_from(">I4s", view, position)
        end = position + 12 + length
        if end > len(data):
            raise ValueError(
                f"{name} is truncated or damaged: chunk {kind!r} at byte {position} needs {length} bytes, "
                f"{len(data) - position - 12} are left; copy it again"
            )
        # The checksum covers kind and payload, which lie side by side.
        if zlib.crc32(view[position + 4 : end - 4]) != struct.unpack_from(">I", view, end - 4)[0]:
            raise ValueError(f"{name} is damaged: chunk {kind!r} at byte {position} has a wrong CRC; copy it again")
        if (header is None) != (kind == b"IHDR"):
            raise ValueError(f"{name} is not a valid PNG: it must have one header chunk, as its first")
        if kind == b"IHDR":
            header = _header(view[position + 8 : end - 4], name)
        if kind == b"IDAT" and seen_pixels and previous != b"IDAT":
            # Some decoders stop at the gap, others read on.
            raise ValueError(f"{name} is not a valid PNG: chunk {previous!r} lies between its pixel data")
        if kind in _ANIMATION:  # where a frame lies is the animation's choice: decoders differ on what the picture is
            raise ValueError(f"{name} is an animated PNG; expected one picture")
        seen_pixels |= kind == b"IDAT"
        position, previous = end, kind
        if kind == b"IEND":
            break
    if not seen_pixels:
        raise ValueError(f"{name} is not a valid PNG: it has no pixel data")
    if position != len(data):
        raise ValueError(f"{name} has {len(data) - position} bytes after the PNG's end; copy it again")
    return header


def is_interlaced(data: bytes) -> bool:
    """Whether a PNG's rows are stored in Adam7's seven passes."""
    return bool(data[28])


def check_pixels(data: bytes, name: str) -> None:
    """Checks that the pixel data unpack to exactly the rows that the header promises.

    Decoders do not: rows that are missing where the compressed stream ends in good order, they leave at zero.

    Args:
      data: a PNG that `check` has passed.
      name: what to call it in messages.

    Raises:
      ValueError: the compressed data are damaged, have no end, or hold fewer or more bytes than the rows need.
    """
    expected, found = _packed_bytes(data), 0
    unpack = zlib.decompressobj()
    try:
        for piece in pixel_pieces(data):
            while not unpack.eof and found <= expected:
                size = len(unpack.decompress(piece, _PIECE_OUT))
                found, piece = found + size, unpack.unconsumed_tail
                if not piece and size < _PIECE_OUT:  # a full piece may have left some within the decompressor
                    break
    except zlib.error as error:
        raise ValueError(f"{name} cannot be decoded: {error}") from error
    if found > expected:
        raise ValueError(f"{name} cannot be decoded: its pixel data are more than the {expected} bytes of its rows")
    if found < expected or not unpack.eof:
        raise ValueError(
            f"{name} cannot be decoded: its pixel data end after {found} of {expected} bytes"
            + (", without an end marker" if not unpack.eof else "")
            + "; copy it again, or make it again"
        )


def chunk(kind: bytes, payload: bytes) -> bytes:
    """A chunk's bytes: length, kind, payload, CRC."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def _header(payload, name: str) -> Header:
    if len(payload) != 13:
        raise ValueError(f"{name} is not a valid PNG: its header has {len(payload)} bytes instead of 13")
    width, height, depth, color, compression, filtering, interlace = struct.unpack(">IIBBBBB", payload)
    if depth not in _DEPTHS.get(color, ()) or compression or filtering or interlace > 1:
        raise ValueError(
            f"{name} is not a valid PNG: colour type {color}, bit depth {depth}, compression {compression}, "
            f"filter {filtering}, interlace {interlace}"
        )
    return Header("png", height, width, depth, _COLORS[color])


def _packed_bytes(data: bytes) -> int:
    """Bytes of all rows before compression: a filter byte each, and pixels packed into whole bytes."""
    width, height, depth, color, _, _, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    total = 0
    for column, row, column_step, row_step in _PASSES if interlace else ((0, 0, 1, 1),):
        columns, rows = -((column - width) // column_step), -((row - height) // row_step)
        if columns > 0 and rows > 0:  # a pass without pixels has no filter bytes either
            total += rows * (1 + (columns * depth * _CHANNELS[color] + 7) // 8)
    return total


def pixel_pieces(data: bytes):
    """Yields the pixel data of all chunks of a PNG that `check` has passed, in pieces, as memoryviews."""
    view, position = memoryview(data), 8
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", view, position)
        start, position = position + 8, position + 12 + length
        if kind == b"IDAT":
            for place in range(start, start + length, _PIECE_IN):
                yield view[place : min(place + _PIECE_IN, start + length)]
