"""Solids, a side view pulled to a width and seen in perspective, and the vehicles made of them."""

import dataclasses
import math
import random

from street_scenes.materials import BUS, CAR, CAR_COLORS, TRAIN, TRUCK, jitter, times
from street_scenes.world import FAR_M, Layout, World, is_blocked


@dataclasses.dataclass
class Solid:
    """A side profile (u = metres from the middle to the front, v = height), pulled to `width`.

    Each point of the ring names the material of the strip to the next point. `decals` lie on the sides, `front` and
    `rear` on the ends (w = metres across). From `belt` to `top` the width narrows to `taper`.
    """

    ring: list  # (u, v, material)
    width: float
    decals: list = dataclasses.field(default_factory=list)  # ([(u, v)], material)
    front: list = dataclasses.field(default_factory=list)  # ([(w, v)], material)
    rear: list = dataclasses.field(default_factory=list)
    wheels: list = dataclasses.field(default_factory=list)  # (u, radius)
    taper: float = 1.0
    belt: float = 1.0
    top: float = 1.5


def draw_solid(world: World, solid: Solid, x: float, z: float, yaw: float, colors: dict, label: int) -> None:
    """Paints a solid at (x, z); yaw 0 drives away from us, pi towards us."""
    canvas, light = world.canvas, world.light
    cos, sin = math.cos(yaw), math.sin(yaw)

    def place(u, v, w):
        narrow = 1 - (1 - solid.taper) * min(1.0, max(0.0, (v - solid.belt) / max(0.01, solid.top - solid.belt)))
        w = w * narrow
        return world.px(x + u * sin + w * cos, v, z + u * cos - w * sin)

    def shade(material, normal):
        color = colors[material]
        if material == "glass":  # mirrors some of the sky
            color = tuple(0.75 * c + 0.18 * s for c, s in zip(color, light.sky_low))
        if material in ("lamp", "tail") and light.lamps:
            return tuple(int(c) for c in color)
        return light.on(color, normal, z)

    half = solid.width / 2
    gx, gz = x + world.bend(z), z  # where it stands, seen from the camera at (0, 0)
    faces = []
    count = len(solid.ring)
    for i, (u0, v0, material) in enumerate(solid.ring):
        u1, v1, _ = solid.ring[(i + 1) % count]
        length = math.hypot(u1 - u0, v1 - v0)
        if material == "under" or length < 1e-6:
            continue
        nu, nv = (
            -(v1 - v0) / length,
            (u1 - u0) / length,
        )  # rings run rear bottom, up, over, front bottom: outside is left
        mu, mv = (u0 + u1) / 2, (v0 + v1) / 2
        wx, wz = gx + mu * sin, gz + mu * cos
        if nu * sin * wx + nv * (mv - world.eye) + nu * cos * wz >= 0:
            continue
        depth = wx * wx + wz * wz
        points = [place(u0, v0, -half), place(u1, v1, -half), place(u1, v1, half), place(u0, v0, half)]
        faces.append((depth, points, shade(material, (nu * sin, nv, nu * cos))))
    # Wheels seen from the end, under the body.
    if solid.wheels and abs(cos) > 0.5:
        radius = solid.wheels[0][1]
        u = min(p[0] for p in solid.wheels) if cos > 0 else max(p[0] for p in solid.wheels)
        low = min(v for _, v, _ in solid.ring)
        for w0 in (-half + 0.03, half - 0.25):
            tyre = [place(u, low + 0.05, w0), place(u, low + 0.05, w0 + 0.22), place(u, 0, w0 + 0.22), place(u, 0, w0)]
            canvas.poly(tyre, light.on((22, 22, 24), z=z), label)
    for _, points, color in sorted(faces, key=lambda face: -face[0]):
        canvas.poly(points, color, label)
    for ends, u, facing in (
        (solid.front, max(p[0] for p in solid.ring), 1),
        (solid.rear, min(p[0] for p in solid.ring), -1),
    ):
        if facing * (sin * (gx + u * sin) + cos * (gz + u * cos)) < 0:
            for shape, material in ends:
                canvas.poly(
                    [place(u, v, w) for w, v in shape], shade(material, (facing * sin, 0.1, facing * cos)), label
                )
    for facing in (-1, 1):
        nx, nz = facing * cos, -facing * sin
        if nx * (gx + nx * half) + nz * (gz + nz * half) >= 0:
            continue
        w, normal = facing * half, (nx, 0.15, nz)
        canvas.poly([place(u, v, w) for u, v, _ in solid.ring], shade(solid.ring[0][2], normal), label)
        for shape, material in solid.decals:
            canvas.poly([place(u, v, w) for u, v in shape], shade(material, normal), label)
        for u, radius in solid.wheels:
            for grow, tone in ((1.0, (24, 24, 26)), (0.55, (120, 120, 122)), (0.2, (60, 60, 62))):
                circle = [
                    (u + radius * grow * math.cos(a * math.pi / 5), radius + radius * grow * math.sin(a * math.pi / 5))
                    for a in range(10)
                ]
                canvas.poly([place(a, b, w) for a, b in circle], light.on(tone, normal, z), label)


