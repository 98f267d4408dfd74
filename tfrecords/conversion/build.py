"""One shard from its image and label files: the unit of parallel work.

`build(job)` runs in a worker process, a Beam worker or the calling process, and gives the same bytes in each. Beside
the finished shard it leaves a note of what the shard was made from. By that a later run can tell that nothing has
changed, and need not do it again. Does not know folders, manifests or other shards; never imports TensorFlow.
"""

import collections
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import zlib

import numpy as np
from PIL import Image, features

from tfrecords import example, files, images, labels, manifest, pixels, shards
from tfrecords.conversion import pictures
from tfrecords.conversion.pairs import Derived, Pair, size


@dataclasses.dataclass(frozen=True)
class Job:
    """One shard to build.

    Attributes:
      work_dir: where the shard and its note are written.
      records_dir: where an interrupted run may already have moved the shard.
      file: the shard's name.
      pairs: its examples, in record order.
      table: the split's label table.
      image_format: "png" or "jpeg"; PNG input becomes JPEG of `jpeg_quality` where it differs.
      jpeg_quality: 1..100.
      verify: "fast" checks image bytes as images.check does, "full" decodes every pixel.
      derived: see `Derived`.
      bits, from_jpeg: as in pictures.stored.
    """

    work_dir: str
    records_dir: str
    file: str
    pairs: tuple[Pair, ...]
    table: labels.LabelTable
    image_format: str
    jpeg_quality: int
    verify: str
    derived: Derived | None = None
    bits: int = 0
    from_jpeg: bool = False


def build(job: Job, count=lambda: None) -> dict:
    """Writes the shard, or finds it finished.

    Args:
      job: what to build.
      count: called once per example done.

    Returns:
      The note: {"fingerprint": str, "shard": the manifest's entry, "id_pixels": {id: count}, "pictures": {what was
      done to pictures: to how many}}.

    Raises:
      ValueError: a file is damaged, sizes differ, an id is not in the table; the message names the file.
      OSError: a file cannot be read, or the shard cannot be written.
    """
    path = os.path.join(job.work_dir, job.file)
    fingerprint = _fingerprint(job)
    note = _finished(job, path, fingerprint)
    if note is not None:
        for _ in job.pairs:
            count()
        return note
    lookups = {name: job.table.encoding(name).tobytes() for name in ("ignore", "background")}
    inputs, histogram, done = hashlib.sha256(), np.zeros(256, np.int64), collections.Counter()
    with shards.Writer(path) as writer:
        for pair in job.pairs:
            image, label = _read(pair)
            looked = pixels.look(image, pair.image_path)
            _add_inputs(inputs, job, pair, image, label, looked)
            writer.write(example.encode(_example(job, pair, image, label, looked, lookups, histogram, done)))
            count()
    shard = manifest.Shard(
        file=job.file,
        examples=len(job.pairs),
        bytes=writer.bytes,
        sha256=writer.sha256,
        inputs_sha256=inputs.hexdigest(),
        offsets=tuple(writer.offsets),
        image_ids=tuple(pair.image_id for pair in job.pairs),
    )
    id_pixels = {str(number): int(histogram[number]) for number in np.flatnonzero(histogram)}
    note = {"fingerprint": fingerprint, "shard": dataclasses.asdict(shard), "id_pixels": id_pixels}
    note["pictures"] = dict(sorted(done.items()))
    files.write_whole(note_path(path), json.dumps(note).encode())
    return note


def compare(job: Job, shard: manifest.Shard, count=lambda: None) -> str:
    """Why `shard`, as it stands in `job.records_dir`, is not what `job` would build; "" where it is.

    Reads inputs and shard once each and hashes them; decodes the inputs where `job.verify` is "full".

    Raises:
      ValueError: an input cannot be decoded.
      OSError: a file cannot be read.
    """
    if shard.image_ids != tuple(pair.image_id for pair in job.pairs):
        return "it holds other images, or in other shards"
    inputs = hashlib.sha256()
    for pair in job.pairs:
        image, label = _read(pair)
        _add_inputs(inputs, job, pair, image, label, pixels.look(image, pair.image_path))
        if job.verify == "full":
            pixels.decode(image, pair.image_path, job.bits)
            if label is not None:
                (images.decode_map if pair.reader is None else pair.reader.read)(label, pair.label_name)
        count()
    if inputs.hexdigest() != shard.inputs_sha256:
        return "an image or label file has changed"
    if files.file_sha256(os.path.join(job.records_dir, shard.file)) != shard.sha256:
        return "the shard has been damaged"
    return ""


def note_path(path: str) -> str:
    """The file beside a finished shard that says what it was made from."""
    return path + ".json"


def read_note(job: Job) -> dict:
    """The note that `build(job)` has left, for runners whose workers cannot return it.

    Raises:
      ValueError: the shard is not the one that the note describes, as where two workers were at it.
      OSError: one of the two is missing.
    """
    path = os.path.join(job.work_dir, job.file)
    with open(note_path(path), "rb") as file:
        note = json.loads(file.read())
    shard = manifest.shard_from_json(note["shard"])
    if not os.path.exists(path):  # moved into place before the run was killed
        path = os.path.join(job.records_dir, job.file)
    found = (os.path.getsize(path), files.file_sha256(path))
    if found != (shard.bytes, shard.sha256):
        raise ValueError(
            f"{path} has {found[0]} bytes with SHA-256 {found[1][:12]}..., its worker wrote {shard.bytes} with "
            f"{shard.sha256[:12]}...; run again"
        )
    return note


