"""A label table from a file of classes, in whichever of the usual notations it is written.

    CSV         columns id, name, class, void, color (or red, green, blue); all but name may be missing
    JSON        a list of such rows; dataset.json; COCO's "categories"; Mapillary's "labels"; Supervisely's "classes";
                {"road": 0}; {"0": "road"}; {"#ff00ff": "road"} (A2D2)
    YAML        Ultralytics' "names"
    labelmap.txt   CVAT's name:red,green,blue:parts:actions; or any .txt of one name a line

An id that is not written is its row's number. A row is void where column `void` (or `kind`) names a kind, or `class` is
"void" or a kind. A file that says nothing of void at all has void where a name says so ("void", "unlabeled", ...).
"""

import colorsys
import csv
import io
import json
import os
import pathlib
import re

from tfrecords import errors, labels

VOID_NAMES = {
    "__ignore__",
    "void",
    "unlabeled",
    "unlabelled",
    "unlabel",
    "ignore",
    "ignored",
    "ignore region",
    "unknown",
}
GEOMETRY_NAMES = {"ego vehicle", "ego car", "out of roi", "rectification border", "car mount"}
_KEYS = {
    "id": ("id", "value", "index", "label_id", "class_id"),
    "name": ("name", "title", "readable", "label", "class_name"),
    "class": ("class", "class_of", "train_name"),
    "void": ("void", "kind", "void_kind"),
    "color": ("color", "colour", "rgb", "color_rgb"),
}
# Columns of numbers that are no ids.
_NO_IDS = {"r", "g", "b", "red", "green", "blue", "pixels", "count", *_KEYS["void"], *_KEYS["color"]}


def default_color(number: int) -> tuple[int, int, int]:
    """The colour of an id that has none of its own: PASCAL VOC's, whose bits are the id's, spread over the channels."""
    channels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            channels[channel] |= (number >> channel & 1) << (7 - bit)
        number >>= 3
    return tuple(channels)


def shown_color(number: int) -> tuple[int, int, int]:
    """A bright colour for an id that nobody has given one: hues far apart for ids in a row, none near magenta.

    Void is drawn in magenta, and black, PASCAL VOC's first, looks like nothing at all.
    """
    hue = 0.78 * (number * 0.618034 % 1)
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.75, (0.95, 0.65)[number % 2]))


def read(path: str | os.PathLike) -> labels.LabelTable:
    """The table in a file of classes.

    Raises:
      ValueError: not one of the notations, or a row that is wrong; the message names file and row.
      OSError: it cannot be read.
    """
    path = pathlib.Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not in UTF-8, and names would be garbled; save it as UTF-8") from error
    try:
        suffix = path.suffix.lower()
        if suffix == ".json":
            found = json.loads(text)
            if isinstance(found, dict) and {"classes", "void", "num_classes"} <= found.keys():
                return labels.LabelTable.from_json(found)
            rows = rows_of(found)
        elif suffix in (".yaml", ".yml"):
            rows = rows_of(read_yaml(text))
        elif suffix == ".txt":
            rows = _labelmap(text)
        else:
            rows = _csv_rows(text)
        # Names that say nothing: of a project's own file its folder does, of a list of classes the folder is anybody's.
        of_folder = path.resolve().parent.name if path.stem in ("meta", "labelmap") else path.stem
        return from_rows("own" if path.stem == "classes" else of_folder, rows)
    except (ValueError, RecursionError) as error:
        reason = "it is no JSON" if isinstance(error, json.JSONDecodeError) else errors.one_line(error)
        raise ValueError(f"{path}: no table of classes can be read from it: {reason}") from error


def read_yaml(text: str):
    """What a YAML file holds; ValueError where it is none."""
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"it is no YAML: {errors.one_line(error)}") from error