def oblong(a0, b0, a1, b1) -> list:
    return [(a0, b0), (a1, b0), (a1, b1), (a0, b1)]


def box_solid(length, width, low, high, windows=0) -> Solid:
    h = length / 2
    ring = [(-h, low, "body"), (-h, high, "body"), (h, high, "body"), (h, low, "under")]
    solid = Solid(ring, width, belt=(low + high) / 2, top=high)
    if windows:
        step = (length - 0.6) / windows
        sill, head = low + (high - low) * 0.42, low + (high - low) * 0.85
        for i in range(windows):
            a = -h + 0.3 + i * step
            solid.decals.append((oblong(a + 0.08, sill, a + step - 0.08, head), "glass"))
    return solid


GLASS, LAMP, TAIL, PLATE = (40, 46, 54), (244, 240, 220), (190, 30, 26), (206, 206, 200)


def lamps_and_bumpers(width: float, low: float, high: float) -> tuple[list, list]:
    """Lamps, plate and bumper at front and rear, as decals."""
    w = width / 2
    lamp, bumper = high - 0.16, low + 0.16
    front = [(oblong(-w, low, w, bumper), "trim"), (oblong(-w * 0.5, bumper + 0.04, w * 0.5, lamp), "trim")]
    rear = [(oblong(-w, low, w, bumper), "trim")]
    for s in (-1, 1):
        front.append((oblong(s * w * 0.62, lamp - 0.02, s * w * 0.96, high - 0.02), "lamp"))
        rear.append((oblong(s * w * 0.7, lamp - 0.08, s * w * 0.97, high), "tail"))
    front.append((oblong(-0.25, bumper - 0.06, 0.25, bumper + 0.06), "plate"))
    rear.append((oblong(-0.25, bumper + 0.06, 0.25, bumper + 0.18), "plate"))
    return front, rear


def _car_solid(rng: random.Random) -> tuple[Solid, float]:
    """A passenger car and its length."""
    kind = rng.choice(("sedan", "hatch", "hatch", "wagon", "suv", "van"))
    length, height, belt, hood, trunk, rake = {
        "sedan": (4.6, 1.44, 0.95, 1.25, 0.75, 0.55),
        "hatch": (3.9, 1.48, 0.95, 0.95, 0.08, 0.3),
        "wagon": (4.7, 1.48, 0.95, 1.25, 0.06, 0.28),
        "suv": (4.5, 1.72, 1.08, 1.15, 0.06, 0.22),
        "van": (4.9, 1.95, 1.1, 0.6, 0.03, 0.1),
    }[kind]
    length, height = length * rng.uniform(0.95, 1.05), height * rng.uniform(0.97, 1.04)
    width, h = rng.uniform(1.7, 1.86), length / 2
    roof_back, roof_front = -h + trunk + rake, h - hood - 0.62
    nose = belt - 0.16
    ring = [
        (-h, 0.3, "body"), (-h - 0.04, 0.6, "body"), (-h + 0.04, belt, "body"), (-h + trunk, belt + 0.03, "glass"),
        (roof_back, height, "body"), (roof_front, height + 0.01, "glass"), (h - hood, belt, "body"),
        (h - 0.12, nose, "body"), (h, nose - 0.2, "body"), (h, 0.28, "under"),
    ]  # fmt: skip
    sill, head = belt + 0.03, height - 0.09
    a, b, c, d = -h + trunk + 0.14, roof_back + 0.1, roof_front - 0.06, h - hood - 0.1
    pillar = (b + c) / 2
    decals = [
        ([(a, sill), (b, head), (pillar - 0.06, head), (pillar - 0.06, sill)], "glass"),
        ([(pillar + 0.04, sill), (pillar + 0.04, head), (c, head), (d, sill)], "glass"),
        (oblong(-h, 0.28, h, 0.4), "trim"),
        (oblong(pillar - 0.02, 0.4, pillar, sill), "trim"),
        (oblong(pillar + 0.12, belt - 0.12, pillar + 0.3, belt - 0.08), "trim"),
    ]
    front, rear = lamps_and_bumpers(width, 0.3, nose - 0.02)
    rear = [(shape if name != "tail" else [(w, v + 0.12) for w, v in shape], name) for shape, name in rear]
    wheels = [(-h * 0.6, 0.32), (h * 0.62, 0.32)]
    return Solid(ring, width, decals, front, rear, wheels, 0.8, belt, height), length


