"""A folder of pictures and their labels -> records: find, pair, look, say, write.

`convert` reads top to bottom. Told apart by looking: masks (masks.py) and COCO's JSON (coco.py).
"""

import dataclasses
import hashlib
import os
import pathlib

import tfrecords
from tfrecords import files, labels
from tfrecords.conversion import build
from tfrecords.conversion.folder import coco, masks, pairing, presets, shapes, survey, tables

FORMATS = ("auto", "ids", "coco")
_MASKS = (".png", ".tif", ".tiff", ".bmp")
_VAL_FRACTION = 0.1  # where nothing says what is held out


@dataclasses.dataclass(frozen=True)
class Options:
    """What `convert` is asked; see kseg convert-folder --help."""

    images_dir: str
    labels_dir: str
    classes: str = ""
    label_format: str = "auto"
    image_suffix: str = ""
    label_suffix: str = ""
    val_fraction: float | None = None
    unlabelled: str = "error"
    uncovered: str = ""
    fixed_void: str = "auto"


def convert(options: Options, records_dir: str | os.PathLike, say=print, **write) -> tfrecords.Manifest:
    """Converts a folder of own data.

    Args:
        options: what and how.
        records_dir: folder to make or to add to, as of `tfrecords.write`.
        say: called with each line about what was found.
        **write: options of `tfrecords.write`.

    Returns:
        The folder's manifest.

    Raises:
        ValueError, OSError: wrong options or inputs; one line.
    """
    passed = pairing.Passed()
    options = _with_cvat(options)
    preset = presets.find(options.classes)
    table = preset.table if preset else tables.read(options.classes) if options.classes else None
    parts, notes = _found(options, preset, passed)
    if notes is not None:
        table, splits = _of_coco(options, table, parts, notes, passed)
        void_ids = ()  # sparse polygons leave the same places uncovered in all frames
    else:
        by_color = options.classes.endswith("labelmap.txt")
        reader = masks.Reader("", _colors(table), by_color)
        splits = {name: _pairs(name, images, found, reader, options, passed) for name, images, found in parts}
        void_ids = _scene_ids(table)
    splits = _with_val({name: pairs for name, pairs in splits.items() if pairs}, options, say)
    if not any(pair.label_path for pairs in splits.values() for pair in pairs):
        raise ValueError(f"{options.images_dir} and {options.labels_dir} have no pair of an image and a label file")
    labelled = [pair for pairs in splits.values() for pair in pairs if pair.label_path]
    watched = void_ids if options.fixed_void == "auto" else ()
    workers, progress = write.get("num_workers", 0), write.get("progress", False)
    seen = survey.look(labelled, watched, workers, progress, table is None)
    own_table, reader = table is None, None
    if notes is None:
        table, reader = _settled(options, table, splits, seen, say)
    derived = None
    if watched:
        where, lines = survey.fixed(seen)
        for line in lines:
            say(line)
        if where:
            table, derived = _with_fixed(table, where, seen, watched)
    if reader is not None:
        splits = {
            n: [dataclasses.replace(p, reader=reader) if p.label_path else p for p in v] for n, v in splits.items()
        }
    for line in passed.lines():
        say(line)
    if write.get("image_format", "auto") == "auto":
        write["image_format"] = _image_format(splits)
    manifest = tfrecords.write(records_dir, table, splits, derived=derived, **write)
    if own_table and notes is None:
        path = pathlib.Path(records_dir) / "classes.csv"
        files.write_file(path, tables.to_csv(table).encode())
        say(f"no --classes: the ids found are classes; wrote {path}: name them, and convert with --classes of a copy")
    return manifest


def _with_cvat(options: Options) -> Options:
    """A folder of labelmap.txt and SegmentationClass/, as CVAT exports it, in the words of plain folders."""
    root = pathlib.Path(options.labels_dir or options.images_dir)
    if not (root / "labelmap.txt").is_file() or not (root / "SegmentationClass").is_dir():
        return options
    images = pathlib.Path(options.images_dir)
    if (images / "JPEGImages").is_dir():
        images = images / "JPEGImages"
    classes = options.classes or os.fspath(root / "labelmap.txt")
    return dataclasses.replace(
        options, images_dir=os.fspath(images), labels_dir=os.fspath(root / "SegmentationClass"), classes=classes
    )


