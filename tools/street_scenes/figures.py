"""Flat figures that face us: people, bicycles, motorcycles, and those who ride them."""

import random

from street_scenes.materials import BICYCLE, CAR_COLORS, CLOTHES, MOTORCYCLE, PERSON, RIDER, SKIN, jitter, times
from street_scenes.vehicles import LAMP, oblong
from street_scenes.world import World


class Pen:
    """Draws in metres at one spot: a = across, v = up. `squeeze` narrows across, as a turn about the axis would."""

    def __init__(self, world: World, x: float, z: float, label: int, squeeze: float = 1.0):
        self.world, self.z, self.label, self.squeeze = world, z, label, squeeze
        self.scale = world.f / z
        self.x, self.y = world.px(x, 0.0, z)
        self.normal = (0.0, 0.25, -0.97)

    def at(self, a: float, v: float) -> tuple:
        return self.x + a * self.squeeze * self.scale, self.y - v * self.scale

    def lit(self, color: tuple) -> tuple:
        return self.world.light.on(color, self.normal, self.z)

    def poly(self, points: list, color: tuple, label: int | None = -1) -> None:
        self.world.canvas.poly([self.at(*p) for p in points], self.lit(color), self.label if label == -1 else label)

    def rect(self, a0, v0, a1, v1, color, label: int | None = -1) -> None:
        self.poly(oblong(a0, v0, a1, v1), color, label)

    def line(self, points: list, width: float, color: tuple, label: int | None = -1) -> None:
        label = self.label if label == -1 else label
        self.world.canvas.line([self.at(*p) for p in points], width * self.scale, self.lit(color), label)

    def disc(self, a, v, radius, color, label: int | None = -1, flat: float = 1.0) -> None:
        s, label = self.scale, self.label if label == -1 else label
        paint = self.lit(color) if color is not None else None
        self.world.canvas.disc(
            *self.at(a, v), max(0.7, radius * s * self.squeeze), max(0.7, radius * flat * s), paint, label
        )

    def ring(self, a, v, radius, width, color) -> None:
        s = self.scale
        self.world.canvas.ring(
            *self.at(a, v), max(0.7, radius * s * self.squeeze), radius * s, width * s, self.lit(color)
        )


def put_person(world: World, x: float, z: float) -> None:
    rng = world.rng
    height = rng.uniform(1.0, 1.4) if rng.random() < 0.12 else rng.uniform(1.55, 1.92)
    world.shadow(x, z, 0.4, 0.35, height)
    seed = rng.getrandbits(32)
    world.add(z, lambda: _figure(world, random.Random(seed), x, z, height))


def _figure(world: World, rng: random.Random, x: float, z: float, height: float) -> None:
    """Somebody who stands or walks."""
    pen = Pen(world, x, z, PERSON)
    k = height / 1.75
    skin, coat, legs = (
        rng.choice(SKIN),
        jitter(rng, rng.choice(CLOTHES), 14),
        jitter(rng, rng.choice(CLOTHES[:7]), 10),
    )
    hair = rng.choice(((30, 26, 22), (80, 58, 38), (160, 130, 80), (120, 118, 114), (46, 34, 28)))
    stride, swing = rng.uniform(0, 0.24), rng.uniform(-0.14, 0.14)
    wide = rng.uniform(0.19, 0.25)
    if pen.scale * height < 7:
        pen.rect(-0.2, 0, 0.2, height * 0.85, coat)
        pen.disc(0, height * 0.92, 0.13, skin)
        return
    skirt = rng.random() < 0.2
    for s in (-1, 1):
        pen.line(
            [(s * 0.08 * k, 0.88 * k), (s * (0.06 + stride / 2) * k, 0.45 * k), (s * (0.05 + stride) * k, 0.03)],
            0.15 * k,
            legs,
        )
        pen.rect(s * (0.05 + stride) * k - 0.09, 0, s * (0.05 + stride) * k + 0.11, 0.08, (32, 28, 26))
    hem = 0.5 if skirt else rng.uniform(0.72, 0.86)
    flare = 0.3 if skirt else 0.2
    pen.poly(
        [
            (-flare * k, hem * k),
            (-wide * k, 1.42 * k),
            (-0.08 * k, 1.5 * k),
            (0.08 * k, 1.5 * k),
            (wide * k, 1.42 * k),
            (flare * k, hem * k),
        ],
        coat,
    )
    sleeve = times(coat, 0.82)
    for s in (-1, 1):
        hand = (s * (wide + 0.05) * k + swing * s, 0.82 * k)
        pen.line([(s * wide * k, 1.38 * k), (s * (wide + 0.06) * k, 1.1 * k), hand], 0.1 * k, sleeve)
        pen.disc(*hand, 0.05 * k, skin)
    pen.line([(0, 1.48 * k), (0, 1.56 * k)], 0.1 * k, skin)
    pen.disc(0, 1.63 * k, 0.105 * k, skin, flat=1.2)
    pen.poly(
        [
            (-0.11 * k, 1.63 * k),
            (-0.1 * k, 1.74 * k),
            (0, 1.78 * k),
            (0.1 * k, 1.74 * k),
            (0.11 * k, 1.63 * k),
            (0, 1.7 * k),
        ],
        hair,
    )
    if rng.random() < 0.3:  # a bag
        side = rng.choice((-1, 1))
        pen.rect(side * 0.2 * k, 0.7 * k, side * 0.38 * k, 1.0 * k, jitter(rng, rng.choice(CLOTHES), 14))


