"""A picture of labels -> ids: grey of any depth, palette, colours; PNG, TIFF or BMP.

`Reader` goes with each pair into the worker that builds its shard. What a value means is the table's business.
"""

import dataclasses
import functools
import hashlib
import io

import numpy as np
from PIL import Image

from tfrecords import errors, images, png

_LOSSLESS = ("PNG", "TIFF", "BMP")
_BITS_PER_SAMPLE = 258  # TIFF's tag


@dataclasses.dataclass(frozen=True)
class Reader:
    """Ids of a mask's bytes.

    Attributes:
      lookup: 256 bytes, stored value -> id; b"" where values are ids.
      colors: (red, green, blue, id, name) of each colour.
      by_color: read palette pictures by their colours, too, and not by index.
    """

    lookup: bytes = b""
    colors: tuple[tuple[int, int, int, int, str], ...] = ()
    by_color: bool = False

    def digest(self) -> str:
        """Identifies what it does."""
        return hashlib.sha256(repr(self).encode()).hexdigest()

    def read(self, data: bytes, name: str) -> np.ndarray:
        """Ids, uint8 [H, W], of a mask's bytes; ValueError naming the file where it holds none."""
        return self.ids_of(decode(data, name, self.by_color), name)

    def ids_of(self, values: np.ndarray, name: str) -> np.ndarray:
        """As `read`, of what `decode` gives."""
        if values.ndim == 3:
            if self.colors:
                return self._of_colors(values, name)
            values = grey_of(values, name)
        if not self.lookup:
            return values
        return np.frombuffer(values.tobytes().translate(self.lookup), np.uint8).reshape(values.shape)

    def are_ids(self, values: np.ndarray) -> bool:
        """Whether what `decode` gives is no colours of this reader, but ids that are stored as three equal channels."""
        if values.ndim == 2 or not self.colors or not is_grey(values):
            return False
        found, known = np.unique(values[..., 0]).tolist(), {number for *_, number, _ in self.colors}
        return set(found) <= known and any(_color_lookup(self.colors)[value * 0x010101] < 0 for value in found)

    def _of_colors(self, values: np.ndarray, name: str) -> np.ndarray:
        codes = packed(values)
        ids = _color_lookup(self.colors)[codes]
        if ids.min() < 0:
            if self.are_ids(values):
                return np.ascontiguousarray(values[..., 0])
            code = int(codes[ids < 0][0])
            color, count = (code >> 16, code >> 8 & 255, code & 255), int((codes == code).sum())
            near = min(self.colors, key=lambda c: sum((a - b) ** 2 for a, b in zip(c, color)))
            raise ValueError(
                f"label {name} has {count} pixels of colour {color}, which is no class's; the nearest is {near[4]} "
                f"{near[:3]}. Add it to the table of classes, or save masks without smoothing"
            )
        return ids.astype(np.uint8)


def decode(data: bytes, name: str, by_color: bool = False) -> np.ndarray:
    """What a mask stores: uint8 [H, W], values or palette indices, or uint8 [H, W, 3], colours.

    Args:
      data: a file's bytes.
      name: what to call it in messages.
      by_color: give a palette picture's colours.

    Raises:
      ValueError: a JPEG (it does not keep values), damaged, or values above 255.
    """
    if data[:2] == b"\xff\xd8":
        raise ValueError(f"label {name} is a JPEG, which does not keep ids or colours; export the masks as PNG")
    if data[:8] == png.SIGNATURE:
        header = images.check(data, name)
        if (header.color == "palette" and not by_color) or (header.color == "grey" and header.bit_depth == 8):
            return images.decode_map(data, name, header)
        png.check_pixels(data, name)
        if header.bit_depth == 16 and header.color != "grey":
            raise ValueError(f"label {name} is {header.color} of 16 bits; expected ids, or colours of 8 bits")
        values = _unscaled(_array(data, name, by_color), header.bit_depth if header.color == "grey" else 8)
    else:
        values = _array(data, name, by_color)
    if values.ndim == 2 and values.dtype != np.uint8:
        over = values[(values < 0) | (values > 255)]
        if over.size:
            raise ValueError(f"label {name} has {over.size} pixels of value {over[0]}; expected ids from 0 to 255")
        values = values.astype(np.uint8)
    return values


def palette_of(data: bytes, name: str) -> dict[int, tuple[int, int, int]]:
    """The colour of each number that occurs in a PNG with a palette; {} of another file."""
    if data[:8] != png.SIGNATURE or images.check(data, name).color != "palette":
        return {}
    numbers, colors = images.decode_map(data, name), decode(data, name, by_color=True)
    found, first = np.unique(numbers, return_index=True)
    return {int(n): tuple(colors.reshape(-1, 3)[place].tolist()) for n, place in zip(found, first)}


def grey_of(values: np.ndarray, name: str) -> np.ndarray:
    """The one channel of a colour picture whose three are equal; ValueError where they are not."""
    if not is_grey(values):
        raise ValueError(
            f"label {name} is in colour, and the classes have no colours; give them with --classes (id, name, color)"
        )
    return np.ascontiguousarray(values[..., 0])


def is_grey(values: np.ndarray) -> bool:
    """Whether the three channels of colours uint8 [H, W, 3] are equal everywhere."""
    return bool((values == values[..., :1]).all())


def packed(values: np.ndarray) -> np.ndarray:
    """Colours uint8 [H, W, 3] as int32 [H, W], red << 16 | green << 8 | blue."""
    wide = values.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _array(data: bytes, name: str, by_color: bool) -> np.ndarray:
    try:
        picture = Image.open(io.BytesIO(data), formats=_LOSSLESS)
        if getattr(picture, "n_frames", 1) != 1:
            raise ValueError(f"{picture.n_frames} pictures in one file")
        if picture.width * picture.height > images.MAX_PIXELS:
            raise ValueError(f"it is {picture.height}x{picture.width}")
        picture.load()
        depths = picture.tag_v2.get(_BITS_PER_SAMPLE, (1,)) if picture.format == "TIFF" else (8,)
        if len(depths) > 1 and max(depths) > 8:  # of which Pillow gives the upper bytes
            raise ValueError(f"it is a TIFF of {len(depths)} channels of {max(depths)} bits; expected ids, or 8 bits")
        if picture.mode == "P":
            picture = picture.convert("RGB") if by_color else picture
        elif picture.mode in ("RGBA", "RGBX"):
            picture = picture.convert("RGB")
        elif picture.mode in ("LA", "PA"):
            picture = picture.getchannel(0)
        elif picture.mode not in ("1", "L", "RGB", "I", "I;16", "I;16B"):
            raise ValueError(f"its pixels are of mode {picture.mode}")
        values = np.array(picture, np.uint8) if picture.mode == "1" else np.asarray(picture)
        return _unscaled(values, depths[0]) if picture.format == "TIFF" and picture.mode == "L" else values
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"label {name} cannot be read as ids (PNG, TIFF or BMP): {errors.one_line(error)}") from error


def _unscaled(values: np.ndarray, bit_depth: int) -> np.ndarray:
    """Grey of 2 or 4 bits comes out of the decoder stretched to 0..255."""
    if bit_depth in (2, 4) and values.dtype == np.uint8:
        return values // (255 // (2**bit_depth - 1))
    return values


@functools.lru_cache(maxsize=1)
def _color_lookup(colors) -> np.ndarray:
    """int16 [2^24], the id of each colour, -1 where it has none."""
    lookup = np.full(2**24, -1, np.int16)
    for red, green, blue, number, _ in reversed(colors):  # of two with one colour, the first
        lookup[red << 16 | green << 8 | blue] = number
    return lookup
