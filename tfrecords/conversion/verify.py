"""Every byte of a folder of records against its manifest, its label table and itself.

Reads all shards. Answers with the first thing that is wrong. Whether the labels are right for their images it cannot
know. Never imports TensorFlow.
"""

import os

import numpy as np

from tfrecords import example, files, images, manifest, shards
from tfrecords.conversion import runners


def check(records_dir: str | os.PathLike, num_workers: int = 0, progress: bool = False) -> manifest.Manifest:
    """Checks SHA-256, offsets, CRCs, ids, images' integrity, sizes, and that all label maps follow from the ids.

    Args:
      records_dir: folder of records.
      num_workers: processes; 0 = one per core.
      progress: show a bar on stderr.

    Returns:
      The manifest.

    Raises:
      ValueError, FileNotFoundError: the first thing that is wrong, naming file and record.
    """
    found = manifest.info(records_dir)
    run = runners.get("local", num_workers, (), progress)
    calls = [
        (check_shard, os.fspath(records_dir), split, shard, found.image_format)
        for split in found.splits.values()
        for shard in split.shards
    ]
    counts = run("verify", calls, sum(split.examples for split in found.splits.values()))
    for split in found.splits.values():
        pixels = sum(count for count, call in zip(counts, calls) if call[2] is split)
        here = {int(number): int(pixels[number]) for number in np.flatnonzero(pixels)}
        if here != split.id_pixels:
            number = min(n for n in here.keys() | split.id_pixels.keys() if here.get(n) != split.id_pixels.get(n))
            raise ValueError(
                f"{records_dir}: split {split.name} has {here.get(number, 0)} pixels of id {number}, "
                f"{manifest.FILE} says {split.id_pixels.get(number, 0)}; convert again"
            )
    return found


def check_shard(records_dir, split: manifest.Split, shard: manifest.Shard, image_format: str, count=lambda: None):
    """Checks one shard; int64 [256], the pixels of each id in it. ValueError at the first thing that is wrong."""
    path = os.path.join(records_dir, shard.file)
    if files.file_sha256(path) != shard.sha256:
        raise ValueError(f"{path} does not have the SHA-256 that {manifest.FILE} states; convert again")
    pixels = np.zeros(256, np.int64)
    for one in shards.read_shard(path, shard):
        name = f"{path}, {one.image_id}"
        header = images.check(one.image_encoded, f"{name}: image")
        stated = (one.image_format, one.height, one.width)
        if (header.format, header.height, header.width) != stated or one.image_format != image_format:
            raise ValueError(
                f"{name}: image is a {header.format} of {header.height}x{header.width}, the record says "
                f"{stated[0]} of {stated[1]}x{stated[2]} and {manifest.FILE} {image_format}; convert again"
            )
        if bool(one.ids_png) != split.has_labels:
            state = "has label maps, its split has none" if one.ids_png else "label maps are missing"
            raise ValueError(f"{name}: {state}; convert again")
        if one.ids_png:
            pixels += _check_maps(one, split, name)
        count()
    return pixels


def _check_maps(one: example.Example, split: manifest.Split, name: str) -> np.ndarray:
    ids = images.decode_map(one.ids_png, f"{name}: label/ids")
    if ids.shape != (one.height, one.width):
        raise ValueError(f"{name}: label map is {ids.shape}, image {(one.height, one.width)}; convert again")
    pixels = images.histogram(ids)
    strangers = set(np.flatnonzero(pixels).tolist()) - {label.id for label in split.table.labels}
    if strangers:
        raise ValueError(f"{name}: label/ids holds id {min(strangers)}, which the label table does not have")
    for encoding, png in (("ignore", one.ignore_png), ("background", one.background_png)):
        derived = images.decode_map(png, f"{name}: label/{encoding}")
        if not np.array_equal(derived, split.table.encoding(encoding)[ids]):
            raise ValueError(f"{name}: label/{encoding} is not what label/ids gives by the label table; convert again")
    return pixels
