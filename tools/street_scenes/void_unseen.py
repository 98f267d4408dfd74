"""Families of dynamic, caravan and trailer that training never has: other shapes, and patterns of their own."""

import math

from street_scenes.figures import Pen
from street_scenes.materials import CARAVAN, DYNAMIC, TRAILER, jitter, times
from street_scenes.vehicles import Solid, box_solid, draw_solid, oblong
from street_scenes.void import family


@family(DYNAMIC, (2.2, 0.8, 1.8), seen=False)
def _horse(world, rng, x, z):
    pen = Pen(world, x, z, DYNAMIC, rng.uniform(0.75, 1.0))
    color = jitter(rng, rng.choice(((96, 62, 38), (60, 52, 46), (190, 180, 164), (140, 90, 50))), 8)
    for a in (-0.75, -0.6, 0.42, 0.6):
        pen.poly([(a - 0.1, 0.9), (a + 0.1, 0.9), (a + 0.05, 0), (a - 0.05, 0)], times(color, 0.8))
    pen.poly(
        [(-0.9, 0.95), (-0.95, 1.35), (-0.6, 1.5), (0.4, 1.42), (0.72, 1.5), (0.76, 1.0), (0.3, 0.84), (-0.5, 0.86)],
        color,
    )
    pen.poly([(0.4, 1.38), (0.72, 1.3), (1.1, 1.85), (0.92, 2.05)], color)
    pen.poly([(0.88, 2.08), (1.12, 2.0), (1.42, 1.66), (1.3, 1.56), (1.02, 1.76)], times(color, 1.1))
    pen.line([(0.42, 1.42), (0.88, 2.08)], 0.14, (30, 26, 24))
    pen.poly([(-0.9, 1.4), (-1.15, 1.1), (-1.05, 0.5), (-0.92, 1.0)], (34, 28, 26))
    for _ in range(7):  # dappled
        pen.disc(rng.uniform(-0.7, 0.5), rng.uniform(1.0, 1.35), rng.uniform(0.05, 0.11), times(color, 1.45), None)


@family(DYNAMIC, (0.9, 0.9, 1.2), seen=False)
def _delivery_robot(world, rng, x, z):
    pen = Pen(world, x, z, DYNAMIC)
    pale, dark = (
        jitter(rng, (224, 224, 220), 8),
        jitter(rng, rng.choice(((200, 90, 30), (40, 40, 44), (30, 120, 150))), 10),
    )
    for a in (-0.4, 0.0, 0.4):
        pen.disc(a, 0.16, 0.17, (30, 30, 32))
    pen.poly([(-0.55, 0.22), (0.55, 0.22), (0.5, 0.85), (0.3, 1.0), (-0.3, 1.0), (-0.5, 0.85)], pale)
    for i in range(5):
        for j in range(3):
            if (i + j) % 2:
                pen.rect(-0.5 + i * 0.2, 0.28 + j * 0.19, -0.3 + i * 0.2, 0.47 + j * 0.19, dark, None)
    pen.line([(0.4, 0.95), (0.42, 1.5)], 0.04, (30, 30, 30))
    pen.poly([(0.42, 1.5), (0.72, 1.42), (0.42, 1.34)], (220, 120, 30))


@family(DYNAMIC, (1.3, 1.3, 1.3), seen=False)
def _giant_ball(world, rng, x, z):
    pen = Pen(world, x, z, DYNAMIC)
    one, two = (
        jitter(rng, rng.choice(((220, 60, 90), (60, 180, 200), (240, 200, 60), (120, 80, 190))), 10) for _ in range(2)
    )
    r = rng.uniform(0.4, 0.65)
    for i in range(5):
        k = r * (1 - i * 0.2)
        pen.disc(
            0.12 * (r - k), r + 0.15 * (r - k), k, times(two if i % 2 else one, 0.8 + 0.08 * i), -1 if i == 0 else None
        )


@family(DYNAMIC, (1.2, 0.8, 3.0), seen=False)
def _air_dancer(world, rng, x, z):
    pen = Pen(world, x, z, DYNAMIC)
    color, other = jitter(rng, rng.choice(((230, 90, 30), (70, 190, 90), (220, 60, 160))), 10), (240, 236, 90)
    pen.rect(-0.3, 0, 0.3, 0.3, (50, 50, 54))
    bend, points = rng.uniform(-0.5, 0.5), []
    for i in range(6):
        points.append((bend * math.sin(i * 0.9), 0.3 + i * 0.5))
    for i in range(5):
        (a, v), (b, w) = points[i], points[i + 1]
        wide = 0.3 - 0.03 * i
        pen.poly([(a - wide, v), (a + wide, v), (b + wide, w), (b - wide, w)], color)
        pen.poly(
            [(a - wide, v), (a, v + 0.25), (a + wide, v), (a + wide, v + 0.14), (a, v + 0.4), (a - wide, v + 0.14)],
            other,
            None,
        )
    a, v = points[4]
    pen.line([(a, v - 0.1), (a - 0.7, v + 0.45)], 0.16, color)
    pen.line([(a, v - 0.1), (a + 0.7, v + 0.35)], 0.16, color)


