"""CVAT's XML, "CVAT for images": all images of a task in one file.

Polygons, boxes, ellipses and masks have an area. They are painted by z_order, and of equal ones in the file's order.
"""

import difflib
import pathlib
from xml.etree import ElementTree

from tfrecords.conversion.folder import notes


def read(path: pathlib.Path, passed) -> notes.Notes:
    """Classes in the task's order, and what is drawn in each image.

    Args:
      path: annotations.xml.
      passed: counts shapes without an area.

    Raises:
      ValueError: it is no such file, or a shape's label is not in its list of labels.
    """
    try:
        root = ElementTree.parse(path).getroot()
        if root.tag != "annotations":
            raise ValueError(f"its root is {root.tag}, not annotations")
        if root.find("track") is not None:
            raise ValueError('it has tracks of a video; export the task as "CVAT for images 1.1"')
        rows = {}
        for label in root.iterfind("meta//labels/label"):
            name = (label.findtext("name") or "").strip()
            void = {"void": "scene"} if name.lower() == "background" else {}  # as of labelmap.txt
            row = {"key": name, "name": name, "color": label.findtext("color"), "declared": True}
            rows.setdefault(name, row | void)
        declared, frames = bool(rows), {}
        for image in root.iterfind("image"):
            name, size = image.attrib["name"], (int(image.attrib["height"]), int(image.attrib["width"]))
            if name in frames:
                raise ValueError(f"image {name} is there twice; export each task by itself, or rename one")
            try:
                frames[name] = notes.Frame(path, *size, _drawn(image, rows, declared, passed, path))
            except ValueError as error:
                raise ValueError(f"image {name}: {error}") from error
        return notes.Notes(list(rows.values()), frames)
    except (ElementTree.ParseError, KeyError, ValueError, TypeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path}: it is no XML of CVAT: {' '.join(what.split())}") from error


def _drawn(image, rows, declared: bool, passed, path) -> list:
    """Shapes of one image in the order of painting, as of notes.Frame; adds to `rows` what is not declared there."""
    drawn = []
    for place, shape in enumerate(image):
        kind, value = _shape(shape)
        if kind is None:
            if shape.tag != "tag":  # says something of the whole image
                passed.add("shapes without an area", f"{path}: {shape.tag}")
            continue
        name = shape.attrib["label"]
        if declared and name not in rows:
            near = difflib.get_close_matches(name, rows, 1)
            hint = f"; the nearest is {near[0]!r}" if near else ""
            raise ValueError(f"its {shape.tag} of label {name!r} is of none in the file's list of labels{hint}")
        rows.setdefault(name, {"key": name, "name": name})
        drawn.append((int(shape.attrib.get("z_order", 0)), place, [name, kind, value]))
    return [entry for _, _, entry in sorted(drawn, key=lambda entry: entry[:2])]


def _shape(shape):
    """(kind, value) as in shapes.paint; (None, None) where it has no area."""
    given = shape.attrib
    numbers = {
        key: float(given[key])
        for key in ("xtl", "ytl", "xbr", "ybr", "cx", "cy", "rx", "ry", "rotation")
        if key in given
    }
    turn = numbers.get("rotation", 0)
    if shape.tag == "polygon":
        points = [[float(n) for n in point.split(",")] for point in given["points"].split(";") if point.strip()]
        if any(len(point) != 2 for point in points):
            raise ValueError(f"a polygon has points {given['points'][:40]!r}; expected x,y;x,y;...")
        return ("polygons", [[n for point in points for n in point]]) if len(points) > 2 else (None, None)
    if shape.tag == "box":
        x0, y0, x1, y1 = (numbers[key] for key in ("xtl", "ytl", "xbr", "ybr"))
        return "box", [(x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2, turn]
    if shape.tag == "ellipse":
        return "ellipse", [numbers["cx"], numbers["cy"], numbers["rx"], numbers["ry"], turn]
    if shape.tag == "mask":
        box = [int(float(given[key])) for key in ("left", "top", "width", "height")]
        return "rows", [*box, [int(n) for n in given["rle"].split(",") if n.strip()]]
    return None, None
