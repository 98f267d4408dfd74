"""A scene in the making: the city's camera, the light, the street's layout, and where a point in metres falls.

x runs across from our lane's middle, y up, z ahead, in metres. `World` holds the canvas and the queue of what waits to
be drawn; what moves with the camera (bonnet, frame and border, the geometry void) is the `Camera`'s.
"""

import dataclasses
import functools
import math
import random

import numpy as np

from street_scenes.canvas import SUPERSAMPLING, Canvas
from street_scenes.materials import EGO, OUT_OF_ROI, RECTIFICATION
from street_scenes.options import CITIES, Options, has_feature


@dataclasses.dataclass(frozen=True)
class Camera:
    """A city's camera: fixed for all its scenes, as one drive with one mounting."""

    focal: float  # px
    center: float  # share of the width
    horizon: float  # share of the height
    eye_m: float
    geometry: np.ndarray  # uint8 [H, W]: EGO, RECTIFICATION, OUT_OF_ROI or 0
    bonnet: tuple  # colour


@functools.lru_cache(maxsize=64)
def city_camera(options: Options, city: str) -> Camera:
    rng = random.Random(f"camera/{options.seed}/{city}")
    height, width = options.height, options.width
    focal = rng.uniform(0.80, 0.95) * math.sqrt(width * height * 2)
    geometry = np.zeros((height, width), np.uint8)
    rows = np.arange(height, dtype=np.float64)[:, None] + 0.5
    columns = np.arange(width, dtype=np.float64)[None, :] + 0.5

    # Out of roi: a frame, 1.5 % of the picture; the sides first, what is left at the top.
    total = 0.015 * height * width
    side = int(total * 0.5 / (2 * height) + 0.5)
    top = int(max(0.0, total - side * 2 * height) / width + 0.5)
    frame = (columns < side) | (columns > width - side) | (rows < top)

    # Rectification border: slivers at both sides that widen towards the corners below, 1.3 %.
    bow = (rows / height) ** rng.uniform(1.2, 2.0)
    lean = rng.uniform(0.35, 0.65)
    area = float(bow.sum()) / height
    left = 0.0135 * width * lean / area * bow + side
    right = 0.0135 * width * (1 - lean) / area * bow + side
    # In small pictures sub-pixel widths are kept on average by a fixed dither along the edge.
    dither = ((np.arange(height) * 0.6180339887 % 1.0)[:, None] - 0.5) * (width < 400)
    border = (columns + dither < left) | (width - columns + dither < right)

    # The bonnet: a flat dome, 4.7 % before the frame is cut from it.
    bulge = rng.uniform(2.2, 3.6)
    offset = rng.uniform(-0.06, 0.06)
    across = np.abs((columns / width - 0.5 - offset) / 0.56)
    dome = np.clip(1 - across**bulge, 0, None)
    dome = dome * (0.0475 * width / dome.sum())
    ego = rows > height * (1 - dome)

    geometry[ego] = EGO
    geometry[border] = RECTIFICATION
    geometry[frame] = OUT_OF_ROI
    geometry.setflags(write=False)
    shade = rng.choice(((26, 28, 32), (34, 35, 37), (22, 26, 36), (44, 45, 47)))
    return Camera(focal, rng.uniform(0.48, 0.52), rng.uniform(0.40, 0.45), rng.uniform(1.2, 1.45), geometry, shade)


@dataclasses.dataclass
class Light:
    """The light of a scene; colours are factors or 0..255, directions point to the sun (x right, y up, z ahead)."""

    name: str
    ambient: tuple
    sun: tuple
    direction: tuple
    haze: tuple
    haze_m: float  # distance after which 1/e of a thing's own colour is left
    sky_top: tuple
    sky_low: tuple
    clouds: float
    shadow: float  # share of light that a cast shadow takes away
    lamps: bool
    noise: float  # grey levels

    def on(self, color: tuple, normal: tuple = (0.0, 0.25, -0.97), z: float = 0.0) -> tuple:
        """A surface's colour: ambient and sun light by its normal, haze by its depth."""
        dx, dy, dz = self.direction
        facing = max(0.0, normal[0] * dx + normal[1] * dy + normal[2] * dz)
        # A share of the sky's light by how far the surface looks up, or flat things would look pasted on.
        up = 0.88 + 0.12 * normal[1]
        own = math.exp(-z / self.haze_m)
        return tuple(
            int(min(255.0, max(0.0, c * (a * up + s * facing) * own + h * (1 - own))))
            for c, a, s, h in zip(color, self.ambient, self.sun, self.haze)
        )


