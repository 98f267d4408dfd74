"""Rows of houses: fronts with windows, drawn flat and mapped into the picture in perspective."""

import random

from PIL import Image, ImageChops, ImageDraw

from street_scenes.materials import BUILDING, BUILDING_COLORS, STATIC, grain_texture, jitter, times
from street_scenes.world import Layout, World, city_style


def put_houses(world: World, x: float, side: int, layout: Layout) -> None:
    """A row of houses along one side, from the camera to the horizon."""
    rng, style = world.rng, city_style(world)
    palette = style.sample(BUILDING_COLORS, 6)
    low, high = style.uniform(6, 9), style.uniform(12, 24)
    name = layout.name
    z = rng.uniform(3, 9) if name == "street" else rng.uniform(4, 16)
    skip = {"street": 0.06, "avenue": 0.12, "residential": 0.35, "open": 0.75, "square": 0.2}[name]
    if name == "residential":
        low, high = 5, 10
    while z < 120:
        length = rng.uniform(8, 20)
        if layout.crossing and z < layout.crossing[1] and z + length > layout.crossing[0] - 1:
            if layout.crossing[0] - 1 - z > 5:
                length = layout.crossing[0] - 1 - z
            else:
                z = layout.crossing[1] + 1
                continue
        if z + length > layout.closed_m:
            break
        if rng.random() < skip:
            z += length * rng.uniform(0.5, 1.0)
            continue
        height = rng.uniform(low, high)
        color = jitter(rng, rng.choice(palette), 14)
        _house(world, x + side * rng.uniform(0, 0.6), side, z, length, height, color)
        _house_shadow(world, x, side, z, length, height)
        z += length + (rng.choice((0, 0, 0, rng.uniform(1, 4))) if name != "residential" else rng.uniform(2, 6))


def _house_shadow(world: World, x: float, side: int, z: float, length: float, height: float) -> None:
    """The shadow a house throws into the street, where the sun stands behind it."""
    sx, sy, sz = world.light.direction
    if world.light.shadow > 0.3 and sx * side > 0:
        reach = min(height / sy, 14 / max(0.05, abs(sx)))
        dx, dz = -sx * reach, -sz * reach
        world.shadows.append([(x, z), (x, z + length), (x + dx, z + length + dz), (x + dx, z + dz)])


def _house(world: World, x: float, side: int, z: float, length: float, height: float, color: tuple) -> None:
    rng = world.rng
    texture_seed, roof = rng.getrandbits(32), rng.random()
    scaffold = world.has("scaffold") and rng.random() < 0.25
    void = {"family": "scaffold_sheet", "id": STATIC, "seen": True} if scaffold else None

    def draw():
        light, canvas, px = world.light, world.canvas, world.px
        number, canvas.instance = canvas.instance, 0  # the number is the sheet's, not the house's
        z1, own = z + length, random.Random(texture_seed)
        middle = z + length * 0.4
        roof_color = jitter(own, own.choice(((92, 52, 42), (70, 66, 64), (110, 70, 56), (60, 62, 70))), 8)
        if roof < 0.65:
            top, back = height + own.uniform(1.5, 4), x + side * 4
            eave = [px(x, height, z), px(x, height, z1), px(back, top, z1), px(back, top, z)]
            canvas.poly(eave, light.on(roof_color, (-side * 0.6, 0.8, 0), middle), BUILDING)
            gable = [px(x, height, z), px(back, top, z), px(x + side * 8, height, z)]
            canvas.poly(gable, light.on(times(color, 0.92), (0, 0, -1), z), BUILDING)
        # The wall that faces us, seen where the next house nearer is lower or missing.
        far = x + side * 9
        front = light.on(times(color, 0.95), (0, 0, -1), z)
        corners = [px(x, height, z), px(far, height, z), px(far, 0, z), px(x, 0, z)]
        canvas.poly(corners, front, BUILDING)
        if abs(corners[0][1] - corners[3][1]) > 24:
            glass = light.on((52, 60, 70), (0, 0, -1), z)
            for floor in range(int(height / 3)):
                for column in range(2):
                    wx, wy = x + side * (2 + 3.2 * column), 1.0 + 3 * floor
                    canvas.poly(
                        [px(wx, wy, z), px(wx + side, wy, z), px(wx + side, wy + 1.5, z), px(wx, wy + 1.5, z)],
                        glass,
                        None,
                    )
        quad = [px(x, height, z), px(x, height, z1), px(x, 0, z1), px(x, 0, z)]
        per_metre = min(26.0, max(3.0, world.f / max(z, 6)))
        texture = _facade(own, light, color, (-side, 0, 0), length, height, per_metre, middle)
        if scaffold:
            # A sheet over the scaffolding: a house's size and place, but cloth.
            sheet = _cloth(own, light, (-side, 0, 0), texture.size, middle)
            canvas.textured(texture, quad, BUILDING)
            canvas.instance = number
            high, low = height * 0.95, height * 0.12
            canvas.textured(sheet, [px(x, high, z), px(x, high, z1), px(x, low, z1), px(x, low, z)], STATIC)
        else:
            canvas.textured(texture, quad, BUILDING)

    world.add(z + length, draw, void)


