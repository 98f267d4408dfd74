"""PNG of 16-bit colour or with alpha -> its 16 bits. Pillow gives the upper bytes of such pictures alone.

Rows are stored as differences to their neighbours (filters). A pixel needs those to its left, above, and above left, so
that all pixels of one anti-diagonal are undone at once.
"""

import struct
import zlib

import numpy as np

from tfrecords import png

_CHANNELS = {2: 3, 4: 2, 6: 4}  # colour types RGB, grey with alpha, RGB with alpha


def decode(data: bytes, name: str) -> np.ndarray:
    """uint16 [H, W, channels] of a whole PNG of 16 bits, in colour or with alpha.

    Args:
      data: a PNG that png.check and png.check_pixels have passed.
      name: what to call it in messages.

    Raises:
      ValueError: of another kind, interlaced, or with a filter that does not exist.
    """
    width, height, depth, color, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    if depth != 16 or color not in _CHANNELS or interlaced:
        raise ValueError(f"{name} is interlaced, or no PNG of 16-bit colour; save it without interlacing")
    step = 2 * _CHANNELS[color]
    packed = np.frombuffer(zlib.decompress(b"".join(png.pixel_pieces(data))), np.uint8)
    rows = packed.reshape(height, 1 + width * step)
    filters = rows[:, 0]
    if filters.max(initial=0) > 4:
        raise ValueError(f"{name} cannot be decoded: filter {filters.max()}")
    # With a row above and a column to the left of zeros, as the standard has it.
    values = np.zeros((height + 1, width + 1, step), np.int16)
    values[1:, 1:] = rows[:, 1:].reshape(height, width, step)
    for diagonal in range(height + width - 1):
        row = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        column = diagonal - row
        left, up, corner = values[row + 1, column], values[row, column + 1], values[row, column]
        kind = filters[row][:, None]
        predicted = np.select(
            [kind == 1, kind == 2, kind == 3, kind == 4], [left, up, (left + up) // 2, _paeth(left, up, corner)], 0
        )
        values[row + 1, column + 1] = (values[row + 1, column + 1] + predicted) & 255
    bytes_ = np.ascontiguousarray(values[1:, 1:]).astype(np.uint8)
    return bytes_.view(">u2").astype(np.uint16)


def _paeth(left, up, corner):
    """The neighbour that is nearest to left + up - corner; of equals the first."""
    from_left, from_up = np.abs(up - corner), np.abs(left - corner)
    from_corner = np.abs(left + up - 2 * corner)
    nearest_two = np.where(from_up <= from_corner, up, corner)
    return np.where((from_left <= from_up) & (from_left <= from_corner), left, nearest_two)
