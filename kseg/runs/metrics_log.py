"""metrics.jsonl: a line for each logged step, and nothing that a clock decides; metrics.csv: the same as a table."""

import csv
import io
import json
import os

from tfrecords import files


class MetricsLog:
    """metrics.jsonl: one JSON object a line, each with its "step", in order; metrics.csv beside it: a row a step.

    Opening it at a step removes what a run that got further had written after that step, and a half-written last line.
    So a resumed run ends with the file of an undisturbed one.
    """

    def __init__(self, path, step):
        kept, self._path = [], path
        if os.path.exists(path):
            with open(path, errors="replace") as file:
                for line in file:
                    if not line.endswith("\n") or _parsed(path, len(kept) + 1, line)["step"] > step:
                        break
                    kept.append(line)
        files.write_whole(path, "".join(kept))
        self._file = open(path, "a")

    def write(self, step, **values):
        """Appends a line; values are floats, ints or None. A float that is not finite is written as null."""
        clean = {
            key: None if isinstance(value, float) and not abs(value) < float("inf") else value
            for key, value in values.items()
        }
        self._file.write(json.dumps({"step": step, **clean}) + "\n")
        self._file.flush()

    def sync(self):
        """Returns when everything written is on the disk: the lines before a checkpoint must not be lost after it."""
        os.fsync(self._file.fileno())
        write_csv(self._path)

    def close(self):
        self._file.close()
        write_csv(self._path)


def read(path):
    """The lines of a metrics.jsonl, a dict each; one that a kill left half is passed over, [] without a file.

    Raises:
      ValueError: in one line, on a damaged one.
    """
    if not os.path.exists(path):
        return []
    with open(path, errors="replace") as file:
        return [_parsed(path, number, line) for number, line in enumerate(file, 1) if line.endswith("\n")]


def write_csv(path):
    """Writes a metrics.jsonl as .csv beside it, whole: the lines of a step are one row, what it lacks is empty."""
    rows = {}
    for line in read(path):
        rows.setdefault(line["step"], {}).update(line)
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    content = io.StringIO()
    table = csv.DictWriter(content, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows.values())
    files.write_whole(f"{os.path.splitext(path)[0]}.csv", content.getvalue())


def _parsed(path, number, line):
    try:
        values = json.loads(line)
        return values | {"step": int(values["step"])}
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{path}, line {number}, is damaged (expected a JSON object with a step); take that line out to go on."
        ) from None
