"""Small grey pictures: what a picture looks like from far away, to tell whether two are the same."""

import io

import numpy as np
from PIL import Image

from tfrecords import errors

SIDE = 16  # px
_SAME = 4.0  # grey levels: copies differ by under 2, half as large and JPEG at quality 50 among them
_SAME_OF_CONTRAST = 0.1  # of the picture's own standard deviation, which at night is small
_ROWS = 1024  # pictures compared at a time


def grey(data: bytes, size: tuple[int, int]) -> Image.Image:
    """A PNG or JPEG in grey, mode "L", averaged down to (width, height). ValueError where it cannot be decoded."""
    try:
        picture = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        picture.draft("L", size)  # a JPEG is decoded no larger than need be
        if picture.mode.startswith("I"):  # 16 bits
            picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
        return picture.convert("L").resize(size, Image.Resampling.BOX)
    except MemoryError:
        raise
    except Exception as error:  # whatever Pillow raises on damaged bytes
        raise ValueError(errors.one_line(error)) from error


def thumb(picture: Image.Image) -> np.ndarray:
    """uint8 [SIDE * SIDE] of a grey picture."""
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX)).ravel()


def same(here: np.ndarray, there: np.ndarray) -> list[tuple[int, int]]:
    """Pictures of `here` that look as one of `there` does.

    Two pictures are the same where the root mean square of their difference is at most 4 grey levels, and a tenth of
    their contrast. They always are where it is at most half a level.

    Args:
      here, there: uint8 [n, SIDE * SIDE] and [m, SIDE * SIDE].

    Returns:
      (i, j) for each i of `here` that has one, j the nearest of `there`.
    """
    found = []
    if not len(there):
        return found
    others = there.astype(np.float32)
    squares = np.square(others).sum(1)
    for start in range(0, len(here), _ROWS):
        some = here[start : start + _ROWS].astype(np.float32)
        distance = np.square(some).sum(1)[:, None] + squares - 2 * some @ others.T
        nearest = distance.argmin(1)
        # Exact: the sums above cancel where two pictures are nearly equal.
        rms = np.sqrt(np.square(some - others[nearest]).mean(1))
        limit = np.maximum(0.5, np.minimum(_SAME, _SAME_OF_CONTRAST * some.std(1)))
        found += [(start + int(i), int(nearest[i])) for i in np.flatnonzero(rms <= limit)]
    return found
