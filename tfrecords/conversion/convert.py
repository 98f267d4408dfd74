"""Pairs of image and label files -> a folder of shards, in parallel, resumable, all or nothing.

Everything is built in a hidden folder inside the target and moved into place at the end, the manifest last
(staging.py). Readers refuse a folder without a manifest. Killed at any moment, the same call goes on where it stopped.
The bytes depend on inputs and options, never on time, place or number of workers. Which files belong together is the
caller's knowledge (kseg/commands).
"""

import collections
import dataclasses
import hashlib
import os
import pathlib

from tfrecords import labels, manifest, pixels
from tfrecords.conversion import build, pictures, runners, staging
from tfrecords.conversion.pairs import Derived, Pair

__all__ = ["Derived", "Options", "Pair", "write"]


@dataclasses.dataclass(frozen=True)
class _Whole:
    """What is said once of a whole folder, and must hold for every split that is added to it.

    Attributes:
      folder: where it is.
      table: label table of fully annotated splits.
      image_format: "png" or "jpeg".
      jpeg_quality: 1..100, 0 under "png".
    """

    folder: pathlib.Path
    table: labels.LabelTable
    image_format: str
    jpeg_quality: int


@dataclasses.dataclass(frozen=True)
class Options:
    """How pairs are converted.

    Attributes:
      image_format: "png" keeps PNG files' bytes and refuses JPEG. "jpeg" keeps JPEG files' bytes and transcodes others.
        "auto" is "jpeg" where all are JPEG, else "png", and JPEG files are then written as PNG without loss. pixels.py
        says what is done to other pictures than upright ones of 8 bits in colour.
      jpeg_quality: of what becomes JPEG, 1..100.
      bits: how many of 16 bits a picture uses (10 or 12 of many cameras); 0: all.
      num_shards: per split; fewer where a split has fewer images.
      unannotated_ids: split -> void ids that mean "nobody looked" in it.
      derived: see build.Derived.
      verify: "fast" or "full", see build.Job.
      runner: "local", or "beam" for Apache Beam.
      beam_options: command-line options of Beam's pipeline.
      num_workers: processes; 0 = one per core that this process may use.
      progress: show a bar on stderr.

    Raises:
      ValueError: an option that is none of these values.
    """

    image_format: str = "png"
    jpeg_quality: int = 95
    bits: int = 0
    num_shards: int = 10
    unannotated_ids: dict[str, tuple[int, ...]] | None = None
    derived: Derived | None = None
    verify: str = "fast"
    runner: str = "local"
    beam_options: tuple[str, ...] = ()
    num_workers: int = 0
    progress: bool = False

    def __post_init__(self):
        if self.image_format not in pictures.FORMATS:
            raise ValueError(f"image_format is {self.image_format!r}; expected png, jpeg or auto")
        if self.bits not in pixels.BITS:
            raise ValueError(f"bits is {self.bits}; expected one of {', '.join(map(str, pixels.BITS))}")
        if self.verify not in ("fast", "full"):
            raise ValueError(f"verify is {self.verify!r}; expected fast or full")
        if not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"jpeg_quality is {self.jpeg_quality}; expected 1 to 100")
        if not 1 <= self.num_shards <= 99999:
            raise ValueError(f"num_shards is {self.num_shards}; expected 1 to 99999")


def write(
    records_dir: str | os.PathLike,
    table: labels.LabelTable,
    splits: dict[str, list[Pair]],
    *,
    overwrite: bool = False,
    say=lambda line: None,
    **options,
) -> manifest.Manifest:
    """Converts `splits` into `records_dir`.

    Of a folder that is already there, splits that it has are checked: where images, labels and options are the same,
    nothing is written. Splits that it lacks are added. Anything else is refused unless `overwrite`.

    Args:
      records_dir: folder to make or to add to.
      table: label table of fully annotated splits.
      splits: name -> pairs, in any order. A split whose pairs have no label file holds images alone.
      overwrite: replace the folder by one that holds `splits` alone. It is replaced when all is built.
      say: called with a line for each thing that was done to pictures, and to how many.
      **options: image_format, jpeg_quality, bits, num_shards, unannotated_ids, derived, verify, runner, beam_options,
        num_workers and progress, as in `tfrecords.conversion.convert.Options`.

    Returns:
      The folder's manifest.

    Raises:
      ValueError: wrong arguments, wrong inputs, or a folder that differs; one line naming the file.
      OSError: a file cannot be read or written. After either error the folder is as it was.
    """
    chosen, folder = Options(**options), pathlib.Path(records_dir)
    _check_splits(splits)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; expected a folder to write records into")
    image_format = chosen.image_format
    if image_format == "auto":
        image_format = pictures.auto_format(pair.image_path for pairs in splits.values() for pair in pairs)
    whole = _Whole(folder, table, image_format, chosen.jpeg_quality if image_format == "jpeg" else 0)
    unannotated = {name: tuple((chosen.unannotated_ids or {}).get(name, ())) for name in splits}
    plans = {
        name: _jobs(whole, name, splits[name], table.with_unannotated(unannotated[name]), chosen)
        for name in sorted(splits)
    }
    run = runners.get(chosen.runner, chosen.num_workers, chosen.beam_options, chosen.progress)
    digest = staging.manifest_digest(folder)
    old = None if overwrite else _existing(whole)
    if old is not None:
        digest = old.digest
        _check_same(old, plans, unannotated, run)
        plans = {name: jobs for name, jobs in plans.items() if name not in old.splits}
    if plans:
        _build_and_move(whole, plans, old, digest, unannotated, run, say)
    else:
        staging.remove_finished(folder)
    return manifest.info(folder)


