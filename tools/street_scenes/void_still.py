"""Families of void that stands still (id static). Some look like nothing else; some a little like a class."""

import math

from street_scenes.figures import Pen
from street_scenes.materials import STATIC, jitter, times
from street_scenes.roadside import draw_leaves
from street_scenes.vehicles import Solid, box_solid, draw_solid, oblong
from street_scenes.void import family


@family(STATIC, (0.7, 0.7, 1.1))
def _wheelie_bin(world, rng, x, z):
    pen = Pen(world, x, z, STATIC)
    color = jitter(rng, rng.choice(((52, 92, 60), (44, 60, 110), (60, 60, 62), (150, 130, 40), (110, 66, 40))), 10)
    w, h = rng.uniform(0.28, 0.42), rng.uniform(0.95, 1.25)
    pen.poly([(-w * 0.8, 0.05), (w * 0.8, 0.05), (w, h), (-w, h)], color)
    pen.poly([(w * 0.3, 0.05), (w * 0.8, 0.05), (w, h), (w * 0.4, h)], times(color, 0.75))
    pen.poly([(-w * 1.1, h), (w * 1.1, h), (w * 0.95, h + 0.12), (-w * 0.95, h + 0.12)], times(color, 1.3))
    for a in (-w * 0.7, w * 0.7):
        pen.disc(a, 0.1, 0.1, (24, 24, 24))
    pen.rect(-w * 0.4, h * 0.55, w * 0.2, h * 0.75, (214, 212, 200))


@family(STATIC, (1.6, 0.6, 0.9))
def _bench(world, rng, x, z):
    pen = Pen(world, x, z, STATIC)
    wood, iron, w = (
        jitter(rng, rng.choice(((120, 84, 54), (96, 90, 82), (60, 84, 60))), 10),
        (44, 46, 48),
        rng.uniform(0.7, 0.95),
    )
    for a in (-w * 0.85, w * 0.85):
        pen.line([(a, 0), (a, 0.88)], 0.09, iron)
    pen.rect(-w, 0.4, w, 0.52, wood)
    for v in (0.6, 0.75):
        pen.rect(-w, v, w, v + 0.1, times(wood, 1.15))


@family(STATIC, (1.2, 0.5, 1.3))
def _cabinet(world, rng, x, z):
    color = jitter(rng, rng.choice(((150, 154, 148), (128, 132, 128), (170, 166, 150))), 8)
    solid = box_solid(0.45, rng.uniform(0.8, 1.4), 0.0, rng.uniform(1.0, 1.5))
    w, h = solid.width / 2, solid.ring[1][1]
    solid.rear = [
        (oblong(-0.02, 0.08, 0.02, h - 0.06), "dark"),
        (oblong(-w, h - 0.1, w, h), "pale"),
        (oblong(-w * 0.8, h * 0.3, -w * 0.2, h * 0.7), "tag"),
    ]
    tag = tuple(rng.randrange(40, 210) for _ in range(3))
    draw_solid(
        world,
        solid,
        x,
        z,
        rng.uniform(-0.3, 0.3),
        {"body": color, "dark": times(color, 0.6), "pale": times(color, 1.2), "tag": tag},
        STATIC,
    )


@family(STATIC, (1.3, 1.3, 3.4))
def _advert_column(world, rng, x, z):
    pen = Pen(world, x, z, STATIC)
    r, h = rng.uniform(0.5, 0.7), rng.uniform(2.6, 3.4)
    base = (130, 128, 120)
    pen.rect(-r, 0, r, h, base)
    for row in range(3):
        v = 0.45 + row * (h - 0.6) / 3
        a = -r
        while a < r - 0.05:
            b = min(r, a + rng.uniform(0.25, 0.6))
            pen.rect(a, v, b, v + (h - 0.75) / 3, tuple(rng.randrange(40, 230) for _ in range(3)))
            a = b
    pen.rect(r * 0.86, 0, r, h, times(base, 0.6), None)
    pen.poly([(-r * 1.1, h), (r * 1.1, h), (r * 0.6, h + 0.3), (0, h + 0.5), (-r * 0.6, h + 0.3)], (66, 84, 72))
    pen.rect(-r, 0, r, 0.3, (92, 90, 86))


