"""Files of annotations -> pairs: which format they are in, and which picture each is of."""

import json
import os
import pathlib

import tfrecords
from tfrecords.conversion.folder import coco, cvat, labelme, layouts, names, notes, pairing, shapes, supervisely, yolo
from tfrecords.conversion.folder.options import Options

MASKS = "masks"  # pictures of labels, no annotations
_MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg")


def format_of(options: Options) -> str:
    """The format of the labels, told by looking where it is not named: one of `options.FORMATS`, or `MASKS`.

    Raises:
      ValueError: a file of no known format.
    """
    if options.pairs or options.label_format in ("ids", "palette", "rgb"):
        return MASKS
    root = pathlib.Path(options.labels_dir or options.images_dir)
    if root.suffix.lower() in (".yaml", ".yml") and root.is_file():
        found = yolo.content(root)
        return MASKS if isinstance(found, dict) and found.get("masks_dir") else "yolo"
    if supervisely.is_project(root):
        return MASKS if any(root.glob("**/masks_machine")) else "supervisely"
    if options.label_format != "auto":
        return options.label_format
    if root.is_file():
        kinds = {".json": "coco", ".xml": "cvat"}
        if root.suffix.lower() not in kinds:
            raise ValueError(
                f"{root} is no file of annotations; expected COCO's .json, CVAT's .xml, Ultralytics' .yaml"
            )
        return kinds[root.suffix.lower()]
    if (root / "annotations.xml").is_file():
        return "cvat"
    return _by_content(root, options) if options.labels_dir and root.is_dir() else MASKS


def read(kind: str, options: Options, table, passed: pairing.Passed, say):
    """(table, {split: pairs}) of files of annotations in this format.

    Raises:
      ValueError, OSError: files that are wrong, or do not fit together.
    """
    sources = _sources(kind, options, passed)
    many, where = [source[2] for source in sources], [source[3] for source in sources]
    rows = notes.joined(many, where)
    if table is None:
        name = where[0].stem if where[0].is_file() else where[0].name
        table, ids, uncovered = notes.table_of(name, rows, options.uncovered)
    else:
        try:
            table, ids, uncovered = notes.by_table(table, rows, options.uncovered)
        except ValueError as error:
            raise ValueError(f"{where[0]}: {error}") from error
    said = next(label for label in table.labels if label.id == uncovered)
    state = f"void ({said.name}); --uncovered=NAME makes them a class" if said.kind else f"of class {said.name}"
    say(f"pixels that nothing covers are {state}; where shapes overlap, the later one stays")
    reader = shapes.Reader(uncovered)
    splits: dict[str, list] = {}
    # Files of several splits may each be of some of the pictures of one folder.
    shared = len(sources) > 1 and any(first[1] == second[1] for first, second in zip(sources, sources[1:]))
    for split, images, found, path in sources:
        parts = {split: list(images)}
        if options.lists:
            parts = layouts.chosen(images, options.lists, passed)
        drawn = _matched(images, found, path, options, passed, {key for keys in parts.values() for key in keys})
        for name, keys in parts.items():
            pairs = splits.setdefault(name, [])
            for key in keys:
                if key in drawn:
                    pairs.append(_pair(key, images[key], drawn[key], reader, ids))
                elif options.unlabelled == "keep" and not shared:
                    splits.setdefault(pairing.UNLABELLED, []).append(_pair(key, images[key], None, reader, ids))
                elif options.unlabelled == "error" and not shared:
                    raise ValueError(f"{images[key]} is not in {path}; --unlabelled=skip passes it over, keep keeps it")
                elif not shared:
                    passed.add("images that are not in the annotations", images[key])
    if shared:
        used = {pair.image_path for pairs in splits.values() for pair in pairs}
        for path in sorted({str(path) for _, images, _, _ in sources for path in images.values()} - used):
            passed.add("images that are not in the annotations", path)
    return table, splits


def _pair(key, image, frame, reader, ids) -> tfrecords.Pair:
    stem, suffix = os.path.splitext(key)
    if suffix.lower() not in layouts.pixels.SUFFIXES:  # a key without one, of which "a_jpg.rf.0123" has a point
        stem = key
    if frame is None:
        return tfrecords.Pair(pairing.image_id(stem), image)
    payload = notes.payload(frame, ids)
    return tfrecords.Pair(pairing.image_id(stem), image, frame.path, pairing.sequence(stem), reader, payload)


def _matched(images, found: notes.Notes, path, options, passed, wanted) -> dict[str, notes.Frame]:
    """key of a picture -> what is drawn in it."""
    index, drawn = names.Names(images), {}
    for name, frame in found.frames.items():
        try:
            key = index.find(name)
        except ValueError as error:
            raise ValueError(f"{frame.path}: {error}") from error
        if key is None:
            if options.unlabelled == "error" and not options.lists:
                raise ValueError(f"{frame.path} has annotations of {name}, which is not below {options.images_dir}")
            passed.add("annotated images that are not there", name)
        elif key in drawn:
            raise ValueError(f"{path} has {name} twice, as {images[key]}")
        elif key in wanted:
            drawn[key] = frame
    return drawn