def put_cyclist(world: World, x: float, z: float, squeeze: float, ridden: bool) -> None:
    """A bicycle, with its rider or without."""
    rng = world.rng
    seed = rng.getrandbits(32)
    world.shadow(x, z, 1.2 * squeeze, 0.4, 1.6 if ridden else 0.8)

    def draw():
        own = random.Random(seed)
        pen = Pen(world, x, z, BICYCLE, squeeze)
        frame = jitter(own, own.choice(CAR_COLORS), 16)
        tyre, r = (28, 28, 30), 0.34
        for a in (-0.52, 0.52):
            pen.disc(a, r, r, None)
            pen.ring(a, r, r, 0.07, tyre)
            pen.disc(a, r, 0.06, tyre, None)
        seat, head, pedal = (-0.2, 0.88), (0.36, 0.92), (-0.03, 0.3)
        for a, b in (
            ((-0.52, r), seat),
            ((-0.52, r), pedal),
            (pedal, seat),
            (pedal, head),
            (seat, head),
            (head, (0.52, r)),
        ):
            pen.line([a, b], 0.055, frame)
        pen.line([(-0.33, 0.93), (-0.1, 0.93)], 0.08, (24, 24, 24))
        pen.line([(0.36, 0.92), (0.3, 1.02), (0.44, 1.04)], 0.05, (40, 40, 40))
        if ridden:
            _rider(pen, own, (-0.2, 0.98), (0.16, 1.45), (0.34, 1.04), (-0.03, 0.22), helmet=own.random() < 0.4)

    world.add(z, draw)


def _rider(pen: Pen, rng: random.Random, hip, shoulder, hand, pedal, helmet: bool) -> None:
    """Somebody on a bicycle or motorcycle, over it; joints in metres."""
    skin, coat, legs = (
        rng.choice(SKIN),
        jitter(rng, rng.choice(CLOTHES), 14),
        jitter(rng, rng.choice(CLOTHES[:7]), 10),
    )
    knee = ((hip[0] + pedal[0]) / 2 + 0.24, (hip[1] + pedal[1]) / 2 + 0.06)
    thick = 1 / max(0.45, pen.squeeze)
    pen.line([hip, knee, pedal], 0.15, legs, RIDER)
    pen.line([hip, (knee[0] - 0.1, knee[1] + 0.08), (pedal[0] + 0.1, pedal[1] + 0.2)], 0.15, times(legs, 0.8), RIDER)
    back = 0.15 * thick
    pen.poly(
        [
            (hip[0] - back, hip[1] - 0.04),
            (shoulder[0] - back, shoulder[1]),
            (shoulder[0] + back * 0.7, shoulder[1]),
            (hip[0] + back * 0.8, hip[1] - 0.06),
        ],
        coat,
        RIDER,
    )
    pen.line(
        [shoulder, ((shoulder[0] + hand[0]) / 2 + 0.02, (shoulder[1] + hand[1]) / 2 - 0.1), hand],
        0.11,
        times(coat, 0.85),
        RIDER,
    )
    head = (shoulder[0] + 0.07, shoulder[1] + 0.2)
    pen.disc(*head, 0.11 * thick, skin, RIDER)
    top = jitter(rng, rng.choice(CAR_COLORS), 20) if helmet else (48, 38, 30)
    pen.poly(
        [
            (head[0] - 0.13 * thick, head[1]),
            (head[0] - 0.1 * thick, head[1] + 0.13),
            (head[0] + 0.08 * thick, head[1] + 0.14),
            (head[0] + 0.13 * thick, head[1] + 0.02),
        ],
        top,
        RIDER,
    )


def put_motorcycle(world: World, x: float, z: float, squeeze: float, ridden: bool) -> None:
    rng = world.rng
    seed = rng.getrandbits(32)
    world.shadow(x, z, 1.6 * squeeze, 0.5, 1.6 if ridden else 1.0)

    def draw():
        own = random.Random(seed)
        pen = Pen(world, x, z, MOTORCYCLE, squeeze)
        body, steel = jitter(own, own.choice(CAR_COLORS), 16), (92, 94, 96)
        for a in (-0.68, 0.7):
            pen.disc(a, 0.32, 0.32, (24, 24, 26))
            pen.disc(a, 0.32, 0.15, steel)
        pen.line([(0.7, 0.32), (0.44, 0.95)], 0.1, steel)
        pen.poly([(-0.5, 0.3), (-0.4, 0.66), (0.3, 0.7), (0.4, 0.32)], (46, 46, 48))
        pen.poly([(-0.95, 0.72), (-0.6, 0.84), (0.0, 0.78), (0.12, 0.98), (0.44, 0.96), (0.5, 0.6), (-0.3, 0.52)], body)
        pen.poly([(-0.8, 0.82), (-0.05, 0.82), (-0.05, 0.9), (-0.8, 0.92)], (26, 26, 26))
        pen.line([(0.36, 0.98), (0.2, 1.08)], 0.06, (30, 30, 30))
        pen.disc(0.55, 0.86, 0.1, LAMP)
        if ridden:
            _rider(pen, own, (-0.35, 0.92), (0.0, 1.42), (0.24, 1.06), (-0.1, 0.36), helmet=True)

    world.add(z, draw)
