"""COCO's JSON: images, annotations (polygons or run lengths) and categories."""

import json
import pathlib

from tfrecords.conversion.folder import notes


def read(path: pathlib.Path, passed) -> notes.Notes:
    """Classes with their ids, and what is drawn in each image, in the file's order.

    Annotations of an image that is not listed, and those without a segmentation, are passed over.

    Raises:
      ValueError: it is no such file.
    """
    try:
        found = json.loads(path.read_bytes())
        rows = [
            {"key": row["id"], "id": row["id"], "name": str(row["name"]), "color": row.get("color"), "numbered": True}
            for row in found["categories"]
        ]
        listed = {row["id"]: row for row in found["images"]}
        drawn: dict = {number: [] for number in listed}
        known = {row["key"] for row in rows}
        if not all(type(key) is int for key in known):
            raise ValueError("ids of categories must be whole numbers")
        for note in found["annotations"]:
            if note["image_id"] not in listed:
                passed.add("annotations of images that are not listed", f"{path}: {note.get('id')}")
                continue
            segmentation = note.get("segmentation")
            if not segmentation:
                passed.add("annotations without a segmentation", f"{path}: {note.get('id')}")
                continue
            if note["category_id"] not in known:
                raise ValueError(f"annotation {note.get('id')} has category {note['category_id']}, which is not listed")
            kind = "rle" if isinstance(segmentation, dict) else "polygons"
            drawn[note["image_id"]].append([note["category_id"], kind, segmentation])
        frames = {
            str(row["file_name"]): notes.Frame(path, row["height"], row["width"], drawn[number])
            for number, row in listed.items()
        }
        return notes.Notes(rows, frames)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        what = f"{type(error).__name__} {error}" if not isinstance(error, ValueError) else str(error)
        raise ValueError(f"{path}: it is no COCO file of images, annotations and categories: {what}") from error
