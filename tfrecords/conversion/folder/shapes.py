"""Polygons and run lengths -> ids.

`Reader` paints what annotations say (notes.py), in order: where shapes overlap, the later one stays.
"""

import base64
import dataclasses
import hashlib
import io
import json
import zlib

import numpy as np
from PIL import Image

from tfrecords import errors, images

# What messages call the kinds of `paint`.
_WORDS = {"polygons": "polygon", "rings": "polygon", "rle": "mask", "rows": "mask", "bitmap": "mask", "png": "mask"}


@dataclasses.dataclass(frozen=True)
class Reader:
    """Ids of a payload: JSON {"size": [H, W], "shapes": [[id, kind, value], ...]}, kinds as in `paint`.

    Attributes:
      uncovered: the id of pixels that no shape covers.
    """

    uncovered: int = 255

    def digest(self) -> str:
        """Identifies what it does."""
        return hashlib.sha256(f"shapes {self.uncovered}".encode()).hexdigest()

    def read(self, data: bytes, name: str) -> np.ndarray:
        """Ids, uint8 [H, W]; ValueError naming the file where a shape is wrong."""
        found = json.loads(data)
        if "damage" in found:
            raise ValueError(found["damage"])
        height, width = (int(value) for value in found["size"])
        if not 0 < height * width <= images.MAX_PIXELS:
            raise ValueError(f"{name} says an image is {height}x{width}; expected 1 to {images.MAX_PIXELS} pixels")
        ids = np.full((height, width), self.uncovered, np.uint8)
        for number, kind, value in found["shapes"]:
            try:
                paint(ids, number, kind, value)
            except (ValueError, TypeError, KeyError, IndexError, OverflowError, zlib.error, OSError) as error:
                what = f"a {_WORDS.get(kind, kind)} of id {number} is wrong: {errors.one_line(error)}"
                raise ValueError(f"{name}: {what}") from error
        return ids


def payload(height: int, width: int, shapes: list) -> bytes:
    """What `Reader` reads, the same bytes for the same shapes."""
    return json.dumps({"size": [height, width], "shapes": shapes}, separators=(",", ":")).encode()


def damaged(reason: str) -> bytes:
    """A payload of which `Reader` says what is wrong."""
    return json.dumps({"damage": reason}).encode()


def paint(ids: np.ndarray, number: int, kind: str, value) -> None:
    """Paints one shape into `ids` uint8 [H, W].

    Args:
      number: its id.
      kind: what `value` is. "polygons": a list of rings [x0, y0, x1, y1, ...], each of them filled. "rings": an outer
        ring and holes, filled by parity. "rle": COCO's {"size": [H, W], "counts": list or text}, column by column.
        "rows": CVAT's [left, top, width, height, counts], row by row. "bitmap": Supervisely's [x, y, base64 of a packed
        PNG]. "png": the same unpacked. "ellipse" and "box": [x, y, rx, ry, degrees], centre, half axes, and their turn,
        clockwise as a picture is seen.
    """
    if kind == "polygons":
        for ring in value:
            ids[inside(*ids.shape, [ring])] = number
    elif kind == "rings":
        ids[inside(*ids.shape, value)] = number
    elif kind == "rle":
        if tuple(value["size"]) != ids.shape:
            raise ValueError(f"its size is {value['size']}, its image's {list(ids.shape)}")
        ids[runs(value["counts"], ids.size).reshape(ids.shape[::-1]).T] = number
    elif kind == "rows":
        left, top, width, height, counts = value
        _paint_box(ids, number, left, top, runs(counts, width * height).reshape(height, width))
    elif kind in ("ellipse", "box"):
        ids[_turned(*ids.shape, kind, *value)] = number
    elif kind in ("bitmap", "png"):
        x, y, text = value
        packed = base64.b64decode(text)
        picture = Image.open(io.BytesIO(zlib.decompress(packed) if kind == "bitmap" else packed), formats=("PNG",))
        if picture.width * picture.height > images.MAX_PIXELS:
            raise ValueError(f"its mask is {picture.height}x{picture.width}")
        channel = picture.getchannel("A") if "A" in picture.getbands() else picture.convert("L")
        _paint_box(ids, number, x, y, np.asarray(channel) > 0)
    else:
        raise ValueError(f"unknown shape {kind!r}")


def inside(height: int, width: int, rings) -> np.ndarray:
    """Which pixels' centres lie inside closed rings, by parity: bool [H, W].

    Pixel (row, column) covers [column, column + 1) x [row, row + 1); its centre is half a pixel from its corner. Two
    polygons that share an edge share no pixel and leave none out.

    Args:
      rings: each [x0, y0, x1, y1, ...] in px, at least three points.
    """
    crossings = np.zeros((height, width + 1), np.int32)
    for ring in rings:
        points = np.asarray(ring, np.float64).reshape(-1, 2)
        if len(points) < 3 or not np.isfinite(points).all():
            raise ValueError(f"{len(points)} points; expected at least 3, all of them numbers")
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, 0)):
            if y0 == y1:
                continue
            low, high = sorted((y0, y1))
            rows = np.arange(max(0, int(np.ceil(low - 0.5))), min(height, int(np.ceil(high - 0.5))))
            if not rows.size:
                continue
            x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            np.add.at(crossings, (rows, np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)), 1)
    return np.cumsum(crossings, 1)[:, :width] % 2 == 1


def _turned(height: int, width: int, kind: str, x, y, rx, ry, degrees) -> np.ndarray:
    """Which pixels' centres lie in an ellipse or a box whose axes are turned."""
    if not (rx > 0 and ry > 0 and np.isfinite([x, y, rx, ry, degrees]).all()):
        raise ValueError(f"half axes of {rx} and {ry}; expected numbers above 0")
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    rows, columns = np.mgrid[:height, :width] + 0.5
    along = ((columns - x) * cosine + (rows - y) * sine) / rx
    across = ((rows - y) * cosine - (columns - x) * sine) / ry
    if kind == "ellipse":
        return along**2 + across**2 <= 1
    return (abs(along) <= 1) & (abs(across) <= 1)


def runs(counts, size: int) -> np.ndarray:
    """Run lengths of 0 and 1 in turn, beginning with 0, as a list or in COCO's text: bool [size]."""
    counts = _of_text(counts) if isinstance(counts, (str, bytes)) else [int(count) for count in counts]
    if min(counts, default=0) < 0 or sum(counts) != size:
        raise ValueError(f"its runs are {sum(counts)} pixels, its size {size}")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts)


def _of_text(text) -> list[int]:
    """COCO's compressed counts: five bits a character from "0" on, bit 6 goes on; from the third on as differences."""
    data, counts, position = text.encode() if isinstance(text, str) else text, [], 0
    while position < len(data):
        value = shift = 0
        more = True
        while more:
            code = data[position] - 48
            value |= (code & 31) << shift
            more, position, shift = bool(code & 32), position + 1, shift + 5
            if not more and code & 16:
                value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts


def _paint_box(ids, number, x, y, mask) -> None:
    top, left = max(0, y), max(0, x)
    part = ids[top : y + mask.shape[0], left : x + mask.shape[1]]
    part[mask[top - y : top - y + part.shape[0], left - x : left - x + part.shape[1]]] = number
