"""Void objects come in families, a shape and its textures: the list of them, putting one on the street, and the
families of things that move.

Families that are not `seen` are drawn only in val, and only under --unseen_void; no seen family has their outlines or
their patterns (checks, dots, rings, zigzag). void_still.py and void_unseen.py add theirs to the list.
"""

import dataclasses
import random

from street_scenes.figures import Pen
from street_scenes.materials import CAR_COLORS, CARAVAN, CLOTHES, DYNAMIC, TRAILER, jitter, times
from street_scenes.vehicles import GLASS, PLATE, TAIL, Solid, box_solid, draw_solid, oblong
from street_scenes.world import World


@dataclasses.dataclass(frozen=True)
class Family:
    name: str
    id: int
    seen: bool
    size: tuple  # width, depth, height in metres: for its place and its shadow
    draw: object  # draw(world, rng, x, z)


FAMILIES: dict[str, Family] = {}


def family(label: int, size: tuple, seen: bool = True):
    def register(draw):
        name = draw.__name__.lstrip("_")
        FAMILIES[name] = Family(name, label, seen, size, draw)
        return draw

    return register


def put_void(world: World, rng: random.Random, label: int, x: float, z: float) -> bool:
    """Puts an object of one of an id's families on the ground; False where there is no room."""
    unseen = world.options.unseen_void and world.split == "val" and label in (DYNAMIC, CARAVAN, TRAILER)
    family = rng.choice([f for f in FAMILIES.values() if f.id == label and f.seen != unseen])
    width, depth, height = family.size
    if not world.take(x, z, width, depth + 0.2):
        return False
    world.shadow(x, z, width, depth, height)
    seed = rng.getrandbits(32)
    told = {"family": family.name, "id": label, "seen": family.seen}
    world.add(z, lambda: family.draw(world, random.Random(seed), x, z), told)
    return True


@family(DYNAMIC, (0.7, 0.8, 1.1))
def _pram(world, rng, x, z):
    pen = Pen(world, x, z, DYNAMIC, rng.uniform(0.6, 1.0))
    color = jitter(rng, rng.choice(CLOTHES), 20)
    for a in (-0.34, 0.3):
        pen.disc(a, 0.16, 0.16, (28, 28, 30))
        pen.disc(a, 0.16, 0.07, (130, 130, 130), None)
        pen.line([(a, 0.16), (-a * 0.3, 0.5)], 0.05, (120, 122, 124))
    pen.poly([(-0.42, 0.5), (0.4, 0.45), (0.46, 0.78), (-0.48, 0.72)], color)
    pen.poly([(0.0, 0.74), (0.46, 0.78), (0.4, 1.06), (0.14, 1.12), (-0.02, 1.0)], times(color, 0.7))
    pen.line([(-0.46, 0.7), (-0.66, 1.02)], 0.05, (40, 40, 42))


@family(DYNAMIC, (0.9, 0.4, 0.6))
def _dog(world, rng, x, z):
    pen = Pen(world, x, z, DYNAMIC, rng.choice((0.7, 1.0, 1.2)))
    color = jitter(rng, rng.choice(((60, 44, 32), (150, 116, 76), (34, 32, 32), (200, 190, 176))), 10)
    for a in (-0.3, -0.22, 0.2, 0.28):
        pen.line([(a, 0), (a, 0.34)], 0.07, times(color, 0.8))
    pen.poly([(-0.38, 0.32), (0.34, 0.3), (0.36, 0.56), (-0.38, 0.54)], color)
    pen.disc(0.46, 0.66, 0.13, color)
    pen.poly([(0.5, 0.62), (0.68, 0.58), (0.5, 0.7)], times(color, 0.8))
    pen.poly([(0.38, 0.72), (0.44, 0.86), (0.5, 0.74)], times(color, 0.7))
    pen.line([(-0.38, 0.5), (-0.56, 0.7)], 0.06, color)


@family(DYNAMIC, (0.7, 0.9, 1.0))
def _shopping_trolley(world, rng, x, z):
    pen = Pen(world, x, z, DYNAMIC, rng.uniform(0.7, 1.0))
    steel = (166, 168, 172)
    pen.poly([(-0.36, 0.5), (0.42, 0.55), (0.5, 1.0), (-0.42, 0.92)], jitter(rng, (120, 110, 100), 40))
    for v in (0.55, 0.68, 0.8, 0.92):
        pen.line([(-0.4, v), (0.46, v + 0.05)], 0.03, steel)
    for a in (-0.36, -0.12, 0.12, 0.36):
        pen.line([(a, 0.5), (a * 1.15, 0.98)], 0.03, steel)
    pen.line([(-0.36, 0.5), (-0.3, 0.14), (0.4, 0.14)], 0.05, steel)
    pen.line([(-0.42, 0.92), (-0.6, 1.04)], 0.06, (190, 40, 40))
    for a in (-0.3, 0.4):
        pen.disc(a, 0.07, 0.07, (24, 24, 24))


@family(DYNAMIC, (0.5, 0.4, 0.9))
def _suitcase(world, rng, x, z):
    pen = Pen(world, x, z, DYNAMIC)
    color = jitter(rng, rng.choice(CAR_COLORS), 20)
    pen.line([(-0.12, 0.7), (-0.12, 1.05), (0.12, 1.05), (0.12, 0.7)], 0.04, (60, 60, 60))
    pen.rect(-0.27, 0.06, 0.27, 0.74, color)
    for a in (-0.14, 0.0, 0.14):
        pen.line([(a, 0.1), (a, 0.7)], 0.03, times(color, 0.7), None)
    for a in (-0.2, 0.2):
        pen.disc(a, 0.05, 0.06, (24, 24, 24))


