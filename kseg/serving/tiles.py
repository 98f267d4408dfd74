"""Pictures larger than a model takes, piece by piece: how they are cut, and a model that cuts and joins by itself.

Pieces overlap, and each pixel is answered by the one in which it lies deepest. So the answer is the whole picture's
wherever the network sees less far than half the overlap. Joining needs no more than class maps and scores, which is
what a server answers. NumPy and Pillow; no TensorFlow.
"""

import copy
import dataclasses
import io
import math
import threading

import numpy as np
import PIL.Image

from kseg.serving import model
from kseg.serving.images import encode_png, rgb

OVERLAP = 256  # px that neighbouring tiles share
_SMALLEST_SHARE = 2  # a tile is at least so many overlaps high and wide
_MEMORY = 2**30  # bytes of activations of a tile that is chosen here, however much more the model would take
_EXPECTED = "expected auto, off or HEIGHTxWIDTH in px, such as 1024x1024"


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


def parse(text):
    """ "auto": pictures that the model does not take, in tiles that it takes; "off": none; (height, width) of a text
    such as "1024x2048": every picture larger than that, in tiles of that size.

    Raises:
      ValueError: on another text.
    """
    if text in ("auto", "off"):
        return text
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise ValueError(f"tile={text!r}: {_EXPECTED}.")
    return int(height), int(width)


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


class Tiled(model.ServedModel):
    """A model that takes pictures of any size, with the calls of Client and Local that prediction uses.

    Args:
      served: serving.Client, local.Local or another ServedModel.
      size: text of `parse`, or (height, width).
      overlap: px.
      report: called with a line when a picture is cut.

    Memory grows with the picture by its pixels and its answers alone; one picture is cut at a time.

    Raises:
      ValueError: on another size or overlap; by a call, if the model cannot be asked in tiles of this size.
    """

    def __init__(self, served, size="auto", overlap=OVERLAP, report=lambda line: None):
        self._size = parse(size) if isinstance(size, str) else tuple(size)
        if self._size not in ("auto", "off") and (len(self._size) != 2 or min(self._size) < 1):
            raise ValueError(f"tile {size!r}: {_EXPECTED}.")
        if overlap < 0:
            raise ValueError(f"overlap {overlap}: expected 0 px or more.")
        self._model, self._overlap, self._report = served, overlap, report
        self.address, self.version = served.address, served.version
        self._about = None
        self._one_at_a_time = threading.Lock()

    def about(self):
        self._about = self._model.about()
        return self._about

    def masks(self, images):
        return [self._answer(image, ("mask_png",))[0] for image in images]

    def detail(self, images):
        return [model.Detail(*self._answer(image, ("mask_png", "class_png", "void_score_png"))) for image in images]

    def pinned(self):
        held = self._model.pinned()
        if held is self._model:
            return self
        clone = copy.copy(self)
        clone._model, clone._about, clone.version = held, None, held.version
        return clone

    def ready(self):
        return self._model.ready()

    def close(self):
        self._model.close()

    def _run(self, signature, inputs):
        return self._model.predict(signature, inputs)

    def _answer(self, contents, names):
        """PNG bytes of each of the names, which are attributes of Detail, for one encoded image."""
        with PIL.Image.open(io.BytesIO(contents)) as image:
            width, height = image.size
        size = self._tile_size(height, width, self._about or self.about())
        if size is None:
            return self._ask(contents, names)
        with self._one_at_a_time:
            with PIL.Image.open(io.BytesIO(contents)) as image:
                pixels = rgb(image)
            if size == "shrink":
                return self._shrunk(pixels, names)
            stride = self._about.get("limits", {}).get("stride", 1)
            return self._joined(pixels, plan(height, width, size, self._overlap, stride), names)

    def _tile_size(self, height, width, about):
        limits = about.get("limits")
        if limits is None:  # of an early export
            given = self._size not in ("auto", "off") and (height > self._size[0] or width > self._size[1])
            return self._size if given else None
        stride = limits.get("stride", 1)
        padded = (height + -height % stride) * (width + -width % stride)
        fits = padded <= limits["max_pixels"] and max(height, width) <= limits["max_side"]
        if self._size == "off":
            if not fits:
                raise ValueError(
                    f"{height}x{width} px are more than the model takes at once (max_pixels {limits['max_pixels']}, "
                    f"max_side {limits['max_side']}); --tile=auto predicts such a picture in tiles."
                )
            return None
        if any(about.get("input_size", ())):  # the model sees every picture at one size: a part would be enlarged
            if self._size != "auto":
                raise ValueError("this model sees every picture at one size, so none can be cut; use --tile=auto.")
            return None if fits else "shrink"
        if self._size == "auto":
            if fits:
                return None
            least = (_SMALLEST_SHARE * self._overlap + 2 * stride) ** 2
            most = max(int(_MEMORY / about.get("activation_bytes_per_pixel", 1)), least)
            most = min(limits["max_pixels"], most)
            return largest(height, width, most, limits["max_side"], self._overlap, stride)
        return self._size if height > self._size[0] or width > self._size[1] else None

    def _ask(self, contents, names):
        if names == ("mask_png",):
            return self._model.masks([contents])
        detail = self._model.detail([contents])[0]
        return [getattr(detail, name) for name in names]

    def _joined(self, pixels, pieces, names):
        height, width = pixels.shape[:2]
        self._report(f"{height}x{width} px in {len(pieces)} tiles of {'x'.join(map(str, pieces[0].shape))}")
        whole = [np.empty((height, width), np.uint8) for _ in names]
        for piece in pieces:
            for joined, png in zip(
                whole, self._ask(encode_png(pixels[piece.rows, piece.columns], compress_level=1), names)
            ):
                part = self._gray(png)
                if part.shape != piece.shape:
                    raise self._wrong(f"it answers {part.shape} to a tile of {piece.shape} px")
                joined[piece.kept_rows, piece.kept_columns] = part[piece.kept]
        return [encode_png(joined, compress_level=1) for joined in whole]

    def _shrunk(self, pixels, names):
        """Of a model with an input size of its own: the picture, as small as the model takes it; answers enlarged."""
        (height, width), limits = pixels.shape[:2], self._about["limits"]
        factor = min(math.sqrt(limits["max_pixels"] / (height * width)), limits["max_side"] / max(height, width))
        stride = limits.get("stride", 1)
        size = tuple(max(int(side * factor) // stride * stride, 1) for side in (width, height))
        self._report(f"{height}x{width} px seen at {size[1]}x{size[0]}, since the model sees every picture at one size")
        small = PIL.Image.fromarray(pixels).resize(size, PIL.Image.Resampling.BOX)
        nearest = PIL.Image.Resampling.NEAREST
        sent = encode_png(np.asarray(small), compress_level=1)
        answers = [PIL.Image.fromarray(self._gray(png)) for png in self._ask(sent, names)]
        return [encode_png(np.asarray(answer.resize((width, height), nearest)), compress_level=1) for answer in answers]

    def _gray(self, png):
        """uint8 [H, W] of an answer."""
        try:
            with PIL.Image.open(io.BytesIO(png)) as image:
                array = np.asarray(image)
        except Exception:  # whatever Pillow meets in what is no PNG
            array = None
        if array is None or array.dtype != np.uint8 or array.ndim != 2:
            raise self._wrong("its answer is no PNG of one channel")
        return array


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
