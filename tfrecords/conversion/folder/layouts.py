"""Where pictures and label pictures are: -> [(split, {key: picture}, {key: label picture} or None)].

They may be a preset's folders, folders train, val and test beside each other, or a flat folder. Or CVAT's export of
masks, a YAML of Ultralytics with masks_dir, or a project of Supervisely with machine masks. Or a CSV of pairs, or lists
of names.
"""

import collections
import dataclasses
import os
import pathlib

from tfrecords import files, labels, pixels
from tfrecords.conversion.folder import names, pairing, presets, supervisely, tables, yolo
from tfrecords.conversion.folder.options import Options

_MASKS = (".png", ".tif", ".tiff", ".bmp")
_LABEL_FOLDERS = ("labels", "masks", "annotations")
_KINDS = (*_MASKS, ".jpg", ".jpeg")  # the last of which are refused, with the reason


@dataclasses.dataclass
class Part:
    """One split: pictures and label pictures by what their names have in common; sequences where they are given."""

    split: str
    images: dict[str, pathlib.Path]
    labels: dict[str, pathlib.Path] | None
    sequences: dict[str, str] | None = None


def with_cvat(options: Options) -> Options:
    """A folder of labelmap.txt and SegmentationClass/, as CVAT exports it, in the words of plain folders."""
    root = pathlib.Path(options.labels_dir or options.images_dir)
    if not (root / "labelmap.txt").is_file() or not (root / "SegmentationClass").is_dir():
        return options
    images = pathlib.Path(options.images_dir or root)
    if (images / "JPEGImages").is_dir():
        images = images / "JPEGImages"
    elif images.resolve() == root.resolve():
        raise FileNotFoundError(
            f"{root} has no folder JPEGImages: CVAT exported masks without images; name the folder of the pictures as "
            "--images_dir, or export with images"
        )
    classes = options.classes or os.fspath(root / "labelmap.txt")
    return dataclasses.replace(
        options, images_dir=os.fspath(images), labels_dir=os.fspath(root / "SegmentationClass"), classes=classes
    )


def found(options: Options, preset, passed: pairing.Passed) -> tuple[list[Part], labels.LabelTable | None]:
    """The parts, and the table of classes where the layout brings one.

    Raises:
      ValueError, OSError: folders or lists that do not fit.
    """
    root = pathlib.Path(options.labels_dir or options.images_dir)
    table = None
    if options.pairs:
        parts = _of_pairs(options)
    elif root.suffix.lower() in (".yaml", ".yml"):
        parts, table = _of_yaml(root, options, passed)
    elif is_supervisely(options):
        parts, table = _of_supervisely(root, options, passed)
    else:
        parts = _of_folders(options, preset, passed)
    lists = options.lists
    if preset and not options.labels_dir and not lists:
        stated = {name: root_of(options, preset) / path for name, path in preset.lists}
        lists = {name: path for name, path in stated.items() if path.is_file()}
    return (_listed(parts, lists, passed, bool(options.lists)) if lists else parts), table


def is_supervisely(options: Options) -> bool:
    """Whether the labels are a project of Supervisely."""
    return supervisely.is_project(pathlib.Path(options.labels_dir or options.images_dir))


def split_folders(options: Options, passed: pairing.Passed) -> list[tuple[str, pathlib.Path, pathlib.Path]]:
    """(split, folder of pictures, folder of labels or None): folders train, val, test; ("", ...) where there are none.

    Raises:
      ValueError, OSError: folders that are not there; of train and val, those of labels too, unless options.unlabelled
        says what becomes of such pictures.
    """
    if not options.images_dir:  # "" would mean the current folder
        raise ValueError("--images_dir is missing or empty; see --help")
    image_root, label_root = pathlib.Path(options.images_dir), pathlib.Path(options.labels_dir or options.images_dir)
    for flag, root in (("labels_dir", label_root), ("images_dir", image_root)):
        if not root.is_dir():
            raise FileNotFoundError(f"--{flag}={files.place(root)} is not a folder")
    made, left = [], []
    for place in sorted(image_root.iterdir()):
        if not (place.is_dir() and place.name.lower() in pairing.SPLITS):
            left.append(place)
        else:
            beside = (
                label_root / place.name if (label_root / place.name).is_dir() else _same_split(label_root, place.name)
            )
            if (place / "images").is_dir() and beside:  # train/images beside train/labels
                named = [beside / name for name in _LABEL_FOLDERS if (beside / name).is_dir()]
                place, beside = (place / "images", named[0]) if named else (place, beside)
            split = pairing.SPLITS[_split_name(place)]
            if beside is None and split != "test" and options.unlabelled == "error":
                there = ", ".join(sorted(p.name for p in label_root.iterdir() if p.is_dir())) or "none"
                raise ValueError(
                    f"{label_root} has no folder {place.name} of the labels of {place} (its folders: {there}); rename "
                    "the one that is meant, or --unlabelled=skip passes these pictures over, keep keeps them"
                )
            if beside is None and split != "test" and options.unlabelled == "skip":
                passed.add("folders of pictures without one of labels", place)
                continue
            made.append((split, place, beside))
    if not made:
        return [("", image_root, label_root)]
    used = {label_root, *(folder for _, _, labelled in made if labelled for folder in (labelled, *labelled.parents))}
    others = [] if label_root == image_root else sorted(label_root.iterdir())
    for place in (*left, *others):
        if place not in used and not place.name.startswith("."):
            passed.add(f"{'folders' if place.is_dir() else 'files'} beside those of splits", place)
    return made


