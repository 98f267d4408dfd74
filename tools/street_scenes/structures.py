"""Walls, fences, crash barriers, bridges, tunnels, and what closes the view."""

import functools
import math
import random

from PIL import Image, ImageChops, ImageDraw

from street_scenes.materials import (
    BRIDGE,
    BUILDING,
    BUILDING_COLORS,
    FENCE,
    FOLIAGE,
    GUARD_RAIL,
    TERRAIN,
    TUNNEL,
    UNLABELED,
    VEGETATION,
    WALL,
    grain_texture,
    jitter,
    times,
)
from street_scenes.roadside import draw_leaves
from street_scenes.world import FAR_M, Layout, World, box_front, is_blocked


def put_barrier(world: World, kind: str, x: float, layout: Layout, height: float) -> None:
    """A wall or a fence along the street, in segments."""
    rng = world.rng
    seed, segment = rng.getrandbits(32), 6.0
    style = rng.choice(("bars", "mesh", "planks") if kind == "fence" else ("brick", "concrete", "plaster"))
    colors = {
        "bars": ((40, 44, 42), (70, 90, 70), (150, 152, 150)),
        "mesh": ((110, 116, 112), (60, 84, 64)),
        "planks": ((120, 90, 62), (150, 130, 106), (96, 96, 92)),
        "brick": ((140, 80, 62), (156, 112, 86)),
        "concrete": ((140, 138, 132), (112, 111, 108)),
        "plaster": ((196, 186, 164), (168, 150, 130), (150, 160, 160)),
    }
    color = jitter(rng, rng.choice(colors[style]))
    side = 1 if x > 0 else -1
    z = rng.uniform(3, 8)
    while z < 70:
        if not is_blocked(layout, z, z + segment) and rng.random() < 0.9:

            def draw(z=z):
                own = random.Random(seed)
                quad = [
                    world.px(x, height, z),
                    world.px(x, height, z + segment),
                    world.px(x, 0, z + segment),
                    world.px(x, 0, z),
                ]
                per_metre = min(30.0, max(3.0, world.f / z))
                size = (max(6, min(200, int(segment * per_metre * 0.7))), max(4, min(120, int(height * per_metre))))
                lit = functools.partial(world.light.on, normal=(-side, 0, 0), z=z + 2)
                texture = _barrier_texture(own, style, lit, color, size, segment, height)
                world.canvas.textured(texture, quad, FENCE if kind == "fence" else WALL)

            world.add(z + segment, draw)
        z += segment


