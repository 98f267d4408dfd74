"""runs.xz: the results of many runs in one file; `write` and `read` are each other's reverse.

The file is one xz stream; `xz -dc runs.xz` shows it. Text comes first, a JSON value a line:

  line 1        {"format": 1, "results": how many, "groups": [...], "notes": {...}}
  a line each   the results, as in result.json, but an array's bytes ("xz") are two numbers, its "group" and its "row"

Behind the text lie the arrays, group after group. A group holds arrays of one shape that stand at the same place in
their results. "bytes" in line 1 is its length. Its numbers, int64 [rows, ...], were made small by the "steps" that
line 1 lists for it, in that order:

  "less G"      minus the array of group G of the same result: a decision's matrix is nearly another one's
  "sums"        the last number along the last axis replaced by the sum along it: 0 where two matrices' rows sum alike
  "turned"      each array's first axis moved to its end: the same cell of every frame side by side
  "changes"     along the last axis, each number minus the one before it
  "zigzag"      0, -1, 1, -2, 2 ... written as 0, 1, 2, 3, 4 ...
  "planes"      of the "width" bytes of a number, the lowest of all numbers, then the next of all, and so on

Nothing is lost. Knows no study: any JSON object may be a result, with any {"dtype", "shape", "xz"} of
kseg/study/packing.py in it.
"""

import copy
import json
import lzma
import os

import numpy as np

from kseg.study import packing
from tfrecords import files

FORMAT = 1
FILE = "runs.xz"
# Bytes alone, so positions have no alignment to make use of (pb).
_XZ = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 3, "lp": 0, "pb": 0}]
_TRIED_ROWS, _TRIED_PRESET = 8, 1  # what decides which steps make a group small


def write(path: str | os.PathLike, results: list[dict], notes: dict | None = None) -> None:
    """Writes results whole or not at all.

    Args:
      results: JSON objects; arrays in them as `packing.pack` or `read` gives them.
      notes: a JSON object to keep beside them.
    """
    lines, groups = [], {}
    for number, result in enumerate(results):
        result = copy.deepcopy(result)
        for place, packed in _arrays(result):
            rows = groups.setdefault((place, tuple(packed["shape"])), {})
            rows[number] = packing.unpack(packed)
            del packed["xz" if "xz" in packed else "values"]
            packed["group"], packed["row"] = list(groups).index((place, tuple(packed["shape"]))), len(rows) - 1
        lines.append(result)
    listed, blobs, made = [], [], list(groups.values())
    for number, ((place, shape), rows) in enumerate(groups.items()):
        values = np.stack(list(rows.values()))
        steps = _smallest(values, rows, made, number, shape)
        blob, width = _planes(_applied(values, steps, rows, made))
        listed.append({"place": place, "shape": shape, "rows": len(rows), "steps": steps})
        listed[-1] |= {"width": width, "bytes": len(blob)}
        blobs.append(blob)
    head = {"format": FORMAT, "results": len(lines), "groups": listed, "notes": notes or {}}
    text = "".join(json.dumps(value, allow_nan=False) + "\n" for value in (head, *lines))
    files.write_whole(path, lzma.compress(text.encode() + b"".join(blobs), filters=_XZ))


