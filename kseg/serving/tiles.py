"""Pictures larger than a model takes, piece by piece: how they are cut, and a model that cuts and joins by itself.

Pieces overlap, and each pixel is answered by the one in which it lies deepest, so a picture's answer is the whole
picture's wherever the network sees less far than half the overlap. Joining needs no more than class maps and scores,
which is what a server answers. NumPy and Pillow; no TensorFlow.
"""

import copy
import dataclasses
import io
import math
import threading

import numpy as np
import PIL.Image

from kseg.serving import client
from kseg.serving.images import rgb

OVERLAP = 256  # px that neighbouring tiles share
_SMALLEST_SHARE = 2  # a tile is at least so many overlaps high and wide


@dataclasses.dataclass(frozen=True)
class Tile:
    """What is asked, and what of the answer is kept.

    Attributes:
      rows, columns: slices of the picture that the network sees.
      kept_rows, kept_columns: slices of the picture that its answer fills.
    """

    rows: slice
    columns: slice
    kept_rows: slice
    kept_columns: slice

    @property
    def shape(self):
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def kept(self):
        """(rows, columns) of the kept part, counted within the tile."""
        return tuple(
            slice(inner.start - outer.start, inner.stop - outer.start)
            for inner, outer in ((self.kept_rows, self.rows), (self.kept_columns, self.columns))
        )


