"""Which files are damaged, looked for before anything is written, so that a conversion can go on without them.

Damaged is what cannot be read as a whole picture, label map or annotation. Labels of other sizes or ids are not: they
are wrong in a way that a list of files would hide.
"""

import io
import os
import pathlib

from PIL import Image

from tfrecords import errors, files, images, pixels, png
from tfrecords.conversion import runners

_FIRST_LINE = "# damaged files that a conversion has passed over, each with the reason"
_CHUNK = 64  # pairs


def without(splits: dict, path: str | os.PathLike, *, bits=0, num_workers=0, verify="fast", progress=False):
    """Leaves out examples of which a file is damaged, and writes the files' names and reasons.

    Args:
      splits: name -> pairs, as of tfrecords.write.
      path: the file to write: a line per damaged file, name, tab, reason.
      bits, num_workers, verify, progress: as of tfrecords.write.

    Returns:
      The splits without them, and the lines that say how many they are.

    Raises:
      ValueError: a split of which nothing is whole; `path` is a file of something else.
      OSError: a file cannot be read, or the list not be written.
    """
    path = pathlib.Path(path)
    if path.exists():
        with open(path, "rb") as file:
            if file.readline().rstrip() != _FIRST_LINE.encode():
                raise ValueError(f"{path} is a file of something else; give --skip_damaged a new name")
    chunks = [
        (name, pairs[start : start + _CHUNK])
        for name, pairs in splits.items()
        for start in range(0, len(pairs), _CHUNK)
    ]
    total = sum(len(pairs) for pairs in splits.values())
    workers = num_workers if len(chunks) > 1 else 1
    run = runners.get("local", workers, (), progress)
    found = run("look for damage", [(_look, pairs, bits, verify == "full") for _, pairs in chunks], total)
    kept: dict = {name: [] for name in splits}
    lines = [_FIRST_LINE]
    for (name, pairs), reasons in zip(chunks, found):
        for pair, reason in zip(pairs, reasons):
            if reason is None:
                kept[name].append(pair)
            else:
                lines.append("\t".join(reason))
    files.write_whole(path, ("\n".join(lines) + "\n").encode())
    for name, pairs in kept.items():
        if not pairs and splits[name]:
            raise ValueError(f"split {name}: all {len(splits[name])} examples have a damaged file; {path} lists them")
    count = len(lines) - 1
    return kept, [f"passed over: {count} of {total} examples with a damaged file, listed in {path}"]


def _look(pairs, bits, full, count) -> list:
    found = []
    for pair in pairs:
        found.append(_damage(pair, bits, full))
        count()
    return found


def _damage(pair, bits, full) -> tuple[str, str] | None:
    """(file, reason) where a file of the pair is damaged."""
    try:
        data = images.read_file(pair.image_path)
        if not pixels.is_plain(*pixels.look(data, pair.image_path)) or full:
            pixels.decode(data, pair.image_path, bits)
    except pixels.RefusedError:
        pass
    except ValueError as error:
        return pair.image_path, str(error)
    if pair.label_path is None:
        return None
    try:
        if pair.payload is not None:
            pair.reader.read(pair.payload, pair.label_name)
        else:
            _check_label(images.read_file(pair.label_path), pair.label_path)
    except ValueError as error:
        return pair.label_path, str(error)
    return None


def _check_label(data: bytes, name: str) -> None:
    if not data:
        raise ValueError(f"{name} is empty; expected a label map")
    if data[:8] == png.SIGNATURE:
        images.check(data, name)
        png.check_pixels(data, name)
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
    except MemoryError:
        raise
    except Exception as error:
        reason = errors.one_line(error) if not isinstance(error, Image.UnidentifiedImageError) else "no picture"
        raise ValueError(f"{name} cannot be decoded: {reason}") from error