def _sources(kind, options, passed) -> list[tuple]:
    """[(split, {key: picture}, Notes, file or folder of labels)]."""
    root = pathlib.Path(options.labels_dir or options.images_dir)
    if kind == "yolo" and root.suffix.lower() in (".yaml", ".yml"):
        made, content, _ = yolo.splits(root, options.images_dir, layouts.pixels.SUFFIXES, passed)
        classes, sources = yolo.names_of(content, root), []
        for split, pictures in made.items():
            texts = {key: yolo.label_of(picture, "labels", (".txt",)) for key, picture in pictures.items()}
            texts = {key: path for key, path in texts.items() if path}
            sources.append((split, pictures, yolo.read(pictures, texts, classes, passed, options.skip_damaged), root))
        return sources
    if kind == "supervisely":
        return _of_supervisely(root, options, passed)
    if kind in ("coco", "cvat"):
        reader, pattern = {"coco": (coco.read, ".json"), "cvat": (cvat.read, ".xml")}[kind]
        files = [root] if root.is_file() else pairing.find(root, (pattern,), pairing.Passed())
        # COCO is published with captions and key points of the same images beside its instances.
        chosen = [path for path in files if path.name.lower().startswith("instances")] or files
        for path in sorted(set(files) - set(chosen)):
            passed.add(f"other files beside {chosen[0].name}", path)
        files = chosen
        if not files:
            raise FileNotFoundError(f"{root} has no *{pattern}; expected annotations of {kind}")
        return [_of_file(reader, path, root, options, len(files) > 1, passed) for path in files]
    sources = []
    for split, image_folder, label_folder in layouts.split_folders(options, passed):
        if label_folder is None:
            raise FileNotFoundError(f"{options.labels_dir} has no folder for {image_folder}")
        images = layouts.by_name(image_folder, passed)
        if kind == "labelme":
            other = pairing.Passed() if image_folder == label_folder else passed
            paths = pairing.find(label_folder, (".json",), other)
            sources.append(
                (split, images, labelme.read(label_folder, paths, passed, options.skip_damaged), label_folder)
            )
        else:
            pictures = {os.path.splitext(key)[0]: path for key, path in images.items()}
            other = pairing.Passed() if image_folder == label_folder else passed
            texts = pairing.keyed(pairing.find(label_folder, (".txt",), other), label_folder)
            texts = {key: path for key, path in texts.items() if key in pictures or _is_annotation(path, passed)}
            for lone in sorted(texts.keys() - pictures.keys()):
                if options.unlabelled == "error" and not options.lists:
                    raise ValueError(f"{texts[lone]} has no picture of the same name; --unlabelled=skip passes it over")
                passed.add("annotated images that are not there", texts[lone])
            drawn = yolo.read(pictures, texts, [], passed, options.skip_damaged)
            sources.append((split, pictures, drawn, label_folder))
    return sources


def _of_file(reader, path, root, options, several: bool, passed) -> tuple:
    """The source of one file of many images; of several, each is a split, which its folder or its name says."""
    folder = pathlib.Path(options.images_dir or root.parent)
    split = ""
    if several:
        split = pairing.SPLITS.get(path.parent.name.lower(), "") if path.parent != root else ""
        split = split or next((name for word, name in pairing.SPLITS.items() if word in path.stem.lower()), "train")
        nested = folder / path.parent.relative_to(root)
        folder = nested if nested.is_dir() else folder  # pictures beside the file, as Roboflow has them
    return split, layouts.by_name(folder, passed), reader(path, passed), path


def _of_supervisely(root, options, passed) -> list[tuple]:
    sources: dict[str, tuple] = {}
    for dataset in supervisely.datasets(root):
        split = pairing.SPLITS.get(dataset.name.lower(), "")
        name = supervisely.name_of(dataset, root)
        images = {f"{name}/{key}": path for key, path in layouts.by_name(dataset / "img", passed).items()}
        found = supervisely.read(dataset, root, passed, options.skip_damaged)
        found.frames = {f"{name}/{key}": frame for key, frame in found.frames.items()}
        if split in sources:
            sources[split][1].update(images)
            sources[split][2].frames.update(found.frames)
        else:
            sources[split] = (split, images, found, root)
    return list(sources.values())


def _by_content(root: pathlib.Path, options: Options) -> str:
    """Looks at the files of a folder of labels; label pictures go before annotations beside them."""
    beside_pictures = pathlib.Path(options.images_dir or ".").resolve() == root.resolve()
    found: dict[str, pathlib.Path] = {}
    for place, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            suffix = os.path.splitext(name)[1].lower()
            if name.startswith("."):
                continue
            if suffix in _MASK_SUFFIXES and not beside_pictures:
                return MASKS
            path = pathlib.Path(place, name)
            if suffix in (".json", ".xml") or (suffix == ".txt" and _is_yolo(path)):
                found.setdefault(suffix, path)
    if ".json" in found:
        try:
            content = json.loads(found[".json"].read_bytes())
        except ValueError as error:
            raise ValueError(f"{found['.json']}: it is no JSON") from error
        if labelme.is_one(content):
            return "labelme"
        if isinstance(content, dict) and {"images", "annotations"} <= content.keys():
            return "coco"
        raise ValueError(f"{found['.json']} is neither labelme's nor COCO's JSON; give --label_format")
    return "cvat" if ".xml" in found else "yolo" if ".txt" in found else MASKS


def _is_annotation(path: pathlib.Path, passed) -> bool:
    """As `_is_yolo`; another text, such as a list of classes, is counted."""
    is_one = _is_yolo(path)
    if not is_one:
        passed.add("texts that are no annotations", path)
    return is_one


def _is_yolo(path: pathlib.Path) -> bool:
    """Whether a text file's first line is numbers; one that is empty says that nothing is drawn."""
    with open(path, errors="replace") as file:
        words = file.readline().split()
    return len(words) >= 5 and all(word.replace(".", "", 1).replace("e-", "", 1).isdigit() for word in words)
