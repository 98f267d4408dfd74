"""A city's camera, and what moves with it: bonnet, frame and border, the geometry void."""

import dataclasses
import functools
import math
import random

import numpy as np

from street_scenes.ids import EGO, OUT_OF_ROI, RECTIFICATION
from street_scenes.options import Options


@dataclasses.dataclass(frozen=True)
class Camera:
    """A city's camera: fixed for all its scenes, as one drive with one mounting."""

    focal: float  # px
    center: float  # share of the width
    horizon: float  # share of the height
    eye_m: float
    geometry: np.ndarray  # uint8 [H, W]: EGO, RECTIFICATION, OUT_OF_ROI or 0
    bonnet: tuple  # colour


@functools.lru_cache(maxsize=64)
def city_camera(options: Options, city: str) -> Camera:
    rng = random.Random(f"camera/{options.seed}/{city}")
    height, width = options.height, options.width
    focal = rng.uniform(0.80, 0.95) * math.sqrt(width * height * 2)
    geometry = np.zeros((height, width), np.uint8)
    rows = np.arange(height, dtype=np.float64)[:, None] + 0.5
    columns = np.arange(width, dtype=np.float64)[None, :] + 0.5

    # Out of roi: a frame, 1.5 % of the picture; the sides first, what is left at the top.
    total = 0.015 * height * width
    side = int(total * 0.5 / (2 * height) + 0.5)
    top = int(max(0.0, total - side * 2 * height) / width + 0.5)
    frame = (columns < side) | (columns > width - side) | (rows < top)

    # Rectification border: slivers at both sides that widen towards the corners below, 1.3 %.
    bow = (rows / height) ** rng.uniform(1.2, 2.0)
    lean = rng.uniform(0.35, 0.65)
    area = float(bow.sum()) / height
    left = 0.0135 * width * lean / area * bow + side
    right = 0.0135 * width * (1 - lean) / area * bow + side
    # In small pictures sub-pixel widths are kept on average by a fixed dither along the edge.
    dither = ((np.arange(height) * 0.6180339887 % 1.0)[:, None] - 0.5) * (width < 400)
    border = (columns + dither < left) | (width - columns + dither < right)

    # The bonnet: a flat dome, 4.7 % before the frame is cut from it.
    bulge = rng.uniform(2.2, 3.6)
    offset = rng.uniform(-0.06, 0.06)
    across = np.abs((columns / width - 0.5 - offset) / 0.56)
    dome = np.clip(1 - across**bulge, 0, None)
    dome = dome * (0.0475 * width / dome.sum())
    ego = rows > height * (1 - dome)

    geometry[ego] = EGO
    geometry[border] = RECTIFICATION
    geometry[frame] = OUT_OF_ROI
    geometry.setflags(write=False)
    shade = rng.choice(((26, 28, 32), (34, 35, 37), (22, 26, 36), (44, 45, 47)))
    return Camera(focal, rng.uniform(0.48, 0.52), rng.uniform(0.40, 0.45), rng.uniform(1.2, 1.45), geometry, shade)
