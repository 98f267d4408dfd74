"""What annotation files say, whatever their format -> a label table and what paints each picture's ids.

A format's module (coco.py, labelme.py, cvat.py, yolo.py, supervisely.py) reads its files into `Notes`. Where shapes
overlap, the later one stays; pixels that none covers are void, or a class.
"""

import dataclasses
import difflib
import json
import pathlib

from tfrecords import labels
from tfrecords.conversion.folder import shapes, tables

BACKGROUND = "background"  # the class of uncovered pixels where there is but one other: one class alone is no task


@dataclasses.dataclass
class Frame:
    """What is drawn in one picture.

    Attributes:
      path: the file that says so.
      height, width: of the picture, px, upright.
      shapes: [[class, kind, value], ...] in the order of painting; class as in `Notes.rows`, the rest as in
        shapes.paint.
      damage: what is wrong with the file, where --skip_damaged is to pass it over.
    """

    path: pathlib.Path
    height: int
    width: int
    shapes: list
    damage: str = ""


@dataclasses.dataclass
class Notes:
    """What the files of one split say.

    Attributes:
      rows: of classes: "key", by which shapes name them, "name", and "id", "color", "void" as far as known; "counted"
        where nothing names them.
      frames: the picture's name, as the files give it -> Frame.
    """

    rows: list[dict]
    frames: dict[str, Frame]


def is_damage(error: Exception) -> bool:
    """Whether a file of JSON is cut off or empty, and not one of something else."""
    return isinstance(error, json.JSONDecodeError | UnicodeDecodeError)


def joined(many: list[Notes], where) -> list[dict]:
    """The classes of all splits: of formats that number them, all must be the same.

    Raises:
      ValueError: they differ; `where` are the files.
    """
    numbered = [notes for notes in many if any("id" in row for row in notes.rows)]
    if numbered and all(row.get("counted") for notes in numbered for row in notes.rows):
        return max((notes.rows for notes in numbered), key=len)  # a split may lack the highest class
    for notes, path in zip(many, where):
        if numbered and notes.rows != numbered[0].rows:
            raise ValueError(f"{path} has other categories than {where[0]}")
    if numbered:
        return numbered[0].rows
    found: dict[str, dict] = {}
    for notes in many:
        for row in notes.rows:
            found.setdefault(row["key"], row)
    declared = any(row.get("declared") for row in found.values())
    rows = list(found.values()) if declared else sorted(found.values(), key=lambda row: row["name"])
    return [{**row, "id": number} for number, row in enumerate(rows)]


def table_of(name: str, rows: list[dict], uncovered: str) -> tuple[labels.LabelTable, dict, int]:
    """The table of these classes, {key: id}, and the id of pixels that no shape covers.

    Args:
      name: of the table.
      rows: as of `Notes`, with ids.
      uncovered: the class of such pixels; "": they are void, but where there is one class alone.

    Raises:
      ValueError: no class, or ids beyond 0..255.
    """
    if not rows:
        raise ValueError(f"{name}: no class is named, and nothing is drawn")
    if any(not 0 <= row["id"] <= 255 for row in rows):
        raise ValueError(
            f"{name}: category ids must lie in 0..255, got up to {max(row['id'] for row in rows)}; --classes=FILE of "
            "the same names (id, name) gives them others"
        )
    rows = tables.with_void_names(rows)
    ids = {row["key"]: row["id"] for row in rows}
    if len([row for row in rows if not row.get("void")]) == 1 and not uncovered:
        uncovered = BACKGROUND
    taken = set(ids.values())
    same = next((row["id"] for row in rows if uncovered and row["name"] == uncovered), None)
    if same is not None:
        return tables.from_rows(name, rows), ids, same
    free = sorted(set(range(255)) - taken)
    if not free:
        raise ValueError(f"{name}: all ids are taken, none is left for pixels that nothing covers")
    if uncovered:
        return tables.from_rows(name, [*rows, {"id": free[0], "name": uncovered}]), ids, free[0]
    number = 255 if 255 not in taken else free[0]
    return tables.from_rows(name, [*rows, {"id": number, "name": "uncovered", "void": "scene"}]), ids, number


def by_table(table: labels.LabelTable, rows: list[dict], uncovered: str) -> tuple[labels.LabelTable, dict, int]:
    """As `table_of`, by a table that is given: classes are found by name, or by id where the format has ids.

    Raises:
      ValueError: a class that the table lacks; names the nearest.
    """
    known: dict[str, int] = {}
    for label in table.labels:
        known.setdefault(label.name, label.id)
    numbers = {label.id for label in table.labels}
    by_name = all(row["name"] in known for row in rows)
    ids = {}
    for row in rows:
        if not by_name and row.get("numbered") and row["id"] in numbers:
            ids[row["key"]] = row["id"]
        elif row["name"] in known:
            ids[row["key"]] = known[row["name"]]
        else:
            near = difflib.get_close_matches(row["name"], known, 1)
            hint = f"; the nearest is {near[0]!r}" if near else ""
            raise ValueError(
                f"class {row['name']!r} of the annotations is not in the table {table.name} of --classes; add it "
                f"there{hint}"
            )
    if uncovered:
        if uncovered not in known:
            raise ValueError(f"--uncovered={uncovered} is not in the table {table.name} of --classes; add it there")
        return table, ids, known[uncovered]
    void = [label.id for label in table.void_labels if label.kind == "scene"]
    if void:
        return table, ids, 255 if 255 in void else void[0]
    number = 255 if 255 not in numbers else min(set(range(255)) - numbers)
    added = labels.Label(number, "uncovered", None, "scene", (0, 0, 0))
    return labels.LabelTable(table.name, (*table.labels, added)), ids, number


def payload(frame: Frame, ids: dict) -> bytes:
    """What shapes.Reader reads of a frame."""
    if frame.damage:
        return shapes.damaged(frame.damage)
    return shapes.payload(frame.height, frame.width, [[ids[key], kind, value] for key, kind, value in frame.shapes])
