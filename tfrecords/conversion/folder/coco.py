"""COCO's JSON: images, annotations (polygons or run lengths) and categories."""

import collections
import json
import pathlib

from tfrecords.conversion.folder import notes


def read(path: pathlib.Path, passed) -> notes.Notes:
    """Classes with their ids, and what is drawn in each image, in the file's order.

    Annotations of an image that is not listed, without a segmentation, and polygons of less than three points are
    passed over and counted.

    Raises:
      ValueError: it is no such file.
    """
    try:
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise ValueError(f"it is a {type(found).__name__}; a file of results has no images and categories")
        rows = [
            {"key": row["id"], "id": row["id"], "name": str(row["name"]), "color": row.get("color"), "numbered": True}
            for row in found["categories"]
        ]
        listed = {row["id"]: row for row in found["images"]}
        if len(listed) < len(found["images"]):
            raise ValueError(f"ids of images must differ, got {len(found['images'])} images with {len(listed)} ids")
        drawn: dict = {number: [] for number in listed}
        named = collections.Counter(str(row["file_name"]) for row in listed.values())
        if named and max(named.values()) > 1:
            raise ValueError(f"two images have the file name {named.most_common(1)[0][0]!r}; list each once")
        known = {row["key"] for row in rows}
        if not all(type(key) is int for key in known):
            raise ValueError("ids of categories must be whole numbers")
        if len(known) < len(rows):
            raise ValueError(f"ids of categories must differ, got {sorted(row['key'] for row in rows)}")
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
            kind, value = "rle", segmentation
            if not isinstance(segmentation, dict):
                kind, value = "polygons", _rings(segmentation, note.get("id"))
                for _ in range(len(segmentation) - len(value)):
                    passed.add("shapes without an area", f"{path}: {note.get('id')}")
            if value:
                drawn[note["image_id"]].append([note["category_id"], kind, value])
        frames = {
            str(row["file_name"]): notes.Frame(path, row["height"], row["width"], drawn[number])
            for number, row in listed.items()
        }
        return notes.Notes(rows, frames)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path}: it is no COCO file of images, annotations and categories: {what}") from error


def _rings(segmentation, number) -> list:
    """The polygons that have an area; ValueError naming annotation `number` where there is none at all."""
    if not isinstance(segmentation, list) or not all(isinstance(ring, list) for ring in segmentation):
        raise ValueError(
            f"annotation {number} has segmentation {str(segmentation)[:40]}; expected a list of polygons [[x, y, ...]] "
            "or run lengths"
        )
    for ring in segmentation:
        if len(ring) % 2:
            raise ValueError(f"annotation {number} has a polygon of {len(ring)} numbers; expected pairs of x and y")
    return [ring for ring in segmentation if len(ring) >= 6]
