"""Noise and the textures made of it, built once per process from seeds of their own."""

import functools

import numpy as np
from PIL import Image


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
