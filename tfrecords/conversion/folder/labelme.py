"""labelme's JSON: a file per image, beside it or in a folder of its own.

Polygons, rectangles, circles and masks have an area; lines and points have none.
"""

import json
import math
import pathlib

from tfrecords.conversion.folder import notes


def read(folder: pathlib.Path, paths, passed, skip_damaged: bool = False) -> notes.Notes:
    """Classes by name, and what is drawn in each image, in the file's order.

    Args:
      folder: below which `paths` lie.
      paths: the JSON files.
      passed: counts shapes without an area.
      skip_damaged: of a file that is none, give a frame that says so.

    Raises:
      ValueError: a file is no such file.
    """
    rows: dict[str, dict] = {}
    frames = {}
    for path in paths:
        try:
            found = json.loads(path.read_bytes())
            drawn = []
            for shape in found["shapes"]:
                kind, value = _shape(shape)
                if kind is None:
                    passed.add("shapes without an area", f"{path}: {value}")
                    continue
                name = str(shape["label"])
                rows.setdefault(name, {"key": name, "name": name})
                drawn.append([name, kind, value])
            frame = notes.Frame(path, int(found["imageHeight"]), int(found["imageWidth"]), drawn)
        except (KeyError, TypeError, AttributeError, ValueError, IndexError, RecursionError) as error:
            what = f"{type(error).__name__} {error}" if not isinstance(error, ValueError) else str(error)
            said = f"{path}: it is no JSON of labelme: {' '.join(what.split())}"
            if not (skip_damaged and notes.is_damage(error)):
                raise ValueError(said) from error
            frame = notes.Frame(path, 1, 1, [], said)
        # Its own name, rather than imagePath, which is where the picture was when it was labelled.
        frames[path.relative_to(folder).with_suffix("").as_posix()] = frame
    return notes.Notes(list(rows.values()), frames)


def is_one(found) -> bool:
    """Whether a JSON file's content is labelme's."""
    return isinstance(found, dict) and "shapes" in found and ("imagePath" in found or "imageHeight" in found)


def _shape(shape: dict):
    """(kind, value) as in shapes.paint; (None, its kind) where it has no area."""
    kind = shape.get("shape_type") or "polygon"
    points = [[float(x), float(y)] for x, y in shape["points"]]
    if kind == "polygon":
        return ("polygons", [[c for point in points for c in point]]) if len(points) > 2 else (None, "polygon")
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points
        return "polygons", [[x0, y0, x1, y0, x1, y1, x0, y1]]
    if kind == "circle":
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        return "ellipse", [x, y, radius, radius, 0]
    if kind == "mask":
        return "png", [int(points[0][0]), int(points[0][1]), str(shape["mask"])]
    return None, str(kind)