@family(STATIC, (1.4, 0.9, 1.6))
def _crates(world, rng, x, z):
    for i in range(rng.randrange(2, 6)):
        size = rng.uniform(0.45, 0.75)
        level, shift = divmod(i, 2)
        color = jitter(rng, rng.choice(((158, 122, 82), (176, 140, 96), (70, 110, 80), (150, 60, 50))), 10)
        pen = Pen(world, x + (shift - 0.5) * 0.8 + rng.uniform(-0.1, 0.1), z - 0.01 * i, STATIC)
        v = level * 0.6
        pen.rect(-size / 2, v, size / 2, v + 0.58, color)
        for b in (0.18, 0.38):
            pen.line([(-size / 2, v + b), (size / 2, v + b)], 0.04, times(color, 0.65), None)
        pen.poly(
            [(-size / 2, v + 0.58), (size / 2, v + 0.58), (size / 2 - 0.08, v + 0.66), (-size / 2 + 0.08, v + 0.66)],
            times(color, 1.25),
        )


@family(STATIC, (0.9, 0.8, 2.3))
def _statue(world, rng, x, z):
    """Stone, but with a person's outline."""
    pen = Pen(world, x, z, STATIC)
    stone = jitter(rng, rng.choice(((150, 150, 146), (96, 112, 100), (120, 104, 84))), 8)
    pen.rect(-0.45, 0, 0.45, 0.9, times(stone, 0.85))
    pen.rect(-0.52, 0.8, 0.52, 0.95, stone)
    pen.poly([(-0.24, 0.95), (0.24, 0.95), (0.2, 1.5), (0.26, 2.0), (-0.26, 2.0), (-0.18, 1.5)], stone)
    pen.poly([(0.02, 0.95), (0.24, 0.95), (0.2, 1.5), (0.26, 2.0), (0.08, 2.0)], times(stone, 0.78))
    pen.line([(0.24, 1.95), (0.5, 2.3)], 0.12, stone)
    pen.disc(0, 2.18, 0.14, stone)


@family(STATIC, (0.4, 0.4, 0.8))
def _hydrant(world, rng, x, z):
    pen = Pen(world, x, z, STATIC)
    color = jitter(rng, rng.choice(((180, 44, 36), (60, 90, 150), (190, 170, 50))), 10)
    pen.rect(-0.13, 0, 0.13, 0.62, color)
    pen.rect(-0.24, 0.36, 0.24, 0.52, times(color, 0.85))
    pen.disc(0, 0.64, 0.15, times(color, 1.2))


@family(STATIC, (2.2, 1.4, 1.0))
def _rubble(world, rng, x, z):
    color, s = jitter(rng, rng.choice(((132, 122, 110), (150, 142, 130), (110, 92, 76), (60, 62, 70))), 8), world.f / z
    for shift, size in ((-0.5, 1.0), (0.5, 0.9), (0.0, 1.3)):
        at = world.px(x + shift, size * 0.28, z)
        draw_leaves(world, rng, *at, size * 1.3 * s, size * 0.8 * s, color, z, STATIC)


@family(STATIC, (2.4, 1.4, 2.4))
def _parasol_table(world, rng, x, z):
    pen = Pen(world, x, z, STATIC)
    top = jitter(rng, rng.choice(((190, 60, 50), (214, 206, 186), (60, 100, 80), (210, 160, 60))), 10)
    pen.line([(0, 0), (0, 2.1)], 0.08, (160, 150, 130))
    pen.rect(-0.5, 0.68, 0.5, 0.76, (150, 120, 90))
    for s in (-1, 1):
        pen.rect(s * 0.6 - 0.18, 0.4, s * 0.6 + 0.18, 0.48, (90, 70, 54))
        pen.line([(s * 0.74, 0), (s * 0.76, 0.95)], 0.06, (90, 70, 54))
    w = rng.uniform(1.0, 1.4)
    pen.poly([(-w, 2.0), (w, 2.0), (0, 2.55)], top)
    pen.poly([(-w * 0.3, 2.0), (w * 0.3, 2.0), (0, 2.55)], times(top, 0.8))


