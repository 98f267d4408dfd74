"""Paints the sky and the street plane: strips, marks, joints; then texture, shadows and haze over all of it."""

import math

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from street_scenes.canvas import SUPERSAMPLING
from street_scenes.materials import GROUND, PARKING, RAIL_TRACK, ROAD, SIDEWALK, TERRAIN, fractal_noise, jitter, times
from street_scenes.world import FAR_M, NEAR_M, Layout, World, city_style, is_blocked


def draw_sky(world: World) -> None:
    canvas, light, rng = world.canvas, world.light, world.rng
    height = max(2, math.ceil(world.horizon))
    rows = np.linspace(0, 1, 32, dtype=np.float32)[:, None, None] ** 0.8
    sky = np.array(light.sky_top, np.float32) * (1 - rows) + np.array(light.sky_low, np.float32) * rows
    noise = fractal_noise(128, 2, 7)
    y, x = rng.randrange(128), rng.randrange(128)
    cloud = np.roll(noise, (y, x), (0, 1))[::4, ::1][:, :96, None]
    cover = np.clip((cloud - 0.62 + 0.3 * light.clouds) * 4, 0, 1) * light.clouds
    pale = np.array(light.sky_low, np.float32) * np.float32(0.98) + 8
    mixed = np.broadcast_to(sky, (32, 96, 3)) * (1 - cover) + pale * (0.82 + 0.22 * cloud) * cover
    picture = Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))
    canvas.rgb.paste(picture.resize((canvas.width, height), Image.Resampling.BILINEAR), (0, 0))


_GROUND = {  # strip -> id; colours are drawn per scene
    "road": ROAD,
    "rail": RAIL_TRACK,
    "parking": PARKING,
    "verge": TERRAIN,
    "terrain": TERRAIN,
    "sidewalk": SIDEWALK,
    "ground": GROUND,
    "water": GROUND,
}


_SAMPLES = (2.5, 4, 5, 6.5, 8, 10, 13, 17, 22, 28, 36, 46, 60, 80, 110, 160)