def _car_colors(rng: random.Random) -> dict:
    body = jitter(rng, rng.choice(CAR_COLORS), 10)
    return {"body": body, "glass": GLASS, "trim": (34, 34, 36), "lamp": LAMP, "tail": TAIL, "plate": PLATE}


def put_car(world: World, x: float, z: float, yaw: float) -> bool:
    rng = world.rng
    solid, length = _car_solid(rng)
    across = abs(math.sin(yaw)) > 0.7
    size = (length + 0.6, 2.2) if across else (2.0, length + 0.8)
    if not world.take(x, z, *size):
        return False
    colors = _car_colors(rng)
    world.shadow(x, z, *((length, solid.width) if across else (solid.width, length)), 1.3)
    world.add(z, lambda: draw_solid(world, solid, x, z, yaw, colors, CAR))
    return True


def put_truck(world: World, x: float, z: float, yaw: float) -> bool:
    rng = world.rng
    box_length, box_height = rng.uniform(3.5, 7.5), rng.uniform(2.4, 3.6)
    length = box_length + 2.2
    if not world.take(x, z, 2.6, length + 1):
        return False
    body = jitter(rng, rng.choice((*CAR_COLORS, (200, 200, 196), (190, 150, 60), (60, 110, 80))), 10)
    cargo = jitter(
        rng, rng.choice(((210, 210, 206), (150, 150, 152), (90, 110, 130), (176, 60, 44), (110, 104, 84))), 12
    )
    base = {"glass": GLASS, "trim": (40, 40, 42), "lamp": LAMP, "tail": TAIL, "plate": PLATE}
    cab = Solid(
        [(-0.9, 0.5, "body"), (-0.9, 2.5, "body"), (0.6, 2.55, "glass"), (0.95, 1.5, "body"), (1.0, 0.45, "under")],
        2.2, [([(-0.35, 1.5), (-0.35, 2.3), (0.5, 2.3), (0.78, 1.5)], "glass")], wheels=[(0.3, 0.45)],
    )  # fmt: skip
    cab.front, _ = lamps_and_bumpers(2.2, 0.5, 1.0)
    load = box_solid(box_length, 2.35, 0.5, box_height)
    ribs = rng.randrange(0, 9)
    for i in range(ribs):
        u = -box_length / 2 + box_length * (i + 0.5) / ribs
        load.decals.append((oblong(u, 0.9, u + 0.06, box_height - 0.05), "rib"))
    if rng.random() < 0.4:
        load.decals.append((oblong(-box_length * 0.3, 1.5, box_length * 0.3, box_height - 0.5), "sign"))
    load.decals.append((oblong(-box_length / 2, 0.5, box_length / 2, 0.85), "trim"))
    load.wheels = [(-box_length * 0.3, 0.45)]
    load.rear = [(oblong(-0.03, 0.9, 0.03, box_height), "rib"), (oblong(-1.17, 0.5, 1.17, 0.85), "trim")]
    load.rear += [(oblong(s * 0.8, 0.58, s * 1.1, 0.76), "tail") for s in (-1, 1)]
    paint = {**base, "body": cargo, "rib": times(cargo, 0.75), "sign": jitter(rng, rng.choice(CAR_COLORS), 30)}
    forward = 1 if math.cos(yaw) > 0 else -1
    world.shadow(x, z, 2.3, length, 3)

    def draw():
        parts = [(z - forward * 1.1, load, paint), (z + forward * (box_length / 2 + 0.1), cab, {**base, "body": body})]
        for at, solid, colors in sorted(parts, key=lambda part: -part[0]):
            draw_solid(world, solid, x, at, yaw, colors, TRUCK)

    world.add(z, draw)
    return True