def _found(options: Options, preset, passed):
    """[(split, {key: image}, {key: label file} or None)], and COCO's {split or "": path} in place of label files."""
    image_root, label_root = pathlib.Path(options.images_dir), pathlib.Path(options.labels_dir or "")
    if not options.labels_dir:
        if preset is None:
            raise ValueError("--labels_dir is missing; only a preset of --classes knows where its labels are")
        present = [s for s in preset.splits if (image_root / s[1]).is_dir()]
        if not present:
            raise FileNotFoundError(f"{image_root} has no folder {preset.splits[0][1]}; expected {options.classes}")
        folders = [(name, image_root / i, None if o is None else image_root / o) for name, i, o in present]
    elif label_root.is_file() or options.label_format == "coco":
        sources = [label_root] if label_root.is_file() else sorted(label_root.glob("*.json"))
        if not sources:
            raise FileNotFoundError(f"{label_root} has no *.json; expected COCO's annotations")
        folders = [(_split_of(path.stem) if len(sources) > 1 else "", image_root, path) for path in sources]
        return [(name, _by_name(image_root, passed), path) for name, _, path in folders], True
    else:
        if not label_root.is_dir():
            raise FileNotFoundError(f"--labels_dir={files.place(label_root)} is not a folder")
        if not image_root.is_dir():
            raise FileNotFoundError(f"--images_dir={files.place(image_root)} is not a folder")
        names = [p for p in sorted(image_root.iterdir()) if p.is_dir() and p.name.lower() in pairing.SPLITS]
        folders = [
            (
                pairing.SPLITS[p.name.lower()],
                p,
                label_root / p.name if (label_root / p.name).is_dir() else _same_split(label_root, p.name),
            )
            for p in names
        ] or [("", image_root, label_root)]
    image_suffix = options.image_suffix or (preset.image_suffix if preset else "")
    label_suffix = options.label_suffix or (preset.label_suffix if preset else "")
    parts = []
    for name, images, found in folders:
        some = _keyed(images, pairing.PICTURES, image_suffix, options.image_suffix, passed)
        these = None if found is None else _keyed(found, _MASKS, label_suffix, options.label_suffix, passed, found)
        if these is not None and not label_suffix:
            common = pairing.common_suffix(some, these)
            these = {key.removesuffix(common): path for key, path in these.items()} if common else these
        parts.append((name, some, these))
    return parts, None


def _keyed(folder, kinds, suffix, asked, passed, labels_of=None):
    paths = pairing.find(folder, kinds if labels_of is None else (*kinds, ".jpg", ".jpeg"), passed)
    found = pairing.keyed(paths, folder, suffix)
    if not found and suffix and not asked:  # a preset's labels, kept under simpler names
        found = pairing.keyed(paths, folder)
    return found


def _same_split(root: pathlib.Path, name: str):
    same = [
        p for p in root.iterdir() if p.is_dir() and pairing.SPLITS.get(p.name.lower()) == pairing.SPLITS[name.lower()]
    ]
    return same[0] if same else None


def _split_of(stem: str) -> str:
    return next((split for word, split in pairing.SPLITS.items() if word in stem.lower()), "train")


def _by_name(folder, passed) -> dict[str, pathlib.Path]:
    paths = pairing.find(folder, pairing.PICTURES, passed)
    return {path.relative_to(folder).as_posix(): path for path in paths}


def _pairs(split, images, found, reader, options, passed) -> list[tfrecords.Pair]:
    if found is None:
        return [tfrecords.Pair(pairing.image_id(key), str(path)) for key, path in images.items()]
    for key in sorted(images.keys() ^ found.keys()):
        lone, what = (
            (images[key], "image has no label file") if key in images else (found[key], "label file has no image")
        )
        if options.unlabelled == "error":
            raise ValueError(f"{lone}: this {what} of the same name; --unlabelled=skip passes it over")
        passed.add(f"files whose {what}", lone)
    return [
        tfrecords.Pair(pairing.image_id(key), str(path), str(found[key]), pairing.sequence(key), reader)
        for key, path in images.items()
        if key in found
    ]


def _of_coco(options, table, parts, notes, passed):
    rows, splits, read = [], {}, []
    for name, images, path in parts:
        new, payloads = coco.read(path, passed)
        if rows and new != rows:
            raise ValueError(f"{path} has other categories than {parts[0][2]}")
        rows = new
        read.append((name, images, path, payloads))
    if len({row["id"] for row in rows} | set(range(256))) > 256:
        raise ValueError(f"{parts[0][2]}: category ids must lie in 0..255, got up to {max(r['id'] for r in rows)}")
    made, uncovered = coco.table(parts[0][2].stem, rows, options.uncovered)
    if len(rows) == 1 and not options.uncovered:
        made, uncovered = coco.table(parts[0][2].stem, rows, "background")  # one class alone is no task
    reader = shapes.Reader(uncovered)
    for name, images, path, payloads in read:
        by_file = {pathlib.PurePosixPath(key).name: value for key, value in images.items()}
        pairs = []
        for file, payload in sorted(payloads.items()):
            image = images.get(file) or by_file.get(pathlib.PurePosixPath(file).name)
            if image is None:
                if options.unlabelled == "error":
                    raise ValueError(f"{path} has annotations of {file}, which is not below {options.images_dir}")
                passed.add("annotated images that are not there", file)
                continue
            key = os.path.splitext(file)[0]
            pairs.append(
                tfrecords.Pair(pairing.image_id(key), str(image), str(path), pairing.sequence(key), reader, payload)
            )
        listed = {pair.image_path for pair in pairs}
        for image in sorted(images.values()):
            if str(image) not in listed and len(parts) == 1:
                if options.unlabelled == "error":
                    raise ValueError(f"{image} is not in {path}; --unlabelled=skip passes it over")
                passed.add("images that are not in the annotations", image)
        splits[name] = pairs
    return table or made, splits