def plan(height, width, size, overlap=OVERLAP, stride=1):
    """The tiles of a picture, row by row; the kept parts cover each pixel once.

    Args:
      height, width: of the picture, px.
      size: (height, width) of a tile at most; rounded down to `stride`.
      overlap: px that neighbours share at least; rounded up to an even number of strides.
      stride: of the network: tiles start at its multiples, so that they are padded and pooled as the whole picture is.

    Raises:
      ValueError: if tiles of this size cannot overlap so far.
    """
    overlap = -(-overlap // (2 * stride)) * 2 * stride
    rows, columns = (_cut(length, side, overlap, stride) for length, side in zip((height, width), size))
    return [Tile(r, c, kept_r, kept_c) for r, kept_r in rows for c, kept_c in columns]


def largest(height, width, max_pixels, max_side, overlap=OVERLAP, stride=1):
    """(height, width) of tiles that a model takes: as few as a picture of this size needs, and of about equal size.

    Raises:
      ValueError: if what the model takes is too small to be overlapped so far.
    """
    side = int(math.isqrt(max_pixels))
    for first, second in ((height, width), (width, height)):
        if first <= side:  # the picture is flat: the tiles may be longer
            whole = -(-first // stride) * stride
            free = min(max_pixels // whole, max_side)
            sizes = (whole, _even(second, free, overlap, stride))
            return sizes if first == height else sizes[::-1]
    side = min(side, max_side)
    return _even(height, side, overlap, stride), _even(width, side, overlap, stride)


class Tiled:
    """A model that takes pictures of any size, with the calls of Client and Local that prediction uses.

    Args:
      model: serving.Client or local.Local.
      size: "auto": pictures that the model does not take, in tiles as large as it takes; (height, width): every
        picture larger than that in tiles of that size; "off": none.
      overlap: px.
      signature: what is asked, client.DETAIL or another one with its outputs.
      limits: JSON object of this signature's limits; None = those that the model states about itself.
      report: called with a line when a picture is cut.

    Memory grows with the picture by its pixels and its answers alone; one picture is cut at a time.
    """

    def __init__(
        self, model, size="auto", overlap=OVERLAP, signature=client.DETAIL, limits=None, report=lambda line: None
    ):
        if size not in ("auto", "off") and (len(size) != 2 or min(size) < 1):
            raise ValueError(f"tile {size!r}: expected auto, off or a height and a width in px.")
        if overlap < 0:
            raise ValueError(f"overlap {overlap}: expected 0 px or more.")
        self._model, self._size, self._overlap, self._signature = model, size, overlap, signature
        self._limits, self._report = limits, report
        self._about = None
        self._one_at_a_time = threading.Lock()

    def about(self):
        self._about = self._model.about()
        return self._about

    def masks(self, images):
        return [self._answer(image, ("mask_png_bytes",))["mask_png_bytes"] for image in images]

    def detail(self, images):
        names = ("mask_png_bytes", "class_png_bytes", "void_score_png_bytes")
        answers = (self._answer(image, names) for image in images)
        return [client.Detail(*(answer[name] for name in names)) for answer in answers]

    def pinned(self):
        clone = copy.copy(self)
        clone._model, clone._about = self._model.pinned(), None
        return clone

    def ready(self):
        return self._model.ready()

    def close(self):
        self._model.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def __getattr__(self, name):  # what is not about pictures, such as the address
        return getattr(self._model, name)

    def _answer(self, contents, names):
        """{name: PNG bytes} for one encoded image."""
        about = self._about or self.about()
        limits = self._limits or about["limits"]
        with PIL.Image.open(io.BytesIO(contents)) as image:
            width, height = image.size
        size = self._tile_size(height, width, limits, about)
        if size is None:
            return self._ask(contents, names)
        with self._one_at_a_time:
            with PIL.Image.open(io.BytesIO(contents)) as image:
                pixels = rgb(image)
            if size == "shrink":
                return self._shrunk(pixels, limits, names)
            stride = limits.get("stride", 1)
            return self._joined(pixels, plan(height, width, size, self._overlap, stride), names)

    def _tile_size(self, height, width, limits, about):
        if self._size == "off":
            return None
        stride = limits.get("stride", 1)
        padded = (height + -height % stride) * (width + -width % stride)
        fits = padded <= limits["max_pixels"] and max(height, width) <= limits["max_side"]
        if any(about.get("input_size", ())):  # the model sees every picture at one size: a part would be enlarged
            if self._size != "auto":
                raise ValueError("this model sees every picture at one size, so none can be cut; use tile=auto.")
            return None if fits else "shrink"
        if self._size == "auto":
            if fits:
                return None
            return largest(height, width, limits["max_pixels"], limits["max_side"], self._overlap, stride)
        return self._size if height > self._size[0] or width > self._size[1] else None

    def _ask(self, contents, names):
        signature = self._signature
        if names == ("mask_png_bytes",) and signature == client.DETAIL:
            signature = client.SERVING_DEFAULT
        answer = self._model.predict(signature, {"image_bytes": [contents]})
        return {name: answer[name][0] for name in names}

    def _joined(self, pixels, pieces, names):
        height, width = pixels.shape[:2]
        self._report(f"{height}x{width} px in {len(pieces)} tiles of {'x'.join(map(str, pieces[0].shape))}")
        whole = {name: np.empty((height, width), np.uint8) for name in names}
        for piece in pieces:
            answer = self._ask(_png(pixels[piece.rows, piece.columns]), names)
            for name in names:
                part = _gray(answer[name])
                if part.shape != piece.shape:
                    raise ValueError(f"the model answers {part.shape} to a tile of {piece.shape} px.")
                whole[name][piece.kept_rows, piece.kept_columns] = part[piece.kept]
        return {name: _png(array) for name, array in whole.items()}

    def _shrunk(self, pixels, limits, names):
        """Of a model with an input size of its own: the picture, as small as the model takes it; answers enlarged."""
        height, width = pixels.shape[:2]
        factor = min(math.sqrt(limits["max_pixels"] / (height * width)), limits["max_side"] / max(height, width))
        stride = limits.get("stride", 1)
        size = tuple(max(int(side * factor) // stride * stride, 1) for side in (width, height))
        self._report(f"{height}x{width} px shrunk to {size[1]}x{size[0]}: the model sees every picture at one size")
        small = PIL.Image.fromarray(pixels).resize(size, PIL.Image.Resampling.BOX)
        answer = self._ask(_png(np.asarray(small)), names)
        nearest = PIL.Image.Resampling.NEAREST
        enlarged = {name: PIL.Image.fromarray(_gray(answer[name])).resize((width, height), nearest) for name in names}
        return {name: _png(np.asarray(image)) for name, image in enlarged.items()}


def _cut(length, side, overlap, stride):
    """[(slice, kept slice)] along one axis."""
    if length <= side:
        return [(slice(0, length), slice(0, length))]
    side = side // stride * stride
    step = side - overlap
    if step < stride:
        raise ValueError(f"tiles of {side} px cannot overlap by {overlap} px; take larger tiles or a smaller overlap.")
    starts = list(range(0, length - side, step))
    last = -(-(length - side) // stride) * stride  # flush with the end
    starts.append(last)
    ends = [min(start + side, length) for start in starts]
    seams = [0, *((end + start) // 2 // stride * stride for end, start in zip(ends, starts[1:])), length]
    return [(slice(*outer), slice(*inner)) for outer, inner in zip(zip(starts, ends), zip(seams, seams[1:]))]


def _even(length, side, overlap, stride):
    """The least tile side with which `length` px take no more tiles than with `side`."""
    side = side // stride * stride
    overlap = -(-overlap // (2 * stride)) * 2 * stride
    if length <= side:
        return -(-length // stride) * stride
    if side < _SMALLEST_SHARE * max(overlap, stride):
        raise ValueError(
            f"the model takes about {side}x{side} px at once, too little for tiles that overlap by {overlap} px; lower "
            "the overlap, or export with a larger --max_pixels."
        )
    number = -(-(length - overlap) // (side - overlap))
    return min(side, -(-(length + (number - 1) * overlap) // (number * stride)) * stride)


def _gray(png):
    with PIL.Image.open(io.BytesIO(png)) as image:
        return np.asarray(image)


def _png(array):
    buffer = io.BytesIO()
    PIL.Image.fromarray(array).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
