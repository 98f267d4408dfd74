"""Tiny data sets in the layout that Cityscapes and CamVid are published in, for tests of the converters."""

import pathlib

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 24, 48
CONVERTERS = ("convert_cityscapes", "convert_camvid", "convert_folder")
CITIES = ("aachen", "bochum", "ulm")


def label_map(seed: int, ids=range(34), height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Blocks of ids, every id somewhere over a few seeds: uint8 [height, width]."""
    blocks = np.random.default_rng(seed).choice(list(ids), size=(-(-height // 4), -(-width // 4)))
    return np.kron(blocks, np.ones((4, 4))).astype(np.uint8)[:height, :width]


def image(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Noise: uint8 [height, width, 3]."""
    return np.random.default_rng(1000 + seed).integers(0, 256, (height, width, 3), np.uint8)


def save(path: pathlib.Path, array: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def cityscapes(root: pathlib.Path, counts: dict[str, int], annotation: str = "gtFine", labels: bool = True) -> None:
    """Adds `counts[split]` frames to each split, spread over three cities; the two top rows have id 0."""
    for split, count in counts.items():
        for number in range(count):
            city = CITIES[number % len(CITIES)]
            frame = f"{city}_{number:06d}_000019"
            seed = number + 100 * len(split)
            save(root / "leftImg8bit" / split / city / f"{frame}_leftImg8bit.png", image(seed))
            if labels:
                name = f"{frame}_{annotation}_labelIds.png"
                ids = label_map(seed)
                ids[:2] = 0
                save(root / annotation / split / city / name, ids)


def camvid(root: pathlib.Path, frames: dict[str, list[tuple[str, np.ndarray]]]) -> None:
    """Writes `frames[split]` = [(name, ids)] with noise for images."""
    for split, entries in frames.items():
        for seed, (name, ids) in enumerate(entries):
            save(root / split / f"{name}.png", image(seed, *ids.shape))
            save(root / f"{split}annot" / f"{name}.png", ids)


def for_converter(root: pathlib.Path, tool: str) -> tuple[list[str], pathlib.Path, pathlib.Path]:
    """Nine whole examples; returns the command's flags, an image and a label."""
    if tool == "convert_cityscapes":
        cityscapes(root, {"train": 9})
        found = [sorted((root / kind / "train/aachen").iterdir()) for kind in ("leftImg8bit", "gtFine")]
        flags = [f"--cityscapes_dir={root}"]
    elif tool == "convert_camvid":
        frames = [(f"a_{i:03d}", label_map(i, range(12))) for i in range(9)]
        camvid(root, {"train": frames})
        found = [sorted((root / kind).iterdir()) for kind in ("train", "trainannot")]
        flags = [f"--camvid_dir={root}"]
    else:
        for i in range(9):
            save(root / f"images/a_{i}.png", image(i))
            save(root / f"labels/a_{i}.png", label_map(i, [0, 1, 255]))
        found = [sorted((root / kind).iterdir()) for kind in ("images", "labels")]
        flags = [f"--images_dir={root / 'images'}", f"--labels_dir={root / 'labels'}", "--val_fraction=0"]
    return flags, found[0][0], found[1][1]


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    """Every file below `folder`, hidden ones too: relative path -> bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
