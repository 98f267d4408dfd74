"""One pass over a folder of records: what each id, each size and each picture is like. Judges nothing (findings.py)."""

import collections
import dataclasses
import os
import re

import numpy as np

from tfrecords import images, labels, manifest, shards
from tfrecords.conversion import runners
from tfrecords.review import edges, thumbs

GRID = (90, 160)  # rows and columns of positions at which void is counted, whatever a picture's size
FIXED_MIN_FRAMES = 10  # of a sequence: fewer cannot tell what stands still
_FEW_RECORDS = 200
_WORTH_PROCESSES = 64 * 2**20  # bytes of records
_ORDER = {"train": 0, "val": 1, "test": 2}
_GEOMETRY, _UNANNOTATED = labels.KINDS.index("geometry"), labels.KINDS.index("unannotated")


def _zeros(*shape, dtype=np.int64):
    return dataclasses.field(default_factory=lambda: np.zeros(shape, dtype))


@dataclasses.dataclass
class Look:
    """What the records of one split show; a record's place is its number in record order.

    Attributes:
      image_ids: n names.
      read: places of the records that were read; all below is of these.
      sizes: (height, width) px -> [count, places of the first three].
      frames: label maps that hold each id.
      most, largest: of each id the most pixels in one label map, and that one's place; 0, -1 where there are none.
      unlabelled: places of label maps in which no pixel is of a class.
      void: label maps in which a position is void of each of labels.KINDS.
      fixed: sequence -> int64 [*GRID], in how many label maps a position is void of kind "scene" or "dropped"; of
        sequences with at least FIXED_MIN_FRAMES.
      broken: places of records whose picture cannot be decoded, and why.
      looked_at: places of the records whose picture was decoded.
      thumbs: of those, as thumbs.thumb.
      fit: of those, edge agreement in place and its mean over all shifts; NaN where there is none.
      shifts: sum of edges.agreement over `fitted` pictures.
    """

    image_ids: list[str]
    read: list[int] = dataclasses.field(default_factory=list)
    sizes: dict[tuple[int, int], list] = dataclasses.field(default_factory=dict)
    frames: np.ndarray = _zeros(256)
    most: np.ndarray = _zeros(256)
    largest: np.ndarray = dataclasses.field(default_factory=lambda: np.full(256, -1))
    unlabelled: list[int] = dataclasses.field(default_factory=list)
    void: np.ndarray = _zeros(len(labels.KINDS), *GRID)
    fixed: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    broken: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    looked_at: list[int] = dataclasses.field(default_factory=list)
    thumbs: np.ndarray = _zeros(0, thumbs.SIDE**2, dtype=np.uint8)
    fit: np.ndarray = _zeros(0, 2, dtype=np.float64)
    shifts: np.ndarray = _zeros(2 * edges.MAX_SHIFT + 1, 2 * edges.MAX_SHIFT + 1, dtype=np.float64)
    fitted: int = 0


def sequence(image_id: str) -> str:
    """What frames of one drive share, as names tell: what comes before the frame number; "" for a number alone."""
    return re.sub(r"[-_ ]?(?:f?\d+|\(\d+\))$", "", image_id)


def look(
    records_dir,
    pictures: int | None = None,
    records: int | None = None,
    num_workers: int = 0,
    progress: bool = False,
) -> dict[str, Look]:
    """Reads records.

    Args:
      records_dir: a finished folder.
      pictures: of each split at most so many pictures are decoded, evenly spread; None for all of them.
      records: of each split at most so many label maps are read, evenly spread; None for all of them.
      num_workers: processes; 0 = one per core.
      progress: show a bar on stderr.

    Returns:
      {split: Look}, train, val and test first.

    Raises:
      ValueError, FileNotFoundError: a folder or a record that cannot be read; names it.
    """
    found = manifest.info(records_dir)
    calls, weight = [], 0
    for split in sorted(found.splits.values(), key=lambda split: (_ORDER.get(split.name, len(_ORDER)), split.name)):
        start = 0
        drives = collections.Counter(sequence(name) for shard in split.shards for name in shard.image_ids)
        drives = {name for name, count in drives.items() if count >= FIXED_MIN_FRAMES}
        for shard in split.shards:
            read, decoded = (
                [place for place in range(shard.examples) if _is_chosen(start + place, split.examples, count)]
                for count in (records, pictures)
            )
            calls.append((_look, os.fspath(records_dir), split, shard, read, frozenset(decoded), drives))
            start += shard.examples
            weight += shard.bytes * len(read) // shard.examples
    total = sum(len(call[4]) for call in calls)
    # Starting processes takes longer than looking at few records, or at many small ones.
    run = runners.get("local", num_workers if total > _FEW_RECORDS and weight > _WORTH_PROCESSES else 1, (), progress)
    looks: dict[str, Look] = {}
    for part, call in zip(run("review", calls, total), calls):
        name = call[2].name
        looks[name] = _joined(looks[name], part) if name in looks else part
    return looks


