"""One scene: plan it, paint it from far to near, photograph it.

Photographing halves the canvas, adds what moves with the camera, then exposure and noise.
"""

import numpy as np

from street_scenes.canvas import SUPERSAMPLING
from street_scenes.ground import draw_ground, draw_sky
from street_scenes.materials import EGO, RECTIFICATION
from street_scenes.options import Options
from street_scenes.plan import plan_street
from street_scenes.world import World


def draw_scene(options: Options, split: str, number: int) -> tuple[np.ndarray, np.ndarray, dict]:
    """Draws scene `number` of a split.

    Returns:
      image uint8 [height, width, 3]; ids uint8 [height, width], Cityscapes' ids; and what the scene tells of itself:
      {"layout", "light", "void": [{"family", "id", "seen", "box" [top, left, bottom, right) in px, "pixels"}]}.
    """
    world = World(options, split, number)
    layout = plan_street(world)
    draw_sky(world)
    draw_ground(world, layout)
    for _, _, instance, draw in sorted(world.queue, key=lambda item: (-item[0], item[1])):
        world.canvas.instance = instance
        draw()
    image, ids, instances = take_picture(world)
    told = {"layout": layout.name, "light": world.light.name, "void": _visible(world, instances)}
    return image, ids, told


def _visible(world: World, instances: np.ndarray) -> list[dict]:
    """What can be seen of each void object in the finished label map."""
    counts = np.bincount(instances.ravel(), minlength=len(world.told) + 1)
    found = []
    for number, void in enumerate(world.told, start=1):
        if counts[number]:
            rows = np.flatnonzero((instances == number).any(axis=1))
            columns = np.flatnonzero((instances == number).any(axis=0))
            box = [int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1]
            found.append({**void, "box": box, "pixels": int(counts[number])})
    return found


def take_picture(world: World) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Halves the canvas, adds bonnet and border, and takes the picture with a noisy sensor.

    Returns:
      image uint8 [H, W, 3], ids uint8 [H, W], instances int32 [H, W] (0 = no void object).
    """
    options, light, rng = world.options, world.light, world.rng
    height, width = options.height, options.width
    small = world.canvas.rgb.reduce(SUPERSAMPLING)
    image = np.asarray(small).astype(np.float32)
    labels = np.asarray(world.canvas.labels)[::SUPERSAMPLING, ::SUPERSAMPLING]
    ids, instances = (labels & 255).astype(np.uint8), labels >> 8
    geometry = world.camera.geometry

    # The bonnet mirrors the scene above it, upside down and smeared, under the sky's light.
    ego = geometry == EGO
    tall = int(ego.any(axis=1).sum())
    if tall:
        start = height - tall
        above = image[max(0, start - 3 * tall) : start : 3][::-1]
        above = above.mean(axis=1, keepdims=True) * 0.6 + above * 0.4
        rows = np.linspace(0, len(above) - 1, tall).astype(int)
        gloss = np.linspace(0.55, 0.15, tall, dtype=np.float32)[:, None, None]
        paint = np.array(light.on(world.camera.bonnet, (0.0, 1.0, 0.0)), np.float32)
        sky = np.array(light.sky_top, np.float32)
        body = paint * (1 - gloss) + (0.35 * above[rows] + 0.25 * sky) * gloss
        image[start:] = np.where(ego[start:, :, None], body, image[start:])
    # The rectified picture has no data at its border: black, with a smear of the nearest column.
    image[geometry == RECTIFICATION] *= 0.06
    ids[geometry > 0] = geometry[geometry > 0]
    instances = np.where(geometry > 0, 0, instances)

    # Exposure, white balance, vignette, then noise that grows with the light, as photon noise does.
    target = 78.0 if light.lamps else 108.0
    gain = rng.uniform(0.88, 1.14) * min(1.7, max(0.8, (target / (float(image.mean()) + 1)) ** 0.6))
    balance = np.array([gain * rng.uniform(0.96, 1.04), gain, gain * rng.uniform(0.95, 1.05)], np.float32)
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    vignette = 1 - rng.uniform(0.02, 0.14) * (down * down + across * across)
    image *= balance
    image *= vignette
    grain = world.numpy_rng.standard_normal(image.shape, dtype=np.float32)
    image += grain * (light.noise * (0.45 + 0.0045 * image))
    return np.clip(image + 0.5, 0, 255).astype(np.uint8), ids, instances