@family(STATIC, (2.0, 0.5, 1.0))
def _road_works(world, rng, x, z):
    pen = Pen(world, x, z, STATIC)
    w = rng.uniform(0.8, 1.2)
    for a in (-w * 0.8, w * 0.8):
        pen.poly([(a - 0.22, 0), (a + 0.22, 0), (a, 0.9)], (90, 90, 92))
    for v in (0.45, 0.8):
        pen.rect(-w, v, w, v + 0.24, (224, 222, 218))
        a = -w
        while a < w - 0.1:
            pen.poly([(a, v), (a + 0.16, v), (a + 0.28, v + 0.24), (a + 0.12, v + 0.24)], (196, 44, 34))
            a += 0.36
    pen.disc(-w * 0.9, 1.12, 0.09, (240, 180, 60))


@family(STATIC, (1.0, 1.0, 2.4))
def _phone_box(world, rng, x, z):
    color = jitter(rng, rng.choice(((170, 34, 40), (196, 60, 120), (90, 96, 100), (60, 90, 70))), 8)
    solid = box_solid(0.95, 0.95, 0.0, 2.35)
    solid.rear = [
        (oblong(-0.36, 0.35, 0.36, 2.0), "glass"),
        (oblong(-0.02, 0.35, 0.02, 2.0), "body"),
        (oblong(-0.36, 1.15, 0.36, 1.2), "body"),
    ]
    solid.decals = [(oblong(-0.36, 0.35, 0.36, 2.0), "glass")]
    draw_solid(world, solid, x, z, rng.uniform(-0.4, 0.4), {"body": color, "glass": (110, 124, 130)}, STATIC)


@family(STATIC, (2.6, 1.4, 1.5))
def _dumpster(world, rng, x, z):
    """A skip: a car's size and place, but no wheels, no glass."""
    color = jitter(rng, rng.choice(((60, 96, 66), (160, 120, 40), (70, 90, 120), (120, 60, 44))), 10)
    h, high = 1.3, rng.uniform(1.15, 1.5)
    solid = Solid([(-h, 0.12, "body"), (-h - 0.15, high, "lid"), (h + 0.15, high, "body"), (h, 0.12, "under")], 1.5)
    for i in range(4):
        u = -h + 0.3 + i * 0.62
        solid.decals.append((oblong(u, 0.2, u + 0.1, high - 0.1), "rib"))
    solid.rear = [(oblong(-0.6, 0.4, 0.6, 0.5), "rib"), (oblong(-0.75, high - 0.12, 0.75, high), "rib")]
    yaw = rng.choice((0.0, math.pi / 2)) + rng.uniform(-0.1, 0.1)
    draw_solid(world, solid, x, z, yaw, {"body": color, "lid": times(color, 0.5), "rib": times(color, 0.7)}, STATIC)


@family(STATIC, (1.6, 0.4, 1.8))
def _advert_board(world, rng, x, z):
    """A poster in a frame: a sign's look at a bench's place."""
    pen = Pen(world, x, z, STATIC)
    w, h = rng.uniform(0.55, 0.8), rng.uniform(1.5, 2.1)
    pen.rect(-w, 0.3, w, h, (60, 62, 64))
    sky, low = (tuple(rng.randrange(60, 240) for _ in range(3)) for _ in range(2))
    pen.rect(-w + 0.08, 0.38, w - 0.08, h - 0.08, sky)
    pen.rect(-w + 0.08, 0.38, w - 0.08, 0.38 + (h - 0.46) * 0.4, low)
    pen.disc(rng.uniform(-0.2, 0.2), h * 0.68, 0.24, tuple(rng.randrange(60, 240) for _ in range(3)), None)
    for a in (-w * 0.8, w * 0.8):
        pen.rect(a - 0.05, 0, a + 0.05, 0.3, (60, 62, 64))