@family(DYNAMIC, (0.8, 0.8, 1.0))
def _wheelchair(world, rng, x, z):
    pen = Pen(world, x, z, DYNAMIC, rng.uniform(0.7, 1.0))
    pen.disc(-0.1, 0.3, 0.3, (40, 40, 42))
    pen.disc(-0.1, 0.3, 0.23, (140, 142, 146), None)
    pen.disc(0.36, 0.1, 0.1, (40, 40, 42))
    seat = jitter(rng, (50, 60, 90), 20)
    pen.rect(-0.3, 0.44, 0.3, 0.56, seat)
    pen.rect(-0.34, 0.5, -0.22, 1.0, seat)
    pen.line([(0.3, 0.5), (0.42, 0.12)], 0.07, (130, 132, 136))
    pen.line([(-0.28, 0.98), (-0.48, 1.0)], 0.06, (30, 30, 30))


@family(DYNAMIC, (1.2, 0.7, 0.6))
def _loose_bags(world, rng, x, z):
    pen = Pen(world, x, z, DYNAMIC)
    for _ in range(rng.randrange(2, 5)):
        a, r = rng.uniform(-0.45, 0.45), rng.uniform(0.18, 0.32)
        color = jitter(rng, rng.choice(((40, 42, 46), (60, 90, 140), (206, 206, 200), (190, 140, 50))), 12)
        pen.disc(a, r * 0.8, r, color, flat=0.85)
        pen.poly([(a - 0.07, r * 1.4), (a, r * 1.2), (a + 0.08, r * 1.5)], times(color, 0.8))


@family(CARAVAN, (2.3, 4.6, 2.6))
def _caravan_box(world, rng, x, z):
    body = jitter(rng, rng.choice(((214, 212, 204), (196, 190, 172), (170, 176, 180))), 8)
    stripe = jitter(rng, rng.choice(((150, 60, 50), (60, 90, 140), (110, 130, 90), (170, 130, 60))), 10)
    h = rng.uniform(1.9, 2.4)
    ring = [
        (-h, 0.4, "body"),
        (-h, 2.0, "body"),
        (-h + 0.4, 2.55, "body"),
        (h - 0.5, 2.55, "body"),
        (h, 1.7, "body"),
        (h - 0.2, 0.4, "under"),
    ]
    solid = Solid(ring, 2.2)
    solid.decals = [
        (oblong(-h * 0.8, 1.4, -h * 0.2, 2.0), "glass"),
        (oblong(h * 0.2, 1.4, h * 0.7, 2.0), "glass"),
        (oblong(-h, 0.8, h * 0.95, 1.05), "stripe"),
        (oblong(-0.3, 0.5, 0.3, 2.1), "door"),
    ]
    solid.rear = [
        (oblong(-0.8, 1.35, 0.8, 2.0), "glass"),
        (oblong(-1.1, 0.8, 1.1, 1.05), "stripe"),
        (oblong(-1.0, 0.5, -0.75, 0.7), "tail"),
        (oblong(0.75, 0.5, 1.0, 0.7), "tail"),
    ]
    solid.wheels = [(0.0, 0.33)]
    colors = {"body": body, "stripe": stripe, "glass": GLASS, "door": times(body, 0.85), "tail": TAIL}
    draw_solid(world, solid, x, z, rng.uniform(-0.2, 0.2), colors, CARAVAN)


@family(TRAILER, (2.0, 3.2, 1.8))
def _trailer_tarpaulin(world, rng, x, z):
    cloth = jitter(rng, rng.choice(((70, 84, 110), (96, 110, 90), (140, 140, 142), (60, 62, 66))), 8)
    h = rng.uniform(1.2, 1.7)
    solid = Solid([(-h, 0.9, "cloth"), (-h, 1.7, "cloth"), (h, 1.7, "cloth"), (h, 0.9, "under")], 1.7)
    box = box_solid(2 * h, 1.75, 0.5, 0.95)
    box.wheels = [(0.0, 0.32)]
    box.rear = [(oblong(s * 0.6, 0.55, s * 0.84, 0.7), "tail") for s in (-1, 1)]
    solid.decals = [(oblong(u, 0.95, u + 0.05, 1.68), "rib") for u in (-h * 0.6, -h * 0.2, h * 0.2, h * 0.6)]
    colors = {"body": (132, 134, 136), "cloth": cloth, "rib": times(cloth, 0.7), "tail": TAIL}
    for part in (box, solid):
        draw_solid(world, part, x, z, 0.05, colors, TRAILER)


@family(TRAILER, (1.9, 3.2, 1.0))
def _trailer_flat(world, rng, x, z):
    h = rng.uniform(1.2, 1.8)
    box = box_solid(2 * h, 1.8, 0.55, rng.uniform(0.9, 1.1))
    box.wheels = [(0.0, 0.32)]
    box.decals = [
        (oblong(-h, 0.7, h, 0.74), "rib"),
        *((oblong(u, 0.55, u + 0.06, 0.9), "rib") for u in (-h * 0.5, 0.0, h * 0.5)),
    ]
    box.rear = [(oblong(s * 0.62, 0.58, s * 0.88, 0.72), "tail") for s in (-1, 1)] + [
        (oblong(-0.25, 0.6, 0.25, 0.72), "plate")
    ]
    wood = jitter(rng, rng.choice(((140, 106, 72), (150, 152, 154), (90, 92, 96))), 8)
    draw_solid(world, box, x, z, 0.0, {"body": wood, "rib": times(wood, 0.65), "tail": TAIL, "plate": PLATE}, TRAILER)
