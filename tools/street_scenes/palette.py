"""Colours. Greys are shared by roads, cars, houses and clothes, so that colour alone does not give a class away."""

import random

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