def scene_light(rng: random.Random, options: Options, split: str, number: int) -> Light:
    """Draws the light; kinds take turns, so that a small set has all of them."""
    order = ("clear", "overcast", "low sun", "clear", "dusk", "overcast", "fog", "clear")
    shift = random.Random(f"light/{options.seed}/{split}").randrange(8)
    name = order[(number * 3 + number // 8 + shift) % 8]
    turn = rng.uniform(0, 2 * math.pi)
    steep = {"clear": rng.uniform(0.5, 1.1), "low sun": rng.uniform(0.2, 0.4), "dusk": 0.2}.get(name, 1.2)
    direction = (math.cos(steep) * math.cos(turn), math.sin(steep), math.cos(steep) * math.sin(turn))

    def near(color, spread=8):
        shift = rng.uniform(-spread, spread)
        return tuple(c + shift + rng.uniform(-spread, spread) / 2 for c in color)

    if name == "clear":
        return Light(
            name, (0.55, 0.58, 0.64), (0.62, 0.58, 0.5), direction, near((196, 206, 216)), rng.uniform(220, 600),
            near((96, 140, 196), 16), near((186, 206, 222), 12), rng.uniform(0, 0.8), rng.uniform(0.42, 0.58), False,
            rng.uniform(1.5, 4),
        )  # fmt: skip
    if name == "low sun":
        return Light(
            name, (0.46, 0.46, 0.52), (0.75, 0.6, 0.42), direction, near((214, 196, 170)), rng.uniform(120, 300),
            near((140, 164, 196), 16), near((236, 214, 178), 12), rng.uniform(0.1, 0.7), rng.uniform(0.4, 0.55), False,
            rng.uniform(2, 4),
        )  # fmt: skip
    if name == "dusk":
        return Light(
            name, (0.36, 0.36, 0.44), (0.12, 0.1, 0.08), direction, near((120, 112, 122)), rng.uniform(120, 300),
            near((78, 88, 118), 14), near((170, 140, 132), 16), rng.uniform(0.2, 1), 0.15, True, rng.uniform(4, 8),
        )  # fmt: skip
    if name == "fog":
        return Light(
            name, (0.78, 0.79, 0.8), (0.06, 0.06, 0.06), direction, near((192, 195, 198)), rng.uniform(45, 90),
            near((188, 192, 198)), near((196, 198, 200)), 0.1, 0.12, False, rng.uniform(2, 5),
        )  # fmt: skip
    return Light(
        name, (0.8, 0.81, 0.84), (0.1, 0.1, 0.1), direction, near((198, 202, 206)), rng.uniform(140, 400),
        near((176, 184, 194), 14), near((214, 217, 220), 10), rng.uniform(0.3, 1), 0.18, False, rng.uniform(1.5, 5),
    )  # fmt: skip


@dataclasses.dataclass
class Strip:
    """A band of ground along the street, from x0 to x1 metres (bend not included)."""

    kind: str
    x0: float
    x1: float


@dataclasses.dataclass
class Layout:
    name: str
    strips: list
    road: tuple  # x0, x1 of the carriageway
    lanes: list  # middles of the lanes and their direction (+1 = ours)
    crossing: tuple | None  # z0, z1 of a street that crosses ours
    zebra: float | None
    closed_m: float  # where a tunnel ends the street, or FAR_M
    outer: dict  # side -> kind of the ground beyond the strips
    patches: list  # darker or lighter repairs of the road


def is_blocked(layout: Layout, z0: float, z1: float) -> bool:
    """Whether [z0, z1] touches the crossing street, or lies behind a tunnel's mouth."""
    if z1 > layout.closed_m:
        return True
    return layout.crossing is not None and z0 < layout.crossing[1] + 0.5 and z1 > layout.crossing[0] - 0.5


NEAR_M, FAR_M = 2.5, 160.0


class World:
    """A scene in the making: camera, light, canvas, and the queue of things to draw from far to near."""

    def __init__(self, options: Options, split: str, number: int):
        self.options, self.split, self.number = options, split, number
        cities = CITIES[split]
        self.city = cities[number % len(cities)]
        self.rng = random.Random(f"scene/{options.seed}/{split}/{number}")
        self.numpy_rng = np.random.Generator(np.random.PCG64(self.rng.getrandbits(64)))
        self.camera = city_camera(options, self.city)
        height, width = options.height, options.width
        self.canvas = Canvas(height * SUPERSAMPLING, width * SUPERSAMPLING)
        scale = SUPERSAMPLING
        self.f = self.camera.focal * scale
        self.cx = (width * self.camera.center + self.rng.gauss(0, 0.012) * width) * scale
        self.horizon = (height * self.camera.horizon + self.rng.gauss(0, 0.008) * height) * scale
        self.eye = self.camera.eye_m
        # The street bends like a parabola; x is measured from our lane's middle.
        self.curve = self.rng.choice((0, 0, 0, 1)) * self.rng.uniform(-0.0035, 0.0035)
        self.light = scene_light(self.rng, options, split, number)
        self.queue: list[tuple] = []
        self.shadows: list[list] = []  # polygons on the ground, in metres
        self.taken: list[tuple] = []
        self.told: list[dict] = []  # void objects; instance numbers count from 1

    def has(self, feature: str) -> bool:
        return has_feature(feature, self.options, self.split, self.number)

    def bend(self, z: float) -> float:
        return 0.5 * self.curve * z * z

    def px(self, x: float, y: float, z: float) -> tuple:
        """Canvas position of a point in metres; x is as the street runs, so it includes the bend."""
        z = max(z, 0.6)
        return (self.cx + self.f * (x + 0.5 * self.curve * z * z) / z, self.horizon + self.f * (self.eye - y) / z)

    def add(self, z: float, draw, void: dict | None = None) -> None:
        """Queues a drawing at depth z; `void` tells which family of void object it is."""
        instance = 0
        if void is not None:
            self.told.append(void)
            instance = len(self.told)
        self.queue.append((z, len(self.queue), instance, draw))

    def take(self, x: float, z: float, width: float, length: float) -> bool:
        """Claims a rectangle of ground; False where something stands there already."""
        left, right, near, far = x - width / 2, x + width / 2, z - length / 2, z + length / 2
        if any(left < x1 and x0 < right and near < z1 and z0 < far for x0, x1, z0, z1 in self.taken):
            return False
        self.taken.append((left, right, near, far))
        return True

    def shadow(self, x: float, z: float, width: float, depth: float, height: float) -> None:
        """The shadow of a block on the ground: under it, and away from the sun."""
        w, d = width / 2, depth / 2
        foot = [(x - w, z - d), (x + w, z - d), (x + w, z + d), (x - w, z + d)]
        self.shadows.append(
            [(x - w * 1.1, z - d - 0.1), (x + w * 1.1, z - d - 0.1), (x + w * 1.1, z + d), (x - w * 1.1, z + d)]
        )
        sx, sy, sz = self.light.direction
        if self.light.shadow < 0.2 or sy < 0.05:
            return
        reach = min(height, 12 * sy) / sy
        tip = [(px - sx * reach, pz - sz * reach) for px, pz in foot]
        for i in range(4):
            j = (i + 1) % 4
            self.shadows.append([foot[i], foot[j], tip[j], tip[i]])
        self.shadows.append(tip)


def city_style(world: World) -> random.Random:
    return random.Random(f"style/{world.options.seed}/{world.city}")


def box_front(world, x0, x1, y0, y1, z) -> list:
    """A rectangle that faces us; x without the bend."""
    bend = world.bend(z)
    return [
        world.px(x0 - bend, y1, z),
        world.px(x1 - bend, y1, z),
        world.px(x1 - bend, y0, z),
        world.px(x0 - bend, y0, z),
    ]