def _is_chosen(place: int, whole: int, count: int | None) -> bool:
    return count is None or count >= whole or (place + 1) * count // whole > place * count // whole


def _look(records_dir, split, shard, read, decoded, drives, count=lambda: None) -> Look:
    path = os.path.join(records_dir, shard.file)
    found = Look(list(shard.image_ids), read)
    kinds, is_class, without = _tables(split.table)
    flat, fits = [], []
    # Whole shards are checked against the manifest on the way.
    whole = len(read) == shard.examples
    ones = shards.read_shard(path, shard) if whole else (shards.read_one(path, shard.offsets[place]) for place in read)
    for place, one in zip(read, ones, strict=True):
        entry = found.sizes.setdefault((one.height, one.width), [0, []])
        entry[0] += 1
        entry[1] = [*entry[1], place][:3]
        ids = images.decode_map(one.ids_png, f"{path}, {one.image_id}") if one.ids_png else None
        if ids is not None:
            _count_ids(found, ids, place, kinds, is_class, drives)
        if place in decoded:
            try:
                picture = edges.reduced(one.image_encoded, one.height, one.width)
            except ValueError as error:
                found.broken.append((place, str(error)))
                count()
                continue
            found.looked_at.append(place)
            flat.append(thumbs.thumb(picture))
            agreement = None if ids is None else edges.agreement(picture, ids, without)
            fits.append((np.nan, np.nan))
            if agreement is not None:
                found.shifts += agreement
                found.fitted += 1
                fits[-1] = (agreement[edges.MAX_SHIFT, edges.MAX_SHIFT], agreement.mean())
        count()
    if flat:
        found.thumbs, found.fit = np.stack(flat), np.array(fits, np.float64)
    return found


def _count_ids(found: Look, ids, place, kinds, is_class, drives) -> None:
    histogram = images.histogram(ids)
    found.frames += histogram > 0
    more = histogram > found.most
    found.most[more], found.largest[more] = histogram[more], place
    if not histogram[is_class].any():
        found.unlabelled.append(place)
    present = np.unique(kinds[np.flatnonzero(histogram)])
    if present[-1] < 0:  # all of it is of a class
        return
    rows, columns = ((2 * np.arange(n) + 1) * size // (2 * n) for n, size in zip(GRID, ids.shape))
    kind = kinds[ids[rows[:, None], columns]]
    for number in present[present >= 0]:
        found.void[number] += kind == number
    drive = sequence(found.image_ids[place])
    if drive in drives:
        fixed = found.fixed.setdefault(drive, np.zeros(GRID, np.int64))
        fixed += (kind >= 0) & (kind != _GEOMETRY) & (kind != _UNANNOTATED)


def _tables(table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By id: place in labels.KINDS, -1 for a class; whether it is a class; whether its boundaries are no scene's."""
    kinds, is_class = np.full(256, -1, np.int8), np.zeros(256, bool)
    for label in table.labels:
        is_class[label.id] = label.kind is None
        kinds[label.id] = -1 if label.kind is None else labels.KINDS.index(label.kind)
    return kinds, is_class, np.isin(kinds, (_GEOMETRY, _UNANNOTATED))


def _joined(first: Look, then: Look) -> Look:
    """Two looks at records that follow each other."""
    start = len(first.image_ids)
    for size, (count, places) in then.sizes.items():
        entry = first.sizes.setdefault(size, [0, []])
        entry[0], entry[1] = entry[0] + count, [*entry[1], *(start + place for place in places)][:3]
    more = then.most > first.most
    first.most[more], first.largest[more] = then.most[more], start + then.largest[more]
    for drive, counted in then.fixed.items():
        first.fixed[drive] = first.fixed.get(drive, 0) + counted
    return dataclasses.replace(
        first,
        image_ids=first.image_ids + then.image_ids,
        read=first.read + [start + place for place in then.read],
        frames=first.frames + then.frames,
        unlabelled=first.unlabelled + [start + place for place in then.unlabelled],
        void=first.void + then.void,
        broken=first.broken + [(start + place, reason) for place, reason in then.broken],
        looked_at=first.looked_at + [start + place for place in then.looked_at],
        thumbs=np.concatenate([first.thumbs, then.thumbs]),
        fit=np.concatenate([first.fit, then.fit]),
        shifts=first.shifts + then.shifts,
        fitted=first.fitted + then.fitted,
    )
