"""Supervisely's projects: meta.json, and in each data set img/ beside ann/ or masks_machine/.

Machine masks hold each class's number, 1 for the first of meta.json, or what obj_class_to_machine_color.json says.
"""

import json
import pathlib

from tfrecords.conversion.folder import notes

COLORS = "obj_class_to_machine_color.json"


def is_project(folder: pathlib.Path) -> bool:
    """Whether a folder is such a project."""
    return (folder / "meta.json").is_file() and any(folder.glob("**/img"))


def datasets(folder: pathlib.Path) -> list[pathlib.Path]:
    """The folders in a project that hold img/."""
    return sorted(path.parent for path in folder.glob("**/img") if path.is_dir())


def read(dataset: pathlib.Path, project: pathlib.Path, passed) -> notes.Notes:
    """Classes in the project's order, and what is drawn in each image of a data set, in the file's order.

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
            size = int(found["size"]["height"]), int(found["size"]["width"])
            frames[path.name.removesuffix(".json")] = notes.Frame(path, *size, drawn)
        return notes.Notes(rows, frames)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        what = f"{type(error).__name__} {error}" if not isinstance(error, ValueError) else str(error)
        raise ValueError(f"{path}: it is no file of Supervisely: {' '.join(what.split())}") from error


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