def rows_of(found) -> list[dict]:
    """The rows (keys id, name, class, void, color) in what a JSON or YAML file holds."""
    if isinstance(found, dict):
        for key in ("categories", "labels", "classes", "names"):
            if key == "classes" and _is_supervisely(found.get(key)):
                return _numbered([str(row["title"]) for row in found[key]], [row.get("color") for row in found[key]])
            if isinstance(found.get(key), (list, dict)):
                return [row | _of_mapillary(row) for row in rows_of(found[key])]
        pairs = list(found.items())
        if pairs and all(isinstance(v, str) and re.fullmatch("#[0-9a-fA-F]{6}", str(k)) for k, v in pairs):
            return [{"id": i, "name": name, "color": color} for i, (color, name) in enumerate(pairs)]
        if pairs and all(isinstance(v, str) and re.fullmatch(r"\d+", str(k)) for k, v in pairs):
            return [{"id": int(number), "name": name} for number, name in pairs]
        if pairs and all(isinstance(v, list) and len(v) == 3 and v == [v[0]] * 3 for _, v in pairs):
            rows = _numbered([], [])  # Supervisely's obj_class_to_machine_color.json
            rows = [row for row in rows if row["id"] not in [v[0] for _, v in pairs]]
            return rows + [{"id": v[0], "name": name, "void": ""} for name, v in pairs]
        if pairs and all(type(v) is int for _, v in pairs):
            return [{"id": number, "name": str(name)} for name, number in pairs]
    if isinstance(found, list) and found and all(isinstance(row, str) for row in found):
        return [{"id": i, "name": name} for i, name in enumerate(found)]
    if isinstance(found, list) and found and all(isinstance(row, dict) for row in found):
        return _known_rows(found)
    raise ValueError('expected a list of classes, or an object with "categories", "labels", "classes" or "names"')


def with_void_names(rows: list[dict]) -> list[dict]:
    """The rows, void where a name says so ("void", "ego vehicle"), unless a row says itself what is void."""
    if any(row.get("void") or _kind(row.get("class")) for row in rows):
        return rows
    kinds = [_kind_of_name(str(row["name"])) for row in rows]
    return [row | ({"void": kind} if kind else {}) for row, kind in zip(rows, kinds)]


def _is_supervisely(found) -> bool:
    return (
        isinstance(found, list)
        and bool(found)
        and all(isinstance(r, dict) and {"title", "shape"} <= r.keys() for r in found)
    )


def _numbered(names: list[str], colors: list) -> list[dict]:
    """The rows of Supervisely's machine masks: 0 where nothing is, 1 for the first class."""
    rows = [{"id": 0, "name": "uncovered", "void": "scene", "color": "#000000"}]
    return rows + [{"id": i, "name": n, "color": c} for i, (n, c) in enumerate(zip(names, colors), 1)]


def from_rows(name: str, rows: list[dict]) -> labels.LabelTable:
    """The table of these rows.

    Args:
      name: of the table.
      rows: dicts with "name" and, as far as known, "id" (int or text), "class", "void", "color".

    Raises:
      ValueError: the row, what it has, and what was expected.
    """
    says_void = any(row.get("void") or _kind(row.get("class")) for row in rows)
    entries = []
    for place, row in enumerate(rows):
        label_name = str(row.get("name") or row.get("class") or "").strip()
        if not label_name:
            raise ValueError(f"row {place + 1} has no name")
        number = _id(row.get("id"), place, label_name)
        kind = _kind(row.get("void"), f"row {place + 1} ({label_name})") or _kind(row.get("class"))
        if not says_void and not kind:
            kind = _kind_of_name(label_name)
        color = _color(row.get("color"), label_name) or default_color(number)
        entries.append((number, label_name, kind, str(row.get("class") or label_name).strip(), color))
    index: dict[str, tuple[int, str, tuple[int, int, int]]] = {}
    made = []
    for number, label_name, kind, of_class, color in sorted(entries):
        if kind:
            made.append(labels.Label(number, label_name, None, kind, color))
            continue
        place, first_color = index.setdefault(of_class, (len(index), color))
        # Ids of one class share its name and its first id's colour.
        made.append(labels.Label(number, of_class, place, None, first_color))
    return labels.LabelTable(name or "own", tuple(made))