def _split_name(place: pathlib.Path) -> str:
    return (place.name if place.name.lower() in pairing.SPLITS else place.parent.name).lower()


def by_name(folder, passed: pairing.Passed) -> dict[str, pathlib.Path]:
    """Pictures by their path below a folder, with suffix, as of pairing.normal."""
    paths = pairing.find(folder, pixels.SUFFIXES, passed, (".json", ".xml", ".txt", ".yaml", ".yml", ".csv"))
    return {pairing.normal(path.relative_to(folder).as_posix()): path for path in paths}


def chosen(images: dict, lists: dict[str, str], passed: pairing.Passed, strict: bool = True) -> dict[str, list[str]]:
    """{split: keys of `images`} as files of names say; what none of them names is passed over.

    Raises:
      ValueError: a name that is no picture's (where `strict`), or is in two lists.
    """
    index, owner, made = names.Names(images), {}, {}
    for split, path in lists.items():
        made[split] = []
        for line in names.read_list(path):
            name = names.first_column(line)
            try:  # a name may have spaces, too
                key = index.find(line) or index.find(name)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
            if key is None:
                if strict:
                    raise ValueError(f"{path} names {name!r}, which is no picture in the folder of pictures")
                passed.add("names of a list without a picture", f"{path}: {name}")
            elif owner.setdefault(key, split) != split:
                raise ValueError(f"{path} names {name!r}, which is in the list of {owner[key]}, too")
            elif key not in made[split]:
                made[split].append(key)
    for key in images:
        if key not in owner:
            passed.add("pictures that no list names", images[key])
    return made


def root_of(options: Options, preset) -> pathlib.Path:
    """The data set's own folder, which may lie in what is given under its published name."""
    root = pathlib.Path(options.images_dir)
    inside = [root / name for name in (preset.inside if preset and not options.labels_dir else ())]
    return next((place for place in inside if place.is_dir()), root)


def _of_folders(options, preset, passed) -> list[Part]:
    if not options.labels_dir:
        if preset is None:
            raise ValueError("--labels_dir is missing; only a preset of --classes knows where its labels are")
        return _of_preset(root_of(options, preset), options, preset, passed)
    image_suffix = options.image_suffix or (preset.image_suffix if preset else "")
    label_suffix = options.label_suffix or (preset.label_suffix if preset else "")
    parts = []
    for name, images, label_folder in split_folders(options, passed):
        if label_folder is None:
            some = _keyed([images], images, pixels.SUFFIXES, image_suffix, options.image_suffix, passed)
            parts.append(Part(name, some, None))
            continue
        beside = images.resolve() == label_folder.resolve()
        seen = pairing.Passed() if beside else passed  # each kind of file is passed over as the other
        some = _keyed([images], images, pixels.SUFFIXES, image_suffix, options.image_suffix, seen)
        if beside and some and not (image_suffix or label_suffix):
            raise ValueError(
                f"--images_dir and --labels_dir are both {images}; --label_suffix=_mask says what the names of labels "
                "end in there, or name two folders"
            )
        these = _keyed([label_folder], label_folder, _KINDS, label_suffix, options.label_suffix, seen)
        if beside and not image_suffix:
            some = {key: path for key, path in some.items() if path not in these.values()}
        if beside and not label_suffix:
            these = {key: path for key, path in these.items() if path not in some.values()}
        common = "" if label_suffix else pairing.common_suffix(some, these)
        these = {key.removesuffix(common): path for key, path in these.items()} if common else these
        parts.append(Part(name, some, these))
    return parts


def _of_preset(root, options, preset, passed) -> list[Part]:
    parts = []
    suffixes = options.image_suffix or preset.image_suffix, options.label_suffix or preset.label_suffix
    asked = options.image_suffix, options.label_suffix
    for name, *patterns in preset.splits:
        sides = []
        for pattern, kinds, suffix, own in zip(patterns, (pixels.SUFFIXES, _KINDS), suffixes, asked):
            choices = [] if pattern is None else pattern.split("|")
            folders = next((found for choice in choices if (found := sorted(root.glob(choice)))), [])
            base = root if "*" in (pattern or "") else folders[0] if folders else root
            sides.append(None if pattern is None else (folders, base, kinds, suffix, own))
        if sides[0][0]:
            images = _keyed(*sides[0], passed, preset.drop, preset.known)
            these = None if sides[1] is None else _keyed(*sides[1], passed, preset.drop, preset.known)
            parts.append(Part(name, images, these))
    if not parts:
        like = [name for name, other in presets.PRESETS.items() if any(root.glob(other.splits[0][1]))]
        hint = f"; it is laid out as {' or '.join(like)}" if like else ""
        above = [place for place in root.resolve().parents if any(place.glob(preset.splits[0][1]))]
        hint = f"; give {above[0]}" if above and not like else hint
        raise FileNotFoundError(
            f"{root} has no folder {preset.splits[0][1]}, which {options.classes} is published with{hint}"
        )
    return parts


