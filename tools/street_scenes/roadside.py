"""What stands along the street: posts, lamps, signs and lights, then trees, hedges and gardens."""

import math
import random

from PIL import Image, ImageChops

from street_scenes.figures import Pen
from street_scenes.materials import (
    FOLIAGE,
    POLE,
    POLEGROUP,
    TRAFFIC_LIGHT,
    TRAFFIC_SIGN,
    VEGETATION,
    foliage_stamps,
    jitter,
    times,
)
from street_scenes.world import Layout, World, is_blocked


def put_traffic_light(world: World, x: float, z: float, over: bool) -> None:
    """A signal on its pole, at the kerb or on an arm over the lane."""
    rng = world.rng
    if z < 4.5:
        return
    lamp, back = rng.randrange(3), rng.random() < 0.25
    inward = -1 if x > 0 else 1
    color = rng.choice(((44, 48, 46), (60, 76, 62), (150, 152, 150)))
    world.take(x, z, 0.3, 0.3)

    def draw():
        pen = Pen(world, x, z, POLE)
        top = 5.6 if over else 3.4
        pen.line([(0, 0), (0, top)], 0.16 if over else 0.12, (104, 106, 106))
        spots = [(0.0, 2.35)]
        if over:
            pen.line([(0, top), (inward * 3.2, top + 0.2)], 0.12, (104, 106, 106))
            spots.append((inward * 2.8, 4.9))
        for a, v in spots:
            pen.rect(a - 0.19, v, a + 0.19, v + 1.0, color, TRAFFIC_LIGHT)
            if back:
                continue
            for i, (on, off) in enumerate(
                (((70, 230, 120), (20, 50, 34)), ((250, 190, 50), (60, 50, 24)), ((250, 60, 44), (64, 24, 22)))
            ):
                spot, radius = pen.at(a, v + 0.18 + 0.32 * i), max(1.0, 0.12 * pen.scale)
                world.canvas.disc(*spot, radius, radius, on if i == lamp else pen.lit(off), None)

    world.add(z, draw)


def put_sign(world: World, x: float, z: float) -> None:
    """One or two traffic signs on a pole; some turn their grey backs to us."""
    rng = world.rng
    seed, back = rng.getrandbits(32), rng.random() < 0.25
    world.take(x, z, 0.3, 0.3)

    def draw():
        own = random.Random(seed)
        pen = Pen(world, x, z, POLE)
        top = own.uniform(2.4, 3.2)
        pen.line([(0, 0), (0, top)], 0.07, (140, 142, 142))
        pen.label = TRAFFIC_SIGN
        for v in (top - 0.1, top - 0.85)[: own.randrange(1, 3)]:
            r, kind = own.uniform(0.28, 0.38), own.choice(("ban", "order", "warn", "stop", "right", "board", "park"))
            red, blue, white, yellow = (190, 34, 36), (36, 76, 160), (228, 228, 224), (232, 186, 46)
            if back:
                pen.disc(0, v, r, (128, 130, 130))
            elif kind in ("ban", "order"):
                pen.disc(0, v, r, red if kind == "ban" else blue)
                pen.disc(0, v, r * 0.7, white if kind == "ban" else blue, None)
                if kind == "order":
                    pen.line([(0, v - r * 0.5), (0, v + r * 0.5)], r * 0.25, white, None)
                elif own.random() < 0.5:
                    pen.rect(-r * 0.4, v - r * 0.12, r * 0.4, v + r * 0.12, (30, 30, 30), None)
            elif kind == "warn":
                pen.poly([(-r * 1.1, v - r * 0.8), (r * 1.1, v - r * 0.8), (0, v + r)], red)
                pen.poly([(-r * 0.65, v - r * 0.55), (r * 0.65, v - r * 0.55), (0, v + r * 0.5)], white, None)
            elif kind == "stop":
                pen.poly(
                    [
                        (r * math.cos(math.pi * (i + 0.5) / 4), v + r * math.sin(math.pi * (i + 0.5) / 4))
                        for i in range(8)
                    ],
                    red,
                )
                pen.rect(-r * 0.6, v - r * 0.15, r * 0.6, v + r * 0.15, white, None)
            elif kind == "right":
                pen.poly([(-r, v), (0, v + r), (r, v), (0, v - r)], white)
                pen.poly([(-r * 0.7, v), (0, v + r * 0.7), (r * 0.7, v), (0, v - r * 0.7)], yellow, None)
            elif kind == "board":
                pen.rect(-r * 2, v - r * 0.7, r * 2, v + r * 0.7, own.choice((blue, yellow, white)))
                pen.rect(-r * 1.6, v - r * 0.15, r * 1.2, v + r * 0.15, own.choice((white, (30, 30, 30))), None)
            else:
                pen.rect(-r, v - r, r, v + r, blue)
                pen.rect(-r * 0.4, v - r * 0.6, -r * 0.1, v + r * 0.6, white, None)
                pen.rect(-r * 0.1, v, r * 0.4, v + r * 0.6, white, None)

    world.add(z, draw)


def put_lamp_post(world: World, x: float, z: float, inward: int, height: float) -> None:
    world.take(x, z, 0.3, 0.3)
    on = world.light.lamps

    def draw():
        pen = Pen(world, x, z, POLE)
        color = (112, 114, 114)
        pen.line([(0, 0), (0, height)], 0.15, color)
        pen.line([(0, height), (inward * 0.5, height + 0.25), (inward * 1.4, height + 0.3)], 0.09, color)
        spot, s = pen.at(inward * 1.6, height + 0.25), pen.scale
        world.canvas.disc(
            *spot, max(1, 0.4 * s), max(1, 0.12 * s), (255, 226, 160) if on else pen.lit((170, 170, 166)), POLE
        )

    world.add(z, draw)