def to_csv(table: labels.LabelTable) -> str:
    """The file from which `read` makes an equal table, but for its name."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["id", "name", "void", "color"])
    for label in table.labels:
        writer.writerow([label.id, label.name, label.kind or "", "#{:02x}{:02x}{:02x}".format(*label.color)])
    return out.getvalue()


def _csv_rows(text: str) -> list[dict]:
    dialect = csv.excel
    first = text.splitlines()[0] if text.strip() else ""
    delimiter = max(",;\t", key=first.count)
    reader = csv.DictReader(io.StringIO(text), dialect=dialect, delimiter=delimiter, skipinitialspace=True)
    rows = []
    for row in reader:
        lowered = {str(k).strip().lower(): v.strip() for k, v in row.items() if k and isinstance(v, str)}
        for names in (("r", "g", "b"), ("red", "green", "blue")):
            if set(names) <= lowered.keys():
                lowered["color"] = ",".join(lowered[n] for n in names)
        if any(lowered.values()):
            rows.append(lowered)
    rows = _known_rows(rows)
    if not rows or not any("name" in row or "class" in row for row in rows):
        raise ValueError('expected a CSV whose first line names columns, "name" among them (id, name, void, color)')
    return rows


def _labelmap(text: str) -> list[dict]:
    rows = []
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        row = {"name": name.strip()}
        if rest:
            row["color"] = rest.partition(":")[0]
            if row["name"].lower() == "background":  # what no polygon covers
                row["void"] = "scene"
        rows.append(row)
    if not rows:
        raise ValueError("it has no line of a name")
    return rows


def _known_rows(rows: list[dict]) -> list[dict]:
    """Rows as of `_known_keys`.

    Raises:
      ValueError: none has an id, and a column of numbers may be meant to be it: rows would be numbered instead.
    """
    known = [_known_keys(row) for row in rows]
    if any("id" in row for row in known):
        return known
    for key in dict.fromkeys(str(key) for row in rows for key in row):
        values = [str(row.get(key, "")).strip() for row in rows]
        column, in_order = key.strip().lower(), [str(number) for number in range(len(rows))]
        numbers = all(re.fullmatch(r"\d+", value) for value in values) and len(set(values)) == len(values)
        if len(rows) > 1 and numbers and values != in_order and column not in _NO_IDS:
            raise ValueError(f"no column is named id, and column {key!r} holds numbers; name it id, or leave it out")
    return known


def _known_keys(row: dict) -> dict:
    lowered = {str(key).strip().lower(): value for key, value in row.items()}
    found = {}
    for key, names in _KEYS.items():
        for name in names:
            if lowered.get(name) not in (None, ""):
                found[key] = lowered[name]
                break
    if "readable" in lowered and lowered.get("readable"):  # Mapillary: name is "object--vehicle--car"
        found["name"] = lowered["readable"]
    found |= {key: lowered[key] for key in ("evaluate",) if key in lowered}
    return found


def _of_mapillary(row: dict) -> dict:
    if row.get("evaluate") is False and "void" not in row:
        return {"void": "geometry" if str(row.get("name", "")).lower() in GEOMETRY_NAMES else "scene"}
    return {}


def _id(value, place: int, name: str) -> int:
    if value in (None, ""):
        return place
    text = str(value).strip()
    if not re.fullmatch(r"-?\d+", text):
        raise ValueError(f"row {place + 1} ({name}) has id {text!r}; expected a number from 0 to 255")
    return int(text)


def _kind_of_name(name: str) -> str | None:
    return "scene" if name.lower() in VOID_NAMES else "geometry" if name.lower() in GEOMETRY_NAMES else None


def _kind(value, where: str = "") -> str | None:
    """The kind of void that a cell names; None where it is empty or, without `where`, a class's name."""
    text = str(value or "").strip().lower().removeprefix("void:").strip()
    if text in ("void", "true", "yes", "1") and (where or text == "void"):
        return "scene"
    if text in labels.KINDS:
        return text
    if where and text not in ("", "false", "no", "0", "none", "class"):
        raise ValueError(f"{where} is void of kind {value!r}; expected one of {', '.join(labels.KINDS)}, or nothing")
    return None


def _color(value, name: str) -> tuple[int, int, int] | None:
    if value in (None, ""):
        return None
    if isinstance(value, str) and re.fullmatch("#?[0-9a-fA-F]{6}", value.strip()):
        code = int(value.strip().lstrip("#"), 16)
        return code >> 16, code >> 8 & 255, code & 255
    parts = re.findall(r"\d+", value) if isinstance(value, str) else list(value) if isinstance(value, list) else []
    if len(parts) not in (3, 4) or not all(0 <= int(part) <= 255 for part in parts[:3]):
        raise ValueError(f"{name} has colour {value!r}; expected red, green, blue of 0..255, or #rrggbb")
    return tuple(int(part) for part in parts[:3])
