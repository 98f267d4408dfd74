"""Which picture a list or an annotation file means by a name: its path, or the end of it, with or without suffix."""

import collections
import csv
import os
import pathlib
import re

from tfrecords.conversion.folder import pairing


class Names:
    """Finds keys by what files call them.

    Args:
      paths: key -> file; the key is the path below a folder, with or without suffix, as of pairing.normal.
    """

    def __init__(self, paths: dict[str, pathlib.Path]):
        self._keys: dict[str, set[str]] = collections.defaultdict(set)
        for key, path in paths.items():
            for name in (key, pairing.normal(path.name)):
                parts = name.split("/")
                for start in range(len(parts)):
                    end = "/".join(parts[start:])
                    self._keys[end].add(key)
                    self._keys[_stem(end)].add(key)
        self._exact = paths.keys()

    def find(self, name: str) -> str | None:
        """The key that `name` means; None where there is none.

        Raises:
          ValueError: it means several.
        """
        name = pairing.normal(name.replace("\\", "/").removeprefix("./"))
        if name in self._exact:
            return name
        parts = name.split("/")
        for start in range(len(parts)):  # a path from elsewhere: as much of its end as it takes
            end = "/".join(parts[start:])
            for known in (end, _stem(end)):
                keys = self._keys.get(known, ())
                if len(keys) > 1:
                    raise ValueError(f"{name!r} may be {' or '.join(sorted(keys)[:2])}; name the folder, too")
                if keys:
                    return next(iter(keys))
        return None


def read_list(path: str | os.PathLike) -> list[str]:
    """The lines of a file of names; of lines of several columns, `first_column` is the picture's.

    Raises:
      ValueError: it holds none.
      OSError: it cannot be read.
    """
    lines = [line.strip() for line in pathlib.Path(path).read_text(errors="replace").splitlines()]
    names = [line for line in lines if line and line[0] != "#"]
    if not names:
        raise ValueError(f"{path} names nothing; expected a name of a picture on each line")
    return names


def first_column(line: str) -> str:
    """The image of a line "image label"."""
    return re.split(r"[,;\t]|\s+(?=\S+\.\w+$)", line)[0].strip()


def read_pairs(path: str | os.PathLike) -> list[dict]:
    """The rows of a CSV of pairs: "image", and "label", "split", "sequence" as far as it has them.

    Raises:
      ValueError: it has no column "image".
      OSError: it cannot be read.
    """
    text = pathlib.Path(path).read_bytes().decode("utf-8-sig", "replace")
    first = text.splitlines()[0] if text.strip() else ""
    delimiter = max(",;\t", key=first.count)
    names = {"image": "image", "image_path": "image", "label": "label", "label_path": "label", "mask": "label"}
    names |= {"split": "split", "sequence": "sequence"}
    rows = []
    for row in csv.DictReader(text.splitlines(), delimiter=delimiter, skipinitialspace=True):
        found = {names.get(str(key).strip().lower()): (value or "").strip() for key, value in row.items() if key}
        if "image" not in found:
            raise ValueError(f"{path}: expected a first line of columns image,label[,split], got {first!r}")
        if found["image"]:
            rows.append(found)
    if not rows:
        raise ValueError(f"{path} has no row; expected columns image,label[,split]")
    return rows


def _stem(name: str) -> str:
    return re.sub(r"\.[^./]+$", "", name)