def put_polegroup(world: World, x: float, z: float, side: int) -> None:
    seed = world.rng.getrandbits(32)

    def draw():
        own = random.Random(seed)
        for i in range(own.randrange(4, 8)):
            pen = Pen(world, x + side * i * 0.22, z + (i % 2) * 0.1, POLEGROUP)
            pen.line([(0, 0), (0, own.uniform(2.5, 5))], own.uniform(0.1, 0.18), jitter(own, (122, 122, 120), 14))

    world.add(z, draw)


def put_tree_row(world: World, x: float, layout: Layout, density: float) -> None:
    rng = world.rng
    step = rng.uniform(6, 11)
    height, color = rng.uniform(6, 12), rng.choice(FOLIAGE)
    z = rng.uniform(5, 14)
    while z < 110:
        if rng.random() < density and not is_blocked(layout, z - 1, z + 1):
            put_tree(world, x + rng.uniform(-0.2, 0.2), z, height * rng.uniform(0.8, 1.2), color)
        z += step * rng.uniform(0.9, 1.1)


def put_tree(world: World, x: float, z: float, height: float, color: tuple) -> None:
    rng = world.rng
    world.take(x, z, 0.6, 0.6)
    world.shadow(x, z, 0.4, 0.4, height)
    crown = height * rng.uniform(0.55, 0.75)
    middle_x, middle_z = x - _lean(world, 0) * height, z - _lean(world, 2) * height
    turns = (0.0, 0.8, 1.6, 2.4, 3.1, 3.9, 4.7, 5.5)
    r = crown * 0.45
    world.shadows.append([(middle_x + r * math.cos(a), middle_z + r * math.sin(a)) for a in turns])
    seed, color = rng.getrandbits(32), jitter(rng, color, 12)

    def draw():
        own, canvas, s = random.Random(seed), world.canvas, world.f / z
        bark = world.light.on(jitter(own, (82, 68, 56), 12), z=z)
        foot, top = world.px(x, 0, z), world.px(x, height * 0.55, z)
        thick = max(0.16, height * 0.035) * s
        canvas.line([foot, top], thick, bark, VEGETATION)
        blobs = 3 if crown * s < 40 else 6
        order = sorted((own.uniform(0.5, 0.92), own.uniform(-0.28, 0.28), own.uniform(0.45, 0.7)) for _ in range(blobs))
        for up, across, size in [(0.68, 0.0, 0.85), *order]:
            at = world.px(x, height * up, z)
            draw_leaves(world, own, at[0] + across * crown * s, at[1], crown * size * s, crown * size * s, color, z)

    world.add(z, draw)


def draw_leaves(world, rng, x, y, width, height, color, z, label=VEGETATION) -> None:
    """One leafy blob around a canvas position; sizes in canvas px."""
    width, height = max(3, int(width)), max(3, int(height))
    left, top = int(x - width / 2), int(y - height / 2)
    if left > world.canvas.width or top > world.canvas.height or left + width < 0 or top + height < 0:
        return
    stamps = foliage_stamps()
    shade, alpha = stamps[rng.randrange(len(stamps))]
    size = (width, height)
    alpha = alpha.resize(size, Image.Resampling.BILINEAR)
    lit = ImageChops.multiply(alpha, shade.resize(size, Image.Resampling.BILINEAR))
    world.canvas.stamp((left, top), world.light.on(times(color, 0.35), z=z), alpha, label)
    world.canvas.stamp((left, top), world.light.on(times(color, 1.75), (0, 0.9, -0.4), z), lit, None)


def put_hedge(world: World, x: float, layout: Layout, height: float) -> None:
    rng = world.rng
    color, z = jitter(rng, rng.choice(FOLIAGE)), rng.uniform(4, 7)
    while z < 60:
        if not is_blocked(layout, z - 1, z + 1):
            seed = rng.getrandbits(32)

            def draw(z=z, seed=seed):
                s, at = world.f / z, world.px(x, height * 0.45, z)
                draw_leaves(world, random.Random(seed), *at, 1.9 * s, height * 1.5 * s, color, z)

            world.add(z, draw)
        z += 1.0 + z * 0.03


def put_garden(world: World, x: float, side: int, layout: Layout) -> None:
    rng = world.rng
    for _ in range(rng.randrange(6, 15) if layout.name != "open" else rng.randrange(14, 28)):
        z = rng.uniform(8, 100)
        if is_blocked(layout, z - 2, z + 2):
            continue
        tree_x = x + side * rng.uniform(-2, 8) if layout.name != "open" else x + side * rng.uniform(-1, 16)
        if rng.random() < 0.6:
            put_tree(world, tree_x, z, rng.uniform(5, 13), rng.choice(FOLIAGE))
        else:
            seed, color, size = rng.getrandbits(32), jitter(rng, rng.choice(FOLIAGE)), rng.uniform(0.8, 2.4)

            def draw(z=z, tree_x=tree_x, seed=seed, color=color, size=size):
                at, s = world.px(tree_x, size * 0.4, z), world.f / z
                draw_leaves(world, random.Random(seed), *at, size * 1.7 * s, size * 1.3 * s, color, z)

            world.add(z, draw)


def _lean(world: World, axis: int) -> float:
    """How far along an axis a shadow falls per metre of height."""
    direction = world.light.direction
    return direction[axis] / max(0.35, direction[1])