def _image_format(splits) -> str:
    """What keeps the pictures' bytes: "jpeg" where all are JPEG, else "png"."""
    suffixes = {os.path.splitext(pair.image_path)[1].lower() for pairs in splits.values() for pair in pairs}
    return "jpeg" if suffixes <= {".jpg", ".jpeg"} else "png"


def _with_val(splits, options, say) -> dict[str, list]:
    """Splits by their names; a single one without a name is cut in two, by whole sequences where there are some."""
    fraction = options.val_fraction
    if fraction is not None and not 0 <= fraction < 1:
        raise ValueError(f"--val_fraction is {fraction}; expected 0 (none) to below 1")
    pairs = splits.pop("", None)
    if pairs is None:
        if "val" in splits or not fraction or "train" not in splits:
            if fraction and "val" in splits:
                raise ValueError("--val_fraction is given, but there is a folder of val; leave it out")
            return splits
        pairs = splits.pop("train")
    fraction = _VAL_FRACTION if fraction is None else fraction
    room = round(fraction * len(pairs)) or int(fraction > 0)
    by_sequence: dict[str, list] = {}
    for pair in sorted(pairs, key=lambda p: p.image_id):
        by_sequence.setdefault(pair.sequence, []).append(pair)
    held = []
    if len(by_sequence) >= 4:
        for name in sorted(by_sequence, key=lambda n: hashlib.sha256(n.encode()).digest()):
            if len(held) + len(by_sequence[name]) <= room:
                held += by_sequence[name]
    how = "whole sequences"
    if not held and room:
        how = "the last frames of each sequence"
        for members in by_sequence.values():
            count = min(max(1, round(fraction * len(members))), len(members) - 1)
            held += members[len(members) - count :] if count > 0 else []
    if not held:
        return splits | {"train": pairs}
    kept = {pair.image_id for pair in held}
    say(f"val: {len(held)} of {len(pairs)} images, {how} (--val_fraction={fraction:g})")
    return splits | {"train": [p for p in pairs if p.image_id not in kept], "val": held}


def _settled(options, table, splits, seen, say):
    """The table, and the reader of masks, once it is known what the masks hold."""
    ids = [int(number) for number in seen.pixels.nonzero()[0]]
    known = {label.id for label in table.labels} if table else None
    binary = ids and set(ids) <= {0, 255} and 255 in ids and options.label_format != "ids"
    if binary and (known is None or (255 not in known and 1 in known)):
        say("masks of 0 and 255: read as ids 0 and 1; --label_format=ids reads 255 as void")
        seen.pixels[1], seen.frames[1], seen.pixels[255], seen.frames[255] = seen.pixels[255], seen.frames[255], 0, 0
        table = table or tables.from_rows("own", [{"id": 0, "name": "background"}, {"id": 1, "name": "object"}])
        return table, masks.Reader(bytes([*range(255), 1]), ())
    by_color = bool(table) and any(p.reader and p.reader.by_color for v in splits.values() for p in v)
    if table is None and seen.colors:
        rows = [
            {"id": i, "name": f"class_{i}", "color": [code >> 16, code >> 8 & 255, code & 255]}
            for i, code in enumerate(sorted(seen.colors))
        ]
        if seen.colors.get(0) and len(rows) > 2:
            rows[0] |= {"name": "void", "void": "scene"}
        table = tables.from_rows("own", rows)
        for i, code in enumerate(sorted(seen.colors)):
            seen.pixels[i] = seen.colors[code]
        say(f"masks in colour: each of {len(rows)} colours is a class, black is void; --classes names them")
    elif table is None:
        rows = [{"id": i, "name": f"class_{i}"} for i in ids if i != 255]
        rows += [{"id": 255, "name": "void", "void": "scene"}] if 255 in ids else []
        table = tables.from_rows("own", rows)
    return table, masks.Reader(b"", _colors(table), by_color)


def _colors(table) -> tuple:
    """(red, green, blue, id, name): of two ids with one colour a class comes before void."""
    if table is None:
        return ()
    ordered = sorted(table.labels, key=lambda label: (label.class_index is None, label.id))
    owner: dict = {}
    for label in ordered:
        first = owner.setdefault(label.color, label)
        if label.class_index is not None and label.class_index != first.class_index:
            owner[label.color] = first
    return tuple((*color, label.id, label.name) for color, label in owner.items())


def _scene_ids(table) -> tuple:
    return (255,) if table is None else tuple(label.id for label in table.void_labels if label.kind == "scene")


def _with_fixed(table, where, seen, watched):
    """The table with an id for void at fixed places, and what derives it."""
    present = [number for number in watched if seen.pixels[number] and any(x.id == number for x in table.labels)]
    free = min(set(range(255)) - {label.id for label in table.labels})
    if not present:
        return table, None
    fixed = labels.Label(free, "fixed void", None, "geometry", (0, 0, 0))
    source = present[0] if len(present) == 1 else tuple(present)
    return labels.LabelTable(table.name, (*table.labels, fixed)), build.Derived(source, free, where)