def _barrier_texture(rng, style, lit, color, size, length, height) -> Image.Image:
    width, tall = size
    if style in ("bars", "mesh"):
        texture = Image.new("RGBA", size, (*lit(color), 0 if style == "bars" else 70))
        pen = ImageDraw.Draw(texture)
        solid = (*lit(color), 255)
        step = max(3, int(width / length * 0.16))
        for a in range(0, width, step):
            pen.line((a, 0, a, tall), fill=solid, width=max(1, step // 3))
            if style == "mesh":
                pen.line((a, 0, a + tall, tall), fill=solid)
        for b in (0, tall - 2) if style == "bars" else range(0, tall, max(3, step)):
            pen.line((0, b, width, b), fill=solid, width=max(1, tall // 24))
        for a in range(0, width + 1, max(4, width // 3)):
            pen.line((a, 0, a, tall), fill=solid, width=max(2, width // 50))
        return texture
    texture = Image.new("RGB", size, lit(color))
    pen = ImageDraw.Draw(texture)
    dark, pale = lit(times(color, 0.78)), lit(times(color, 1.12))
    if style == "planks":
        for a in range(0, width, max(3, int(width / length * 0.18))):
            pen.line((a, 0, a, tall), fill=dark)
    elif style == "brick":
        row = max(3, int(tall / height * 0.12))
        for i, b in enumerate(range(0, tall, row)):
            pen.line((0, b, width, b), fill=pale)
            for a in range((i % 2) * row, width, row * 2):
                pen.line((a, b, a, b + row), fill=pale)
    else:
        for a in range(0, width, max(4, width // 3)):
            pen.line((a, 0, a, tall), fill=dark)
        if rng.random() < 0.4:
            for _ in range(3):
                a, b = rng.randrange(width), rng.randrange(tall)
                tag = tuple(rng.randrange(30, 220) for _ in range(3))
                pen.line(
                    (a, b, a + width // 6, b + tall // 5, a + width // 4, b - tall // 6),
                    fill=tag,
                    width=max(1, tall // 12),
                )
    pen.rectangle((0, 0, width, max(1, tall // 14)), fill=pale)
    return ImageChops.multiply(texture, grain_texture().resize(size))


def put_crash_barrier(world: World, x: float, layout: Layout) -> None:
    """A crash barrier along an open road: a steel band on posts."""
    z = world.rng.uniform(4, 8)
    end = z + world.rng.uniform(20, 40)
    while z < end:
        if not is_blocked(layout, z, z + 4):

            def draw(z=z):
                canvas, px, on = world.canvas, world.px, world.light.on
                normal = (-1 if x > 0 else 1, 0.2, 0)
                for post in (z + 3.5, z + 1.5):
                    canvas.line(
                        [px(x, 0, post), px(x, 0.6, post)],
                        0.1 * world.f / post,
                        on((96, 98, 100), normal, post),
                        GUARD_RAIL,
                    )
                for low, high, tone in ((0.45, 0.58, 150), (0.58, 0.64, 96), (0.64, 0.78, 178)):
                    band = [px(x, high, z), px(x, high, z + 4), px(x, low, z + 4), px(x, low, z)]
                    canvas.poly(band, on((tone, tone + 2, tone + 4), normal, z), GUARD_RAIL)

            world.add(z + 4, draw)
        z += 4


def put_backdrop(world: World, layout: Layout) -> None:
    """What closes the view: far houses and trees in the haze."""
    rng = world.rng
    seed = rng.getrandbits(32)

    def draw():
        own, canvas = random.Random(seed), world.canvas
        z = FAR_M
        x = -75.0
        green = 0.75 if layout.name in ("open", "residential") else 0.45
        while x < 75:
            width, height = own.uniform(6, 18), own.uniform(5, 16)
            if own.random() < green:
                color = jitter(own, own.choice(FOLIAGE))
                s, at = world.f / z, world.px(x + width / 2 - world.bend(z), height * 0.4, z)
                draw_leaves(world, own, *at, width * 1.5 * s, height * 1.3 * s, color, z)
                canvas.poly(
                    box_front(world, x, x + width, 0, height * 0.35, z),
                    world.light.on(times(color, 0.7), z=z),
                    VEGETATION,
                )
            else:
                color = world.light.on(jitter(own, own.choice(BUILDING_COLORS)), z=z)
                canvas.poly(box_front(world, x, x + width, 0, height, z), color, BUILDING)
            x += width * 0.8
        if world.has("unlabeled"):
            # Too far and too small to tell: what an annotator leaves without a name.
            x, z2 = own.uniform(-14, 14), 110.0
            color = world.light.on((104, 100, 96), z=z2)
            for _ in range(3):
                canvas.poly(box_front(world, x, x + own.uniform(2, 5), 0, own.uniform(1.5, 4), z2), color, UNLABELED)
                x += 2

    world.add(FAR_M + 10, draw)


def put_bridge(world: World, layout: Layout) -> None:
    """A bridge over the street: a deck with a railing, on two piers."""
    rng = world.rng
    z, low, thick = rng.uniform(20, 42), rng.uniform(4.6, 6), rng.uniform(1.0, 1.9)
    left, right = layout.strips[0].x0 - rng.uniform(4, 7), layout.strips[0].x1 + rng.uniform(4, 7)
    color, piers = jitter(rng, rng.choice(((140, 138, 134), (120, 96, 80), (104, 120, 112)))), rng.random() < 0.7
    seams = rng.randrange(6, 16)
    world.shadows.append([(-60, z), (60, z), (60, z + 7), (-60, z + 7)])

    def draw():
        canvas, on = world.canvas, world.light.on
        under, face = on(times(color, 0.4), (0, -1, 0), z), on(color, (0, 0, -1), z)
        bend, far = world.bend(z), world.bend(z + 7)
        deck = [
            world.px(-60 - bend, low, z),
            world.px(60 - bend, low, z),
            world.px(60 - far, low, z + 7),
            world.px(-60 - far, low, z + 7),
        ]
        canvas.poly(deck, under, BRIDGE)
        canvas.poly(box_front(world, -60, 60, low, low + thick, z), face, BRIDGE)
        canvas.poly(box_front(world, -60, 60, low + thick * 0.82, low + thick, z), on(times(color, 1.2), z=z), BRIDGE)
        dark = on(times(color, 0.75), z=z)
        for i in range(seams):
            x = -30 + 60 * i / seams
            canvas.line([world.px(x, low, z), world.px(x, low + thick, z)], 1, dark, None)
        for x in range(-30, 31, 2):
            canvas.line(
                [world.px(x, low + thick, z), world.px(x, low + thick + 0.9, z)], 0.06 * world.f / z, dark, BRIDGE
            )
        canvas.line(
            [world.px(-60, low + thick + 0.9, z), world.px(60, low + thick + 0.9, z)], 0.1 * world.f / z, dark, BRIDGE
        )
        if piers:
            for x in (left, right):
                canvas.poly(box_front(world, x - 0.7, x + 0.7, 0, low, z + 1), on(times(color, 0.9), z=z), BRIDGE)
                canvas.poly(box_front(world, x + 0.3, x + 0.7, 0, low, z + 1), on(times(color, 0.7), z=z), BRIDGE)

    world.add(z + 7, draw)


def put_tunnel(world: World, layout: Layout) -> None:
    """The street runs into a hill: a portal wall, a dark mouth, trees above."""
    rng = world.rng
    z, seed = layout.closed_m, rng.getrandbits(32)
    left, right = layout.road[0] - 1.2, layout.road[1] + 1.2
    color = jitter(rng, rng.choice(((150, 146, 138), (126, 106, 92))))

    def draw():
        own, canvas, on = random.Random(seed), world.canvas, world.light.on
        middle, half = (left + right) / 2, (right - left) / 2
        canvas.poly(box_front(world, -80, 80, 0, 9, z + 1), on((96, 110, 62), (0, 0.6, -0.8), z), TERRAIN)
        for _ in range(26):
            at, s = world.px(own.uniform(-45, 45) - world.bend(z), own.uniform(7, 12), z + 1), world.f / z
            size = own.uniform(4, 8) * s
            draw_leaves(world, own, *at, size * 1.3, size, jitter(own, own.choice(FOLIAGE)), z)
        canvas.poly(box_front(world, left - 5, right + 5, 0, 7.5, z), on(color, (0, 0, -1), z), WALL)
        rim, mouth = [], []
        for i in range(13):
            turn = math.pi * i / 12
            for arc, grow in ((rim, 1.0), (mouth, 0.88)):
                x, y = middle - half * grow * math.cos(turn), 2.6 + 3.4 * grow * math.sin(turn)
                arc.append(world.px(x - world.bend(z), y, z))
        for arc, grow in ((rim, 1.0), (mouth, 0.88)):
            arc.insert(0, world.px(middle - half * grow - world.bend(z), 0, z))
            arc.append(world.px(middle + half * grow - world.bend(z), 0, z))
        canvas.poly(rim, on(times(color, 1.25), (0, 0, -1), z), TUNNEL)
        canvas.poly(mouth, on((22, 22, 24), z=z * 0.5), TUNNEL)
        for i in range(4):
            lamp = world.px(middle - world.bend(z), 5.2 - i * 0.5, z)
            canvas.disc(*lamp, 2, 1, (236, 210, 150), None)

    world.add(z + 2, draw)
