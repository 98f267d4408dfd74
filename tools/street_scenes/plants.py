"""Trees, hedges and bushes, from leafy blobs."""

import math
import random

from PIL import Image, ImageChops

from street_scenes.ids import VEGETATION
from street_scenes.palette import FOLIAGE, jitter, times
from street_scenes.street import Layout, is_blocked
from street_scenes.textures import foliage_stamps
from street_scenes.world import World


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
