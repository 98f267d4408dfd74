"""Ultralytics' data sets: a YAML of names and folders, with label pictures or polygons.

With masks_dir, the folder "images" in a picture's path becomes masks_dir, where a picture of class numbers lies (255 is
void). Without, it becomes "labels", where a .txt has a line "class x0 y0 x1 y1 ..." per polygon, in shares of width and
height. A .txt that is empty says that nothing is there; lines of four numbers are boxes, which have no outline.
"""

import os
import pathlib

from PIL import Image

from tfrecords import errors, pixels
from tfrecords.conversion.folder import notes, pairing, tables

_SPLITS = ("train", "val", "test")
_SWAPPED = (5, 6, 7, 8)


def splits(path: pathlib.Path, images_dir: str, suffixes, passed) -> tuple[dict, dict, str]:
    """What a YAML says: ({split: {key: picture}}, its content, masks_dir or "").

    Args:
      path: of the YAML.
      images_dir: the data set's folder, where it is not what the YAML says.
      suffixes: of pictures.
      passed: counts what is passed over.

    Raises:
      ValueError: it is no such file, or its folders are not there.
    """
    found = content(path)
    if not isinstance(found, dict) or not any(found.get(name) for name in _SPLITS) or "names" not in found:
        raise ValueError(f"{path}: it is no data set of Ultralytics: expected names, and train or val")
    stated = str(found.get("path") or "")
    roots = [pathlib.Path(images_dir)] if images_dir else [path.parent / stated, path.parent]
    made = {}
    for name in _SPLITS:
        entries = found.get(name) or []
        pictures: dict[str, pathlib.Path] = {}
        for entry in [entries] if isinstance(entries, str) else entries:
            place = _place(roots, str(entry), path)
            listed = _listed(place) if place.is_file() else pairing.find(place, suffixes, passed)
            folder = place.parent if place.is_file() else place
            for picture in listed:
                key = os.path.relpath(os.path.splitext(picture)[0], folder).replace(os.sep, "/").replace("../", "")
                if pictures.get(key) == pathlib.Path(picture):
                    passed.add("pictures that are listed twice", picture)
                elif key in pictures:
                    raise ValueError(
                        f"{path}: {pictures[key]} and {picture} of {name} have the same name; give one of them another"
                    )
                pictures[key] = pathlib.Path(picture)
        if pictures:
            made[name] = pictures
    return made, found, str(found.get("masks_dir") or "")


def content(path: pathlib.Path):
    """What a YAML file holds; ValueError naming it where it is none."""
    try:
        return tables.read_yaml(path.read_text(errors="replace"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def label_of(picture: pathlib.Path, folder: str, suffixes) -> pathlib.Path | None:
    """The label file of a picture: its last folder "images" exchanged for `folder`; None where there is none."""
    parts = list(picture.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = folder
            break
    stem = pathlib.Path(*parts).with_suffix("")
    for suffix in suffixes:
        for candidate in (stem.with_name(stem.name + suffix), stem.with_name(stem.name + suffix.upper())):
            if candidate.is_file():
                return candidate
    return None


def read(pictures: dict, texts: dict, names: list[str], passed, skip_damaged: bool = False) -> notes.Notes:
    """What is drawn in each picture, in the file's order.

    Args:
      pictures: key -> picture, whose size is needed.
      texts: key -> .txt of polygons.
      names: of the classes, by number; [] where nothing names them.
      passed: counts lines that are boxes.
      skip_damaged: of a picture that cannot be opened, give a frame that says so.

    Raises:
      ValueError: a line that is no polygon, or of a class that has no name.
    """
    frames, most = {}, -1
    for key, path in texts.items():
        if key not in pictures:
            continue
        try:
            height, width = upright_size(pictures[key])
        except ValueError as error:
            if not skip_damaged:
                raise
            frames[key] = notes.Frame(path, 1, 1, [], str(error))
            continue
        drawn = []
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if not line.strip():
                continue
            try:
                first, *shares = (float(value) for value in line.split())
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: expected numbers, class x0 y0 x1 y1 ...") from error
            if len(shares) == 4:
                passed.add("boxes without an outline", f"{path}, line {number}")
                continue
            if len(shares) < 6 or len(shares) % 2 or first != int(first) or not 0 <= first <= 255:
                raise ValueError(f"{path}, line {number}: expected class x0 y0 x1 y1 x2 y2 ..., got {line[:40]!r}")
            if names and first >= len(names):
                raise ValueError(f"{path}, line {number}: class {int(first)}, of {len(names)} names")
            most = max(most, int(first))
            points = [share * (width, height)[place % 2] for place, share in enumerate(shares)]
            drawn.append([int(first), "polygons", [points]])
        frames[key] = notes.Frame(path, height, width, drawn)
    counted = {} if names else {"counted": True}
    names = names or [f"class_{number}" for number in range(most + 1)]
    rows = [{"key": i, "id": i, "name": name, "numbered": True} | counted for i, name in enumerate(names)]
    return notes.Notes(rows, frames)


def names_of(found: dict, path) -> list[str]:
    """The classes' names in a YAML, by number; ValueError where these are not 0, 1, 2, ..."""
    rows = sorted(tables.rows_of(found), key=lambda row: row["id"])
    if [row["id"] for row in rows] != list(range(len(rows))):
        raise ValueError(f"{path}: its names are numbered {[row['id'] for row in rows]}; expected 0, 1, 2, ...")
    return [row["name"] for row in rows]


def upright_size(path: pathlib.Path) -> tuple[int, int]:
    """Height and width of a picture as a viewer shows it, px, of its header alone.

    Raises:
      ValueError: it is no picture.
    """
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            turned = picture.format != "TIFF" and pixels.orientation(picture) in _SWAPPED
    except Exception as error:  # Pillow raises whatever its parsers meet
        raise ValueError(f"{path} cannot be decoded: {errors.one_line(error)}") from error
    return (width, height) if turned else (height, width)


def _place(roots, entry: str, path: pathlib.Path) -> pathlib.Path:
    for root in roots:
        for place in (root / entry, root / entry.removeprefix("../")):
            if place.exists():
                return place
    raise FileNotFoundError(
        f"{path} names {entry!r}, which is not in {roots[0]}; give the data set's folder as --images_dir"
    )


def _listed(path: pathlib.Path) -> list[str]:
    lines = [line.strip() for line in path.read_text().splitlines()]
    return [os.path.normpath(path.parent / line) for line in lines if line]
