"""Cityscapes' ids by name, the colours of things, and the textures made of noise.

Greys are shared by roads, cars, houses and clothes, so that colour alone does not give a class away. Textures are built
once per process from seeds of their own.
"""

import functools
import random

import numpy as np
from PIL import Image

# Cityscapes' ids.
UNLABELED, EGO, RECTIFICATION, OUT_OF_ROI, STATIC, DYNAMIC, GROUND = 0, 1, 2, 3, 4, 5, 6
ROAD, SIDEWALK, PARKING, RAIL_TRACK = 7, 8, 9, 10
BUILDING, WALL, FENCE, GUARD_RAIL, BRIDGE, TUNNEL = 11, 12, 13, 14, 15, 16
POLE, POLEGROUP, TRAFFIC_LIGHT, TRAFFIC_SIGN = 17, 18, 19, 20
VEGETATION, TERRAIN, SKY, PERSON, RIDER = 21, 22, 23, 24, 25
CAR, TRUCK, BUS, CARAVAN, TRAILER, TRAIN, MOTORCYCLE, BICYCLE = 26, 27, 28, 29, 30, 31, 32, 33


BUILDING_COLORS = (
    (152, 142, 126),
    (172, 167, 160),
    (112, 107, 102),
    (150, 88, 68),
    (192, 172, 124),
    (122, 131, 141),
    (178, 124, 103),
    (206, 201, 190),
    (96, 82, 72),
    (131, 150, 131),
    (158, 66, 55),
    (94, 112, 150),
)


CAR_COLORS = (
    (28, 28, 31),
    (58, 60, 64),
    (98, 99, 103),
    (128, 130, 133),
    (172, 174, 177),
    (216, 216, 214),
    (150, 32, 30),
    (32, 52, 112),
    (42, 80, 62),
    (198, 168, 62),
    (108, 72, 54),
    (96, 128, 160),
)


CLOTHES = (
    (30, 30, 34),
    (60, 62, 70),
    (40, 52, 86),
    (120, 40, 40),
    (150, 140, 120),
    (90, 100, 70),
    (190, 190, 186),
    (170, 120, 50),
    (60, 110, 130),
    (110, 70, 100),
)


SKIN = ((224, 182, 152), (198, 150, 118), (150, 104, 78), (104, 70, 52))


FOLIAGE = ((74, 98, 44), (58, 84, 42), (96, 112, 54), (112, 106, 50), (132, 98, 48), (66, 82, 60), (84, 104, 76))


def jitter(rng: random.Random, color: tuple, spread: float = 10) -> tuple:
    shift = rng.uniform(-spread, spread)
    return tuple(min(250.0, max(6.0, c + shift + rng.uniform(-spread, spread) * 0.4)) for c in color)


def times(color: tuple, factor: float) -> tuple:
    return tuple(min(255.0, c * factor) for c in color)


@functools.lru_cache(maxsize=8)
def fractal_noise(size: int, coarsest: int, seed: int, fade: float = 0.6) -> np.ndarray:
    """Fractal noise that tiles: float32 [size, size] in 0..1, mean about one half."""
    rng = np.random.Generator(np.random.PCG64(seed))
    total = np.zeros((size, size), np.float32)
    weight, weights, cells = 1.0, 0.0, coarsest
    while cells <= size:
        grid = rng.random((cells, cells), dtype=np.float32)
        around = np.tile(grid, (3, 3))
        grown = Image.fromarray(around).resize((3 * size, 3 * size), Image.Resampling.BICUBIC)
        total += weight * np.asarray(grown)[size : 2 * size, size : 2 * size]
        weights += weight
        weight *= fade
        cells *= 2
    total /= weights
    low, high = float(total.min()), float(total.max())
    noise = (total - low) / (high - low)
    noise.setflags(write=False)
    return noise


@functools.lru_cache(maxsize=1)
def foliage_stamps() -> tuple:
    """Leafy blobs: (shade, alpha) pairs of L pictures, 96 x 96."""
    size, made = 96, []
    grid = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    radius = np.sqrt(grid[:, None] ** 2 + grid[None, :] ** 2)
    for number in range(12):
        ragged = fractal_noise(size, 4, 100 + number, 0.8)
        leaves = fractal_noise(size, 12, 200 + number, 0.9)
        alpha = np.clip((0.78 - radius + 0.9 * (ragged - 0.5)) * 9, 0, 1)
        shade = 0.45 + 0.75 * (leaves - 0.5) + 0.22 * (1 - radius) - 0.22 * grid[:, None]
        pair = [(np.clip(part, 0, 1) * 255).astype(np.uint8) for part in (shade, alpha)]
        made.append(tuple(Image.fromarray(part) for part in pair))
        made.append(tuple(Image.fromarray(np.ascontiguousarray(part[:, ::-1])) for part in pair))
    return tuple(made)


@functools.lru_cache(maxsize=1)
def grain_texture() -> Image.Image:
    """Plaster: a grey texture around 232 to multiply surfaces with, RGB, 256 x 256."""
    noise = fractal_noise(256, 4, 31, 0.8)
    grey = np.clip(232 + 46 * (noise - 0.5), 0, 255).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(grey)] * 3)