def _facade(rng, light, color, normal, length, height, per_metre, z) -> Image.Image:
    """A house front, drawn flat: floors of windows over a ground floor of doors and shops."""
    width_px = max(8, min(420, int(length * per_metre * 0.8)))
    height_px = max(8, min(420, int(height * per_metre)))
    sx, sy = width_px / length, height_px / height

    def lit(c):
        return light.on(c, normal, z)

    texture = Image.new("RGB", (width_px, height_px), lit(color))
    pen = ImageDraw.Draw(texture)

    def rect(a, b, w, h, fill):  # metres; b is the height above ground of the lower edge
        left, top = a * sx, height_px - (b + h) * sy
        pen.rectangle((left, top, max(left, (a + w) * sx - 1), max(top, height_px - b * sy - 1)), fill=fill)

    storey, bay = rng.uniform(2.7, 3.6), rng.uniform(1.9, 3.4)
    wide, tall = bay * rng.uniform(0.35, 0.75), storey * rng.uniform(0.42, 0.68)
    frame = lit(times((225, 222, 215), rng.uniform(0.5, 1)))
    glass_tone = rng.uniform(0.6, 1.5)
    trim = lit(times(color, rng.choice((0.72, 0.85, 1.2))))
    shutters = (
        lit(jitter(rng, rng.choice(((70, 90, 70), (110, 70, 50), (80, 90, 110))))) if rng.random() < 0.25 else None
    )
    bricks = sy > 9 and rng.random() < 0.35
    if bricks:
        mortar = lit(times(color, 0.86))
        step = max(3, int(0.28 * sy))
        for row in range(0, height_px, step):
            pen.line((0, row, width_px, row), fill=mortar)
    floors, columns = max(1, int(height / storey)), max(1, int(length / bay))
    margin = (length - columns * bay) / 2
    ground = lit(times(color, rng.uniform(0.6, 1.05)))
    rect(0, 0, length, storey, ground)
    rect(0, storey - 0.15, length, 0.3, trim)
    rect(0, height - 0.45, length, 0.45, trim)
    lamp = (250, 214, 140)
    shop = rng.random() < 0.45
    awning = (
        lit(jitter(rng, rng.choice(((150, 40, 40), (40, 80, 60), (60, 70, 120), (190, 170, 120))))) if shop else None
    )
    for column in range(columns):
        a = margin + column * bay
        if shop:
            bright = lamp if light.lamps else lit(times((70, 80, 90), rng.uniform(0.7, 1.6)))
            rect(a + 0.15, 0.5, bay - 0.3, 1.9, bright)
            rect(a, 2.4, bay, 0.5, awning)
        elif rng.random() < 0.25:
            rect(a + bay * 0.25, 0, min(1.2, bay * 0.5), 2.2, lit(jitter(rng, (90, 62, 46), 24)))
        else:
            rect(a + (bay - wide) / 2, 1.0, wide, tall * 0.9, lit(times((56, 64, 74), glass_tone)))
        for floor in range(1, floors):
            b = floor * storey + 0.8
            if b + tall > height - 0.3:
                break
            left = a + (bay - wide) / 2
            tone = glass_tone * rng.uniform(0.75, 1.25)
            pane = lit(times((58, 66, 78), tone))
            if light.lamps and rng.random() < 0.35:
                pane = (lamp[0], int(lamp[1] * rng.uniform(0.8, 1)), int(lamp[2] * rng.uniform(0.6, 1)))
            elif rng.random() < 0.12:
                pane = lit((180, 176, 168))  # curtains
            if sx > 4:
                rect(left - 0.1, b - 0.12, wide + 0.2, tall + 0.24, frame)
            rect(left, b, wide, tall, pane)
            if sx > 8:
                rect(left + wide / 2 - 0.04, b, 0.08, tall, frame)
            if shutters and sx > 5:
                rect(left - 0.5, b - 0.05, 0.38, tall + 0.1, shutters)
                rect(left + wide + 0.12, b - 0.05, 0.38, tall + 0.1, shutters)
    grain = grain_texture().crop((0, 0, min(256, width_px), min(256, height_px))).resize(texture.size)
    return ImageChops.multiply(texture, grain)


def _cloth(rng, light, normal, size, z) -> Image.Image:
    """A building sheet: pale green or blue cloth with folds and seams."""
    color = jitter(rng, rng.choice(((140, 176, 150), (130, 156, 186), (206, 204, 200))), 8)
    texture = Image.new("RGB", size, light.on(color, normal, z))
    pen = ImageDraw.Draw(texture)
    seam, fold = light.on(times(color, 0.75), normal, z), light.on(times(color, 0.9), normal, z)
    for column in range(0, size[0], max(3, size[0] // 9)):
        pen.line((column, 0, column + size[0] // 30, size[1]), fill=fold, width=max(1, size[0] // 40))
    for row in range(0, size[1], max(3, size[1] // 5)):
        pen.line((0, row, size[0], row), fill=seam)
    return texture
