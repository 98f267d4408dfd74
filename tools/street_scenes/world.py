"""A scene in the making: where a point in metres falls on the canvas, and what waits to be drawn."""

import random

import numpy as np

from street_scenes.camera import city_camera
from street_scenes.canvas import SUPERSAMPLING, Canvas
from street_scenes.light import scene_light
from street_scenes.options import CITIES, Options, has_feature

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
