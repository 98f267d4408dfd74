"""Draws a small set of street scenes in Cityscapes' exact folder layout, so that everything runs without Cityscapes.

    python tools/make_street_scenes.py --output_dir=D [--num_train=240 --num_val=60 --height=128 --width=256 --seed=0]
                                       [--unseen_void] [--num_workers=0]

writes

    D/leftImg8bit/{train,val}/<city>/<city>_<sequence>_<frame>_leftImg8bit.png    8-bit RGB
    D/gtFine/{train,val}/<city>/<city>_<sequence>_<frame>_gtFine_labelIds.png     8-bit grey, Cityscapes' ids 0..33
    D/scenes/{train,val}.json      per scene: layout, light, and which family of void object is where
    D/street_scenes.json           the options, and a digest of every file above

Void comes in Cityscapes' own proportions (train gtFine: geometry 7.4 % of all pixels, scene 2.9 %, dropped 1.2 %).
Void objects belong to families (a shape and its textures). With --unseen_void the ids dynamic, caravan and trailer
occur in val only, and only in families that are drawn nowhere else; without it those families are never drawn.

A scene is a pure function of (seed, unseen_void, height, width, split, its number in the split): a larger set begins
with the scenes of a smaller one, and the number of processes changes no byte. Running the command again with the same
options checks the folder and exits 0. The folder is built beside its final name and appears whole or not at all.

It does not try to look like photographs. It is made so that shape, place and texture are needed to tell the classes
apart: greys are shared by roads, cars and houses, and light, haze and sensor noise vary from scene to scene.

How a scene is made: `_layout` decides what stands where in metres; `_draw_ground` paints the street plane; a queue of
things, each at a depth, is painted from far to near on a picture and a label map of twice the size; `_finish` halves
both (area mean for the picture, every second pixel for the labels) and adds the parts that move with the camera.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import math
import multiprocessing
import os
import pathlib
import random
import shutil
import sys

import numpy as np
import tqdm
from absl import app, flags
from PIL import Image, ImageChops, ImageDraw

CITIES = {
    "train": (
        "ahornstadt",
        "eschenfurt",
        "fichtenrode",
        "haselbruck",
        "kieferhafen",
        "lindenwerder",
        "pappelheim",
        "tannenmoos",
        "ulmenbruck",
        "weidenfurt",
    ),
    "val": ("buchenwerder", "erlenmoos"),
}
FRAME = 19  # each sequence shows one frame, the 20th, as most of Cityscapes does
FORMAT_VERSION = 1

# Cityscapes' ids.
UNLABELED, EGO, RECTIFICATION, OUT_OF_ROI, STATIC, DYNAMIC, GROUND = 0, 1, 2, 3, 4, 5, 6
ROAD, SIDEWALK, PARKING, RAIL_TRACK = 7, 8, 9, 10
BUILDING, WALL, FENCE, GUARD_RAIL, BRIDGE, TUNNEL = 11, 12, 13, 14, 15, 16
POLE, POLEGROUP, TRAFFIC_LIGHT, TRAFFIC_SIGN = 17, 18, 19, 20
VEGETATION, TERRAIN, SKY, PERSON, RIDER = 21, 22, 23, 24, 25
CAR, TRUCK, BUS, CARAVAN, TRAILER, TRAIN, MOTORCYCLE, BICYCLE = 26, 27, 28, 29, 30, 31, 32, 33

SUPERSAMPLING = 2
NEAR_M, FAR_M = 2.5, 160.0

# How often a scene has a feature. Which scenes do is spread evenly over the numbering (see `_has`), so that small
# sets come close to these shares too.
FEATURE_SHARES = {
    "parking": 0.34,
    "bridge": 0.09,
    "tunnel": 0.04,
    "rail": 0.16,
    "ground_strip": 0.24,
    "island": 0.14,
    "water": 0.06,
    "crossing": 0.35,
    "truck": 0.30,
    "bus": 0.20,
    "motorcycle": 0.35,
    "rider": 0.45,
    "bicycles": 0.5,
    "caravan": 0.07,
    "trailer": 0.06,
    "polegroup": 0.12,
    "dynamic": 0.60,
    "unlabeled": 0.2,
    "scaffold": 0.08,
}
UNSEEN_SHARES = {"caravan": 0.16, "trailer": 0.16, "dynamic": 0.75}  # in val under --unseen_void

BUILDING_COLORS = (
    (152, 142, 126),
    (172, 167, 160),
    (112, 107, 102),
    (150, 88, 68),
    (192, 172, 124),
    (122, 131, 141),
    (178, 124, 103),
    (206, 201, 190),
    (96, 82, 72),
    (131, 150, 131),
    (158, 66, 55),
    (94, 112, 150),
)
CAR_COLORS = (
    (28, 28, 31),
    (58, 60, 64),
    (98, 99, 103),
    (128, 130, 133),
    (172, 174, 177),
    (216, 216, 214),
    (150, 32, 30),
    (32, 52, 112),
    (42, 80, 62),
    (198, 168, 62),
    (108, 72, 54),
    (96, 128, 160),
)
CLOTHES = (
    (30, 30, 34),
    (60, 62, 70),
    (40, 52, 86),
    (120, 40, 40),
    (150, 140, 120),
    (90, 100, 70),
    (190, 190, 186),
    (170, 120, 50),
    (60, 110, 130),
    (110, 70, 100),
)
SKIN = ((224, 182, 152), (198, 150, 118), (150, 104, 78), (104, 70, 52))
FOLIAGE = ((74, 98, 44), (58, 84, 42), (96, 112, 54), (112, 106, 50), (132, 98, 48), (66, 82, 60), (84, 104, 76))


# ---------------------------------------------------------------------------------------------------------------------
# The set: folders, names, what is there already.
# ---------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Options:
    """What decides the bytes of a set."""

    num_train: int = 240
    num_val: int = 60
    height: int = 128
    width: int = 256
    seed: int = 0
    unseen_void: bool = False

    def check(self) -> None:
        """Raises ValueError, one line, for a value that makes no set."""
        for name, low in (("num_train", 0), ("num_val", 0), ("height", 64), ("width", 128), ("seed", 0)):
            value = getattr(self, name)
            if value < low:
                raise ValueError(f"--{name}={value}: expected at least {low}")
        for name in ("height", "width"):
            if getattr(self, name) > 4096:
                raise ValueError(f"--{name}={getattr(self, name)}: expected at most 4096")
        if not 0.5 <= self.width / self.height <= 4:
            raise ValueError(
                f"--height={self.height} --width={self.width}: expected a width between half the height and 4 times it"
            )
        if self.num_train + self.num_val == 0:
            raise ValueError("--num_train=0 --num_val=0: nothing to draw; ask for at least one scene")


def make_set(output_dir: str | os.PathLike, options: Options, num_workers: int = 0, progress: bool = True) -> bool:
    """Writes the whole set, or nothing.

    Args:
        output_dir: folder to create; an empty folder is taken, a finished set of the same options is checked.
        options: what to draw.
        num_workers: processes; 0 = one per core, but none besides this one for a small set. Changes no byte.
        progress: whether to show a progress bar on stderr.

    Returns:
        True where the set was written, False where it was there already and every file of it is as it was written.

    Raises:
        ValueError: for bad options, or where the folder holds anything else; one line that says what to do.
    """
    options.check()
    if num_workers < 0:
        raise ValueError(f"--num_workers={num_workers}: expected at least 0")
    output = pathlib.Path(os.path.abspath(output_dir))
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        _check_finished(output, options)
        return False
    # A fixed name, so that what a killed run left is cleared by the next one and never piles up.
    partial = output.parent / f".{output.name}.street_scenes_partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write_set(partial, options, num_workers, progress)
        os.replace(partial, output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def scene_name(split: str, number: int) -> str:
    """Cityscapes' name of a scene, without the suffix: city_sequence_frame. Cities take turns."""
    cities = CITIES[split]
    return f"{cities[number % len(cities)]}_{number // len(cities):06d}_{FRAME:06d}"


def _write_set(folder: pathlib.Path, options: Options, num_workers: int, progress: bool) -> None:
    scenes = [("train", n) for n in range(options.num_train)] + [("val", n) for n in range(options.num_val)]
    for split, number in scenes:
        for kind in ("leftImg8bit", "gtFine"):
            (folder / kind / split / scene_name(split, number).split("_")[0]).mkdir(parents=True, exist_ok=True)
    jobs = [(str(folder), options, split, number) for split, number in scenes]
    pixels = len(jobs) * options.height * options.width
    workers = num_workers or (1 if pixels < 2_000_000 else os.cpu_count() or 1)
    bar = tqdm.tqdm(total=len(jobs), desc="scenes", unit="scene", disable=not progress)
    results = []
    with bar:
        if workers == 1:
            for job in jobs:
                results.append(_write_scene(job))
                bar.update()
        else:
            # Spawned, not forked: a caller may have threads.
            context = multiprocessing.get_context("spawn")
            with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
                for result in pool.map(_write_scene, jobs, chunksize=4):
                    results.append(result)
                    bar.update()
    (folder / "scenes").mkdir()
    for split in ("train", "val"):
        told = [result for (_, _, which, _), result in zip(jobs, results) if which == split]
        _write_json(folder / "scenes" / f"{split}.json", told)
    summary = {"format_version": FORMAT_VERSION, "options": dataclasses.asdict(options), "sha256": _digest(folder)}
    _write_json(folder / "street_scenes.json", summary)