@family(CARAVAN, (2.2, 4.2, 2.3), seen=False)
def _caravan_teardrop(world, rng, x, z):
    body = jitter(rng, rng.choice(((120, 190, 180), (226, 150, 120), (200, 200, 120))), 8)
    h, ring = 2.0, []
    for i in range(9):
        turn = math.pi * i / 8
        ring.append((-h * math.cos(turn) * (1.0 if i < 4 else 0.95), 0.45 + 1.75 * math.sin(turn) ** 0.8, "body"))
    ring[-1] = (ring[-1][0], ring[-1][1], "under")
    solid = Solid(ring, 1.9, wheels=[(0.1, 0.34)])
    for u in (-1.3, -0.65, 0.0, 0.65, 1.2):
        for v in (0.75, 1.2, 1.65):
            if v < 1.5 or abs(u) < 0.9:
                solid.decals.append(
                    ([(u + 0.16 * math.cos(a), v + 0.16 * math.sin(a)) for a in (0, 1, 2, 3.1, 4.2, 5.2)], "dot")
                )
    solid.rear = [
        ([(w + 0.14 * math.cos(a), v + 0.14 * math.sin(a)) for a in (0, 1, 2, 3.1, 4.2, 5.2)], "dot")
        for w in (-0.6, 0.0, 0.6)
        for v in (0.7, 1.15, 1.6)
    ]
    draw_solid(world, solid, x, z, rng.uniform(-0.5, 0.5), {"body": body, "dot": (244, 240, 226)}, CARAVAN)


@family(CARAVAN, (2.3, 4.0, 3.0), seen=False)
def _caravan_wagon(world, rng, x, z):
    body, roof = jitter(rng, rng.choice(((110, 50, 90), (50, 110, 60), (180, 70, 40))), 8), (226, 196, 110)
    solid = box_solid(3.8, 2.1, 0.7, 2.1)
    for part in (solid.rear,):
        for i in range(6):
            for j in range(4):
                if (i + j) % 2:
                    part.append((oblong(-1.05 + i * 0.35, 0.7 + j * 0.35, -0.7 + i * 0.35, 1.05 + j * 0.35), "check"))
    for i in range(10):
        for j in range(4):
            if (i + j) % 2:
                solid.decals.append(
                    (oblong(-1.9 + i * 0.38, 0.7 + j * 0.35, -1.52 + i * 0.38, 1.05 + j * 0.35), "check")
                )
    solid.wheels = [(-1.2, 0.5), (1.2, 0.5)]
    draw_solid(world, solid, x, z, rng.uniform(-0.15, 0.15), {"body": body, "check": roof}, CARAVAN)
    pen = Pen(world, x, z - 1.9, CARAVAN)
    arch = [(1.15 * math.cos(math.pi * i / 8), 2.1 + 0.75 * math.sin(math.pi * i / 8)) for i in range(9)]
    pen.poly(arch, roof)


@family(TRAILER, (2.2, 4.6, 1.9), seen=False)
def _trailer_boat(world, rng, x, z):
    hull = jitter(rng, rng.choice(((230, 230, 226), (40, 70, 120), (170, 40, 40))), 8)
    ring = [(-2.1, 0.9, "hull"), (-2.1, 1.7, "deck"), (1.7, 1.85, "deck"), (2.5, 1.95, "hull"), (1.4, 0.75, "under")]
    solid = Solid(ring, 1.9, wheels=[(-0.4, 0.32)])
    for i in range(9):  # a zigzag along the hull
        u = -2.0 + i * 0.42
        solid.decals.append(
            ([(u, 1.2), (u + 0.21, 1.45), (u + 0.42, 1.2), (u + 0.42, 1.32), (u + 0.21, 1.57), (u, 1.32)], "zigzag")
        )
    solid.rear = [
        ([(-0.9, 1.65), (0.9, 1.65), (0.6, 1.0), (0.0, 0.85), (-0.6, 1.0)], "zigzag"),
        (oblong(-0.15, 0.5, 0.15, 1.5), "motor"),
    ]
    colors = {"hull": hull, "deck": (176, 136, 90), "zigzag": times(hull, 0.55), "motor": (30, 30, 32)}
    draw_solid(world, solid, x, z, rng.uniform(-0.3, 0.3), colors, TRAILER)
    mast = Pen(world, x, z, TRAILER)
    mast.line([(0, 1.8), (0, 4.2)], 0.08, (200, 200, 196))


@family(TRAILER, (2.0, 4.0, 2.2), seen=False)
def _trailer_tank(world, rng, x, z):
    pen = Pen(world, x, z, TRAILER)
    one, two = (
        jitter(rng, (196, 200, 204), 8),
        jitter(rng, rng.choice(((210, 110, 30), (30, 110, 120), (150, 40, 110))), 10),
    )
    for a in (-0.7, 0.7):
        pen.rect(a - 0.16, 0, a + 0.16, 0.62, (26, 26, 28))
    side = -1 if x > 0 else 1
    for back in (0.5, 0.34, 0.17):
        pen.disc(side * back, 1.35, 0.92, times(one if back != 0.34 else two, 0.7))
    for i, r in enumerate((0.92, 0.74, 0.56, 0.38, 0.2)):
        pen.disc(0, 1.35, r, two if i % 2 else one, -1 if i == 0 else None)
