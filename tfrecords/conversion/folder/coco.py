"""COCO's JSON -> a label table, and shapes by image."""

import json
import pathlib

from tfrecords import labels
from tfrecords.conversion.folder import shapes, tables


def read(path: pathlib.Path, passed) -> tuple[list[dict], dict[str, bytes]]:
    """Rows of classes (ids as the file has them), and for each image's file name the payload of shapes.Reader.

    Annotations are painted in the file's order; those of an image that is not listed, and those without a
    segmentation, are passed over.

    Raises:
        ValueError: it is no such file.
    """
    try:
        found = json.loads(path.read_bytes())
        rows = [{"id": row["id"], "name": row["name"], "color": row.get("color")} for row in found["categories"]]
        frames = {row["id"]: row for row in found["images"]}
        by_image: dict = {number: [] for number in frames}
        known = {row["id"] for row in rows}
        for note in found["annotations"]:
            if note["image_id"] not in frames:
                passed.add("annotations of images that are not listed", f"{path}: {note.get('id')}")
                continue
            segmentation = note.get("segmentation")
            if not segmentation:
                passed.add("annotations without a segmentation", f"{path}: {note.get('id')}")
                continue
            if note["category_id"] not in known:
                raise ValueError(f"annotation {note.get('id')} has category {note['category_id']}, which is not listed")
            kind = "rle" if isinstance(segmentation, dict) else "polygons"
            by_image[note["image_id"]].append([note["category_id"], kind, segmentation])
        payloads = {}
        for number, row in frames.items():
            payloads[row["file_name"]] = shapes.payload(row["height"], row["width"], by_image[number])
        return rows, payloads
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        what = f"{type(error).__name__} {error}" if not isinstance(error, ValueError) else str(error)
        raise ValueError(f"{path}: it is no COCO file of images, annotations and categories: {what}") from error


def table(name: str, rows: list[dict], uncovered: str) -> tuple[labels.LabelTable, int]:
    """The table of these classes, and the id of pixels that no shape covers: a class where `uncovered` names one."""
    taken = {row["id"] for row in rows}
    same = next((row["id"] for row in rows if uncovered and row["name"] == uncovered), None)
    if same is not None:
        return tables.from_rows(name, rows), same
    number = 255 if 255 not in taken else min(set(range(255)) - taken)
    if uncovered:
        number = min(set(range(255)) - taken)
        return tables.from_rows(name, [*rows, {"id": number, "name": uncovered}]), number
    return tables.from_rows(name, [*rows, {"id": number, "name": "uncovered", "void": "scene"}]), number