def _write_scene(job: tuple) -> dict:
    folder, options, split, number = job
    image, ids, told = draw_scene(options, split, number)
    name = scene_name(split, number)
    city = name.split("_")[0]
    root = pathlib.Path(folder)
    Image.fromarray(image).save(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", compress_level=4)
    Image.fromarray(ids).save(root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", compress_level=6)
    return {"name": name, **told}


def _write_json(path: pathlib.Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _digest(folder: pathlib.Path) -> str:
    """sha256 over names and contents of every file of the set, in sorted order."""
    digest = hashlib.sha256()
    for part in ("gtFine", "leftImg8bit", "scenes"):
        for path in sorted(p for p in (folder / part).rglob("*") if p.is_file()):
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _check_finished(output: pathlib.Path, options: Options) -> None:
    """Raises ValueError unless `output` is a finished, undamaged set of these options."""
    summary = output / "street_scenes.json"
    other = "choose another --output_dir, or remove this one"
    if not summary.is_file():
        raise ValueError(f"{output} exists and is no set of street scenes; {other}")
    try:
        found = json.loads(summary.read_text(encoding="utf-8"))
        there, digest, version = dict(found["options"]), found["sha256"], found["format_version"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{summary} cannot be read as the summary of a set; {other}") from None
    wanted = dataclasses.asdict(options)
    if version != FORMAT_VERSION:
        raise ValueError(f"{output} holds a set of version {version}, this program draws {FORMAT_VERSION}; {other}")
    if there != wanted:
        names = [name for name in wanted if there.get(name) != wanted[name]]
        differ = ", ".join(f"{name} is {there.get(name)}, not {wanted[name]}" for name in names)
        raise ValueError(f"{output} holds a set of other options ({differ}); {other}")
    if _digest(output) != digest:
        raise ValueError(f"{output} holds this set, but files were changed, added or lost since; {other}")


# ---------------------------------------------------------------------------------------------------------------------
# One scene.
# ---------------------------------------------------------------------------------------------------------------------


def draw_scene(options: Options, split: str, number: int) -> tuple[np.ndarray, np.ndarray, dict]:
    """Draws scene `number` of a split.

    Returns:
        image uint8 [height, width, 3]; ids uint8 [height, width], Cityscapes' ids; and what the scene tells of itself:
        {"layout", "light", "void": [{"family", "id", "seen", "box" [top, left, bottom, right) in px, "pixels"}]}.
    """
    world = _World(options, split, number)
    layout = _layout(world)
    _draw_sky(world)
    _draw_ground(world, layout)
    for _, _, instance, draw in sorted(world.queue, key=lambda item: (-item[0], item[1])):
        world.canvas.instance = instance
        draw()
    image, ids, instances = _finish(world)
    told = {"layout": layout.name, "light": world.light.name, "void": _visible(world, instances)}
    return image, ids, told


@dataclasses.dataclass
class _Light:
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


class _World:
    """A scene in the making: camera, light, canvas, and the queue of things to draw from far to near."""

    def __init__(self, options: Options, split: str, number: int):
        self.options, self.split, self.number = options, split, number
        cities = CITIES[split]
        self.city = cities[number % len(cities)]
        self.rng = random.Random(f"scene/{options.seed}/{options.unseen_void}/{split}/{number}")
        self.numpy_rng = np.random.Generator(np.random.PCG64(self.rng.getrandbits(64)))
        self.camera = _camera(options, self.city)
        height, width = options.height, options.width
        self.canvas = _Canvas(height * SUPERSAMPLING, width * SUPERSAMPLING)
        scale = SUPERSAMPLING
        self.f = self.camera.focal * scale
        self.cx = (width * self.camera.center + self.rng.gauss(0, 0.012) * width) * scale
        self.horizon = (height * self.camera.horizon + self.rng.gauss(0, 0.008) * height) * scale
        self.eye = self.camera.eye_m
        # The street bends like a parabola; x is measured from our lane's middle.
        self.curve = self.rng.choice((0, 0, 0, 1)) * self.rng.uniform(-0.0035, 0.0035)
        self.light = _light(self)
        self.queue: list[tuple] = []
        self.shadows: list[list] = []  # polygons on the ground, in metres
        self.taken: list[tuple] = []
        self.told: list[dict] = []  # void objects; instance numbers count from 1

    def has(self, feature: str) -> bool:
        return _has(feature, self.options, self.split, self.number)

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
        if any(left < r and l < right and near < f and n < far for l, r, n, f in self.taken):  # noqa: E741
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


def _has(feature: str, options: Options, split: str, number: int) -> bool:
    """Whether a scene has a feature.

    Scenes are numbered in blocks of 16; within a block a van der Corput sequence, turned and mixed per block and
    feature, gives each scene its own sixteenth of [0, 1). So any block has a feature about as often as it should.
    """
    share = FEATURE_SHARES[feature]
    if options.unseen_void and feature in UNSEEN_SHARES:
        share = UNSEEN_SHARES[feature] if split == "val" else 0.0
    block, place = divmod(number, 16)
    mix = random.Random(f"feature/{options.seed}/{split}/{feature}/{block}")
    order = list(range(16))
    mix.shuffle(order)
    return (order[place] + mix.random()) / 16 < share


def _visible(world: _World, instances: np.ndarray) -> list[dict]:
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


# ---------------------------------------------------------------------------------------------------------------------
# The camera and what moves with it: geometry void.
# ---------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Camera:
    """A city's camera: fixed for all its scenes, as one drive with one mounting."""

    focal: float  # px
    center: float  # share of the width
    horizon: float  # share of the height
    eye_m: float
    geometry: np.ndarray  # uint8 [H, W]: EGO, RECTIFICATION, OUT_OF_ROI or 0
    bonnet: tuple  # colour


@functools.lru_cache(maxsize=64)
def _camera(options: Options, city: str) -> _Camera:
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
    # Sub-pixel widths are kept on average by a fixed dither along the edge.
    dither = (np.arange(height) * 0.6180339887 % 1.0)[:, None] - 0.5
    border = (columns + dither < left) | (width - columns + dither < right)

    # The bonnet: a flat dome, 5.0 % before the frame is cut from it.
    bulge = rng.uniform(2.2, 3.6)
    offset = rng.uniform(-0.06, 0.06)
    across = np.abs((columns / width - 0.5 - offset) / 0.56)
    dome = np.clip(1 - across**bulge, 0, None)
    dome = dome * (0.051 * width / dome.sum())
    ego = rows > height * (1 - dome)

    geometry[ego] = EGO
    geometry[border] = RECTIFICATION
    geometry[frame] = OUT_OF_ROI
    geometry.setflags(write=False)
    shade = rng.choice(((26, 28, 32), (34, 35, 37), (22, 26, 36), (44, 45, 47)))
    return _Camera(focal, rng.uniform(0.48, 0.52), rng.uniform(0.40, 0.45), rng.uniform(1.2, 1.45), geometry, shade)


def _finish(world: _World) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
    gain = rng.uniform(0.9, 1.12)
    balance = np.array([gain * rng.uniform(0.96, 1.04), gain, gain * rng.uniform(0.95, 1.05)], np.float32)
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    vignette = 1 - rng.uniform(0.02, 0.14) * (down * down + across * across)
    image *= balance
    image *= vignette
    grain = world.numpy_rng.standard_normal(image.shape, dtype=np.float32)
    image += grain * (light.noise * (0.45 + 0.0045 * image))
    return np.clip(image + 0.5, 0, 255).astype(np.uint8), ids, instances


def _light(world: _World) -> _Light:
    rng = world.rng
    order = ("clear", "overcast", "low sun", "clear", "dusk", "overcast", "fog", "clear")
    shift = random.Random(f"light/{world.options.seed}/{world.split}").randrange(8)
    name = order[(world.number * 3 + world.number // 8 + shift) % 8]
    turn = rng.uniform(0, 2 * math.pi)
    steep = {"clear": rng.uniform(0.5, 1.1), "low sun": rng.uniform(0.2, 0.4), "dusk": 0.2}.get(name, 1.2)
    direction = (math.cos(steep) * math.cos(turn), math.sin(steep), math.cos(steep) * math.sin(turn))

    def near(color, spread=8):
        shift = rng.uniform(-spread, spread)
        return tuple(c + shift + rng.uniform(-spread, spread) / 2 for c in color)

    if name == "clear":
        return _Light(
            name, (0.55, 0.58, 0.64), (0.62, 0.58, 0.5), direction, near((196, 206, 216)), rng.uniform(220, 600),
            near((96, 140, 196), 16), near((186, 206, 222), 12), rng.uniform(0, 0.8), rng.uniform(0.42, 0.58), False,
            rng.uniform(1.5, 4),
        )  # fmt: skip
    if name == "low sun":
        return _Light(
            name, (0.46, 0.46, 0.52), (0.75, 0.6, 0.42), direction, near((214, 196, 170)), rng.uniform(120, 300),
            near((140, 164, 196), 16), near((236, 214, 178), 12), rng.uniform(0.1, 0.7), rng.uniform(0.4, 0.55), False,
            rng.uniform(2, 4),
        )  # fmt: skip
    if name == "dusk":
        return _Light(
            name, (0.36, 0.36, 0.44), (0.12, 0.1, 0.08), direction, near((120, 112, 122)), rng.uniform(120, 300),
            near((78, 88, 118), 14), near((170, 140, 132), 16), rng.uniform(0.2, 1), 0.15, True, rng.uniform(4, 8),
        )  # fmt: skip
    if name == "fog":
        return _Light(
            name, (0.78, 0.79, 0.8), (0.06, 0.06, 0.06), direction, near((192, 195, 198)), rng.uniform(45, 90),
            near((188, 192, 198)), near((196, 198, 200)), 0.1, 0.12, False, rng.uniform(2, 5),
        )  # fmt: skip
    return _Light(
        name, (0.8, 0.81, 0.84), (0.1, 0.1, 0.1), direction, near((198, 202, 206)), rng.uniform(140, 400),
        near((176, 184, 194), 14), near((214, 217, 220), 10), rng.uniform(0.3, 1), 0.18, False, rng.uniform(1.5, 5),
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# The canvas: every stroke goes into the picture and the label map together.
# ---------------------------------------------------------------------------------------------------------------------


class _Canvas:
    """A picture and its label map, at SUPERSAMPLING times the size; a label value is id + 256 * instance."""

    def __init__(self, height: int, width: int):
        self.height, self.width = height, width
        self.rgb = Image.new("RGB", (width, height))
        self.labels = Image.new("I", (width, height), SKY)
        self.instance = 0
        self._paint, self._label = ImageDraw.Draw(self.rgb), ImageDraw.Draw(self.labels)

    def poly(self, points: list, color: tuple | None, label: int | None) -> None:
        """A filled polygon; color None leaves the picture, label None the label map."""
        if color is not None:
            self._paint.polygon(points, fill=color)
        if label is not None:
            self._label.polygon(points, fill=label + 256 * self.instance)

    def line(self, points: list, width: float, color: tuple | None, label: int | None) -> None:
        # Never thinner than the label map's own pixel, or thin things would be in the picture but not in the labels.
        thick = max(SUPERSAMPLING, round(width))
        joint = "curve" if thick > 4 and len(points) > 2 else None
        if color is not None:
            self._paint.line(points, fill=color, width=thick, joint=joint)
        if label is not None:
            self._label.line(points, fill=label + 256 * self.instance, width=thick, joint=joint)

    def disc(self, x: float, y: float, rx: float, ry: float, color: tuple | None, label: int | None) -> None:
        box = (x - rx, y - ry, x + rx, y + ry)
        if color is not None:
            self._paint.ellipse(box, fill=color)
        if label is not None:
            self._label.ellipse(box, fill=label + 256 * self.instance)

    def ring(self, x: float, y: float, rx: float, ry: float, width: float, color: tuple) -> None:
        self._paint.ellipse((x - rx, y - ry, x + rx, y + ry), outline=color, width=max(1, round(width)))

    def stamp(self, box: tuple, shade: Image.Image, alpha: Image.Image, label: int | None) -> None:
        """Pastes a picture through a soft mask; the label follows the mask at one half."""
        self.rgb.paste(shade, box, alpha)
        if label is not None:
            hard = alpha.point(_THRESHOLD, "1")
            self.labels.paste(
                label + 256 * self.instance, (*box[:2], box[0] + alpha.width, box[1] + alpha.height), hard
            )

    def textured(self, texture: Image.Image, quad: list, label: int | None, see_through: bool = False) -> None:
        """Maps a flat texture on a quadrilateral (top left, top right, bottom right, bottom left), in perspective.

        The label fills the whole quadrilateral, or follows the texture's alpha where `see_through`.
        """
        left = max(0, math.floor(min(p[0] for p in quad)))
        top = max(0, math.floor(min(p[1] for p in quad)))
        right = min(self.width, math.ceil(max(p[0] for p in quad)) + 1)
        bottom = min(self.height, math.ceil(max(p[1] for p in quad)) + 1)
        if right - left < 1 or bottom - top < 1:
            return
        coefficients = _to_texture([(x - left, y - top) for x, y in quad], texture.width, texture.height)
        if coefficients is None:
            return
        size = (right - left, bottom - top)
        mapped = texture.transform(size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
        mask = Image.new("L", size, 0)
        ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in quad], fill=255)
        if texture.mode == "RGBA":
            alpha = ImageChops.multiply(mapped.getchannel("A"), mask)
            mapped = mapped.convert("RGB")
        else:
            alpha = mask
        self.rgb.paste(mapped, (left, top), alpha)
        if label is not None:
            hard = (alpha if see_through else mask).point(_THRESHOLD, "1")
            self.labels.paste(label + 256 * self.instance, (left, top, right, bottom), hard)


_THRESHOLD = [0] * 128 + [255] * 128


def _to_texture(quad: list, width: int, height: int) -> tuple | None:
    """The eight numbers PIL wants to map a quadrilateral back to a texture; None where it is degenerate.

    The projective map of the unit square to a quadrilateral in closed form (Heckbert 1989, section 2.2.3), inverted by
    its adjugate: plain float arithmetic, so that no linear-algebra library can change a bit.
    """
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = quad
    dx1, dx2, sx = x1 - x2, x3 - x2, x0 - x1 + x2 - x3
    dy1, dy2, sy = y1 - y2, y3 - y2, y0 - y1 + y2 - y3
    det = dx1 * dy2 - dx2 * dy1
    if abs(det) < 1e-9:
        return None
    g, h = (sx * dy2 - dx2 * sy) / det, (dx1 * sy - sx * dy1) / det
    a, b, c = x1 - x0 + g * x1, x3 - x0 + h * x3, x0
    d, e, f = y1 - y0 + g * y1, y3 - y0 + h * y3, y0
    u = (e - f * h, c * h - b, b * f - c * e)
    v = (f * g - d, a - c * g, c * d - a * f)
    w = (d * h - e * g, b * g - a * h, a * e - b * d)
    if abs(w[2]) < 1e-9:
        return None
    k = 1 / w[2]
    return (
        u[0] * k * width, u[1] * k * width, u[2] * k * width,
        v[0] * k * height, v[1] * k * height, v[2] * k * height,
        w[0] * k, w[1] * k,
    )  # fmt: skip


@functools.lru_cache(maxsize=8)
def _noise(size: int, coarsest: int, seed: int, fade: float = 0.6) -> np.ndarray:
    """Fractal noise that tiles: float32 [size, size] in 0..1, mean about one half."""
    rng = np.random.Generator(np.random.PCG64(seed))
    total = np.zeros((size, size), np.float32)
    weight, weights, cells = 1.0, 0.0, coarsest
    while cells <= size:
        grid = rng.random((cells, cells), dtype=np.float32)
        around = np.tile(grid, (3, 3))
        grown = Image.fromarray(around).resize((3 * size, 3 * size), Image.Resampling.BICUBIC)
        total += weight * np.asarray(grown)[size : 2 * size, size : 2 * size]
        weights += weight
        weight *= fade
        cells *= 2
    total /= weights
    low, high = float(total.min()), float(total.max())
    noise = (total - low) / (high - low)
    noise.setflags(write=False)
    return noise


@functools.lru_cache(maxsize=1)
def _foliage() -> tuple:
    """Leafy blobs: (shade, alpha) pairs of L pictures, 96 x 96."""
    size, made = 96, []
    grid = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    radius = np.sqrt(grid[:, None] ** 2 + grid[None, :] ** 2)
    for number in range(12):
        ragged = _noise(size, 4, 100 + number, 0.8)
        leaves = _noise(size, 12, 200 + number, 0.9)
        alpha = np.clip((0.78 - radius + 0.9 * (ragged - 0.5)) * 9, 0, 1)
        shade = 0.45 + 0.75 * (leaves - 0.5) + 0.22 * (1 - radius) - 0.22 * grid[:, None]
        made.append(
            (
                Image.fromarray((np.clip(shade, 0.05, 1) * 255).astype(np.uint8)),
                Image.fromarray((alpha * 255).astype(np.uint8)),
            )
        )
    return tuple(made)


@functools.lru_cache(maxsize=4)
def _grain(kind: str) -> Image.Image:
    """A grey texture around 230 to multiply surfaces with, RGB, 256 x 256."""
    coarsest, strength = {"plaster": (4, 46), "rough": (32, 80)}[kind]
    noise = _noise(256, coarsest, 31 if kind == "plaster" else 37, 0.8)
    grey = np.clip(232 + strength * (noise - 0.5), 0, 255).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(grey)] * 3)


# ---------------------------------------------------------------------------------------------------------------------
# What stands where, in metres.
# ---------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class _Strip:
    """A band of ground along the street, from x0 to x1 metres (bend not included)."""

    kind: str
    x0: float
    x1: float


@dataclasses.dataclass
class _Layout:
    name: str
    strips: list
    road: tuple  # x0, x1 of the carriageway
    lanes: list  # middles of the lanes and their direction (+1 = ours)
    crossing: tuple | None  # z0, z1 of a street that crosses ours
    zebra: float | None
    closed_m: float  # where a tunnel ends the street, or FAR_M
    outer: dict  # side -> kind of the ground beyond the strips
    islands: list  # polygons of odd ground
    patches: list  # darker or lighter repairs of the road


def _layout(world: _World) -> _Layout:
    """Decides the whole scene and queues everything that stands on the ground."""
    rng = world.rng
    kinds = ("street", "avenue", "residential", "street", "open", "avenue", "square", "street")
    shift = random.Random(f"layout/{world.options.seed}/{world.split}").randrange(8)
    name = kinds[(world.number + world.number // 8 + shift) % 8]
    tunnel = world.has("tunnel")
    if tunnel:
        name = "open"

    lane = rng.uniform(3.0, 3.6)
    same, opposite = rng.choice(((1, 1), (1, 1), (2, 1), (1, 2), (2, 2), (1, 0)))
    mine = rng.uniform(-0.25, 0.25)
    right = mine + lane / 2 + (same - 1) * lane * rng.choice((0, 1))
    left = right - lane * (same + opposite)
    lanes = [(right - lane * (i + 0.5), 1) for i in range(same)]
    lanes += [(left + lane * (i + 0.5), -1) for i in range(opposite)]
    rail_side = rng.choice((-1, 1)) if world.has("rail") else 0
    parking_side = rng.choice((-1, 1)) if world.has("parking") else 0
    ground_side = rng.choice((-1, 1)) if world.has("ground_strip") else 0
    water_side = rng.choice((-1, 1)) if world.has("water") and name in ("open", "square", "avenue") else 0

    crossing = None
    if world.has("crossing") and not tunnel:
        z0 = rng.uniform(13, 45)
        crossing = (z0, z0 + rng.uniform(6, 9))
    zebra = (
        crossing[0] - 4.2 if crossing and rng.random() < 0.7 else (rng.uniform(8, 30) if rng.random() < 0.2 else None)
    )
    closed = rng.uniform(32, 60) if tunnel else FAR_M
    strips = [_Strip("road", left, right)]
    layout = _Layout(name, strips, (left, right), lanes, crossing, zebra, closed, {}, [], [])

    for side in (-1, 1):
        x = right if side > 0 else left
        parked = None

        def grow(kind, width, side=side):
            nonlocal x
            x_new = x + side * width
            strips.append(_Strip(kind, min(x, x_new), max(x, x_new)))
            x, middle = x_new, (x + x_new) / 2
            return middle

        if side == rail_side:
            middle = grow("rail", rng.uniform(2.8, 3.6))
            if rng.random() < 0.62:
                _place_train(world, middle, rng.uniform(9, 40), layout)
        if side == parking_side:
            parked = grow("parking", rng.uniform(2.0, 2.5)), 0.4
        elif name in ("street", "avenue", "residential") and rng.random() < 0.5:
            strips.append(_Strip("road", *sorted((x, x + side * 2.1))))
            parked = x + side * 1.05, 0.7
            x += side * 2.1
        if name != "street" and rng.random() < {"open": 0.8, "residential": 0.45, "avenue": 0.35, "square": 0.2}[name]:
            middle = grow("verge", rng.uniform(0.8, 2.2))
            _tree_row(world, middle, layout, 0.75)
        walk = {
            "street": (2.2, 4.0),
            "avenue": (3.0, 5.5),
            "residential": (1.6, 2.6),
            "open": (1.4, 2.4),
            "square": (4, 8),
        }
        kind = "ground" if side == ground_side else "sidewalk"
        inner = x
        if name == "open" and rng.random() < 0.45 and kind == "sidewalk":
            if world.rng.random() < 0.5:
                _rail_guard(world, x + side * 0.3, layout)
            layout.outer[side] = "terrain"
            middle = x + side
        else:
            middle = grow(kind, rng.uniform(*walk[name]))
        if name == "avenue":
            _tree_row(world, inner + side * 0.9, layout, 0.8)
        if parked:
            _park_cars(world, parked[0], side, layout, parked[1])
        _street_furniture(world, inner, x, side, layout)
        _people_along(world, inner, x, side, layout)

        if side == water_side:
            x += side * 0.2
            width = rng.uniform(4, 9)
            _barrier(world, "fence", x, layout, 1.0)
            strips.append(_Strip("water", *sorted((x, x + side * width))))
            x += side * width
        if name == "street":
            layout.outer.setdefault(side, "sidewalk")
        elif name == "square":
            layout.outer.setdefault(side, rng.choice(("sidewalk", "terrain", "sidewalk")))
            x += side * rng.uniform(2, 8)
        else:
            layout.outer.setdefault(side, "terrain")
        if name in ("residential", "open") or (name == "avenue" and rng.random() < 0.3):
            kind = rng.choice(("fence", "wall", "hedge", "fence", "wall", "none"))
            if kind in ("fence", "wall"):
                _barrier(world, kind, x + side * 0.15, layout, rng.uniform(0.9, 2.1))
            elif kind == "hedge":
                _hedge(world, x + side * 0.5, layout, rng.uniform(0.8, 2.0))
            x += side * rng.uniform(2.5, 7)
        _buildings(world, x, side, layout)
        if name in ("residential", "open", "square"):
            _garden(world, x, side, layout)

    _backdrop(world, layout)
    _cars_on_lanes(world, layout)
    _crossing_things(world, layout)
    _special_objects(world, layout)
    if world.has("bridge") and not tunnel:
        _bridge(world, layout)
    if tunnel:
        _tunnel(world, layout)
    for _ in range(rng.randrange(0, 5)):
        z, x = rng.uniform(4.5, 30), rng.uniform(left, right)
        layout.patches.append((x, z, rng.uniform(0.4, 1.6), rng.uniform(0.6, 5), rng.uniform(0.72, 1.18)))
    return layout


def _gap(layout: _Layout, z0: float, z1: float) -> bool:
    """Whether [z0, z1] touches the crossing street, or lies behind a tunnel's mouth."""
    if z1 > layout.closed_m:
        return True
    return layout.crossing is not None and z0 < layout.crossing[1] + 0.5 and z1 > layout.crossing[0] - 0.5


def _city_style(world: _World) -> random.Random:
    return random.Random(f"style/{world.options.seed}/{world.city}")


def _jitter(rng: random.Random, color: tuple, spread: float = 10) -> tuple:
    shift = rng.uniform(-spread, spread)
    return tuple(min(250.0, max(6.0, c + shift + rng.uniform(-spread, spread) * 0.4)) for c in color)


def _times(color: tuple, factor: float) -> tuple:
    return tuple(min(255.0, c * factor) for c in color)


def _buildings(world: _World, x: float, side: int, layout: _Layout) -> None:
    """A row of houses along one side, from the camera to the horizon."""
    rng, style = world.rng, _city_style(world)
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
        color = _jitter(rng, rng.choice(palette), 14)
        _house(world, x + side * rng.uniform(0, 0.6), side, z, length, height, color)
        z += length + (rng.choice((0, 0, 0, rng.uniform(1, 4))) if name != "residential" else rng.uniform(2, 6))


def _house(world: _World, x: float, side: int, z: float, length: float, height: float, color: tuple) -> None:
    rng = world.rng
    texture_seed, roof = rng.getrandbits(32), rng.random()
    scaffold = world.has("scaffold") and rng.random() < 0.25
    void = {"family": "scaffold_sheet", "id": STATIC, "seen": True} if scaffold else None

    def draw():
        light, canvas, px = world.light, world.canvas, world.px
        z1, own = z + length, random.Random(texture_seed)
        middle = z + length * 0.4
        roof_color = _jitter(own, own.choice(((92, 52, 42), (70, 66, 64), (110, 70, 56), (60, 62, 70))), 8)
        if roof < 0.65:
            top, back = height + own.uniform(1.5, 4), x + side * 4
            eave = [px(x, height, z), px(x, height, z1), px(back, top, z1), px(back, top, z)]
            canvas.poly(eave, light.on(roof_color, (-side * 0.6, 0.8, 0), middle), BUILDING)
            gable = [px(x, height, z), px(back, top, z), px(x + side * 8, height, z)]
            canvas.poly(gable, light.on(_times(color, 0.92), (0, 0, -1), z), BUILDING)
        # The wall that faces us, seen where the next house nearer is lower or missing.
        far = x + side * 9
        front = light.on(_times(color, 0.95), (0, 0, -1), z)
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
            canvas.instance, house = 0, canvas.instance
            canvas.textured(texture, quad, BUILDING)
            canvas.instance = house
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
    frame = lit(_times((225, 222, 215), rng.uniform(0.5, 1)))
    glass_tone = rng.uniform(0.6, 1.5)
    trim = lit(_times(color, rng.choice((0.72, 0.85, 1.2))))
    shutters = (
        lit(_jitter(rng, rng.choice(((70, 90, 70), (110, 70, 50), (80, 90, 110))))) if rng.random() < 0.25 else None
    )
    bricks = sy > 9 and rng.random() < 0.35
    if bricks:
        mortar = lit(_times(color, 0.86))
        step = max(3, int(0.28 * sy))
        for row in range(0, height_px, step):
            pen.line((0, row, width_px, row), fill=mortar)
    floors, columns = max(1, int(height / storey)), max(1, int(length / bay))
    margin = (length - columns * bay) / 2
    ground = lit(_times(color, rng.uniform(0.6, 1.05)))
    rect(0, 0, length, storey, ground)
    rect(0, storey - 0.15, length, 0.3, trim)
    rect(0, height - 0.45, length, 0.45, trim)
    lamp = (250, 214, 140)
    shop = rng.random() < 0.45
    awning = (
        lit(_jitter(rng, rng.choice(((150, 40, 40), (40, 80, 60), (60, 70, 120), (190, 170, 120))))) if shop else None
    )
    for column in range(columns):
        a = margin + column * bay
        if shop:
            bright = lamp if light.lamps else lit(_times((70, 80, 90), rng.uniform(0.7, 1.6)))
            rect(a + 0.15, 0.5, bay - 0.3, 1.9, bright)
            rect(a, 2.4, bay, 0.5, awning)
        elif rng.random() < 0.25:
            rect(a + bay * 0.25, 0, min(1.2, bay * 0.5), 2.2, lit(_jitter(rng, (90, 62, 46), 24)))
        else:
            rect(a + (bay - wide) / 2, 1.0, wide, tall * 0.9, lit(_times((56, 64, 74), glass_tone)))
        for floor in range(1, floors):
            b = floor * storey + 0.8
            if b + tall > height - 0.3:
                break
            left = a + (bay - wide) / 2
            tone = glass_tone * rng.uniform(0.75, 1.25)
            pane = lit(_times((58, 66, 78), tone))
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
    grain = _grain("plaster").crop((0, 0, min(256, width_px), min(256, height_px))).resize(texture.size)
    return ImageChops.multiply(texture, grain)


def _cloth(rng, light, normal, size, z) -> Image.Image:
    """A building sheet: pale green or blue cloth with folds and seams."""
    color = _jitter(rng, rng.choice(((140, 176, 150), (130, 156, 186), (206, 204, 200))), 8)
    texture = Image.new("RGB", size, light.on(color, normal, z))
    pen = ImageDraw.Draw(texture)
    seam, fold = light.on(_times(color, 0.75), normal, z), light.on(_times(color, 0.9), normal, z)
    for column in range(0, size[0], max(3, size[0] // 9)):
        pen.line((column, 0, column + size[0] // 30, size[1]), fill=fold, width=max(1, size[0] // 40))
    for row in range(0, size[1], max(3, size[1] // 5)):
        pen.line((0, row, size[0], row), fill=seam)
    return texture


def _barrier(world: _World, kind: str, x: float, layout: _Layout, height: float) -> None:
    """A wall or a fence along the street, in segments."""
    rng = world.rng
    seed, segment = rng.getrandbits(32), 6.0
    style = rng.choice(("bars", "mesh", "planks") if kind == "fence" else ("brick", "concrete", "plaster"))
    colors = {
        "bars": ((40, 44, 42), (70, 90, 70), (150, 152, 150)),
        "mesh": ((110, 116, 112), (60, 84, 64)),
        "planks": ((120, 90, 62), (150, 130, 106), (96, 96, 92)),
        "brick": ((140, 80, 62), (156, 112, 86)),
        "concrete": ((140, 138, 132), (112, 111, 108)),
        "plaster": ((196, 186, 164), (168, 150, 130), (150, 160, 160)),
    }
    color = _jitter(rng, rng.choice(colors[style]))
    side = 1 if x > 0 else -1
    z = rng.uniform(3, 8)
    while z < 70:
        if not _gap(layout, z, z + segment) and rng.random() < 0.9:

            def draw(z=z):
                own = random.Random(seed)
                quad = [
                    world.px(x, height, z),
                    world.px(x, height, z + segment),
                    world.px(x, 0, z + segment),
                    world.px(x, 0, z),
                ]
                per_metre = min(30.0, max(3.0, world.f / z))
                size = (max(6, min(200, int(segment * per_metre * 0.7))), max(4, min(120, int(height * per_metre))))
                lit = functools.partial(world.light.on, normal=(-side, 0, 0), z=z + 2)
                texture = _barrier_texture(own, style, lit, color, size, segment, height)
                world.canvas.textured(texture, quad, FENCE if kind == "fence" else WALL)

            world.add(z + segment, draw)
        z += segment


def _barrier_texture(rng, style, lit, color, size, length, height) -> Image.Image:
    width, tall = size
    if style in ("bars", "mesh"):
        texture = Image.new("RGBA", size, (*lit(color), 0 if style == "bars" else 70))
        pen = ImageDraw.Draw(texture)
        solid = (*lit(color), 255)
        step = max(3, int(width / length * 0.16))
        for a in range(0, width, step):
            pen.line((a, 0, a, tall), fill=solid, width=max(1, step // 3))
            if style == "mesh":
                pen.line((a, 0, a + tall, tall), fill=solid)
        for b in (0, tall - 2) if style == "bars" else range(0, tall, max(3, step)):
            pen.line((0, b, width, b), fill=solid, width=max(1, tall // 24))
        for a in range(0, width + 1, max(4, width // 3)):
            pen.line((a, 0, a, tall), fill=solid, width=max(2, width // 50))
        return texture
    texture = Image.new("RGB", size, lit(color))
    pen = ImageDraw.Draw(texture)
    dark, pale = lit(_times(color, 0.78)), lit(_times(color, 1.12))
    if style == "planks":
        for a in range(0, width, max(3, int(width / length * 0.18))):
            pen.line((a, 0, a, tall), fill=dark)
    elif style == "brick":
        row = max(3, int(tall / height * 0.12))
        for i, b in enumerate(range(0, tall, row)):
            pen.line((0, b, width, b), fill=pale)
            for a in range((i % 2) * row, width, row * 2):
                pen.line((a, b, a, b + row), fill=pale)
    else:
        for a in range(0, width, max(4, width // 3)):
            pen.line((a, 0, a, tall), fill=dark)
        if rng.random() < 0.4:
            for _ in range(3):
                a, b = rng.randrange(width), rng.randrange(tall)
                tag = tuple(rng.randrange(30, 220) for _ in range(3))
                pen.line(
                    (a, b, a + width // 6, b + tall // 5, a + width // 4, b - tall // 6),
                    fill=tag,
                    width=max(1, tall // 12),
                )
    pen.rectangle((0, 0, width, max(1, tall // 14)), fill=pale)
    return ImageChops.multiply(texture, _grain("plaster").resize(size))


def _rail_guard(world: _World, x: float, layout: _Layout) -> None:
    """A crash barrier along an open road: a steel band on posts."""
    z = world.rng.uniform(4, 8)
    end = z + world.rng.uniform(20, 40)
    while z < end:
        if not _gap(layout, z, z + 4):

            def draw(z=z):
                canvas, px, on = world.canvas, world.px, world.light.on
                normal = (-1 if x > 0 else 1, 0.2, 0)
                for post in (z + 3.5, z + 1.5):
                    canvas.line(
                        [px(x, 0, post), px(x, 0.6, post)],
                        0.1 * world.f / post,
                        on((96, 98, 100), normal, post),
                        GUARD_RAIL,
                    )
                for low, high, tone in ((0.45, 0.58, 150), (0.58, 0.64, 96), (0.64, 0.78, 178)):
                    band = [px(x, high, z), px(x, high, z + 4), px(x, low, z + 4), px(x, low, z)]
                    canvas.poly(band, on((tone, tone + 2, tone + 4), normal, z), GUARD_RAIL)

            world.add(z + 4, draw)
        z += 4


def _tree_row(world: _World, x: float, layout: _Layout, density: float) -> None:
    rng = world.rng
    step = rng.uniform(6, 11)
    height, color = rng.uniform(4.5, 10), rng.choice(FOLIAGE)
    z = rng.uniform(5, 14)
    while z < 110:
        if rng.random() < density and not _gap(layout, z - 1, z + 1):
            _tree(world, x + rng.uniform(-0.2, 0.2), z, height * rng.uniform(0.8, 1.2), color)
        z += step * rng.uniform(0.9, 1.1)


def _tree(world: _World, x: float, z: float, height: float, color: tuple) -> None:
    rng = world.rng
    world.take(x, z, 0.6, 0.6)
    world.shadow(x, z, 0.4, 0.4, height)
    crown = height * rng.uniform(0.5, 0.68)
    world.shadows.append(
        [(x + crown * 0.45 * math.cos(a) - _lean(world, 0) * height, z + crown * 0.45 * math.sin(a) - _lean(world, 2) * height)
         for a in (0.0, 0.8, 1.6, 2.4, 3.1, 3.9, 4.7, 5.5)]
    )  # fmt: skip
    seed, color = rng.getrandbits(32), _jitter(rng, color, 12)

    def draw():
        own, canvas, s = random.Random(seed), world.canvas, world.f / z
        bark = world.light.on(_jitter(own, (82, 68, 56), 12), z=z)
        foot, top = world.px(x, 0, z), world.px(x, height * 0.55, z)
        thick = max(0.16, height * 0.035) * s
        canvas.line([foot, top], thick, bark, VEGETATION)
        blobs = 3 if crown * s < 40 else 6
        order = sorted((own.uniform(0.5, 0.92), own.uniform(-0.28, 0.28), own.uniform(0.45, 0.7)) for _ in range(blobs))
        for up, across, size in [(0.68, 0.0, 0.85), *order]:
            at = world.px(x, height * up, z)
            _leaves(world, own, at[0] + across * crown * s, at[1], crown * size * s, crown * size * s, color, z)

    world.add(z, draw)


def _lean(world: _World, axis: int) -> float:
    """How far along an axis a shadow falls per metre of height."""
    direction = world.light.direction
    return direction[axis] / max(0.35, direction[1])


def _leaves(world, rng, x, y, width, height, color, z, label=VEGETATION) -> None:
    """One leafy blob around a canvas position; sizes in canvas px."""
    width, height = max(3, int(width)), max(3, int(height))
    left, top = int(x - width / 2), int(y - height / 2)
    if left > world.canvas.width or top > world.canvas.height or left + width < 0 or top + height < 0:
        return
    shade, alpha = _foliage()[rng.randrange(12)]
    if rng.random() < 0.5:
        shade, alpha = (
            shade.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
            alpha.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        )
    size = (width, height)
    shade, alpha = shade.resize(size, Image.Resampling.BILINEAR), alpha.resize(size, Image.Resampling.BILINEAR)
    dark, bright = world.light.on(_times(color, 0.35), z=z), world.light.on(_times(color, 1.75), (0, 0.9, -0.4), z)
    bands = [shade.point([d + (b - d) * i // 255 for i in range(256)]) for d, b in zip(dark, bright)]
    world.canvas.stamp((left, top), Image.merge("RGB", bands), alpha, label)


def _hedge(world: _World, x: float, layout: _Layout, height: float) -> None:
    rng = world.rng
    color, z = _jitter(rng, rng.choice(FOLIAGE)), rng.uniform(4, 7)
    while z < 60:
        if not _gap(layout, z - 1, z + 1):
            seed = rng.getrandbits(32)

            def draw(z=z, seed=seed):
                s, at = world.f / z, world.px(x, height * 0.45, z)
                _leaves(world, random.Random(seed), *at, 1.9 * s, height * 1.5 * s, color, z)

            world.add(z, draw)
        z += 1.0 + z * 0.03


def _garden(world: _World, x: float, side: int, layout: _Layout) -> None:
    rng = world.rng
    for _ in range(rng.randrange(4, 12) if layout.name != "open" else rng.randrange(10, 22)):
        z = rng.uniform(8, 100)
        if _gap(layout, z - 2, z + 2):
            continue
        tree_x = x + side * rng.uniform(-2, 8) if layout.name != "open" else x + side * rng.uniform(-1, 16)
        if rng.random() < 0.6:
            _tree(world, tree_x, z, rng.uniform(4, 10), rng.choice(FOLIAGE))
        else:
            seed, color, size = rng.getrandbits(32), _jitter(rng, rng.choice(FOLIAGE)), rng.uniform(0.8, 2.4)

            def draw(z=z, tree_x=tree_x, seed=seed, color=color, size=size):
                at, s = world.px(tree_x, size * 0.4, z), world.f / z
                _leaves(world, random.Random(seed), *at, size * 1.7 * s, size * 1.3 * s, color, z)

            world.add(z, draw)


def _backdrop(world: _World, layout: _Layout) -> None:
    """What closes the view: far houses and trees in the haze."""
    rng = world.rng
    seed = rng.getrandbits(32)

    def draw():
        own, canvas = random.Random(seed), world.canvas
        z = FAR_M
        x = -75.0
        green = 0.75 if layout.name in ("open", "residential") else 0.45
        while x < 75:
            width, height = own.uniform(6, 18), own.uniform(5, 16)
            if own.random() < green:
                color = _jitter(own, own.choice(FOLIAGE))
                s, at = world.f / z, world.px(x + width / 2 - world.bend(z), height * 0.4, z)
                _leaves(world, own, *at, width * 1.5 * s, height * 1.3 * s, color, z)
                canvas.poly(
                    _box_front(world, x, x + width, 0, height * 0.35, z),
                    world.light.on(_times(color, 0.7), z=z),
                    VEGETATION,
                )
            else:
                color = world.light.on(_jitter(own, own.choice(BUILDING_COLORS)), z=z)
                canvas.poly(_box_front(world, x, x + width, 0, height, z), color, BUILDING)
            x += width * 0.8
        if world.has("unlabeled"):
            # Too far and too small to tell: what an annotator leaves without a name.
            x, z2 = own.uniform(-14, 14), 110.0
            color = world.light.on((104, 100, 96), z=z2)
            for _ in range(3):
                canvas.poly(_box_front(world, x, x + own.uniform(2, 5), 0, own.uniform(1.5, 4), z2), color, UNLABELED)
                x += 2

    world.add(FAR_M + 10, draw)


def _box_front(world, x0, x1, y0, y1, z) -> list:
    """A rectangle that faces us; x without the bend."""
    bend = world.bend(z)
    return [
        world.px(x0 - bend, y1, z),
        world.px(x1 - bend, y1, z),
        world.px(x1 - bend, y0, z),
        world.px(x0 - bend, y0, z),
    ]


def _bridge(world: _World, layout: _Layout) -> None:
    """A bridge over the street: a deck with a railing, on two piers."""
    rng = world.rng
    z, low, thick = rng.uniform(16, 38), rng.uniform(4.6, 6), rng.uniform(1.0, 1.9)
    left, right = layout.strips[0].x0 - rng.uniform(4, 7), layout.strips[0].x1 + rng.uniform(4, 7)
    color, piers = _jitter(rng, rng.choice(((140, 138, 134), (120, 96, 80), (104, 120, 112)))), rng.random() < 0.7
    seams = rng.randrange(6, 16)
    world.shadows.append([(-60, z), (60, z), (60, z + 7), (-60, z + 7)])

    def draw():
        canvas, on = world.canvas, world.light.on
        under, face = on(_times(color, 0.4), (0, -1, 0), z), on(color, (0, 0, -1), z)
        bend, far = world.bend(z), world.bend(z + 7)
        deck = [
            world.px(-60 - bend, low, z),
            world.px(60 - bend, low, z),
            world.px(60 - far, low, z + 7),
            world.px(-60 - far, low, z + 7),
        ]
        canvas.poly(deck, under, BRIDGE)
        canvas.poly(_box_front(world, -60, 60, low, low + thick, z), face, BRIDGE)
        canvas.poly(_box_front(world, -60, 60, low + thick * 0.82, low + thick, z), on(_times(color, 1.2), z=z), BRIDGE)
        dark = on(_times(color, 0.75), z=z)
        for i in range(seams):
            x = -30 + 60 * i / seams
            canvas.line([world.px(x, low, z), world.px(x, low + thick, z)], 1, dark, None)
        for x in range(-30, 31, 2):
            canvas.line(
                [world.px(x, low + thick, z), world.px(x, low + thick + 0.9, z)], 0.06 * world.f / z, dark, BRIDGE
            )
        canvas.line(
            [world.px(-60, low + thick + 0.9, z), world.px(60, low + thick + 0.9, z)], 0.1 * world.f / z, dark, BRIDGE
        )
        if piers:
            for x in (left, right):
                canvas.poly(_box_front(world, x - 0.7, x + 0.7, 0, low, z + 1), on(_times(color, 0.9), z=z), BRIDGE)
                canvas.poly(_box_front(world, x + 0.3, x + 0.7, 0, low, z + 1), on(_times(color, 0.7), z=z), BRIDGE)

    world.add(z + 7, draw)


def _tunnel(world: _World, layout: _Layout) -> None:
    """The street runs into a hill: a portal wall, a dark mouth, trees above."""
    rng = world.rng
    z, seed = layout.closed_m, rng.getrandbits(32)
    left, right = layout.road[0] - 1.2, layout.road[1] + 1.2
    color = _jitter(rng, rng.choice(((150, 146, 138), (126, 106, 92))))

    def draw():
        own, canvas, on = random.Random(seed), world.canvas, world.light.on
        middle, half = (left + right) / 2, (right - left) / 2
        canvas.poly(_box_front(world, -80, 80, 0, 9, z + 1), on((96, 110, 62), (0, 0.6, -0.8), z), TERRAIN)
        for _ in range(26):
            at, s = world.px(own.uniform(-45, 45) - world.bend(z), own.uniform(7, 12), z + 1), world.f / z
            size = own.uniform(4, 8) * s
            _leaves(world, own, *at, size * 1.3, size, _jitter(own, own.choice(FOLIAGE)), z)
        canvas.poly(_box_front(world, left - 5, right + 5, 0, 7.5, z), on(color, (0, 0, -1), z), WALL)
        rim, mouth = [], []
        for i in range(13):
            turn = math.pi * i / 12
            for arc, grow in ((rim, 1.0), (mouth, 0.88)):
                x, y = middle - half * grow * math.cos(turn), 2.6 + 3.4 * grow * math.sin(turn)
                arc.append(world.px(x - world.bend(z), y, z))
        for arc, grow in ((rim, 1.0), (mouth, 0.88)):
            arc.insert(0, world.px(middle - half * grow - world.bend(z), 0, z))
            arc.append(world.px(middle + half * grow - world.bend(z), 0, z))
        canvas.poly(rim, on(_times(color, 1.25), (0, 0, -1), z), TUNNEL)
        canvas.poly(mouth, on((22, 22, 24), z=z * 0.5), TUNNEL)
        for i in range(4):
            lamp = world.px(middle - world.bend(z), 5.2 - i * 0.5, z)
            canvas.disc(*lamp, 2, 1, (236, 210, 150), None)

    world.add(z + 2, draw)


# ---------------------------------------------------------------------------------------------------------------------
# Sky and ground.
# ---------------------------------------------------------------------------------------------------------------------


def _draw_sky(world: _World) -> None:
    canvas, light, rng = world.canvas, world.light, world.rng
    height = max(2, math.ceil(world.horizon))
    rows = np.linspace(0, 1, 32, dtype=np.float32)[:, None, None] ** 0.8
    sky = np.array(light.sky_top, np.float32) * (1 - rows) + np.array(light.sky_low, np.float32) * rows
    noise = _noise(128, 2, 7)
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


def _draw_ground(world: _World, layout: _Layout) -> None:
    """The street plane: strips, marks, joints; then texture, shadows and haze over all of it at once."""
    canvas, rng, light = world.canvas, world.rng, world.light
    up = (0.0, 1.0, 0.0)
    style = _city_style(world)
    tone = style.uniform(66, 124) + rng.uniform(-14, 14)
    warm = style.uniform(-6, 8)
    road = (tone + warm, tone + 2, tone + 4 - warm)
    walk_tone = style.uniform(104, 158) + rng.uniform(-14, 14)
    walk = style.choice(((0, -2, -4), (14, -2, -12), (4, 3, 4), (24, -6, -18)))
    grass = _jitter(rng, rng.choice(((88, 112, 52), (108, 118, 62), (126, 112, 76), (72, 98, 48))), 10)
    odd = _jitter(rng, rng.choice(((150, 132, 118), (120, 112, 110), (164, 148, 120), (108, 100, 96))), 8)
    colors = {
        "road": road,
        "rail": _jitter(rng, rng.choice(((112, 100, 90), (96, 94, 92), (120, 124, 92))), 8),
        "parking": tuple(c + d for c, d in zip(road, rng.choice(((26, 14, 10), (34, 26, 22), (14, 6, 2))))),
        "verge": grass,
        "terrain": grass,
        "sidewalk": tuple(walk_tone + c for c in walk),
        "ground": odd,
        "water": _jitter(rng, (76, 92, 96), 10),
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
    fine, coarse = _noise(256, 64, 5, 0.9), _noise(256, 4, 6, 0.7)
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


def _shadow_map(world: _World, size: tuple, top: int) -> Image.Image:
    """Shadows on the ground as a factor, drawn coarse so that their edges are soft; L, `size`."""
    step = 4
    small = Image.new("L", (size[0] // step + 1, size[1] // step + 1), 255)
    pen = ImageDraw.Draw(small)
    for polygon in world.shadows:
        points = [world.px(x, 0, max(z, NEAR_M)) for x, z in polygon]
        pen.polygon([(x / step, (y - top) / step) for x, y in points], fill=int(255 * (1 - world.light.shadow)))
    return small.resize(size, Image.Resampling.BILINEAR)


def _on_ground(world: _World, points: list) -> list:
    return [world.px(x, 0, z) for x, z in points]


def _band(world, x0, x1, color, label, z0=NEAR_M, z1=FAR_M) -> None:
    """A strip of ground along the street."""
    samples = [z0, *(z for z in _SAMPLES if z0 < z < z1), z1]
    points = [world.px(x0, 0, z) for z in samples] + [world.px(x1, 0, z) for z in reversed(samples)]
    world.canvas.poly(points, color, label)


def _road_surface(world: _World, layout: _Layout, color: tuple) -> None:
    """Repairs, manholes, lane marks, zebra crossing: all of it road."""
    rng, canvas, light = world.rng, world.canvas, world.light
    up = (0.0, 1.0, 0.0)
    for x, z, width, length, factor in layout.patches:
        x = min(max(x, layout.road[0] + width / 2), layout.road[1] - width / 2)
        corners = [(x - width / 2, z), (x + width / 2, z), (x + width / 2, z + length), (x - width / 2, z + length)]
        canvas.poly(_on_ground(world, corners), light.on(_times(color, factor), up), None)
    for _ in range(rng.randrange(3)):
        x, z = rng.uniform(layout.road[0] + 0.5, layout.road[1] - 0.5), rng.uniform(5, 20)
        at, s = world.px(x, 0, z), world.f / z
        canvas.disc(*at, 0.32 * s, 0.32 * s * world.eye / z, light.on(_times(color, 0.6), up), None)
    white = light.on(_times((228, 228, 222), rng.uniform(0.62, 1.0)), up)
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


def _kerbs_and_joints(world: _World, layout: _Layout, colors: dict) -> None:
    """Kerbstones, paving joints, parking bays, rails, ripples, and islands of odd ground."""
    rng, canvas, light = world.rng, world.canvas, world.light
    up = (0.0, 1.0, 0.0)
    kerb = light.on(_jitter(rng, (168, 164, 156), 14), up)

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
            joint = light.on(_times(colors["sidewalk"], 0.82), up)
            step, z = rng.choice((0.8, 1.2, 2.0)), 3.0
            while z < 16:
                if not _gap(layout, z, z):
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
                if not _gap(layout, z, z):
                    canvas.line(
                        _on_ground(world, [(near, z), (far, z)]), 0.12 * world.f / z * world.eye / z * 2, line, None
                    )
                z += 5.5
            piecewise(near - 0.06, near + 0.06, line, None)
            piecewise(far, far + side * 0.14, kerb, SIDEWALK)
        elif strip.kind == "rail":
            steel, sleeper = light.on((150, 150, 152), up), light.on(_times(colors["rail"], 0.72), up)
            middle = (near + far) / 2
            z = 3.0
            while z < 34:
                if not _gap(layout, z, z):
                    _band(world, middle - 1.2, middle + 1.2, sleeper, None, z, z + 0.26)
                z += 0.75
            for shift in (-0.72, 0.72):
                _band(world, middle + shift - 0.05, middle + shift + 0.05, steel, None)
        elif strip.kind in ("ground", "water"):
            tone = light.on(_times(colors[strip.kind], 0.84 if strip.kind == "ground" else 1.35), up)
            z, row = 3.0, 0
            while z < 30:
                if not _gap(layout, z, z):
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
        canvas.poly(_on_ground(world, inner), light.on(_times(colors["ground"], rng.uniform(0.8, 1.15)), up), GROUND)
        tone = light.on(_times(colors["ground"], 0.7), up)
        for i in range(1, 8):
            zi = z + length * i / 8
            half = width * 0.42 * math.sqrt(max(0.0, 1 - (2 * i / 8 - 1) ** 2))
            canvas.line(_on_ground(world, [(x - half, zi), (x + half, zi)]), 1, tone, None)


# ---------------------------------------------------------------------------------------------------------------------
# Solids: a side view pulled to a width. Vehicles, and void that looks a little like them.
# ---------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class _Solid:
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


def _draw_solid(world: _World, solid: _Solid, x: float, z: float, yaw: float, colors: dict, label: int) -> None:
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
    # Wheels seen from the end, under the body.
    if solid.wheels and abs(cos) > 0.5:
        radius = solid.wheels[0][1]
        u = min(p[0] for p in solid.wheels) if cos > 0 else max(p[0] for p in solid.wheels)
        low = min(v for _, v, _ in solid.ring)
        for w0 in (-half + 0.03, half - 0.25):
            tyre = [place(u, low + 0.05, w0), place(u, low + 0.05, w0 + 0.22), place(u, 0, w0 + 0.22), place(u, 0, w0)]
            canvas.poly(tyre, light.on((22, 22, 24), z=z), label)


_GLASS, _LAMP, _TAIL, _PLATE = (40, 46, 54), (244, 240, 220), (190, 30, 26), (206, 206, 200)


def _rect(a0, b0, a1, b1) -> list:
    return [(a0, b0), (a1, b0), (a1, b1), (a0, b1)]


def _ends(width: float, low: float, high: float) -> tuple[list, list]:
    """Lamps, plate and bumper at front and rear, as decals."""
    w = width / 2
    lamp, bumper = high - 0.16, low + 0.16
    front = [(_rect(-w, low, w, bumper), "trim"), (_rect(-w * 0.5, bumper + 0.04, w * 0.5, lamp), "trim")]
    rear = [(_rect(-w, low, w, bumper), "trim")]
    for s in (-1, 1):
        front.append((_rect(s * w * 0.62, lamp - 0.02, s * w * 0.96, high - 0.02), "lamp"))
        rear.append((_rect(s * w * 0.7, lamp - 0.08, s * w * 0.97, high), "tail"))
    front.append((_rect(-0.25, bumper - 0.06, 0.25, bumper + 0.06), "plate"))
    rear.append((_rect(-0.25, bumper + 0.06, 0.25, bumper + 0.18), "plate"))
    return front, rear


def _car_solid(rng: random.Random) -> tuple[_Solid, float]:
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
        (_rect(-h, 0.28, h, 0.4), "trim"),
        (_rect(pillar - 0.02, 0.4, pillar, sill), "trim"),
        (_rect(pillar + 0.12, belt - 0.12, pillar + 0.3, belt - 0.08), "trim"),
    ]
    front, rear = _ends(width, 0.3, nose - 0.02)
    rear = [(shape if name != "tail" else [(w, v + 0.12) for w, v in shape], name) for shape, name in rear]
    wheels = [(-h * 0.6, 0.32), (h * 0.62, 0.32)]
    return _Solid(ring, width, decals, front, rear, wheels, 0.8, belt, height), length


def _car_colors(rng: random.Random) -> dict:
    body = _jitter(rng, rng.choice(CAR_COLORS), 10)
    return {"body": body, "glass": _GLASS, "trim": (34, 34, 36), "lamp": _LAMP, "tail": _TAIL, "plate": _PLATE}


def _put_car(world: _World, x: float, z: float, yaw: float) -> bool:
    rng = world.rng
    solid, length = _car_solid(rng)
    across = abs(math.sin(yaw)) > 0.7
    size = (length + 0.6, 2.2) if across else (2.0, length + 0.8)
    if not world.take(x, z, *size):
        return False
    colors = _car_colors(rng)
    world.shadow(x, z, *((length, solid.width) if across else (solid.width, length)), 1.3)
    world.add(z, lambda: _draw_solid(world, solid, x, z, yaw, colors, CAR))
    return True


def _box_solid(length, width, low, high, material="body", windows=0, taper=1.0) -> _Solid:
    h = length / 2
    ring = [(-h, low, material), (-h, high, material), (h, high, material), (h, low, "under")]
    solid = _Solid(ring, width, taper=taper, belt=(low + high) / 2, top=high)
    if windows:
        step = (length - 0.6) / windows
        sill, head = low + (high - low) * 0.42, low + (high - low) * 0.85
        for i in range(windows):
            a = -h + 0.3 + i * step
            solid.decals.append((_rect(a + 0.08, sill, a + step - 0.08, head), "glass"))
    return solid


def _put_truck(world: _World, x: float, z: float, yaw: float) -> bool:
    rng = world.rng
    box_length, box_height = rng.uniform(3.5, 7.5), rng.uniform(2.4, 3.6)
    length = box_length + 2.2
    if not world.take(x, z, 2.6, length + 1):
        return False
    body = _jitter(rng, rng.choice((*CAR_COLORS, (200, 200, 196), (190, 150, 60), (60, 110, 80))), 10)
    cargo = _jitter(
        rng, rng.choice(((210, 210, 206), (150, 150, 152), (90, 110, 130), (176, 60, 44), (110, 104, 84))), 12
    )
    base = {"glass": _GLASS, "trim": (40, 40, 42), "lamp": _LAMP, "tail": _TAIL, "plate": _PLATE}
    cab = _Solid(
        [(-0.9, 0.5, "body"), (-0.9, 2.5, "body"), (0.6, 2.55, "glass"), (0.95, 1.5, "body"), (1.0, 0.45, "under")],
        2.2, [([(-0.35, 1.5), (-0.35, 2.3), (0.5, 2.3), (0.78, 1.5)], "glass")], wheels=[(0.3, 0.45)],
    )  # fmt: skip
    cab.front, _ = _ends(2.2, 0.5, 1.0)
    load = _box_solid(box_length, 2.35, 0.85, box_height)
    ribs = rng.randrange(0, 9)
    for i in range(ribs):
        u = -box_length / 2 + box_length * (i + 0.5) / ribs
        load.decals.append((_rect(u, 0.9, u + 0.06, box_height - 0.05), "rib"))
    if rng.random() < 0.4:
        load.decals.append((_rect(-box_length * 0.3, 1.5, box_length * 0.3, box_height - 0.5), "sign"))
    load.decals.append((_rect(-box_length / 2, 0.6, box_length / 2, 0.85), "trim"))
    load.wheels = [(-box_length * 0.3, 0.45)]
    load.rear = [(_rect(-0.03, 0.9, 0.03, box_height), "rib"), (_rect(-1.1, 0.55, 1.1, 0.8), "trim")]
    load.rear += [(_rect(s * 0.8, 0.58, s * 1.1, 0.76), "tail") for s in (-1, 1)]
    paint = {**base, "body": cargo, "rib": _times(cargo, 0.75), "sign": _jitter(rng, rng.choice(CAR_COLORS), 30)}
    forward = 1 if math.cos(yaw) > 0 else -1
    world.shadow(x, z, 2.3, length, 3)

    def draw():
        parts = [(z - forward * 1.1, load, paint), (z + forward * (box_length / 2 + 0.1), cab, {**base, "body": body})]
        for at, solid, colors in sorted(parts, key=lambda part: -part[0]):
            _draw_solid(world, solid, x, at, yaw, colors, TRUCK)

    world.add(z, draw)
    return True


def _put_bus(world: _World, x: float, z: float, yaw: float) -> bool:
    rng = world.rng
    length, height = rng.uniform(9, 12.5), rng.uniform(2.8, 3.3)
    if not world.take(x, z, 2.8, length + 1):
        return False
    solid = _box_solid(length, 2.5, 0.35, height, windows=rng.randrange(5, 9))
    h = length / 2
    body = _jitter(
        rng,
        rng.choice(((190, 60, 50), (208, 170, 70), (60, 90, 150), (70, 130, 90), (206, 206, 202), (140, 142, 146))),
        12,
    )
    colors = {"body": body, "glass": _GLASS, "trim": (40, 40, 42), "lamp": _LAMP, "tail": _TAIL, "plate": _PLATE}
    colors["stripe"], colors["board"] = _times(body, rng.choice((0.6, 1.35))), (230, 150, 40)
    solid.decals.append((_rect(-h, 0.8, h, 1.0), "stripe"))
    solid.decals.append((_rect(h - 1.5, 0.45, h - 0.5, height - 0.45), "glass"))
    solid.front, solid.rear = _ends(2.5, 0.35, 1.0)
    solid.front += [
        (_rect(-1.15, 1.2, 1.15, height - 0.55), "glass"),
        (_rect(-0.8, height - 0.45, 0.8, height - 0.15), "board"),
    ]
    solid.rear += [(_rect(-1.0, 1.6, 1.0, height - 0.5), "glass"), (_rect(-0.7, 0.7, 0.7, 1.4), "trim")]
    solid.wheels = [(-h * 0.55, 0.48), (h * 0.6, 0.48)]
    world.shadow(x, z, 2.5, length, 3)
    world.add(z, lambda: _draw_solid(world, solid, x, z, yaw, colors, BUS))
    return True


def _place_train(world: _World, x: float, z: float, layout: _Layout) -> None:
    """A tram on its track, several cars long."""
    rng = world.rng
    cars, length = rng.randrange(2, 4), rng.uniform(9, 12)
    body = _jitter(
        rng, rng.choice(((180, 50, 44), (214, 190, 90), (206, 206, 204), (60, 110, 140), (90, 140, 100))), 12
    )
    colors = {"body": body, "glass": _GLASS, "trim": (36, 36, 38), "lamp": _LAMP, "tail": _TAIL}
    colors["stripe"], colors["board"], colors["roof"] = _jitter(rng, (200, 200, 196), 30), (235, 170, 60), (96, 98, 100)
    yaw = 0.0 if x > 0 else math.pi
    z = z + length / 2
    for i in range(cars):
        at = z + i * (length + 0.3)
        if _gap(layout, at - length / 2, at + length / 2) and layout.closed_m < FAR_M:
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
        solid = _Solid(ring, 2.4)
        windows = 6
        step = (length - 0.8) / windows
        for k in range(windows):
            a = -h + 0.4 + k * step
            door = k % 3 == 1
            solid.decals.append((_rect(a + 0.1, 0.45 if door else 1.4, a + step - 0.1, 2.6), "glass"))
        solid.decals += [
            (_rect(-h, 1.0, h, 1.2), "stripe"),
            (_rect(-h, 0.05, h, 0.5), "trim"),
            (_rect(-h + 0.2, 3.0, h - 0.2, 3.12), "stripe"),
        ]
        end = [
            (_rect(-1.0, 1.35, 1.0, 2.6), "glass"),
            (_rect(-0.7, 2.68, 0.7, 2.95), "board"),
            (_rect(-1.2, 0.1, 1.2, 0.5), "trim"),
            (_rect(-1.2, 1.0, 1.2, 1.15), "stripe"),
        ]
        solid.front = end + [(_rect(s * 0.7, 0.62, s * 1.0, 0.85), "lamp") for s in (-1, 1)]
        solid.rear = end + [(_rect(s * 0.7, 0.62, s * 1.0, 0.85), "tail") for s in (-1, 1)]
        world.take(x, at, 2.6, length)
        world.shadow(x, at, 2.4, length, 3.4)
        world.add(at, lambda at=at, solid=solid: _draw_solid(world, solid, x, at, yaw, colors, TRAIN))

    def wire():
        canvas = world.canvas
        color = world.light.on((60, 60, 62), z=30)
        canvas.line([world.px(x, 5.4, d) for d in (6, 12, 25, 50, 100)], 1, color, None)

    world.add(5.0, wire)


def _park_cars(world: _World, x: float, side: int, layout: _Layout, density: float) -> None:
    rng = world.rng
    z = rng.uniform(5, 14)
    yaw = 0.0 if side > 0 else math.pi
    while z < 75:
        if rng.random() < density and not _gap(layout, z - 2.5, z + 2.5):
            _put_car(world, x + rng.uniform(-0.1, 0.1), z, yaw + rng.uniform(-0.02, 0.02))
        z += rng.uniform(5.4, 6.6)


def _cars_on_lanes(world: _World, layout: _Layout) -> None:
    """Traffic: cars ahead of us and towards us; a truck, a bus, riders where the scene has them."""
    rng = world.rng
    for feature, put in (("truck", _put_truck), ("bus", _put_bus)):
        if world.has(feature):
            x, direction = rng.choice(layout.lanes)
            low = 15 if abs(x) < 1.5 else 11
            for _ in range(4):
                z = rng.uniform(low, 42)
                if (layout.closed_m > z + 8) and put(world, x, z, 0.0 if direction > 0 else math.pi):
                    break
    for feature, put in (("motorcycle", _put_motorcycle), ("rider", _put_cyclist)):
        if world.has(feature):
            side = rng.choice((-1, 1))
            x = (layout.road[1] - 0.7) if side > 0 else (layout.road[0] + 0.7)
            for _ in range(4):
                z = rng.uniform(6.5, 22)
                if world.take(x, z, 0.9, 2.4):
                    put(world, x, z, rng.uniform(0.2, 0.5), True)
                    break
    for x, direction in layout.lanes:
        z = rng.uniform(9, 24) if abs(x) < 1.6 else rng.uniform(6, 16)
        busy = rng.uniform(0.25, 0.85)
        while z < 100:
            if rng.random() < busy and z + 3 < layout.closed_m:
                _put_car(
                    world, x + rng.uniform(-0.25, 0.25), z, (0.0 if direction > 0 else math.pi) + rng.gauss(0, 0.03)
                )
            z += rng.uniform(7, 22)


def _crossing_things(world: _World, layout: _Layout) -> None:
    """Who uses the crossing street and the zebra; the lights that guard them."""
    rng = world.rng
    if layout.crossing:
        z0, z1 = layout.crossing
        for _ in range(rng.randrange(0, 3)):
            right = rng.random() < 0.5
            z = z0 + (z1 - z0) * (0.3 if right else 0.7)
            _put_car(world, rng.uniform(-14, 14), z, math.pi / 2 if right else -math.pi / 2)
        for side in (-1, 1):
            x = (layout.road[1] + 0.6) if side > 0 else (layout.road[0] - 0.6)
            _traffic_light(world, x, z0 - 0.6, rng.random() < 0.35)
            if rng.random() < 0.6:
                _traffic_light(world, x, z1 + 0.8, rng.random() < 0.2)
    if layout.zebra:
        for _ in range(rng.randrange(1, 5)):
            x, z = rng.uniform(layout.road[0] - 1, layout.road[1] + 1), layout.zebra + rng.uniform(0.3, 3)
            if world.take(x, z, 0.6, 0.6):
                _put_person(world, x, z)
        if not layout.crossing:
            for x in (layout.road[0] - 0.5, layout.road[1] + 0.5):
                if rng.random() < 0.7:
                    _traffic_light(world, x, layout.zebra - 0.5, False)


# ---------------------------------------------------------------------------------------------------------------------
# Flat figures that face us: people, bicycles, street furniture.
# ---------------------------------------------------------------------------------------------------------------------


class _Pen:
    """Draws in metres at one spot: a = across, v = up. `squeeze` narrows across, as a turn about the axis would."""

    def __init__(self, world: _World, x: float, z: float, label: int, squeeze: float = 1.0, lift: float = 0.0):
        self.world, self.z, self.label, self.squeeze = world, z, label, squeeze
        self.scale = world.f / z
        self.x, self.y = world.px(x, lift, z)
        self.normal = (0.0, 0.25, -0.97)

    def at(self, a: float, v: float) -> tuple:
        return self.x + a * self.squeeze * self.scale, self.y - v * self.scale

    def lit(self, color: tuple) -> tuple:
        return self.world.light.on(color, self.normal, self.z)

    def poly(self, points: list, color: tuple, label: int | None = -1) -> None:
        self.world.canvas.poly([self.at(*p) for p in points], self.lit(color), self.label if label == -1 else label)

    def rect(self, a0, v0, a1, v1, color, label: int | None = -1) -> None:
        self.poly(_rect(a0, v0, a1, v1), color, label)

    def line(self, points: list, width: float, color: tuple, label: int | None = -1) -> None:
        label = self.label if label == -1 else label
        self.world.canvas.line([self.at(*p) for p in points], width * self.scale, self.lit(color), label)

    def disc(self, a, v, radius, color, label: int | None = -1, flat: float = 1.0) -> None:
        s, label = self.scale, self.label if label == -1 else label
        paint = self.lit(color) if color is not None else None
        self.world.canvas.disc(
            *self.at(a, v), max(0.7, radius * s * self.squeeze), max(0.7, radius * flat * s), paint, label
        )

    def ring(self, a, v, radius, width, color) -> None:
        s = self.scale
        self.world.canvas.ring(
            *self.at(a, v), max(0.7, radius * s * self.squeeze), radius * s, width * s, self.lit(color)
        )


def _put_person(world: _World, x: float, z: float) -> None:
    rng = world.rng
    height = rng.uniform(1.0, 1.4) if rng.random() < 0.12 else rng.uniform(1.55, 1.92)
    world.shadow(x, z, 0.4, 0.35, height)
    seed = rng.getrandbits(32)
    world.add(z, lambda: _figure(world, random.Random(seed), x, z, height))


def _figure(world: _World, rng: random.Random, x: float, z: float, height: float) -> None:
    """Somebody who stands or walks."""
    pen = _Pen(world, x, z, PERSON)
    k = height / 1.75
    skin, coat, legs = (
        rng.choice(SKIN),
        _jitter(rng, rng.choice(CLOTHES), 14),
        _jitter(rng, rng.choice(CLOTHES[:7]), 10),
    )
    hair = rng.choice(((30, 26, 22), (80, 58, 38), (160, 130, 80), (120, 118, 114), (46, 34, 28)))
    stride, swing = rng.uniform(0, 0.24), rng.uniform(-0.14, 0.14)
    wide = rng.uniform(0.19, 0.25)
    if pen.scale * height < 7:
        pen.rect(-0.2, 0, 0.2, height * 0.85, coat)
        pen.disc(0, height * 0.92, 0.13, skin)
        return
    skirt = rng.random() < 0.2
    for s in (-1, 1):
        pen.line(
            [(s * 0.08 * k, 0.88 * k), (s * (0.06 + stride / 2) * k, 0.45 * k), (s * (0.05 + stride) * k, 0.03)],
            0.15 * k,
            legs,
        )
        pen.rect(s * (0.05 + stride) * k - 0.09, 0, s * (0.05 + stride) * k + 0.11, 0.08, (32, 28, 26))
    hem = 0.5 if skirt else rng.uniform(0.72, 0.86)
    flare = 0.3 if skirt else 0.2
    pen.poly(
        [
            (-flare * k, hem * k),
            (-wide * k, 1.42 * k),
            (-0.08 * k, 1.5 * k),
            (0.08 * k, 1.5 * k),
            (wide * k, 1.42 * k),
            (flare * k, hem * k),
        ],
        coat,
    )
    sleeve = _times(coat, 0.82)
    for s in (-1, 1):
        hand = (s * (wide + 0.05) * k + swing * s, 0.82 * k)
        pen.line([(s * wide * k, 1.38 * k), (s * (wide + 0.06) * k, 1.1 * k), hand], 0.1 * k, sleeve)
        pen.disc(*hand, 0.05 * k, skin)
    pen.line([(0, 1.48 * k), (0, 1.56 * k)], 0.1 * k, skin)
    pen.disc(0, 1.63 * k, 0.105 * k, skin, flat=1.2)
    pen.poly(
        [
            (-0.11 * k, 1.63 * k),
            (-0.1 * k, 1.74 * k),
            (0, 1.78 * k),
            (0.1 * k, 1.74 * k),
            (0.11 * k, 1.63 * k),
            (0, 1.7 * k),
        ],
        hair,
    )
    if rng.random() < 0.3:  # a bag
        side = rng.choice((-1, 1))
        pen.rect(side * 0.2 * k, 0.7 * k, side * 0.38 * k, 1.0 * k, _jitter(rng, rng.choice(CLOTHES), 14))


def _people_along(world: _World, x0: float, x1: float, side: int, layout: _Layout) -> None:
    rng = world.rng
    low, high = sorted((x0, x1))
    if high - low < 0.8:
        return
    many = {"street": 6, "avenue": 6, "square": 9, "residential": 3, "open": 1}[layout.name]
    for _ in range(rng.randrange(0, many + 1)):
        x, z = rng.uniform(low + 0.3, high - 0.3), 5.5 + 40 * rng.random() ** 1.5
        if z > layout.closed_m or not world.take(x, z, 0.5, 0.5):
            continue
        _put_person(world, x, z)
        if rng.random() < 0.35 and world.take(x + 0.55, z + 0.2, 0.4, 0.4):
            _put_person(world, x + 0.55, z + 0.2)
    if world.has("bicycles"):
        z = rng.uniform(6, 20)
        for _ in range(rng.randrange(1, 5)):
            x = rng.uniform(low + 0.4, high - 0.4)
            if world.take(x, z, 0.8, 0.6) and not _gap(layout, z, z):
                _put_cyclist(world, x, z, rng.uniform(0.35, 1.0), False)
            z += rng.uniform(0.7, 3)
    if rng.random() < 0.12 and (z := rng.uniform(7, 16)) and world.take(low + 0.6, z, 1, 1):
        _put_motorcycle(world, low + 0.6, z, rng.uniform(0.5, 1.0), False)


def _put_cyclist(world: _World, x: float, z: float, squeeze: float, ridden: bool) -> None:
    """A bicycle, with its rider or without."""
    rng = world.rng
    seed = rng.getrandbits(32)
    world.shadow(x, z, 1.2 * squeeze, 0.4, 1.6 if ridden else 0.8)

    def draw():
        own = random.Random(seed)
        pen = _Pen(world, x, z, BICYCLE, squeeze)
        frame = _jitter(own, own.choice(CAR_COLORS), 16)
        tyre, r = (28, 28, 30), 0.34
        for a in (-0.52, 0.52):
            pen.disc(a, r, r, None)
            pen.ring(a, r, r, 0.07, tyre)
            pen.disc(a, r, 0.06, tyre, None)
        seat, head, pedal = (-0.2, 0.88), (0.36, 0.92), (-0.03, 0.3)
        for a, b in (
            ((-0.52, r), seat),
            ((-0.52, r), pedal),
            (pedal, seat),
            (pedal, head),
            (seat, head),
            (head, (0.52, r)),
        ):
            pen.line([a, b], 0.055, frame)
        pen.line([(-0.33, 0.93), (-0.1, 0.93)], 0.08, (24, 24, 24))
        pen.line([(0.36, 0.92), (0.3, 1.02), (0.44, 1.04)], 0.05, (40, 40, 40))
        if ridden:
            _rider(pen, own, (-0.2, 0.98), (0.16, 1.45), (0.34, 1.04), (-0.03, 0.22), helmet=own.random() < 0.4)

    world.add(z, draw)


def _rider(pen: _Pen, rng: random.Random, hip, shoulder, hand, pedal, helmet: bool) -> None:
    """Somebody on a bicycle or motorcycle, over it; joints in metres."""
    skin, coat, legs = (
        rng.choice(SKIN),
        _jitter(rng, rng.choice(CLOTHES), 14),
        _jitter(rng, rng.choice(CLOTHES[:7]), 10),
    )
    knee = ((hip[0] + pedal[0]) / 2 + 0.24, (hip[1] + pedal[1]) / 2 + 0.06)
    thick = 1 / max(0.45, pen.squeeze)
    pen.line([hip, knee, pedal], 0.15, legs, RIDER)
    pen.line([hip, (knee[0] - 0.1, knee[1] + 0.08), (pedal[0] + 0.1, pedal[1] + 0.2)], 0.15, _times(legs, 0.8), RIDER)
    back = 0.15 * thick
    pen.poly(
        [
            (hip[0] - back, hip[1] - 0.04),
            (shoulder[0] - back, shoulder[1]),
            (shoulder[0] + back * 0.7, shoulder[1]),
            (hip[0] + back * 0.8, hip[1] - 0.06),
        ],
        coat,
        RIDER,
    )
    pen.line(
        [shoulder, ((shoulder[0] + hand[0]) / 2 + 0.02, (shoulder[1] + hand[1]) / 2 - 0.1), hand],
        0.11,
        _times(coat, 0.85),
        RIDER,
    )
    head = (shoulder[0] + 0.07, shoulder[1] + 0.2)
    pen.disc(*head, 0.11 * thick, skin, RIDER)
    top = _jitter(rng, rng.choice(CAR_COLORS), 20) if helmet else (48, 38, 30)
    pen.poly(
        [
            (head[0] - 0.13 * thick, head[1]),
            (head[0] - 0.1 * thick, head[1] + 0.13),
            (head[0] + 0.08 * thick, head[1] + 0.14),
            (head[0] + 0.13 * thick, head[1] + 0.02),
        ],
        top,
        RIDER,
    )


def _put_motorcycle(world: _World, x: float, z: float, squeeze: float, ridden: bool) -> None:
    rng = world.rng
    seed = rng.getrandbits(32)
    world.shadow(x, z, 1.6 * squeeze, 0.5, 1.6 if ridden else 1.0)

    def draw():
        own = random.Random(seed)
        pen = _Pen(world, x, z, MOTORCYCLE, squeeze)
        body, steel = _jitter(own, own.choice(CAR_COLORS), 16), (92, 94, 96)
        for a in (-0.68, 0.7):
            pen.disc(a, 0.32, 0.32, (24, 24, 26))
            pen.disc(a, 0.32, 0.15, steel)
        pen.line([(0.7, 0.32), (0.44, 0.95)], 0.1, steel)
        pen.poly([(-0.5, 0.3), (-0.4, 0.66), (0.3, 0.7), (0.4, 0.32)], (46, 46, 48))
        pen.poly([(-0.95, 0.72), (-0.6, 0.84), (0.0, 0.78), (0.12, 0.98), (0.44, 0.96), (0.5, 0.6), (-0.3, 0.52)], body)
        pen.poly([(-0.8, 0.82), (-0.05, 0.82), (-0.05, 0.9), (-0.8, 0.92)], (26, 26, 26))
        pen.line([(0.36, 0.98), (0.2, 1.08)], 0.06, (30, 30, 30))
        pen.disc(0.55, 0.86, 0.1, _LAMP)
        if ridden:
            _rider(pen, own, (-0.35, 0.92), (0.0, 1.42), (0.24, 1.06), (-0.1, 0.36), helmet=True)

    world.add(z, draw)


def _traffic_light(world: _World, x: float, z: float, over: bool) -> None:
    """A signal on its pole, at the kerb or on an arm over the lane."""
    rng = world.rng
    if z < 4.5:
        return
    lamp, back = rng.randrange(3), rng.random() < 0.25
    inward = -1 if x > 0 else 1
    color = rng.choice(((44, 48, 46), (60, 76, 62), (150, 152, 150)))
    world.take(x, z, 0.3, 0.3)

    def draw():
        pen = _Pen(world, x, z, POLE)
        top = 5.6 if over else 3.4
        pen.line([(0, 0), (0, top)], 0.16 if over else 0.12, (104, 106, 106))
        spots = [(0.0, 2.35)]
        if over:
            pen.line([(0, top), (inward * 3.2, top + 0.2)], 0.12, (104, 106, 106))
            spots.append((inward * 2.8, 4.9))
        for a, v in spots:
            pen.rect(a - 0.19, v, a + 0.19, v + 1.0, color, TRAFFIC_LIGHT)
            if back:
                continue
            for i, (on, off) in enumerate(
                (((70, 230, 120), (20, 50, 34)), ((250, 190, 50), (60, 50, 24)), ((250, 60, 44), (64, 24, 22)))
            ):
                spot, radius = pen.at(a, v + 0.18 + 0.32 * i), max(1.0, 0.12 * pen.scale)
                world.canvas.disc(*spot, radius, radius, on if i == lamp else pen.lit(off), None)

    world.add(z, draw)


def _sign(world: _World, x: float, z: float) -> None:
    """One or two traffic signs on a pole; some turn their grey backs to us."""
    rng = world.rng
    seed, back = rng.getrandbits(32), rng.random() < 0.25
    world.take(x, z, 0.3, 0.3)

    def draw():
        own = random.Random(seed)
        pen = _Pen(world, x, z, POLE)
        top = own.uniform(2.4, 3.2)
        pen.line([(0, 0), (0, top)], 0.07, (140, 142, 142))
        pen.label = TRAFFIC_SIGN
        for v in (top - 0.1, top - 0.85)[: own.randrange(1, 3)]:
            r, kind = own.uniform(0.28, 0.38), own.choice(("ban", "order", "warn", "stop", "right", "board", "park"))
            red, blue, white, yellow = (190, 34, 36), (36, 76, 160), (228, 228, 224), (232, 186, 46)
            if back:
                pen.disc(0, v, r, (128, 130, 130))
            elif kind in ("ban", "order"):
                pen.disc(0, v, r, red if kind == "ban" else blue)
                pen.disc(0, v, r * 0.7, white if kind == "ban" else blue, None)
                if kind == "order":
                    pen.line([(0, v - r * 0.5), (0, v + r * 0.5)], r * 0.25, white, None)
                elif own.random() < 0.5:
                    pen.rect(-r * 0.4, v - r * 0.12, r * 0.4, v + r * 0.12, (30, 30, 30), None)
            elif kind == "warn":
                pen.poly([(-r * 1.1, v - r * 0.8), (r * 1.1, v - r * 0.8), (0, v + r)], red)
                pen.poly([(-r * 0.65, v - r * 0.55), (r * 0.65, v - r * 0.55), (0, v + r * 0.5)], white, None)
            elif kind == "stop":
                pen.poly(
                    [
                        (r * math.cos(math.pi * (i + 0.5) / 4), v + r * math.sin(math.pi * (i + 0.5) / 4))
                        for i in range(8)
                    ],
                    red,
                )
                pen.rect(-r * 0.6, v - r * 0.15, r * 0.6, v + r * 0.15, white, None)
            elif kind == "right":
                pen.poly([(-r, v), (0, v + r), (r, v), (0, v - r)], white)
                pen.poly([(-r * 0.7, v), (0, v + r * 0.7), (r * 0.7, v), (0, v - r * 0.7)], yellow, None)
            elif kind == "board":
                pen.rect(-r * 2, v - r * 0.7, r * 2, v + r * 0.7, own.choice((blue, yellow, white)))
                pen.rect(-r * 1.6, v - r * 0.15, r * 1.2, v + r * 0.15, own.choice((white, (30, 30, 30))), None)
            else:
                pen.rect(-r, v - r, r, v + r, blue)
                pen.rect(-r * 0.4, v - r * 0.6, -r * 0.1, v + r * 0.6, white, None)
                pen.rect(-r * 0.1, v, r * 0.4, v + r * 0.6, white, None)

    world.add(z, draw)


def _lamp_post(world: _World, x: float, z: float, inward: int, height: float) -> None:
    world.take(x, z, 0.3, 0.3)
    on = world.light.lamps

    def draw():
        pen = _Pen(world, x, z, POLE)
        color = (112, 114, 114)
        pen.line([(0, 0), (0, height)], 0.15, color)
        pen.line([(0, height), (inward * 0.5, height + 0.25), (inward * 1.4, height + 0.3)], 0.09, color)
        spot, s = pen.at(inward * 1.6, height + 0.25), pen.scale
        world.canvas.disc(
            *spot, max(1, 0.4 * s), max(1, 0.12 * s), (255, 226, 160) if on else pen.lit((170, 170, 166)), POLE
        )

    world.add(z, draw)


def _polegroup(world: _World, x: float, z: float, side: int) -> None:
    seed = world.rng.getrandbits(32)

    def draw():
        own = random.Random(seed)
        for i in range(own.randrange(4, 8)):
            pen = _Pen(world, x + side * i * 0.22, z + (i % 2) * 0.1, POLEGROUP)
            pen.line([(0, 0), (0, own.uniform(2.5, 5))], own.uniform(0.1, 0.18), _jitter(own, (122, 122, 120), 14))

    world.add(z, draw)


def _street_furniture(world: _World, x0: float, x1: float, side: int, layout: _Layout) -> None:
    """Lamp posts, signs, poles; and along the same kerb the still things that are no class."""
    rng = world.rng
    kerb = x0 + side * 0.4
    z, step, height = rng.uniform(6, 20), rng.uniform(16, 28), rng.uniform(4.5, 8)
    while z < 110:
        if not _gap(layout, z - 1, z + 1):
            _lamp_post(world, kerb, z, -side, height)
        z += step
    for _ in range(rng.randrange(1, 4)):
        z = rng.uniform(7, 38)
        if not _gap(layout, z - 0.5, z + 0.5):
            _sign(world, kerb + side * rng.uniform(0, 0.4), z)
    if world.has("polegroup") and side > 0:
        _polegroup(world, kerb, rng.uniform(8, 22), side)
    for _ in range(rng.randrange(1, 4)):
        x = kerb + side * rng.uniform(0.1, max(0.2, abs(x1 - x0) - 0.7))
        z = 5.5 + 24 * rng.random() ** 1.4
        if not _gap(layout, z - 1, z + 1):
            _put_void(world, STATIC, x, z)


# ---------------------------------------------------------------------------------------------------------------------
# Void objects, by family: a shape and its textures. Families that are not `seen` are drawn only in val, and only
# under --unseen_void; no seen family has their outlines or their patterns (checks, dots, rings, zigzag).
# ---------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Family:
    name: str
    id: int
    seen: bool
    size: tuple  # width, depth, height in metres: for its place and its shadow
    draw: object  # draw(world, rng, x, z)


FAMILIES: dict[str, _Family] = {}


def _family(label: int, size: tuple, seen: bool = True):
    def register(draw):
        name = draw.__name__.lstrip("_")
        FAMILIES[name] = _Family(name, label, seen, size, draw)
        return draw

    return register


def _put_void(world: _World, label: int, x: float, z: float) -> bool:
    """Puts an object of one of an id's families; whose turn it is comes from the scene's seed."""
    rng = world.rng
    unseen = world.options.unseen_void and world.split == "val" and label in (DYNAMIC, CARAVAN, TRAILER)
    family = rng.choice([f for f in FAMILIES.values() if f.id == label and f.seen != unseen])
    width, depth, height = family.size
    if not world.take(x, z, width, depth + 0.2):
        return False
    world.shadow(x, z, width, depth, height)
    seed = rng.getrandbits(32)
    told = {"family": family.name, "id": label, "seen": family.seen}
    world.add(z, lambda: family.draw(world, random.Random(seed), x, z), told)
    return True


def _special_objects(world: _World, layout: _Layout) -> None:
    """Dynamic things, caravans and trailers, where the scene has them."""
    rng = world.rng
    left, right = layout.road
    if world.has("dynamic"):
        for _ in range(rng.randrange(1, 3)):
            for _ in range(8):
                x = rng.choice((right + rng.uniform(0.2, 2.2), left - rng.uniform(0.2, 2.2), rng.uniform(left, right)))
                z = 5.5 + 14 * rng.random() ** 1.3
                if z < layout.closed_m and _put_void(world, DYNAMIC, x, z):
                    break
    for feature, label in (("caravan", CARAVAN), ("trailer", TRAILER)):
        if world.has(feature):
            for _ in range(12):
                x = rng.choice((right - 1.3, left + 1.3, right + 1.6))
                if _put_void(world, label, x, rng.uniform(9, 24)):
                    break


@_family(STATIC, (0.7, 0.7, 1.1))
def _wheelie_bin(world, rng, x, z):
    pen = _Pen(world, x, z, STATIC)
    color = _jitter(rng, rng.choice(((52, 92, 60), (44, 60, 110), (60, 60, 62), (150, 130, 40), (110, 66, 40))), 10)
    w, h = rng.uniform(0.28, 0.42), rng.uniform(0.95, 1.25)
    pen.poly([(-w * 0.8, 0.05), (w * 0.8, 0.05), (w, h), (-w, h)], color)
    pen.poly([(w * 0.3, 0.05), (w * 0.8, 0.05), (w, h), (w * 0.4, h)], _times(color, 0.75))
    pen.poly([(-w * 1.1, h), (w * 1.1, h), (w * 0.95, h + 0.12), (-w * 0.95, h + 0.12)], _times(color, 1.3))
    for a in (-w * 0.7, w * 0.7):
        pen.disc(a, 0.1, 0.1, (24, 24, 24))
    pen.rect(-w * 0.4, h * 0.55, w * 0.2, h * 0.75, (214, 212, 200))


@_family(STATIC, (1.6, 0.6, 0.9))
def _bench(world, rng, x, z):
    pen = _Pen(world, x, z, STATIC)
    wood, iron, w = (
        _jitter(rng, rng.choice(((120, 84, 54), (96, 90, 82), (60, 84, 60))), 10),
        (44, 46, 48),
        rng.uniform(0.7, 0.95),
    )
    for a in (-w * 0.85, w * 0.85):
        pen.line([(a, 0), (a, 0.88)], 0.09, iron)
    pen.rect(-w, 0.4, w, 0.52, wood)
    pen.rect(-w, 0.12, w, 0.3, (40, 40, 40), None) if rng.random() < 0.3 else None
    for v in (0.6, 0.75):
        pen.rect(-w, v, w, v + 0.1, _times(wood, 1.15))


@_family(STATIC, (1.2, 0.5, 1.3))
def _cabinet(world, rng, x, z):
    color = _jitter(rng, rng.choice(((150, 154, 148), (128, 132, 128), (170, 166, 150))), 8)
    solid = _box_solid(0.45, rng.uniform(0.8, 1.4), 0.0, rng.uniform(1.0, 1.5))
    w, h = solid.width / 2, solid.ring[1][1]
    solid.rear = [
        (_rect(-0.02, 0.08, 0.02, h - 0.06), "dark"),
        (_rect(-w, h - 0.1, w, h), "pale"),
        (_rect(-w * 0.8, h * 0.3, -w * 0.2, h * 0.7), "tag"),
    ]
    tag = tuple(rng.randrange(40, 210) for _ in range(3))
    _draw_solid(
        world,
        solid,
        x,
        z,
        rng.uniform(-0.3, 0.3),
        {"body": color, "dark": _times(color, 0.6), "pale": _times(color, 1.2), "tag": tag},
        STATIC,
    )


@_family(STATIC, (1.3, 1.3, 3.4))
def _advert_column(world, rng, x, z):
    pen = _Pen(world, x, z, STATIC)
    r, h = rng.uniform(0.5, 0.7), rng.uniform(2.6, 3.4)
    base = (130, 128, 120)
    pen.rect(-r, 0, r, h, base)
    for row in range(3):
        v = 0.45 + row * (h - 0.6) / 3
        a = -r
        while a < r - 0.05:
            b = min(r, a + rng.uniform(0.25, 0.6))
            pen.rect(a, v, b, v + (h - 0.75) / 3, tuple(rng.randrange(40, 230) for _ in range(3)))
            a = b
    for i, tone in ((0, 0.6), (3, 0.75)):
        pen.rect(r - r * 0.16 * (i + 1) if i else r * 0.86, 0, r, h, _times(base, tone), None) if i == 0 else None
    pen.poly([(-r * 1.1, h), (r * 1.1, h), (r * 0.6, h + 0.3), (0, h + 0.5), (-r * 0.6, h + 0.3)], (66, 84, 72))
    pen.rect(-r, 0, r, 0.3, (92, 90, 86))


@_family(STATIC, (1.4, 0.9, 1.6))
def _crates(world, rng, x, z):
    for i in range(rng.randrange(2, 6)):
        size = rng.uniform(0.45, 0.75)
        level, shift = divmod(i, 2)
        color = _jitter(rng, rng.choice(((158, 122, 82), (176, 140, 96), (70, 110, 80), (150, 60, 50))), 10)
        pen = _Pen(world, x + (shift - 0.5) * 0.8 + rng.uniform(-0.1, 0.1), z - 0.01 * i, STATIC)
        v = level * 0.6
        pen.rect(-size / 2, v, size / 2, v + 0.58, color)
        for b in (0.18, 0.38):
            pen.line([(-size / 2, v + b), (size / 2, v + b)], 0.04, _times(color, 0.65), None)
        pen.poly(
            [(-size / 2, v + 0.58), (size / 2, v + 0.58), (size / 2 - 0.08, v + 0.66), (-size / 2 + 0.08, v + 0.66)],
            _times(color, 1.25),
        )


@_family(STATIC, (0.9, 0.8, 2.3))
def _statue(world, rng, x, z):
    """Stone, but with a person's outline."""
    pen = _Pen(world, x, z, STATIC)
    stone = _jitter(rng, rng.choice(((150, 150, 146), (96, 112, 100), (120, 104, 84))), 8)
    pen.rect(-0.45, 0, 0.45, 0.9, _times(stone, 0.85))
    pen.rect(-0.52, 0.8, 0.52, 0.95, stone)
    pen.poly([(-0.24, 0.95), (0.24, 0.95), (0.2, 1.5), (0.26, 2.0), (-0.26, 2.0), (-0.18, 1.5)], stone)
    pen.poly([(0.02, 0.95), (0.24, 0.95), (0.2, 1.5), (0.26, 2.0), (0.08, 2.0)], _times(stone, 0.78))
    pen.line([(0.24, 1.95), (0.5, 2.3)], 0.12, stone)
    pen.disc(0, 2.18, 0.14, stone)


@_family(STATIC, (0.4, 0.4, 0.8))
def _hydrant(world, rng, x, z):
    pen = _Pen(world, x, z, STATIC)
    color = _jitter(rng, rng.choice(((180, 44, 36), (60, 90, 150), (190, 170, 50))), 10)
    pen.rect(-0.13, 0, 0.13, 0.62, color)
    pen.rect(-0.24, 0.36, 0.24, 0.52, _times(color, 0.85))
    pen.disc(0, 0.64, 0.15, _times(color, 1.2))


@_family(STATIC, (2.2, 1.4, 1.0))
def _rubble(world, rng, x, z):
    color, s = _jitter(rng, rng.choice(((132, 122, 110), (150, 142, 130), (110, 92, 76), (60, 62, 70))), 8), world.f / z
    for shift, size in ((-0.5, 1.0), (0.5, 0.9), (0.0, 1.3)):
        at = world.px(x + shift, size * 0.28, z)
        _leaves(world, rng, *at, size * 1.3 * s, size * 0.8 * s, color, z, STATIC)


@_family(STATIC, (2.4, 1.4, 2.4))
def _parasol_table(world, rng, x, z):
    pen = _Pen(world, x, z, STATIC)
    top = _jitter(rng, rng.choice(((190, 60, 50), (214, 206, 186), (60, 100, 80), (210, 160, 60))), 10)
    pen.line([(0, 0), (0, 2.1)], 0.08, (160, 150, 130))
    pen.rect(-0.5, 0.68, 0.5, 0.76, (150, 120, 90))
    for s in (-1, 1):
        pen.rect(s * 0.6 - 0.18, 0.4, s * 0.6 + 0.18, 0.48, (90, 70, 54))
        pen.line([(s * 0.74, 0), (s * 0.76, 0.95)], 0.06, (90, 70, 54))
    w = rng.uniform(1.0, 1.4)
    pen.poly([(-w, 2.0), (w, 2.0), (0, 2.55)], top)
    pen.poly([(-w * 0.3, 2.0), (w * 0.3, 2.0), (0, 2.55)], _times(top, 0.8))


@_family(STATIC, (2.0, 0.5, 1.0))
def _road_works(world, rng, x, z):
    pen = _Pen(world, x, z, STATIC)
    w = rng.uniform(0.8, 1.2)
    for a in (-w * 0.8, w * 0.8):
        pen.poly([(a - 0.22, 0), (a + 0.22, 0), (a, 0.9)], (90, 90, 92))
    for v in (0.45, 0.8):
        pen.rect(-w, v, w, v + 0.24, (224, 222, 218))
        a = -w
        while a < w - 0.1:
            pen.poly([(a, v), (a + 0.16, v), (a + 0.28, v + 0.24), (a + 0.12, v + 0.24)], (196, 44, 34))
            a += 0.36
    pen.disc(-w * 0.9, 1.12, 0.09, (240, 180, 60))


@_family(STATIC, (1.0, 1.0, 2.4))
def _phone_box(world, rng, x, z):
    color = _jitter(rng, rng.choice(((170, 34, 40), (196, 60, 120), (90, 96, 100), (60, 90, 70))), 8)
    solid = _box_solid(0.95, 0.95, 0.0, 2.35)
    solid.rear = [
        (_rect(-0.36, 0.35, 0.36, 2.0), "glass"),
        (_rect(-0.02, 0.35, 0.02, 2.0), "body"),
        (_rect(-0.36, 1.15, 0.36, 1.2), "body"),
    ]
    solid.decals = [(_rect(-0.36, 0.35, 0.36, 2.0), "glass")]
    _draw_solid(world, solid, x, z, rng.uniform(-0.4, 0.4), {"body": color, "glass": (110, 124, 130)}, STATIC)


@_family(STATIC, (2.6, 1.4, 1.5))
def _dumpster(world, rng, x, z):
    """A skip: a car's size and place, but no wheels, no glass."""
    color = _jitter(rng, rng.choice(((60, 96, 66), (160, 120, 40), (70, 90, 120), (120, 60, 44))), 10)
    h, high = 1.3, rng.uniform(1.15, 1.5)
    solid = _Solid([(-h, 0.12, "body"), (-h - 0.15, high, "lid"), (h + 0.15, high, "body"), (h, 0.12, "under")], 1.5)
    for i in range(4):
        u = -h + 0.3 + i * 0.62
        solid.decals.append((_rect(u, 0.2, u + 0.1, high - 0.1), "rib"))
    solid.rear = [(_rect(-0.6, 0.4, 0.6, 0.5), "rib"), (_rect(-0.75, high - 0.12, 0.75, high), "rib")]
    yaw = rng.choice((0.0, math.pi / 2)) + rng.uniform(-0.1, 0.1)
    _draw_solid(world, solid, x, z, yaw, {"body": color, "lid": _times(color, 0.5), "rib": _times(color, 0.7)}, STATIC)


@_family(STATIC, (1.6, 0.4, 1.8))
def _advert_board(world, rng, x, z):
    """A poster in a frame: a sign's look at a bench's place."""
    pen = _Pen(world, x, z, STATIC)
    w, h = rng.uniform(0.55, 0.8), rng.uniform(1.5, 2.1)
    pen.rect(-w, 0.3, w, h, (60, 62, 64))
    sky, low = (tuple(rng.randrange(60, 240) for _ in range(3)) for _ in range(2))
    pen.rect(-w + 0.08, 0.38, w - 0.08, h - 0.08, sky)
    pen.rect(-w + 0.08, 0.38, w - 0.08, 0.38 + (h - 0.46) * 0.4, low)
    pen.disc(rng.uniform(-0.2, 0.2), h * 0.68, 0.24, tuple(rng.randrange(60, 240) for _ in range(3)), None)
    for a in (-w * 0.8, w * 0.8):
        pen.rect(a - 0.05, 0, a + 0.05, 0.3, (60, 62, 64))


@_family(DYNAMIC, (0.7, 0.8, 1.1))
def _pram(world, rng, x, z):
    pen = _Pen(world, x, z, DYNAMIC, rng.uniform(0.6, 1.0))
    color = _jitter(rng, rng.choice(CLOTHES), 20)
    for a in (-0.34, 0.3):
        pen.disc(a, 0.16, 0.16, (28, 28, 30))
        pen.disc(a, 0.16, 0.07, (130, 130, 130), None)
        pen.line([(a, 0.16), (-a * 0.3, 0.5)], 0.05, (120, 122, 124))
    pen.poly([(-0.42, 0.5), (0.4, 0.45), (0.46, 0.78), (-0.48, 0.72)], color)
    pen.poly([(0.0, 0.74), (0.46, 0.78), (0.4, 1.06), (0.14, 1.12), (-0.02, 1.0)], _times(color, 0.7))
    pen.line([(-0.46, 0.7), (-0.66, 1.02)], 0.05, (40, 40, 42))


@_family(DYNAMIC, (0.9, 0.4, 0.6))
def _dog(world, rng, x, z):
    pen = _Pen(world, x, z, DYNAMIC, rng.choice((0.7, 1.0, 1.2)))
    color = _jitter(rng, rng.choice(((60, 44, 32), (150, 116, 76), (34, 32, 32), (200, 190, 176))), 10)
    for a in (-0.3, -0.22, 0.2, 0.28):
        pen.line([(a, 0), (a, 0.34)], 0.07, _times(color, 0.8))
    pen.poly([(-0.38, 0.32), (0.34, 0.3), (0.36, 0.56), (-0.38, 0.54)], color)
    pen.disc(0.46, 0.66, 0.13, color)
    pen.poly([(0.5, 0.62), (0.68, 0.58), (0.5, 0.7)], _times(color, 0.8))
    pen.poly([(0.38, 0.72), (0.44, 0.86), (0.5, 0.74)], _times(color, 0.7))
    pen.line([(-0.38, 0.5), (-0.56, 0.7)], 0.06, color)


@_family(DYNAMIC, (0.7, 0.9, 1.0))
def _shopping_trolley(world, rng, x, z):
    pen = _Pen(world, x, z, DYNAMIC, rng.uniform(0.7, 1.0))
    steel = (166, 168, 172)
    pen.poly([(-0.36, 0.5), (0.42, 0.55), (0.5, 1.0), (-0.42, 0.92)], _jitter(rng, (120, 110, 100), 40))
    for v in (0.55, 0.68, 0.8, 0.92):
        pen.line([(-0.4, v), (0.46, v + 0.05)], 0.03, steel)
    for a in (-0.36, -0.12, 0.12, 0.36):
        pen.line([(a, 0.5), (a * 1.15, 0.98)], 0.03, steel)
    pen.line([(-0.36, 0.5), (-0.3, 0.14), (0.4, 0.14)], 0.05, steel)
    pen.line([(-0.42, 0.92), (-0.6, 1.04)], 0.06, (190, 40, 40))
    for a in (-0.3, 0.4):
        pen.disc(a, 0.07, 0.07, (24, 24, 24))


@_family(DYNAMIC, (0.5, 0.4, 0.9))
def _suitcase(world, rng, x, z):
    pen = _Pen(world, x, z, DYNAMIC)
    color = _jitter(rng, rng.choice(CAR_COLORS), 20)
    pen.line([(-0.12, 0.7), (-0.12, 1.05), (0.12, 1.05), (0.12, 0.7)], 0.04, (60, 60, 60))
    pen.rect(-0.27, 0.06, 0.27, 0.74, color)
    for a in (-0.14, 0.0, 0.14):
        pen.line([(a, 0.1), (a, 0.7)], 0.03, _times(color, 0.7), None)
    for a in (-0.2, 0.2):
        pen.disc(a, 0.05, 0.06, (24, 24, 24))


@_family(DYNAMIC, (0.8, 0.8, 1.0))
def _wheelchair(world, rng, x, z):
    pen = _Pen(world, x, z, DYNAMIC, rng.uniform(0.7, 1.0))
    pen.disc(-0.1, 0.3, 0.3, (40, 40, 42))
    pen.disc(-0.1, 0.3, 0.23, (140, 142, 146), None)
    pen.disc(0.36, 0.1, 0.1, (40, 40, 42))
    seat = _jitter(rng, (50, 60, 90), 20)
    pen.rect(-0.3, 0.44, 0.3, 0.56, seat)
    pen.rect(-0.34, 0.5, -0.22, 1.0, seat)
    pen.line([(0.3, 0.5), (0.42, 0.12)], 0.07, (130, 132, 136))
    pen.line([(-0.28, 0.98), (-0.48, 1.0)], 0.06, (30, 30, 30))


@_family(DYNAMIC, (1.2, 0.7, 0.6))
def _loose_bags(world, rng, x, z):
    pen = _Pen(world, x, z, DYNAMIC)
    for _ in range(rng.randrange(2, 5)):
        a, r = rng.uniform(-0.45, 0.45), rng.uniform(0.18, 0.32)
        color = _jitter(rng, rng.choice(((40, 42, 46), (60, 90, 140), (206, 206, 200), (190, 140, 50))), 12)
        pen.disc(a, r * 0.8, r, color, flat=0.85)
        pen.poly([(a - 0.07, r * 1.4), (a, r * 1.2), (a + 0.08, r * 1.5)], _times(color, 0.8))


@_family(CARAVAN, (2.3, 4.6, 2.6))
def _caravan_box(world, rng, x, z):
    body = _jitter(rng, rng.choice(((214, 212, 204), (196, 190, 172), (170, 176, 180))), 8)
    stripe = _jitter(rng, rng.choice(((150, 60, 50), (60, 90, 140), (110, 130, 90), (170, 130, 60))), 10)
    h = rng.uniform(1.9, 2.4)
    ring = [
        (-h, 0.4, "body"),
        (-h, 2.0, "body"),
        (-h + 0.4, 2.55, "body"),
        (h - 0.5, 2.55, "body"),
        (h, 1.7, "body"),
        (h - 0.2, 0.4, "under"),
    ]
    solid = _Solid(ring, 2.2)
    solid.decals = [
        (_rect(-h * 0.8, 1.4, -h * 0.2, 2.0), "glass"),
        (_rect(h * 0.2, 1.4, h * 0.7, 2.0), "glass"),
        (_rect(-h, 0.8, h * 0.95, 1.05), "stripe"),
        (_rect(-0.3, 0.5, 0.3, 2.1), "door"),
    ]
    solid.rear = [
        (_rect(-0.8, 1.35, 0.8, 2.0), "glass"),
        (_rect(-1.1, 0.8, 1.1, 1.05), "stripe"),
        (_rect(-1.0, 0.5, -0.75, 0.7), "tail"),
        (_rect(0.75, 0.5, 1.0, 0.7), "tail"),
    ]
    solid.wheels = [(0.0, 0.33)]
    colors = {"body": body, "stripe": stripe, "glass": _GLASS, "door": _times(body, 0.85), "tail": _TAIL}
    _draw_solid(world, solid, x, z, rng.uniform(-0.2, 0.2), colors, CARAVAN)


@_family(TRAILER, (2.0, 3.2, 1.8))
def _trailer_tarpaulin(world, rng, x, z):
    cloth = _jitter(rng, rng.choice(((70, 84, 110), (96, 110, 90), (140, 140, 142), (60, 62, 66))), 8)
    h = rng.uniform(1.2, 1.7)
    solid = _Solid([(-h, 0.9, "cloth"), (-h, 1.7, "cloth"), (h, 1.7, "cloth"), (h, 0.9, "under")], 1.7)
    box = _box_solid(2 * h, 1.75, 0.5, 0.95)
    box.wheels = [(0.0, 0.32)]
    box.rear = [(_rect(s * 0.6, 0.55, s * 0.84, 0.7), "tail") for s in (-1, 1)]
    solid.decals = [(_rect(u, 0.95, u + 0.05, 1.68), "rib") for u in (-h * 0.6, -h * 0.2, h * 0.2, h * 0.6)]
    colors = {"body": (132, 134, 136), "cloth": cloth, "rib": _times(cloth, 0.7), "tail": _TAIL}
    for part in (box, solid):
        _draw_solid(world, part, x, z, 0.05, colors, TRAILER)


@_family(TRAILER, (1.9, 3.2, 1.0))
def _trailer_flat(world, rng, x, z):
    h = rng.uniform(1.2, 1.8)
    box = _box_solid(2 * h, 1.8, 0.55, rng.uniform(0.9, 1.1))
    box.wheels = [(0.0, 0.32)]
    box.decals = [
        (_rect(-h, 0.7, h, 0.74), "rib"),
        *((_rect(u, 0.55, u + 0.06, 0.9), "rib") for u in (-h * 0.5, 0.0, h * 0.5)),
    ]
    box.rear = [(_rect(s * 0.62, 0.58, s * 0.88, 0.72), "tail") for s in (-1, 1)] + [
        (_rect(-0.25, 0.6, 0.25, 0.72), "plate")
    ]
    wood = _jitter(rng, rng.choice(((140, 106, 72), (150, 152, 154), (90, 92, 96))), 8)
    _draw_solid(
        world, box, x, z, 0.0, {"body": wood, "rib": _times(wood, 0.65), "tail": _TAIL, "plate": _PLATE}, TRAILER
    )


# From here on: never in training.


@_family(DYNAMIC, (2.2, 0.8, 1.8), seen=False)
def _horse(world, rng, x, z):
    pen = _Pen(world, x, z, DYNAMIC, rng.uniform(0.75, 1.0))
    color = _jitter(rng, rng.choice(((96, 62, 38), (60, 52, 46), (190, 180, 164), (140, 90, 50))), 8)
    for a in (-0.75, -0.6, 0.42, 0.6):
        pen.poly([(a - 0.1, 0.9), (a + 0.1, 0.9), (a + 0.05, 0), (a - 0.05, 0)], _times(color, 0.8))
    pen.poly(
        [(-0.9, 0.95), (-0.95, 1.35), (-0.6, 1.5), (0.4, 1.42), (0.72, 1.5), (0.76, 1.0), (0.3, 0.84), (-0.5, 0.86)],
        color,
    )
    pen.poly([(0.4, 1.38), (0.72, 1.3), (1.1, 1.85), (0.92, 2.05)], color)
    pen.poly([(0.88, 2.08), (1.12, 2.0), (1.42, 1.66), (1.3, 1.56), (1.02, 1.76)], _times(color, 1.1))
    pen.line([(0.42, 1.42), (0.88, 2.08)], 0.14, (30, 26, 24))
    pen.poly([(-0.9, 1.4), (-1.15, 1.1), (-1.05, 0.5), (-0.92, 1.0)], (34, 28, 26))
    for _ in range(7):  # dappled
        pen.disc(rng.uniform(-0.7, 0.5), rng.uniform(1.0, 1.35), rng.uniform(0.05, 0.11), _times(color, 1.45), None)


@_family(DYNAMIC, (0.9, 0.9, 1.2), seen=False)
def _delivery_robot(world, rng, x, z):
    pen = _Pen(world, x, z, DYNAMIC)
    pale, dark = (
        _jitter(rng, (224, 224, 220), 8),
        _jitter(rng, rng.choice(((200, 90, 30), (40, 40, 44), (30, 120, 150))), 10),
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


@_family(DYNAMIC, (1.8, 1.8, 1.8), seen=False)
def _giant_ball(world, rng, x, z):
    pen = _Pen(world, x, z, DYNAMIC)
    one, two = (
        _jitter(rng, rng.choice(((220, 60, 90), (60, 180, 200), (240, 200, 60), (120, 80, 190))), 10) for _ in range(2)
    )
    r = rng.uniform(0.55, 0.95)
    for i in range(5):
        k = r * (1 - i * 0.2)
        pen.disc(
            0.12 * (r - k), r + 0.15 * (r - k), k, _times(two if i % 2 else one, 0.8 + 0.08 * i), -1 if i == 0 else None
        )


@_family(DYNAMIC, (1.2, 0.8, 3.0), seen=False)
def _air_dancer(world, rng, x, z):
    pen = _Pen(world, x, z, DYNAMIC)
    color, other = _jitter(rng, rng.choice(((230, 90, 30), (70, 190, 90), (220, 60, 160))), 10), (240, 236, 90)
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


@_family(CARAVAN, (2.2, 4.2, 2.3), seen=False)
def _caravan_teardrop(world, rng, x, z):
    body = _jitter(rng, rng.choice(((120, 190, 180), (226, 150, 120), (200, 200, 120))), 8)
    h, ring = 2.0, []
    for i in range(9):
        turn = math.pi * i / 8
        ring.append((-h * math.cos(turn) * (1.0 if i < 4 else 0.95), 0.45 + 1.75 * math.sin(turn) ** 0.8, "body"))
    ring[-1] = (ring[-1][0], ring[-1][1], "under")
    solid = _Solid(ring, 1.9, wheels=[(0.1, 0.34)])
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
    _draw_solid(world, solid, x, z, rng.uniform(-0.5, 0.5), {"body": body, "dot": (244, 240, 226)}, CARAVAN)


@_family(CARAVAN, (2.3, 4.0, 3.0), seen=False)
def _caravan_wagon(world, rng, x, z):
    body, roof = _jitter(rng, rng.choice(((110, 50, 90), (50, 110, 60), (180, 70, 40))), 8), (226, 196, 110)
    solid = _box_solid(3.8, 2.1, 0.7, 2.1)
    for part in (solid.rear,):
        for i in range(6):
            for j in range(4):
                if (i + j) % 2:
                    part.append((_rect(-1.05 + i * 0.35, 0.7 + j * 0.35, -0.7 + i * 0.35, 1.05 + j * 0.35), "check"))
    for i in range(10):
        for j in range(4):
            if (i + j) % 2:
                solid.decals.append(
                    (_rect(-1.9 + i * 0.38, 0.7 + j * 0.35, -1.52 + i * 0.38, 1.05 + j * 0.35), "check")
                )
    solid.wheels = [(-1.2, 0.5), (1.2, 0.5)]
    _draw_solid(world, solid, x, z, rng.uniform(-0.15, 0.15), {"body": body, "check": roof}, CARAVAN)
    pen = _Pen(world, x, z - 1.9, CARAVAN)
    arch = [(1.15 * math.cos(math.pi * i / 8), 2.1 + 0.75 * math.sin(math.pi * i / 8)) for i in range(9)]
    pen.poly(arch, roof)


@_family(TRAILER, (2.2, 4.6, 1.9), seen=False)
def _trailer_boat(world, rng, x, z):
    hull = _jitter(rng, rng.choice(((230, 230, 226), (40, 70, 120), (170, 40, 40))), 8)
    ring = [(-2.1, 0.9, "hull"), (-2.1, 1.7, "deck"), (1.7, 1.85, "deck"), (2.5, 1.95, "hull"), (1.4, 0.75, "under")]
    solid = _Solid(ring, 1.9, wheels=[(-0.4, 0.32)])
    for i in range(9):  # a zigzag along the hull
        u = -2.0 + i * 0.42
        solid.decals.append(
            ([(u, 1.2), (u + 0.21, 1.45), (u + 0.42, 1.2), (u + 0.42, 1.32), (u + 0.21, 1.57), (u, 1.32)], "zigzag")
        )
    solid.rear = [
        ([(-0.9, 1.65), (0.9, 1.65), (0.6, 1.0), (0.0, 0.85), (-0.6, 1.0)], "zigzag"),
        (_rect(-0.15, 0.5, 0.15, 1.5), "motor"),
    ]
    colors = {"hull": hull, "deck": (176, 136, 90), "zigzag": _times(hull, 0.55), "motor": (30, 30, 32)}
    _draw_solid(world, solid, x, z, rng.uniform(-0.3, 0.3), colors, TRAILER)
    mast = _Pen(world, x, z, TRAILER)
    mast.line([(0, 1.8), (0, 4.2)], 0.08, (200, 200, 196))


@_family(TRAILER, (2.0, 4.0, 2.2), seen=False)
def _trailer_tank(world, rng, x, z):
    pen = _Pen(world, x, z, TRAILER)
    one, two = (
        _jitter(rng, (196, 200, 204), 8),
        _jitter(rng, rng.choice(((210, 110, 30), (30, 110, 120), (150, 40, 110))), 10),
    )
    for a in (-0.7, 0.7):
        pen.rect(a - 0.16, 0, a + 0.16, 0.62, (26, 26, 28))
    side = -1 if x > 0 else 1
    for back in (0.5, 0.34, 0.17):
        pen.disc(side * back, 1.35, 0.92, _times(one if back != 0.34 else two, 0.7))
    for i, r in enumerate((0.92, 0.74, 0.56, 0.38, 0.2)):
        pen.disc(0, 1.35, r, two if i % 2 else one, -1 if i == 0 else None)


# ---------------------------------------------------------------------------------------------------------------------
# The command.
# ---------------------------------------------------------------------------------------------------------------------


def _define_flags() -> None:
    default = Options()
    flags.DEFINE_string("output_dir", None, "Folder to create; must not hold anything else.")
    flags.DEFINE_integer("num_train", default.num_train, "Scenes in train, over ten cities in turn.")
    flags.DEFINE_integer("num_val", default.num_val, "Scenes in val, over two other cities in turn.")
    flags.DEFINE_integer("height", default.height, "Height of a picture in px, from 64.")
    flags.DEFINE_integer("width", default.width, "Width of a picture in px, from 128.")
    flags.DEFINE_integer("seed", default.seed, "Decides every scene; the same seed gives the same bytes.")
    flags.DEFINE_boolean(
        "unseen_void", default.unseen_void, "Ids dynamic, caravan and trailer in val only, in families train never has."
    )
    flags.DEFINE_integer("num_workers", 0, "Processes; 0 = one per core. Changes no byte.")


def _parse(argv: list) -> list:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        sys.exit(f"error: {' '.join(str(error).split())}; see --help")


def main(argv: list) -> None:
    values = flags.FLAGS
    if len(argv) > 1:
        sys.exit(f"error: unexpected argument {argv[1]!r}; everything is a flag, see --help")
    if not values.output_dir:
        sys.exit("error: --output_dir is missing; name the folder to create")
    options = Options(values.num_train, values.num_val, values.height, values.width, values.seed, values.unseen_void)
    try:
        written = make_set(values.output_dir, options, values.num_workers)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    there = "" if written else " was there already and is whole:"
    print(
        f"{values.output_dir}:{there} {options.num_train} train and {options.num_val} val scenes, {options.height} x {options.width}"
    )


if __name__ == "__main__":
    _define_flags()
    app.run(main, flags_parser=_parse)