def read(path: str | os.PathLike) -> tuple[list[dict], dict]:
    """The results and notes that `write` was given; an array's "xz" is "values", an array of its dtype.

    Raises:
      ValueError: on a file that is no archive, or not a whole one.
    """
    try:
        with open(path, "rb") as file:
            text = lzma.decompress(file.read(), format=lzma.FORMAT_XZ)
        return _parsed(text)
    except (lzma.LZMAError, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(
            f"{os.fspath(path)}: expected an archive of results of format {FORMAT}, whole; take it again from where it "
            "came, or collect it again (kseg study --collect)."
        ) from error


def _parsed(text):
    line, place = _line(text, 0)
    head = json.loads(line)
    if head["format"] != FORMAT:
        raise ValueError("another format")
    results = []
    for _ in range(head["results"]):
        line, place = _line(text, place)
        results.append(json.loads(line))
    users = [{} for _ in head["groups"]]  # of each group: {row: the result that it is of}
    for number, result in enumerate(results):
        for _, packed in _arrays(result, "group"):
            users[packed["group"]][packed["row"]] = number
    made = []
    for group, rows in zip(head["groups"], users):
        shape = (group["rows"], *group["shape"])
        values = _numbers(text[place : place + group["bytes"]], group["width"]).reshape(_shape_of(shape, group))
        place += group["bytes"]
        owners = [rows[row] for row in range(group["rows"])]
        values = _undone(values, group["steps"], owners, made)
        made.append(dict(zip(owners, values)))
    if place != len(text):
        raise ValueError("bytes behind the last group")
    for number, result in enumerate(results):
        for _, packed in _arrays(result, "group"):
            packed["values"] = made[packed.pop("group")][number].astype(packed["dtype"])
            del packed["row"]
    return results, head["notes"]


def _line(text, start):
    end = text.index(b"\n", start)
    return text[start:end], end + 1


def _arrays(value, key=None, place=()):
    """(place, packed) of every array in a JSON value; `key` is what marks one ("xz" or "values" where it is None)."""
    if (
        isinstance(value, dict)
        and value.keys() >= {"dtype", "shape"}
        and (key in value if key else "xz" in value or "values" in value)
    ):
        yield place, value
    elif isinstance(value, (dict, list)):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _arrays(inner, key, (*place, name))


def _smallest(values, rows, made, number, shape):
    """The steps that make a group small, tried on rows from its first to its last."""
    alike = [
        other for other in range(number) if rows.keys() <= made[other].keys() and _shape(made[other]) == tuple(shape)
    ]
    starts = [[]] + [[f"less {other}", *more] for other in alike for more in ([], ["sums"])]
    middles = [[]] + ([["turned"], ["changes"]] if len(shape) > 1 else [])
    chosen = np.unique(np.linspace(0, len(rows) - 1, _TRIED_ROWS).round().astype(int))  # first to last
    few = [list(rows)[row] for row in chosen]
    found = []
    for start in starts:
        for middle in middles:
            blob, _ = _planes(_applied(values[chosen], start + middle, few, made))
            found.append((len(lzma.compress(blob, preset=_TRIED_PRESET)), start + middle))
    return [*min(found)[1], "zigzag", "planes"]


def _shape(rows):
    return next(iter(rows.values())).shape


def _applied(values, steps, rows, made):
    for step in steps:
        if step.startswith("less "):
            values = values - np.stack([made[int(step[5:])][number] for number in rows])
        elif step == "sums":
            values = np.concatenate([values[..., :-1], values.sum(-1, keepdims=True)], -1)
        elif step == "turned":
            values = np.moveaxis(values, 1, -1)
        elif step == "changes":
            values = np.diff(values, axis=-1, prepend=0)
    return values


def _undone(values, steps, owners, made):
    for step in reversed(steps):
        if step.startswith("less "):
            values = values + np.stack([made[int(step[5:])][number] for number in owners])
        elif step == "sums":
            values = np.concatenate([values[..., :-1], 2 * values[..., -1:] - values.sum(-1, keepdims=True)], -1)
        elif step == "turned":
            values = np.moveaxis(values, -1, 1)
        elif step == "changes":
            values = np.cumsum(values, axis=-1)
        elif step not in ("zigzag", "planes"):
            raise ValueError(f"unknown step {step!r}")
    return values


def _shape_of(shape, group):
    """The shape of a group's numbers as they lie in the file."""
    return (shape[0], *shape[2:], shape[1]) if "turned" in group["steps"] else shape


def _planes(values):
    """Steps zigzag and planes: (bytes, width)."""
    values = np.ascontiguousarray(values, np.int64)
    numbers = ((values << 1) ^ (values >> 63)).view(np.uint64).reshape(-1).astype("<u8")
    width = max(1, (int(numbers.max(initial=0)).bit_length() + 7) // 8)
    return numbers.view(np.uint8).reshape(-1, 8).T[:width].tobytes(), width


def _numbers(data, width):
    """The reverse of `_planes`: int64, flat."""
    planes = np.frombuffer(data, np.uint8).reshape(width, -1)
    wide = np.zeros((planes.shape[1], 8), np.uint8)
    wide[:, :width] = planes.T
    numbers = wide.reshape(-1).view("<u8")
    return (numbers >> np.uint64(1)).astype(np.int64) ^ -(numbers & np.uint64(1)).astype(np.int64)