def _check_splits(splits) -> None:
    if not splits:
        raise ValueError("no split to convert")
    for name, pairs in splits.items():
        if not manifest.SPLIT_NAME.fullmatch(name):
            raise ValueError(f"split name {name!r}; expected letters, digits and _")
        if not pairs:
            raise ValueError(f"split {name} has no images")
        if len({pair.label_path is None for pair in pairs}) != 1:
            lone = next(pair for pair in pairs if pair.label_path is None)
            raise ValueError(f"split {name}: {lone.image_path} has no label file, others have one")
        seen = set()
        for pair in pairs:
            if not pair.image_id or pair.image_id in seen:
                raise ValueError(f"split {name} has the image id {pair.image_id!r} twice ({pair.image_path})")
            seen.add(pair.image_id)


def _jobs(whole, split, pairs, table, options) -> list[build.Job]:
    """The shards of a split: its pairs ordered by a hash of their id and cut into nearly equal runs."""
    ordered = sorted(pairs, key=lambda pair: hashlib.sha256(pair.image_id.encode()).digest())
    count = min(options.num_shards, len(ordered))
    cuts = [len(ordered) * index // count for index in range(count + 1)]
    return [
        build.Job(
            work_dir=os.fspath(whole.folder / staging.WORK),
            records_dir=os.fspath(whole.folder),
            file=manifest.shard_name(split, index, count),
            pairs=tuple(ordered[cuts[index] : cuts[index + 1]]),
            table=table,
            image_format=whole.image_format,
            jpeg_quality=whole.jpeg_quality,
            verify=options.verify,
            derived=options.derived,
            bits=options.bits,
            from_jpeg=options.image_format == "auto",
        )
        for index in range(count)
    ]


def _existing(whole) -> manifest.Manifest | None:
    """The manifest of a folder that may be added to, None where nothing is there."""
    folder = whole.folder
    if not folder.exists():
        return None
    if not (folder / manifest.FILE).exists():
        strangers = [entry.name for entry in folder.iterdir() if entry.name != staging.WORK]
        if strangers and not (folder / staging.WORK).exists():
            raise ValueError(
                f"{folder} holds {strangers[0]!r} but no {manifest.FILE}; give an empty or new folder, or --overwrite"
            )
        return None
    try:
        old = manifest.info(folder)
    except ValueError as error:
        raise ValueError(f"{error}, with --overwrite") from error
    differing = [] if old.full_table == whole.table else [labels.difference(old.full_table, whole.table)]
    for name in ("image_format", "jpeg_quality"):
        here, asked = getattr(old, name), getattr(whole, name)
        if here != asked:
            differing.append(f"{name} {here} where {asked} is asked")
    if differing:
        raise ValueError(f"{folder} was converted with {'; '.join(differing)}; --overwrite replaces it")
    return old


def _check_same(old, plans, unannotated, run) -> None:
    """Raises ValueError where a split of `old` that is asked for is not what converting it would give."""
    checks = []
    for name in plans.keys() & old.splits.keys():
        split, jobs = old.splits[name], plans[name]
        has_labels = jobs[0].pairs[0].label_path is not None
        if split.examples != sum(len(job.pairs) for job in jobs):
            reason = f"has {split.examples} images where the data set has {sum(len(job.pairs) for job in jobs)}"
        elif len(split.shards) != len(jobs):
            reason = f"has {len(split.shards)} shards where {len(jobs)} are asked"
        elif split.has_labels != has_labels or split.unannotated_ids != unannotated[name]:
            reason = "has other labels"
        else:
            checks += [(build.compare, job, shard) for job, shard in zip(jobs, split.shards)]
            continue
        raise ValueError(f"{old.records_dir}: split {name} {reason}; --overwrite replaces the folder")
    total = sum(len(job.pairs) for _, job, _ in checks)
    for (_, job, _), reason in zip(checks, run("verify", checks, total)):
        if reason:
            raise ValueError(f"{old.records_dir}: {job.file} is not what converting gives: {reason}; use --overwrite")


def _build_and_move(whole, plans, old, digest, unannotated, run, say) -> None:
    jobs = [job for name in plans for job in plans[name]]
    with staging.opened(whole.folder, {job.file for job in jobs}, digest) as move:
        total = sum(len(job.pairs) for job in jobs)
        results = run("convert", [(build.build, job) for job in jobs], total)
        notes = dict(zip((job.file for job in jobs), results))
        splits = list(old.splits.values()) if old is not None else []
        for name, split_jobs in plans.items():
            has_labels = split_jobs[0].pairs[0].label_path is not None
            split_notes = [notes[job.file] for job in split_jobs]
            splits.append(_split(name, split_notes, split_jobs[0].table, has_labels, unannotated[name]))
        move(manifest.to_bytes(whole.table, whole.image_format, whole.jpeg_quality, splits), replace=old is None)
    done = collections.Counter()
    for note in notes.values():
        done.update(note["pictures"])
    for what, count in sorted(done.items()):
        say(f"{count} picture{'s' * (count != 1)} {what}")


def _split(name, notes, table, has_labels, unannotated) -> manifest.Split:
    found = [manifest.shard_from_json(note["shard"]) for note in notes]
    pixels: dict[int, int] = {}
    for note in notes:
        for number, count in note["id_pixels"].items():
            pixels[int(number)] = pixels.get(int(number), 0) + count
    examples = sum(shard.examples for shard in found)
    return manifest.Split(name, examples, has_labels, unannotated, pixels, tuple(found), table)
