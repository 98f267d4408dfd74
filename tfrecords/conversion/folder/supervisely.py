"""Supervisely's projects: meta.json, and in each data set img/ beside ann/ or masks_machine/.

Machine masks hold each class's number, 1 for the first of meta.json, or what obj_class_to_machine_color.json says.
"""

import json
import pathlib

from tfrecords.conversion.folder import notes

COLORS = "obj_class_to_machine_color.json"
_WRONG = (KeyError, TypeError, AttributeError, ValueError, RecursionError)


def is_project(folder: pathlib.Path) -> bool:
    """Whether a folder is such a project."""
    return (folder / "meta.json").is_file() and any(folder.glob("**/img"))


def datasets(folder: pathlib.Path) -> list[pathlib.Path]:
    """The folders in a project that hold img/."""
    return sorted(path.parent for path in folder.glob("**/img") if path.is_dir())


def name_of(dataset: pathlib.Path, folder: pathlib.Path) -> str:
    """A data set's place in its project: two that lie in other ones may have the same name."""
    return dataset.name if dataset == folder else dataset.relative_to(folder).as_posix()


def read(dataset: pathlib.Path, project: pathlib.Path, passed, skip_damaged: bool = False) -> notes.Notes:
    """Classes in the project's order, and what is drawn in each image of a data set, in the file's order.

    Args:
      dataset, project: folders.
      passed: counts shapes without an area.
      skip_damaged: of a file that is none, give a frame that says so.

    Raises:
      ValueError: a file is no such file.
    """
    path = project / "meta.json"
    try:
        rows = [
            {"key": str(row["title"]), "name": str(row["title"]), "color": row.get("color"), "declared": True}
            for row in json.loads(path.read_bytes())["classes"]
        ]
        frames = {}
        for path in sorted((dataset / "ann").glob("*.json")):
            try:
                frame = _frame(path, rows, passed)
            except _WRONG as error:
                if not (skip_damaged and notes.is_damage(error)):
                    raise
                frame = notes.Frame(path, 1, 1, [], _said(path, error))
            frames[path.name.removesuffix(".json")] = frame
        return notes.Notes(rows, frames)
    except _WRONG as error:
        raise ValueError(_said(path, error)) from error


def _frame(path, rows, passed) -> notes.Frame:
    found = json.loads(path.read_bytes())
    drawn = []
    for thing in found["objects"]:
        kind, value = _shape(thing)
        if kind is None:
            passed.add("shapes without an area", f"{path}: {value}")
            continue
        if not any(row["key"] == thing["classTitle"] for row in rows):
            raise ValueError(f"class {thing['classTitle']!r} is not in meta.json")
        drawn.append([thing["classTitle"], kind, value])
    return notes.Frame(path, int(found["size"]["height"]), int(found["size"]["width"]), drawn)


def _said(path, error) -> str:
    what = f"{type(error).__name__} {error}" if not isinstance(error, ValueError) else str(error)
    return f"{path}: it is no file of Supervisely: {' '.join(what.split())}"


def _shape(thing: dict):
    """(kind, value) as in shapes.paint; (None, its kind) where it has no area."""
    kind = thing["geometryType"]
    if kind == "bitmap":
        x, y = thing["bitmap"]["origin"]
        return "bitmap", [int(x), int(y), thing["bitmap"]["data"]]
    if kind in ("polygon", "rectangle"):
        rings = [thing["points"]["exterior"], *thing["points"].get("interior", [])]
        if kind == "rectangle":  # its corners are pixels, both of them within it
            (x0, y0), (x1, y1) = rings[0]
            x0, x1, y0, y1 = min(x0, x1), max(x0, x1) + 1, min(y0, y1), max(y0, y1) + 1
            rings = [[(x0, y0), (x1, y0), (x1, y1), (x0, y1)]]
        if len(rings[0]) < 3:
            return None, str(kind)
        return "rings", [[float(c) for point in ring for c in point] for ring in rings]
    return None, str(kind)
