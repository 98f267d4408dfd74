"""Decides what stands where: bands of ground first, then everything on them, side by side."""

import math
import random

from street_scenes import void_still, void_unseen  # noqa: F401  they fill the list of void families
from street_scenes.buildings import put_houses
from street_scenes.figures import put_cyclist, put_motorcycle, put_person
from street_scenes.materials import CARAVAN, DYNAMIC, STATIC, TRAILER
from street_scenes.roadside import (
    put_garden,
    put_hedge,
    put_lamp_post,
    put_polegroup,
    put_sign,
    put_traffic_light,
    put_tree_row,
)
from street_scenes.structures import put_backdrop, put_barrier, put_bridge, put_crash_barrier, put_tunnel
from street_scenes.vehicles import put_bus, put_car, put_train, put_truck
from street_scenes.void import put_void
from street_scenes.world import FAR_M, Layout, Strip, World, is_blocked


def plan_street(world: World) -> Layout:
    """Decides the whole scene and queues everything that stands on the ground."""
    rng = world.rng
    kinds = ("street", "avenue", "residential", "street", "open", "avenue", "square", "street")
    shift = random.Random(f"layout/{world.options.seed}/{world.split}").randrange(8)
    name = kinds[(world.number + world.number // 8 + shift) % 8]
    tunnel = world.has("tunnel")
    if tunnel:
        name = "open"

    lane = rng.uniform(3.0, 3.6)
    same, opposite = rng.choice(((1, 1), (1, 1), (2, 1), (1, 2), (2, 2), (1, 0)))
    mine = rng.uniform(-0.25, 0.25)
    right = mine + lane / 2 + (same - 1) * lane * rng.choice((0, 1))
    left = right - lane * (same + opposite)
    lanes = [(right - lane * (i + 0.5), 1) for i in range(same)]
    lanes += [(left + lane * (i + 0.5), -1) for i in range(opposite)]
    rail_side = rng.choice((-1, 1)) if world.has("rail") else 0
    parking_side = rng.choice((-1, 1)) if world.has("parking") else 0
    ground_side = rng.choice((-1, 1)) if world.has("ground_strip") else 0
    water_side = rng.choice((-1, 1)) if world.has("water") and name in ("open", "square", "avenue") else 0

    crossing = None
    if world.has("crossing") and not tunnel:
        z0 = rng.uniform(13, 45)
        crossing = (z0, z0 + rng.uniform(6, 9))
    zebra = (
        crossing[0] - 4.2 if crossing and rng.random() < 0.7 else (rng.uniform(8, 30) if rng.random() < 0.2 else None)
    )
    closed = rng.uniform(32, 60) if tunnel else FAR_M
    strips = [Strip("road", left, right)]
    layout = Layout(name, strips, (left, right), lanes, crossing, zebra, closed, {}, [])

    for side in (-1, 1):
        x = right if side > 0 else left
        parked = None

        def grow(kind, width, side=side):
            nonlocal x
            x_new = x + side * width
            strips.append(Strip(kind, min(x, x_new), max(x, x_new)))
            x, middle = x_new, (x + x_new) / 2
            return middle

        if side == rail_side:
            middle = grow("rail", rng.uniform(2.5, 2.9))
            if rng.random() < 0.85:
                put_train(world, middle, rng.uniform(9, 34), layout)
        if side == parking_side:
            parked = grow("parking", rng.uniform(2.0, 2.5)), 0.4
        elif name in ("street", "avenue", "residential") and rng.random() < 0.5:
            strips.append(Strip("road", *sorted((x, x + side * 2.1))))
            parked = x + side * 1.05, 0.7
            x += side * 2.1
        if name != "street" and rng.random() < {"open": 0.8, "residential": 0.45, "avenue": 0.35, "square": 0.2}[name]:
            middle = grow("verge", rng.uniform(0.8, 2.2))
            put_tree_row(world, middle, layout, 0.75)
        walk = {
            "street": (2.6, 4.6),
            "avenue": (3.6, 6.0),
            "residential": (2.0, 3.2),
            "open": (1.4, 2.4),
            "square": (4, 8),
        }
        kind = "ground" if side == ground_side else "sidewalk"
        inner = x
        if name == "open" and rng.random() < 0.45 and kind == "sidewalk":
            if world.rng.random() < 0.5:
                put_crash_barrier(world, x + side * 0.3, layout)
            layout.outer[side] = "terrain"
            middle = x + side
        else:
            middle = grow(kind, rng.uniform(*walk[name]))
        if name == "avenue" or (name == "street" and rng.random() < 0.25):
            put_tree_row(world, inner + side * 0.9, layout, 0.8)
        if parked:
            _park_cars(world, parked[0], side, layout, parked[1])
        _put_furniture(world, inner, x, side, layout)
        _put_people(world, inner, x, layout)

        if side == water_side:
            x += side * 0.2
            width = rng.uniform(4, 9)
            put_barrier(world, "fence", x, layout, 1.0)
            strips.append(Strip("water", *sorted((x, x + side * width))))
            x += side * width
        if name == "street":
            layout.outer.setdefault(side, "sidewalk")
        elif name == "square":
            layout.outer.setdefault(side, rng.choice(("sidewalk", "terrain", "sidewalk")))
            x += side * rng.uniform(2, 8)
        else:
            layout.outer.setdefault(side, "terrain")
        if name in ("residential", "open") or (name == "avenue" and rng.random() < 0.3):
            kind = rng.choice(("fence", "wall", "hedge", "fence", "wall", "none"))
            if kind in ("fence", "wall"):
                put_barrier(world, kind, x + side * 0.15, layout, rng.uniform(0.9, 2.1))
            elif kind == "hedge":
                put_hedge(world, x + side * 0.5, layout, rng.uniform(0.8, 2.0))
            x += side * rng.uniform(2.5, 7)
        put_houses(world, x, side, layout)
        if name in ("residential", "open", "square"):
            put_garden(world, x, side, layout)

    put_backdrop(world, layout)
    _cars_on_lanes(world, layout)
    _crossing_things(world, layout)
    if world.has("bridge") and not tunnel:
        put_bridge(world, layout)
    if tunnel:
        put_tunnel(world, layout)
    for _ in range(rng.randrange(0, 5)):
        z, x = rng.uniform(4.5, 30), rng.uniform(left, right)
        layout.patches.append((x, z, rng.uniform(0.4, 1.6), rng.uniform(0.6, 5), rng.uniform(0.72, 1.18)))
    _put_moving_void(world, layout)
    return layout


def _park_cars(world: World, x: float, side: int, layout: Layout, density: float) -> None:
    rng = world.rng
    z = rng.uniform(5, 14)
    yaw = 0.0 if side > 0 else math.pi
    while z < 75:
        if rng.random() < density and not is_blocked(layout, z - 2.5, z + 2.5):
            put_car(world, x + rng.uniform(-0.1, 0.1), z, yaw + rng.uniform(-0.02, 0.02))
        z += rng.uniform(5.4, 6.6)


def _cars_on_lanes(world: World, layout: Layout) -> None:
    """Traffic: cars ahead of us and towards us; a truck, a bus, riders where the scene has them."""
    rng = world.rng
    for feature, put in (("truck", put_truck), ("bus", put_bus)):
        if world.has(feature):
            x, direction = rng.choice(layout.lanes)
            low = 15 if abs(x) < 1.5 else 11
            for _ in range(4):
                z = rng.uniform(low, 42)
                if (layout.closed_m > z + 8) and put(world, x, z, 0.0 if direction > 0 else math.pi):
                    break
    for feature, put in (("motorcycle", put_motorcycle), ("rider", put_cyclist)):
        if world.has(feature):
            side = rng.choice((-1, 1))
            x = (layout.road[1] - 0.7) if side > 0 else (layout.road[0] + 0.7)
            for _ in range(4):
                z = rng.uniform(6.5, 22)
                if world.take(x, z, 0.9, 2.4):
                    put(world, x, z, rng.uniform(0.2, 0.5), True)
                    break
    for x, direction in layout.lanes:
        z = rng.uniform(9, 24) if abs(x) < 1.6 else rng.uniform(6, 16)
        busy = rng.uniform(0.25, 0.85)
        while z < 100:
            if rng.random() < busy and z + 3 < layout.closed_m:
                put_car(
                    world, x + rng.uniform(-0.25, 0.25), z, (0.0 if direction > 0 else math.pi) + rng.gauss(0, 0.03)
                )
            z += rng.uniform(7, 22)


def _crossing_things(world: World, layout: Layout) -> None:
    """Who uses the crossing street and the zebra; the lights that guard them."""
    rng = world.rng
    if layout.crossing:
        z0, z1 = layout.crossing
        for _ in range(rng.randrange(0, 3)):
            right = rng.random() < 0.5
            z = z0 + (z1 - z0) * (0.3 if right else 0.7)
            put_car(world, rng.uniform(-14, 14), z, math.pi / 2 if right else -math.pi / 2)
        for side in (-1, 1):
            x = (layout.road[1] + 0.6) if side > 0 else (layout.road[0] - 0.6)
            put_traffic_light(world, x, z0 - 0.6, rng.random() < 0.35)
            if rng.random() < 0.6:
                put_traffic_light(world, x, z1 + 0.8, rng.random() < 0.2)
    if layout.zebra:
        for _ in range(rng.randrange(1, 5)):
            x, z = rng.uniform(layout.road[0] - 1, layout.road[1] + 1), layout.zebra + rng.uniform(0.3, 3)
            if world.take(x, z, 0.6, 0.6):
                put_person(world, x, z)
        if not layout.crossing:
            for x in (layout.road[0] - 0.5, layout.road[1] + 0.5):
                if rng.random() < 0.7:
                    put_traffic_light(world, x, layout.zebra - 0.5, False)


def _put_people(world: World, x0: float, x1: float, layout: Layout) -> None:
    rng = world.rng
    low, high = sorted((x0, x1))
    if high - low < 0.8:
        return
    many = {"street": 6, "avenue": 6, "square": 9, "residential": 3, "open": 1}[layout.name]
    for _ in range(rng.randrange(0, many + 1)):
        x, z = rng.uniform(low + 0.3, high - 0.3), 5.5 + 40 * rng.random() ** 1.5
        if z > layout.closed_m or not world.take(x, z, 0.5, 0.5):
            continue
        put_person(world, x, z)
        if rng.random() < 0.35 and world.take(x + 0.55, z + 0.2, 0.4, 0.4):
            put_person(world, x + 0.55, z + 0.2)
    if world.has("bicycles"):
        z = rng.uniform(6, 20)
        for _ in range(rng.randrange(1, 5)):
            x = rng.uniform(low + 0.4, high - 0.4)
            if world.take(x, z, 0.8, 0.6) and not is_blocked(layout, z, z):
                put_cyclist(world, x, z, rng.uniform(0.35, 1.0), False)
            z += rng.uniform(0.7, 3)
    if rng.random() < 0.12 and (z := rng.uniform(7, 16)) and world.take(low + 0.6, z, 1, 1):
        put_motorcycle(world, low + 0.6, z, rng.uniform(0.5, 1.0), False)


def _put_furniture(world: World, x0: float, x1: float, side: int, layout: Layout) -> None:
    """Lamp posts, signs, poles; and along the same kerb the still things that are no class."""
    rng = world.rng
    kerb = x0 + side * 0.4
    z, step, height = rng.uniform(6, 20), rng.uniform(16, 28), rng.uniform(4.5, 8)
    while z < 110:
        if not is_blocked(layout, z - 1, z + 1):
            put_lamp_post(world, kerb, z, -side, height)
        z += step
    for _ in range(rng.randrange(1, 4)):
        z = rng.uniform(7, 38)
        if not is_blocked(layout, z - 0.5, z + 0.5):
            put_sign(world, kerb + side * rng.uniform(0, 0.4), z)
    if world.has("polegroup") and side > 0:
        put_polegroup(world, kerb, rng.uniform(8, 22), side)
    for _ in range(rng.randrange(0, 4)):
        x = kerb + side * rng.uniform(0.1, max(0.2, abs(x1 - x0) - 0.7))
        z = 5.5 + 24 * rng.random() ** 1.4
        if not is_blocked(layout, z - 1, z + 1):
            put_void(world, rng, STATIC, x, z)


def _put_moving_void(world: World, layout: Layout) -> None:
    """Dynamic things, caravans and trailers, where the scene has them.

    They come last and draw from a sequence of their own, so that --unseen_void changes nothing else in a scene.
    """
    rng = random.Random(f"moving/{world.options.seed}/{world.split}/{world.number}")
    left, right = layout.road
    if world.has("dynamic"):
        # Unseen families are larger, so one of them makes up for two.
        many = 1 if world.options.unseen_void else rng.randrange(1, 3)
        for _ in range(many):
            for _ in range(8):
                x = rng.choice((right + rng.uniform(0.2, 2.2), left - rng.uniform(0.2, 2.2), rng.uniform(left, right)))
                z = 5.5 + 14 * rng.random() ** 1.3
                if z < layout.closed_m and put_void(world, rng, DYNAMIC, x, z):
                    break
    for feature, label in (("caravan", CARAVAN), ("trailer", TRAILER)):
        if world.has(feature):
            for _ in range(12):
                x = rng.choice((right - 1.3, left + 1.3, right + 1.6))
                if put_void(world, rng, label, x, rng.uniform(11, 28)):
                    break