def draw_ground(world: World, layout: Layout) -> None:
    """The street plane: strips, marks, joints; then texture, shadows and haze over all of it at once."""
    canvas, rng, light = world.canvas, world.rng, world.light
    up = (0.0, 1.0, 0.0)
    style = city_style(world)
    tone = style.uniform(66, 124) + rng.uniform(-14, 14)
    warm = style.uniform(-6, 8)
    road = (tone + warm, tone + 2, tone + 4 - warm)
    walk_tone = style.uniform(104, 158) + rng.uniform(-14, 14)
    walk = style.choice(((0, -2, -4), (14, -2, -12), (4, 3, 4), (24, -6, -18)))
    grass = jitter(rng, rng.choice(((88, 112, 52), (108, 118, 62), (126, 112, 76), (72, 98, 48))), 10)
    odd = jitter(rng, rng.choice(((150, 132, 118), (120, 112, 110), (164, 148, 120), (108, 100, 96))), 8)
    colors = {
        "road": road,
        "rail": jitter(rng, rng.choice(((112, 100, 90), (96, 94, 92), (120, 124, 92))), 8),
        "parking": tuple(c + d for c, d in zip(road, rng.choice(((26, 14, 10), (34, 26, 22), (14, 6, 2))))),
        "verge": grass,
        "terrain": grass,
        "sidewalk": tuple(walk_tone + c for c in walk),
        "ground": odd,
        "water": jitter(rng, (76, 92, 96), 10),
    }
    paint = {kind: light.on(color, up) for kind, color in colors.items()}

    top = int(world.horizon)
    full = [(0, top), (canvas.width, top), (canvas.width, canvas.height), (0, canvas.height)]
    canvas.poly(full, paint["sidewalk"], SIDEWALK)
    for side, kind in layout.outer.items():
        _band(world, layout.road[0] if side < 0 else layout.road[1], side * 90, paint[kind], _GROUND[kind])
    for strip in layout.strips[1:]:
        _band(world, strip.x0, strip.x1, paint[strip.kind], _GROUND[strip.kind])
    if layout.crossing:
        z0, z1 = layout.crossing
        canvas.poly(_on_ground(world, [(-90, z0), (90, z0), (90, z1), (-90, z1)]), paint["road"], ROAD)
    strip = layout.strips[0]
    _band(world, strip.x0, strip.x1, paint["road"], ROAD)
    _road_surface(world, layout, road)
    _kerbs_and_joints(world, layout, colors)

    # Texture from world coordinates, so that it shrinks with distance, times the shadows.
    height, width = world.options.height, world.options.width
    rows = np.arange(top // SUPERSAMPLING + 1, height)
    z = world.f / SUPERSAMPLING * world.eye / (rows + 0.5 - world.horizon / SUPERSAMPLING)
    z = np.clip(z, 1, 400).astype(np.float32)[:, None]
    across = ((np.arange(width, dtype=np.float32) + 0.5 - world.cx / SUPERSAMPLING) / (world.f / SUPERSAMPLING))[
        None, :
    ]
    x = across * z - np.float32(0.5 * world.curve) * z * z
    fine, coarse = fractal_noise(256, 64, 5, 0.9), fractal_noise(256, 4, 6, 0.7)
    turn = rng.randrange(256)
    u, v = (x * 22).astype(np.int32) + turn, (z * 22).astype(np.int32)
    detail = fine[v & 255, u & 255] - 0.5
    broad = coarse[(v >> 2) & 255, (u >> 3) & 255] - 0.5
    fading = np.clip(14 / z, 0, 1)
    texture = 222 + (rng.uniform(50, 110) * detail + rng.uniform(20, 60) * broad) * fading
    texture = Image.fromarray(np.clip(texture, 0, 255).astype(np.uint8))
    size = (canvas.width, canvas.height - (top // SUPERSAMPLING + 1) * SUPERSAMPLING)
    texture = texture.resize(size, Image.Resampling.BILINEAR)
    cast = _shadow_map(world, size, canvas.height - size[1])
    shaded = ImageChops.multiply(texture, cast)
    box = (0, canvas.height - size[1], canvas.width, canvas.height)
    region = ImageChops.multiply(canvas.rgb.crop(box), Image.merge("RGB", [shaded] * 3))
    # Haze by row: below the horizon each row has one depth.
    fog = (255 * (1 - np.array([math.exp(-d / light.haze_m) for d in z[:, 0].tolist()]))).astype(np.uint8)
    fog = Image.fromarray(fog[:, None]).resize(size, Image.Resampling.NEAREST)
    region.paste(tuple(int(c) for c in light.haze), (0, 0), fog)
    canvas.rgb.paste(region, box)
    strip = (0, top, canvas.width, box[1])
    if strip[3] > strip[1]:
        canvas.rgb.paste(tuple(int(c) for c in light.haze), strip)


def _shadow_map(world: World, size: tuple, top: int) -> Image.Image:
    """Shadows on the ground as a factor, drawn coarse so that their edges are soft; L, `size`."""
    step = 4
    small = Image.new("L", (size[0] // step + 1, size[1] // step + 1), 255)
    pen = ImageDraw.Draw(small)
    for polygon in world.shadows:
        points = [world.px(x, 0, max(z, NEAR_M)) for x, z in polygon]
        pen.polygon([(x / step, (y - top) / step) for x, y in points], fill=int(255 * (1 - world.light.shadow)))
    return small.resize(size, Image.Resampling.BILINEAR)


def _on_ground(world: World, points: list) -> list:
    return [world.px(x, 0, z) for x, z in points]


def _band(world, x0, x1, color, label, z0=NEAR_M, z1=FAR_M) -> None:
    """A strip of ground along the street."""
    samples = [z0, *(z for z in _SAMPLES if z0 < z < z1), z1]
    points = [world.px(x0, 0, z) for z in samples] + [world.px(x1, 0, z) for z in reversed(samples)]
    world.canvas.poly(points, color, label)


def _road_surface(world: World, layout: Layout, color: tuple) -> None:
    """Repairs, manholes, lane marks, zebra crossing: all of it road."""
    rng, canvas, light = world.rng, world.canvas, world.light
    up = (0.0, 1.0, 0.0)
    for x, z, width, length, factor in layout.patches:
        x = min(max(x, layout.road[0] + width / 2), layout.road[1] - width / 2)
        corners = [(x - width / 2, z), (x + width / 2, z), (x + width / 2, z + length), (x - width / 2, z + length)]
        canvas.poly(_on_ground(world, corners), light.on(times(color, factor), up), None)
    for _ in range(rng.randrange(3)):
        x, z = rng.uniform(layout.road[0] + 0.5, layout.road[1] - 0.5), rng.uniform(5, 20)
        at, s = world.px(x, 0, z), world.f / z
        canvas.disc(*at, 0.32 * s, 0.32 * s * world.eye / z, light.on(times(color, 0.6), up), None)
    white = light.on(times((228, 228, 222), rng.uniform(0.62, 1.0)), up)
    directions = {}
    for x, direction in layout.lanes:
        directions.setdefault(direction, []).append(x)
    width = (layout.road[1] - layout.road[0]) / len(layout.lanes)
    worn, edge = rng.random() < 0.12, rng.random() < 0.4
    for i in range(1, len(layout.lanes)):
        x = layout.road[0] + i * width
        border = i == len(directions.get(-1, ()))
        if worn:
            continue
        if border and len(layout.lanes) > 2:
            for shift in (-0.12, 0.12):
                _mark(world, x + shift, 0.1, NEAR_M, 90, white, layout)
        else:
            z, dash = rng.uniform(2.5, 6), rng.choice((3.0, 4.5))
            while z < 90:
                _mark(world, x, 0.13, z, z + dash, white, layout)
                z += dash * (2 if border else 3)
    if edge:
        _mark(world, layout.road[0] + 0.2, 0.12, NEAR_M, 100, white, layout)
        _mark(world, layout.road[1] - 0.2, 0.12, NEAR_M, 100, white, layout)
    if layout.zebra:
        x = layout.road[0] + 0.3
        while x < layout.road[1] - 0.4:
            corners = [
                (x, layout.zebra),
                (x + 0.5, layout.zebra),
                (x + 0.5, layout.zebra + 3.4),
                (x, layout.zebra + 3.4),
            ]
            canvas.poly(_on_ground(world, corners), white, None)
            x += 1.0
    for x, direction in layout.lanes:
        if direction > 0 and rng.random() < 0.2:
            z = rng.uniform(8, 22)
            arrow = [
                (x - 0.07, z),
                (x + 0.07, z),
                (x + 0.07, z + 2.4),
                (x + 0.3, z + 2.4),
                (x, z + 4),
                (x - 0.3, z + 2.4),
                (x - 0.07, z + 2.4),
            ]
            canvas.poly(_on_ground(world, arrow), white, None)


def _mark(world, x, width, z0, z1, color, layout) -> None:
    blocked = [layout.crossing] if layout.crossing else []
    if layout.zebra:
        blocked.append((layout.zebra - 0.8, layout.zebra + 4))
    pieces = [(z0, z1)]
    for low, high in blocked:
        pieces = [p for a, b in pieces for p in ((a, min(b, low)), (max(a, high), b)) if p[1] - p[0] > 0.2]
    for a, b in pieces:
        _band(world, x - width / 2, x + width / 2, color, None, a, b)


def _kerbs_and_joints(world: World, layout: Layout, colors: dict) -> None:
    """Kerbstones, paving joints, parking bays, rails, ripples, and islands of odd ground."""
    rng, canvas, light = world.rng, world.canvas, world.light
    up = (0.0, 1.0, 0.0)
    kerb = light.on(jitter(rng, (168, 164, 156), 14), up)

    def piecewise(x0, x1, color, label):
        spans = [(NEAR_M, FAR_M)]
        if layout.crossing:
            spans = [(NEAR_M, max(NEAR_M + 0.1, layout.crossing[0])), (layout.crossing[1], FAR_M)]
        for z0, z1 in spans:
            _band(world, x0, x1, color, label, z0, z1)

    for strip in layout.strips[1:]:
        side = 1 if strip.x0 > 0 else -1
        near, far = (strip.x0, strip.x1) if side > 0 else (strip.x1, strip.x0)
        if strip.kind == "sidewalk":
            piecewise(near, near + side * 0.16, kerb, SIDEWALK)
            joint = light.on(times(colors["sidewalk"], 0.82), up)
            step, z = rng.choice((0.8, 1.2, 2.0)), 3.0
            while z < 16:
                if not is_blocked(layout, z, z):
                    canvas.line(_on_ground(world, [(near, z), (far, z)]), 1, joint, None)
                z += step
            if rng.random() < 0.5:
                for part in (0.33, 0.66):
                    x = near + (far - near) * part
                    piecewise(x - 0.02, x + 0.02, joint, None)
        elif strip.kind == "parking":
            line = light.on((214, 214, 208), up)
            z = rng.uniform(3, 7)
            while z < 60:
                if not is_blocked(layout, z, z):
                    canvas.line(
                        _on_ground(world, [(near, z), (far, z)]), 0.12 * world.f / z * world.eye / z * 2, line, None
                    )
                z += 5.5
            piecewise(near - 0.06, near + 0.06, line, None)
            piecewise(far, far + side * 0.14, kerb, SIDEWALK)
        elif strip.kind == "rail":
            steel, sleeper = light.on((150, 150, 152), up), light.on(times(colors["rail"], 0.72), up)
            middle = (near + far) / 2
            z = 3.0
            while z < 34:
                if not is_blocked(layout, z, z):
                    _band(world, middle - 1.2, middle + 1.2, sleeper, None, z, z + 0.26)
                z += 0.75
            for shift in (-0.72, 0.72):
                _band(world, middle + shift - 0.05, middle + shift + 0.05, steel, None)
        elif strip.kind in ("ground", "water"):
            tone = light.on(times(colors[strip.kind], 0.84 if strip.kind == "ground" else 1.35), up)
            z, row = 3.0, 0
            while z < 30:
                if not is_blocked(layout, z, z):
                    if strip.kind == "water":
                        a = strip.x0 + rng.random() * (strip.x1 - strip.x0) * 0.8
                        canvas.line(
                            _on_ground(world, [(a, z), (min(a + rng.uniform(0.5, 2.5), strip.x1), z)]), 1, tone, None
                        )
                    else:  # a herringbone, unlike the pavement's joints
                        step = (strip.x1 - strip.x0) / 4
                        for i in range(4):
                            a = strip.x0 + i * step
                            canvas.line(
                                _on_ground(world, [(a, z), (a + step / 2, z + 0.5), (a + step, z)]), 1, tone, None
                            )
                z += 0.55 + 0.04 * z
                row += 1

    if world.has("island"):
        z, length = rng.uniform(7, 16), rng.uniform(4, 9)
        x = rng.choice((layout.road[0], layout.road[1], layout.road[0] - 0.5)) + rng.uniform(-0.6, 0.6)
        width = rng.uniform(1.2, 2.6)
        ring = [
            (x + width / 2 * math.cos(a / 6 * math.pi), z + length / 2 * (1 + math.sin(a / 6 * math.pi)))
            for a in range(12)
        ]
        inner = [(x + (px - x) * 0.86, z + length / 2 + (pz - z - length / 2) * 0.93) for px, pz in ring]
        canvas.poly(_on_ground(world, ring), kerb, GROUND)
        canvas.poly(_on_ground(world, inner), light.on(times(colors["ground"], rng.uniform(0.8, 1.15)), up), GROUND)
        tone = light.on(times(colors["ground"], 0.7), up)
        for i in range(1, 8):
            zi = z + length * i / 8
            half = width * 0.42 * math.sqrt(max(0.0, 1 - (2 * i / 8 - 1) ** 2))
            canvas.line(_on_ground(world, [(x - half, zi), (x + half, zi)]), 1, tone, None)
