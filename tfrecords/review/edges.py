"""Do labels lie where the picture's edges are? How much steeper a picture is at label boundaries, for each shift.

A shift of all labels against their pictures (a crop, a wrong resize) shows as a peak away from 0. Labels of other
pictures have no peak. Both are hints: a soft picture or coarse polygons have no peak either.
"""

import numpy as np
from PIL import Image

from tfrecords.review import thumbs

MAX_SHIFT = 16  # px of the reduced picture, in each direction
_MAX_SIDE = 512  # px to which a picture is reduced
_MIN_BOUNDARY = 30  # px; fewer say nothing


def reduction(height: int, width: int) -> int:
    """By which factor a picture is reduced before it is compared."""
    return max(1, -(-max(height, width) // _MAX_SIDE))


def agreement(picture: Image.Image, ids: np.ndarray, without: np.ndarray) -> np.ndarray | None:
    """Steepness at label boundaries over steepness anywhere, for each shift of the picture.

    Args:
      picture: of mode "L", of the labels' size divided by `reduction`.
      ids: uint8 [H, W].
      without: bool [256], ids whose boundaries do not count (void that is no thing in the scene).

    Returns:
      float32 [2 * MAX_SHIFT + 1, 2 * MAX_SHIFT + 1], rows dy, columns dx: mean of the steepness at (y + dy, x + dx)
      over boundary pixels (y, x), divided by its mean over the picture; 1 is chance. None where there is too little
      boundary, or a picture without contrast.
    """
    factor = reduction(*ids.shape)
    ids = ids[factor // 2 :: factor, factor // 2 :: factor]
    steep = _steepness(np.asarray(picture, np.float32))
    height, width = (min(a, b) for a, b in zip(ids.shape, steep.shape))
    ids, steep = ids[:height, :width], steep[:height, :width]
    boundary = _boundary(ids, without)
    count, mean = boundary.sum(), steep.mean()
    if count < _MIN_BOUNDARY or mean <= 0:
        return None
    # A cross correlation; the padding keeps one border from meeting the other.
    size = [_fast_length(length + MAX_SHIFT) for length in (height, width)]
    product = np.conj(np.fft.rfft2(boundary, size)) * np.fft.rfft2(steep - mean, size)
    shifts = np.arange(-MAX_SHIFT, MAX_SHIFT + 1)
    found = np.fft.irfft2(product, size)[np.ix_(shifts, shifts)]
    return (1 + found / (count * mean)).astype(np.float32)


def reduced(data: bytes, height: int, width: int) -> Image.Image:
    """The picture in grey, at the size that `agreement` takes."""
    factor = reduction(height, width)
    return thumbs.grey(data, (max(1, width // factor), max(1, height // factor)))


def _fast_length(least: int) -> int:
    """The next length without prime factors over 5, for which the transform is fast."""
    rest = least
    for factor in (2, 3, 5):
        while rest % factor == 0:
            rest //= factor
    return least if rest == 1 else _fast_length(least + 1)


def _steepness(grey: np.ndarray) -> np.ndarray:
    """Square root of the larger step to the pixel on the left or above: strong edges do not drown the many others."""
    steep = np.zeros_like(grey)
    np.abs(grey[:, 1:] - grey[:, :-1], out=steep[:, 1:])
    np.maximum(steep[1:], np.abs(grey[1:] - grey[:-1]), out=steep[1:])
    return np.sqrt(steep)


def _boundary(ids: np.ndarray, without: np.ndarray) -> np.ndarray:
    """1 where a pixel's id differs from the one on the left or above, and neither is left out: float32."""
    kept = ~without[ids]
    found = np.zeros(ids.shape, bool)
    found[:, 1:] |= (ids[:, 1:] != ids[:, :-1]) & kept[:, 1:] & kept[:, :-1]
    found[1:] |= (ids[1:] != ids[:-1]) & kept[1:] & kept[:-1]
    return found.astype(np.float32)
