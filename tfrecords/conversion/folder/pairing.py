"""Which files are in a folder, and which image belongs to which label file.

Nested folders, symbolic links and suffixes in upper case count; whatever is passed over is counted.
"""

import collections
import dataclasses
import os
import pathlib
import re
import unicodedata

from tfrecords import files

_NOT_OURS = {"thumbs.db", "desktop.ini", "__macosx"}
UNLABELLED = "unlabelled"  # the split of images whose label is missing, where they are kept
SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip


@dataclasses.dataclass
class Passed:
    """What was passed over: reason -> names."""

    names: dict[str, list[str]] = dataclasses.field(default_factory=lambda: collections.defaultdict(list))

    def add(self, reason: str, name) -> None:
        self.names[reason].append(os.fspath(name))

    def lines(self) -> list[str]:
        return [f"passed over: {len(found)} {reason} ({found[0]})" for reason, found in sorted(self.names.items())]


def find(folder: str | os.PathLike, suffixes, passed: Passed, known=()) -> list[pathlib.Path]:
    """Files below `folder` with one of these suffixes (lower case), in order of their names.

    Args:
      passed: counts what has none of them, but for files with one of the suffixes `known`.

    Raises:
      OSError: a folder cannot be read.
      ValueError: links that lead back into a folder above, or nowhere.
    """
    found: list[pathlib.Path] = []

    def walk(place: pathlib.Path, above: tuple) -> None:
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in above:
            raise ValueError(f"{place} is a link into a folder that it is in; remove the link")
        with os.scandir(place) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        for entry in listed:
            if entry.name.startswith(".") or entry.name.lower() in _NOT_OURS:
                passed.add("hidden files", entry.path)
            elif entry.is_dir() and not entry.name.lower().endswith(tuple(suffixes)):
                walk(pathlib.Path(entry.path), (*above, (status.st_dev, status.st_ino)))
            elif entry.name.lower().endswith(tuple(suffixes)):
                if entry.is_symlink() and not os.path.exists(entry.path):
                    raise ValueError(
                        f"{entry.path} is a link to {os.readlink(entry.path)}, which is not there; mend or remove it"
                    )
                found.append(pathlib.Path(entry.path))
            elif not entry.name.lower().endswith(tuple(known)):
                kinds = "/".join(suffix.lstrip("._") for suffix in suffixes[:3])
                passed.add(f"files that are no {kinds}{' ...' if len(suffixes) > 3 else ''}", entry.path)

    if not pathlib.Path(folder).is_dir():
        raise FileNotFoundError(f"{files.place(folder)} is not a folder")
    walk(pathlib.Path(folder), ())
    return found


def keyed(paths, folder, suffix: str = "", drop: str = "") -> dict[str, pathlib.Path]:
    """What image and label have in common -> file: the path below `folder`, without suffix.

    Args:
      suffix: what every file's name ends in, with or without the picture's own suffix ("_mask", "_mask.png"). Files
        that do not end in it are left out.
      drop: a regular expression of what is taken out of each name ("camera|label").

    Raises:
      ValueError: two files of one name.
    """
    found: dict[str, pathlib.Path] = {}
    for path in paths:
        name = normal(path.relative_to(folder).as_posix())
        stem = re.sub(r"\.[^./]+$", "", name)
        for whole, ending in ((name, suffix), (stem, suffix)):
            if suffix and whole.lower().endswith(ending.lower()):
                key = whole[: -len(ending)]
                break
        else:
            if suffix:
                continue
            key = stem
        key = re.sub(drop, "", key) if drop else key
        if key in found:
            raise ValueError(f"{path} and {found[key]} have the same name; remove one, or give --image_suffix")
        found[key] = path
    return found


def normal(name: str) -> str:
    """The name with each accented letter as one character: macOS writes file names with two, other systems with one."""
    return unicodedata.normalize("NFC", name)


def common_suffix(images: dict, labels: dict) -> str:
    """What all labels' names have behind an image's name ("_mask"); "" where there is no such thing."""
    if not labels or images.keys() & labels.keys():
        return ""
    first = min(labels)
    starts = [key for key in images if first.startswith(key)]
    if not starts:
        return ""
    suffix = first[len(max(starts, key=len)) :]
    return suffix if all(key.endswith(suffix) for key in labels) else ""


def image_id(key: str) -> str:
    """The name of an example: folders and file joined by "_"; a folder is left out where the file's begins with it."""
    *folders, name = key.split("/")
    for folder in reversed(folders):
        if not name.startswith(folder + "_"):
            name = f"{folder}_{name}"
    return normal(name.replace("\\", "_"))


def sequence(key: str) -> str:
    """What frames of one drive share: the folder, or the name before the frame number ("0001TP" of "0001TP_066")."""
    folder, _, name = key.rpartition("/")
    return folder or re.sub(r"[-_ ]?(?:f?\d+|\(\d+\))$", "", name)
