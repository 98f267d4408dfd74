"""dataset.json: what a folder of shards holds, written last and read first.

Answers: is this folder whole, which splits, examples and labels it has, where each record begins. Refuses folders that
are partial or contradict themselves. Does not open shards (shards.py) nor judge their bytes beyond their size.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
from typing import NamedTuple

import numpy as np

from tfrecords import files, labels

FILE = "dataset.json"
FORMAT = "tfrecords"
VERSION = 1
SPLIT_NAME = re.compile(r"[A-Za-z0-9_]+")
SHARD_NAME = re.compile(r"[A-Za-z0-9_]+-\d{5}-of-\d{5}\.tfrecord")


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of records.

    Attributes:
      file: name within the folder.
      examples: number of records.
      bytes: file size.
      sha256: of the file, hexadecimal.
      inputs_sha256: of the image and label files that it was made from, hexadecimal.
      offsets: byte at which each record begins.
      image_ids: of each record.
    """

    file: str
    examples: int
    bytes: int
    sha256: str
    inputs_sha256: str
    offsets: tuple[int, ...]
    image_ids: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Split:
    """One split.

    Attributes:
      name: such as "train".
      examples: number of images.
      has_labels: False where records hold images alone.
      unannotated_ids: ids that mean "nobody looked" in this split (coarse annotation).
      id_pixels: published id -> number of pixels.
      shards: in order.
      table: the label table that holds for this split.
    """

    name: str
    examples: int
    has_labels: bool
    unannotated_ids: tuple[int, ...]
    id_pixels: dict[int, int]
    shards: tuple[Shard, ...]
    table: labels.LabelTable


