"""Solids: a side view pulled to a width, seen in perspective. Vehicles, and void that looks a little like them."""

import dataclasses
import math

from street_scenes.world import World


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


def box_solid(length, width, low, high, material="body", windows=0, taper=1.0) -> Solid:
    h = length / 2
    ring = [(-h, low, material), (-h, high, material), (h, high, material), (h, low, "under")]
    solid = Solid(ring, width, taper=taper, belt=(low + high) / 2, top=high)
    if windows:
        step = (length - 0.6) / windows
        sill, head = low + (high - low) * 0.42, low + (high - low) * 0.85
        for i in range(windows):
            a = -h + 0.3 + i * step
            solid.decals.append((oblong(a + 0.08, sill, a + step - 0.08, head), "glass"))
    return solid
