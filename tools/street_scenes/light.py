"""The light of a scene: sun, sky, haze, lamps, and the colour of a surface under them."""

import dataclasses
import math
import random

from street_scenes.options import Options


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