class Index(NamedTuple):
    """Where the n records of a split are.

    Attributes:
      files: absolute paths of its shards.
      file_of: int32 [n], each record's place in `files`.
      offsets: int64 [n], the byte where it begins.
      image_ids: n names.
    """

    files: list[str]
    file_of: np.ndarray
    offsets: np.ndarray
    image_ids: list[str]


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A whole folder.

    Attributes:
      records_dir: the folder.
      full_table: the label table of fully annotated splits.
      image_format: "png" or "jpeg".
      jpeg_quality: of the transcoding; 0 where image bytes are the published ones.
      splits: by name.
      digest: sha256 of dataset.json, hexadecimal.
    """

    records_dir: str
    full_table: labels.LabelTable
    image_format: str
    jpeg_quality: int
    splits: dict[str, Split]
    digest: str

    @property
    def table(self) -> labels.LabelTable:
        """The table of all labelled splits where they share one; else that of the fully annotated ones."""
        tables = [split.table for split in self.splits.values() if split.has_labels]
        return tables[0] if tables and all(table == tables[0] for table in tables) else self.full_table

    def index(self, split: str) -> "Index":
        """Where the records of `split` are, in record order.

        Raises:
          ValueError: no such split.
        """
        shards = self.split(split).shards
        files = [os.path.join(os.path.abspath(self.records_dir), shard.file) for shard in shards]
        file_of = np.repeat(np.arange(len(shards), dtype=np.int32), [shard.examples for shard in shards])
        offsets = np.concatenate([np.asarray(shard.offsets, np.int64) for shard in shards])
        return Index(files, file_of, offsets, [name for shard in shards for name in shard.image_ids])

    def split(self, name: str) -> Split:
        """The split of this name; ValueError, naming those there are, where it is missing."""
        if name not in self.splits:
            raise ValueError(f"{self.records_dir} has no split {name!r}; it has {', '.join(self.splits)}")
        return self.splits[name]


def info(records_dir: str | os.PathLike) -> Manifest:
    """Reads and checks dataset.json, and that each shard is there with its stated size.

    Raises:
      FileNotFoundError: no folder, or one without dataset.json (a conversion that has not finished).
      ValueError: another format or version, a damaged manifest, a shard missing or of another size.
    """
    folder = pathlib.Path(records_dir)
    path = folder / FILE
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{files.place(folder)} is not a folder; expected one written by a convert command of kseg"
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} has no {FILE}: it is no folder of records, or its conversion has not finished; convert (again)"
        )
    manifest = from_bytes(path.read_bytes(), folder)
    for split in manifest.splits.values():
        missing = [shard.file for shard in split.shards if not (folder / shard.file).is_file()]
        if missing:
            raise ValueError(
                f"{folder}: split {split.name} has {len(split.shards) - len(missing)} of {len(split.shards)} shards "
                f"({missing[0]} is missing); convert again"
            )
        for shard in split.shards:
            size = (folder / shard.file).stat().st_size
            if size != shard.bytes:
                raise ValueError(f"{folder / shard.file} has {size} bytes, {FILE} says {shard.bytes}; convert again")
    return manifest


def from_bytes(data: bytes, records_dir: str | os.PathLike) -> Manifest:
    """The manifest in `data`, checked for contradictions within itself; ValueError as `info`."""
    path = os.path.join(records_dir, FILE)
    try:
        obj = json.loads(data)
        stated = (obj["format"], obj["version"])
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {type(error).__name__} {error}; convert again") from error
    if stated != (FORMAT, VERSION) or type(stated[1]) is not int:  # True and 1.0 equal 1
        raise ValueError(
            f"{path} has format {stated[0]!r} version {stated[1]!r}; this program reads {FORMAT!r} version {VERSION}"
        )
    try:
        table = labels.LabelTable.from_json(obj)
        splits = {name: _split(name, entry, table) for name, entry in obj["splits"].items()}
        quality = _count(obj["jpeg_quality"], "jpeg_quality")
        if obj["image_format"] not in ("png", "jpeg") or quality > 100 or not splits:
            raise ValueError("image_format, jpeg_quality or splits is wrong")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        reason = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__} {error}"
        raise ValueError(f"{path} is damaged: {reason}; convert again") from error
    digest = hashlib.sha256(data).hexdigest()
    return Manifest(os.fspath(records_dir), table, obj["image_format"], quality, splits, digest)


def to_bytes(table: labels.LabelTable, image_format: str, jpeg_quality: int, splits) -> bytes:
    """dataset.json for these splits (any order in, the same bytes out).

    Args:
      table: of fully annotated splits.
      image_format, jpeg_quality: as in `Manifest`.
      splits: iterable of `Split`.
    """
    obj = {"format": FORMAT, "version": VERSION} | table.to_json()
    obj |= {"image_format": image_format, "jpeg_quality": jpeg_quality}
    obj["splits"] = {
        split.name: {
            "examples": split.examples,
            "labels": split.has_labels,
            "unannotated_ids": list(split.unannotated_ids),
            "id_pixels": {str(number): split.id_pixels[number] for number in sorted(split.id_pixels)},
            "shards": [dataclasses.asdict(shard) for shard in split.shards],
        }
        for split in sorted(splits, key=lambda split: split.name)
    }
    return (_dump(obj, 0) + "\n").encode()


def shard_name(split: str, index: int, count: int) -> str:
    """ "train-00000-of-00010.tfrecord"."""
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord"


def shard_from_json(entry: dict) -> Shard:
    """One entry of "shards", checked; ValueError, KeyError or TypeError where it is wrong."""
    shard = Shard(
        str(entry["file"]),
        _count(entry["examples"], "examples"),
        _count(entry["bytes"], "bytes"),
        _digest(entry["sha256"]),
        _digest(entry["inputs_sha256"]),
        tuple(_count(value, "offset") for value in entry["offsets"]),
        tuple(str(value) for value in entry["image_ids"]),
    )
    offsets = (*shard.offsets, shard.bytes)
    if not shard.examples == len(shard.offsets) == len(shard.image_ids) > 0:
        raise ValueError(
            f"{shard.file}: {shard.examples} examples, {len(shard.offsets)} offsets, {len(shard.image_ids)} image ids"
        )
    if offsets[0] != 0 or any(b - a < 16 for a, b in zip(offsets, offsets[1:])):
        raise ValueError(f"{shard.file}: offsets do not rise from 0 to the file's size")
    return shard


def _split(name: str, entry: dict, table: labels.LabelTable) -> Split:
    if not SPLIT_NAME.fullmatch(name):
        raise ValueError(f"split name {name!r}")
    shards = tuple(shard_from_json(shard) for shard in entry["shards"])
    examples = _count(entry["examples"], "examples")
    for index, shard in enumerate(shards):
        if shard.file != shard_name(name, index, len(shards)):
            raise ValueError(f"shard {index} of {name} is called {shard.file!r}")
    if not shards or sum(shard.examples for shard in shards) != examples:
        raise ValueError(f"split {name}: {examples} examples, its shards have {sum(x.examples for x in shards)}")
    names = [image_id for shard in shards for image_id in shard.image_ids]
    if len(set(names)) != len(names):
        raise ValueError(f"split {name} has an image id twice")
    if not isinstance(entry["labels"], bool):
        raise ValueError(f"split {name}: labels is {entry['labels']!r}")
    unannotated = tuple(_count(value, "unannotated id") for value in entry["unannotated_ids"])
    split_table = table.with_unannotated(unannotated)
    pixels = {int(number): _count(count, "id_pixels") for number, count in entry["id_pixels"].items()}
    if not set(pixels) <= {label.id for label in table.labels} or bool(pixels) != entry["labels"]:
        raise ValueError(f"split {name}: id_pixels does not fit the label table")
    return Split(name, examples, entry["labels"], unannotated, pixels, shards, split_table)


def _count(value, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError(f"{what} is {value!r}, expected a count")
    return value


def _digest(value) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError(f"{value!r} is no sha256")
    return value


def _dump(value, depth: int) -> str:
    """JSON, one line per entry for the outer levels and per list or object within them."""
    if isinstance(value, dict) and value and depth < 3:
        body = ",\n".join(f"{' ' * (depth + 1)}{json.dumps(k)}: {_dump(v, depth + 1)}" for k, v in value.items())
        return "{\n" + body + "\n" + " " * depth + "}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(" " * (depth + 1) + json.dumps(v) for v in value) + "\n" + " " * depth + "]"
    return json.dumps(value)
