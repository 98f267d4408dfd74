"""Large label maps as PNG whose rows can be unpacked in parts: strips of rows that do not depend on each other.

To any reader they are plain PNG of 8-bit grey. A private chunk says where each strip's compressed data begin, so that a
crop need not unpack the rows above and below it (kseg/data/decoding.py). FORMAT.md has the layout.
"""

import struct
import zlib

import numpy as np

from tfrecords import png

ROWS = 32  # of a strip: a crop unpacks half a strip too much on either side; a strip costs 10 bytes
MIN_PIXELS = 2**18  # 512 x 512; of smaller maps a part saves little, and their bytes stay as they were
KIND = b"roWS"  # ancillary, private, and no longer true once pixel data are written anew
PLACE = 33  # of the chunk in the file: behind signature and header
_HEADER = 2  # bytes of a zlib stream before its first block


def encode(label_map: np.ndarray, rows: int = ROWS) -> bytes:
    """A label map as PNG in strips of so many rows; the last may be lower.

    No filter, run-length coded as images.encode_map does: the output depends on the pixels alone.

    Args:
      label_map: uint8 [H, W].
    """
    height, width = label_map.shape
    filtered = np.zeros((height, width + 1), np.uint8)  # filter type "None" before each row
    filtered[:, 1:] = label_map
    compressor = zlib.compressobj(6, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    parts, ends = [], [0]
    for top in range(0, height, rows):
        # A full flush ends on a whole byte, and what follows refers to nothing before it.
        parts.append(compressor.compress(filtered[top : top + rows]) + compressor.flush(zlib.Z_FULL_FLUSH))
        ends.append(ends[-1] + len(parts[-1]))
    begin = PLACE + 12 + 4 * (1 + len(ends)) + 8  # behind this chunk, and the pixel data's length and kind
    offsets = [begin + end for end in ends]
    offsets[0] += _HEADER
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, png.GRAY, 0, 0, 0)),
        (KIND, struct.pack(f">{1 + len(offsets)}I", rows, *offsets)),
        (b"IDAT", b"".join(parts) + compressor.flush()),
        (b"IEND", b""),
    )
    return png.SIGNATURE + b"".join(png.chunk(kind, payload) for kind, payload in chunks)
