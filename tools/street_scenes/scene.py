"""One scene: plan it, paint it from far to near, photograph it."""

import numpy as np

from street_scenes.ground import draw_ground, draw_sky
from street_scenes.options import Options
from street_scenes.plan import plan_street
from street_scenes.sensor import take_picture
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
