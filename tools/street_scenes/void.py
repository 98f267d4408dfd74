"""Void objects come in families: a shape and its textures. Here: the list of families, and putting one on the street.

Families that are not `seen` are drawn only in val, and only under --unseen_void; no seen family has their outlines or
their patterns (checks, dots, rings, zigzag).
"""

import dataclasses
import random

from street_scenes.ids import CARAVAN, DYNAMIC, TRAILER
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