def _example(job, pair, image, label, looked, lookups, pixels_of_ids, done) -> example.Example:
    image, header, orientation, changes = pictures.stored(
        image,
        pair.image_path,
        looked,
        job.image_format,
        job.jpeg_quality,
        job.bits,
        job.from_jpeg,
        job.verify == "full",
    )
    done.update(changes)
    maps = {}
    if label is not None:
        read = images.decode_map if pair.reader is None else pair.reader.read
        ids = published = read(label, pair.label_name)
        if ids.shape != (header.height, header.width):
            raise ValueError(_of_other_size(pair, ids.shape, header, orientation))
        if job.derived is not None:
            ids = job.derived.apply(ids, pair)
        pixels_of_ids += _histogram(ids, job, pair)
        raw = ids.tobytes()
        keep = ids is published and pair.reader is None and images.is_plain_map(label)
        maps["ids_png"] = label if keep else images.encode_map(ids)
        for name, lookup in lookups.items():
            target = np.frombuffer(raw.translate(lookup), np.uint8).reshape(ids.shape)
            maps[f"{name}_png"] = images.encode_map(target)
    return example.Example(pair.image_id, image, job.image_format, header.height, header.width, **maps)


def _of_other_size(pair, shape, header, orientation) -> str:
    found = (
        f"label {pair.label_path} is {size(shape)} but its image {pair.image_path} is {header.height}x{header.width}"
    )
    if orientation == 1:
        return f"{found}; use the label file of the same frame"
    return (
        f"{found} once turned upright by its EXIF orientation {orientation}; label the picture as a viewer shows it, "
        "or take the orientation out of its EXIF"
    )


def _histogram(ids, job, pair) -> np.ndarray:
    histogram = images.histogram(ids)
    known = {label.id for label in job.table.labels}
    for number in np.flatnonzero(histogram):
        if int(number) not in known:
            raise ValueError(
                f"label {pair.label_path} has {histogram[number]} pixels of id {number}, which the label table "
                f"{job.table.name} does not have (it has {labels.ranges(known)}); is it a map of published ids?"
            )
    return histogram


def _read(pair: Pair) -> tuple[bytes, bytes | None]:
    image = images.read_file(pair.image_path)
    if pair.payload is not None:
        return image, pair.payload
    return image, None if pair.label_path is None else images.read_file(pair.label_path)


def _add_inputs(inputs, job: Job, pair: Pair, image: bytes, label: bytes | None, looked) -> None:
    derived = job.derived.digest(pair.sequence) if job.derived else ""
    sizes = [len(image), -1 if label is None else len(label)]
    reader = [pair.reader.digest()] if pair.reader else []
    treated = pictures.treatment(*looked, job.bits)
    treated = [{"picture": treated}] if treated else []
    inputs.update(json.dumps([pair.image_id, sizes, derived, *reader, *treated]).encode())
    inputs.update(image)
    inputs.update(label or b"")


def _fingerprint(job: Job) -> str:
    """Changes where anything does that the shard's bytes or their checking depend on.

    Files are told by size and times, which is enough to resume in a folder that is still being built. Nothing of it
    stays in the finished one.
    """
    stats = []
    for pair in job.pairs:
        for path in (pair.image_path, pair.label_path):
            stat = os.stat(path) if path else None
            stats.append([path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] if stat else [])
    described = [
        [manifest.VERSION, _program()],
        job.table.to_json(),
        [job.image_format, job.jpeg_quality, job.verify, job.bits, job.from_jpeg],
        [Image.__version__, features.version("jpg"), zlib.ZLIB_RUNTIME_VERSION, np.__version__],
        [[pair.image_id, job.derived.digest(pair.sequence) if job.derived else ""] for pair in job.pairs],
        [pair.reader.digest() if pair.reader else "" for pair in job.pairs],
        [hashlib.sha256(pair.payload or b"").hexdigest() for pair in job.pairs],
        stats,
    ]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


@functools.cache
def _program() -> str:
    """sha256 of the source files of tfrecords: another version may write other bytes."""
    digest = hashlib.sha256()
    package = pathlib.Path(__file__).parent.parent
    for path in sorted(package.rglob("*.py")):
        source = path.read_bytes()
        digest.update(f"{path.relative_to(package)} {len(source)}\n".encode() + source)
    return digest.hexdigest()


def _finished(job: Job, path: str, fingerprint: str) -> dict | None:
    """The note of a shard that an interrupted run has finished from the same inputs, else None."""
    try:
        with open(note_path(path), "rb") as file:
            note = json.loads(file.read())
        shard = manifest.shard_from_json(note["shard"])
        places = [path, os.path.join(job.records_dir, job.file)]
        whole = any(os.path.exists(p) and files.file_sha256(p) == shard.sha256 for p in places)
        return note if note["fingerprint"] == fingerprint and whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