def _keyed(folders, base, kinds, suffix, asked, passed, drop="", known=()):
    paths = [path for folder in folders for path in pairing.find(folder, kinds, passed, known)]
    keyed = pairing.keyed(paths, base, suffix, drop)
    if not keyed and suffix and not asked:  # a preset's labels, kept under simpler names
        keyed = pairing.keyed(paths, base, "", drop)
    used = set(keyed.values())
    for path in paths:
        if path not in used and not path.name.lower().endswith(tuple(known)):
            passed.add(f"files whose names do not end in {suffix}", path)
    return keyed


def _same_split(root: pathlib.Path, name: str):
    same = [
        p for p in root.iterdir() if p.is_dir() and pairing.SPLITS.get(p.name.lower()) == pairing.SPLITS[name.lower()]
    ]
    return same[0] if same else None


def _of_pairs(options) -> list[Part]:
    path = pathlib.Path(options.pairs)
    parts: dict[str, Part] = {}

    def place(name, folder):
        places = [base / name for base in (pathlib.Path(folder), path.parent) if folder or base == path.parent]
        return next((p for p in places if p.exists()), places[0])

    for row in names.read_pairs(path):
        split = row.get("split", "")
        split = pairing.SPLITS.get(split.lower(), split)
        part = parts.setdefault(split, Part(split, {}, {}, {}))
        key = os.path.splitext(row["image"])[0].replace("\\", "/").lstrip("./")
        if key in part.images:
            raise ValueError(f"{path} has {row['image']!r} twice")
        part.images[key] = place(row["image"], options.images_dir)
        part.sequences[key] = row.get("sequence") or pairing.sequence(key)
        if row.get("label"):
            part.labels[key] = place(row["label"], options.labels_dir)
        for found in (part.images[key], part.labels.get(key)):
            if found is not None and not found.is_file():
                raise FileNotFoundError(f"{path} names {found}, which is not there")
    return list(parts.values())


def _of_yaml(path, options, passed):
    made, content, folder = yolo.splits(path, options.images_dir, pixels.SUFFIXES, passed)
    rows = [{"id": i, "name": name} for i, name in enumerate(yolo.names_of(content, path))]
    if not any(row["id"] == 255 for row in rows):
        rows.append({"id": 255, "name": "ignore", "void": "scene"})
    parts = []
    for split, pictures in made.items():
        these = {key: yolo.label_of(picture, folder, _MASKS) for key, picture in pictures.items()}
        parts.append(Part(split, pictures, {key: label for key, label in these.items() if label}))
    return parts, tables.from_rows(path.stem, tables.with_void_names(rows[:-1]) + rows[-1:])


def _of_supervisely(root, options, passed):
    source = root / supervisely.COLORS
    table = tables.read(source if source.is_file() else root / "meta.json")
    parts: dict[str, Part] = {}
    for dataset in supervisely.datasets(root):
        split = pairing.SPLITS.get(dataset.name.lower(), "")
        part = parts.setdefault(split, Part(split, {}, {}))
        for folder, kinds, into in (("img", pixels.SUFFIXES, part.images), ("masks_machine", _MASKS, part.labels)):
            if (dataset / folder).is_dir():
                keyed = pairing.keyed(pairing.find(dataset / folder, kinds, passed), dataset / folder)
                name = supervisely.name_of(dataset, root)
                into.update({f"{name}/{key}": path for key, path in keyed.items()})
    return list(parts.values()), table


def _listed(parts, lists, passed, strict) -> list[Part]:
    often = collections.Counter(key for part in parts for key in part.images)
    images: dict = {}
    label_files: dict = {}
    sequences: dict = {}
    for part in parts:
        # A name that several splits have is told apart by its split, as its folder is.
        named = {key: f"{part.split}/{key}" if often[key] > 1 else key for key in part.images}
        images |= {named[key]: path for key, path in part.images.items()}
        label_files |= {named.get(key, key): path for key, path in (part.labels or {}).items()}
        sequences |= {named[key]: pairing.sequence(key) for key in part.images if named[key] != key}
        sequences |= {named[key]: name for key, name in (part.sequences or {}).items()}
    made = []
    for split, keys in chosen(images, lists, passed, strict).items():
        these = {key: label_files[key] for key in keys if key in label_files}
        # Of a test split labels may be nobody's to have; of another one they are missing.
        these = these or (None if split == "test" else these)
        made.append(Part(split, {key: images[key] for key in keys}, these, sequences))
    return made