def put_bus(world: World, x: float, z: float, yaw: float) -> bool:
    rng = world.rng
    length, height = rng.uniform(9, 12.5), rng.uniform(2.8, 3.3)
    if not world.take(x, z, 2.8, length + 1):
        return False
    solid = box_solid(length, 2.5, 0.35, height, windows=rng.randrange(5, 9))
    h = length / 2
    body = jitter(
        rng,
        rng.choice(((190, 60, 50), (208, 170, 70), (60, 90, 150), (70, 130, 90), (206, 206, 202), (140, 142, 146))),
        12,
    )
    colors = {"body": body, "glass": GLASS, "trim": (40, 40, 42), "lamp": LAMP, "tail": TAIL, "plate": PLATE}
    colors["stripe"], colors["board"] = times(body, rng.choice((0.6, 1.35))), (230, 150, 40)
    solid.decals.append((oblong(-h, 0.8, h, 1.0), "stripe"))
    solid.decals.append((oblong(h - 1.5, 0.45, h - 0.5, height - 0.45), "glass"))
    solid.front, solid.rear = lamps_and_bumpers(2.5, 0.35, 1.0)
    solid.front += [
        (oblong(-1.15, 1.2, 1.15, height - 0.55), "glass"),
        (oblong(-0.8, height - 0.45, 0.8, height - 0.15), "board"),
    ]
    solid.rear += [(oblong(-1.0, 1.6, 1.0, height - 0.5), "glass"), (oblong(-0.7, 0.7, 0.7, 1.4), "trim")]
    solid.wheels = [(-h * 0.55, 0.48), (h * 0.6, 0.48)]
    world.shadow(x, z, 2.5, length, 3)
    world.add(z, lambda: draw_solid(world, solid, x, z, yaw, colors, BUS))
    return True


def put_train(world: World, x: float, z: float, layout: Layout) -> None:
    """A tram on its track, several cars long."""
    rng = world.rng
    cars, length = rng.randrange(2, 4), rng.uniform(9, 12)
    body = jitter(rng, rng.choice(((180, 50, 44), (214, 190, 90), (206, 206, 204), (60, 110, 140), (90, 140, 100))), 12)
    colors = {"body": body, "glass": GLASS, "trim": (36, 36, 38), "lamp": LAMP, "tail": TAIL}
    colors["stripe"], colors["board"], colors["roof"] = jitter(rng, (200, 200, 196), 30), (235, 170, 60), (96, 98, 100)
    yaw = 0.0 if x > 0 else math.pi
    z = z + length / 2
    for i in range(cars):
        at = z + i * (length + 0.3)
        if is_blocked(layout, at - length / 2, at + length / 2) and layout.closed_m < FAR_M:
            break
        h = length / 2
        ring = [
            (-h, 0.3, "body"),
            (-h + 0.12, 3.0, "roof"),
            (-h + 0.5, 3.4, "roof"),
            (h - 0.5, 3.4, "roof"),
            (h - 0.12, 3.0, "body"),
            (h, 0.3, "under"),
        ]
        solid = Solid(ring, 2.4)
        windows = 6
        step = (length - 0.8) / windows
        for k in range(windows):
            a = -h + 0.4 + k * step
            door = k % 3 == 1
            solid.decals.append((oblong(a + 0.1, 0.45 if door else 1.4, a + step - 0.1, 2.6), "glass"))
        solid.decals += [
            (oblong(-h, 1.0, h, 1.2), "stripe"),
            (oblong(-h, 0.05, h, 0.5), "trim"),
            (oblong(-h + 0.2, 3.0, h - 0.2, 3.12), "stripe"),
        ]
        end = [
            (oblong(-1.0, 1.35, 1.0, 2.6), "glass"),
            (oblong(-0.7, 2.68, 0.7, 2.95), "board"),
            (oblong(-1.2, 0.1, 1.2, 0.5), "trim"),
            (oblong(-1.2, 1.0, 1.2, 1.15), "stripe"),
        ]
        solid.front = end + [(oblong(s * 0.7, 0.62, s * 1.0, 0.85), "lamp") for s in (-1, 1)]
        solid.rear = end + [(oblong(s * 0.7, 0.62, s * 1.0, 0.85), "tail") for s in (-1, 1)]
        world.take(x, at, 2.6, length)
        world.shadow(x, at, 2.4, length, 3.4)
        world.add(at, lambda at=at, solid=solid: draw_solid(world, solid, x, at, yaw, colors, TRAIN))

    def wire():
        canvas = world.canvas
        color = world.light.on((60, 60, 62), z=30)
        canvas.line([world.px(x, 5.4, d) for d in (6, 12, 25, 50, 100)], 1, color, None)

    world.add(5.0, wire)
