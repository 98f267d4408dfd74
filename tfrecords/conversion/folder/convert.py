"""A folder of pictures and their labels -> records: find, pair, look, say, write.

`convert` reads top to bottom. What the labels are is told by looking: files of annotations (annotated.py), or pictures
of labels (layouts.py, masks.py).
"""

import dataclasses
import os
import pathlib

import tfrecords
from tfrecords import files
from tfrecords.conversion.folder import annotated, holdout, layouts, masks, pairing, presets, settled, survey, tables
from tfrecords.conversion.folder.options import FORMATS, Options

__all__ = ["FORMATS", "Options", "convert"]


def convert(options: Options, records_dir: str | os.PathLike, say=print, whole=None, **write) -> tfrecords.Manifest:
    """Converts a folder of own data.

    Args:
      options: what and how.
      records_dir: folder to make or to add to, as of `tfrecords.write`.
      say: called with each line about what was found.
      whole: given splits, gives them without the pairs of which a file is damaged.
      **write: options of `tfrecords.write`.

    Returns:
      The folder's manifest.

    Raises:
      ValueError, OSError: wrong options or inputs; one line.
    """
    passed = pairing.Passed()
    if not (options.images_dir or options.labels_dir or options.pairs):
        raise ValueError("--images_dir is missing or empty; see --help")
    given, options = options, layouts.with_cvat(options)
    preset = presets.find(options.classes)
    table = preset.table if preset else tables.read(options.classes) if options.classes else None
    kind = annotated.MASKS if preset and not options.labels_dir else annotated.format_of(options)
    of_masks = kind == annotated.MASKS
    if of_masks:
        parts, brought = layouts.found(options, preset, passed)
        table = table or brought
        of_ids = options.label_format in ("ids", "palette") or brought is not None  # whatever their channels
        by_color = options.label_format == "rgb" or bool(preset and preset.by_color)
        by_color = by_color or options.classes.endswith("labelmap.txt") and options.label_format == "auto"
        if options.label_format == "auto" and table and not (preset or brought or by_color):
            by_color = settled.is_by_color(table, parts, say)
        table = settled.covered(table, options.uncovered)
        splits = _paired(
            parts, masks.Reader(b"", () if of_ids else settled.colors_of(table), by_color), options, passed
        )
    else:
        table, splits = annotated.read(kind, options, table, passed, say)
    splits = holdout.with_val({name: pairs for name, pairs in splits.items() if pairs}, options, say)
    if not any(pair.label_path for pairs in splits.values() for pair in pairs):
        raise ValueError(f"{options.images_dir} and {options.labels_dir} have no pair of an image and a label file")
    splits = whole(splits) if whole else splits
    labelled = [pair for pairs in splits.values() for pair in pairs if pair.label_path]
    # What nobody drew, in annotations and masks made of them, is the same place in all frames, and no bonnet.
    drawn = not of_masks or options is not given or layouts.is_supervisely(options)
    watched = settled.scene_ids(table) if not drawn and options.fixed_void == "auto" else ()
    workers, progress = write.get("num_workers", 0), write.get("progress", False)
    own_table = table is None
    seen = survey.look(labelled, watched, workers, progress, own_table)
    if of_masks and seen.as_ids and not seen.in_color and not by_color:
        # In one of them black may be a class's colour; what another shows as ids, it is there too.
        say("masks have three equal channels and none is in colour: all are read as ids; --label_format=rgb: colours")
        of_ids = True
        labelled = [dataclasses.replace(pair, reader=masks.Reader()) for pair in labelled]
        seen = survey.look(labelled, watched, workers, progress, own_table)
    if of_masks:
        table, reader = settled.settled(table, splits, seen, of_ids, say, preset is not None)
        splits = {
            n: [dataclasses.replace(p, reader=reader) if p.label_path else p for p in v] for n, v in splits.items()
        }
    derived = None
    if watched:
        where, lines = survey.fixed(seen)
        for line in lines:
            say(line)
        if where:
            table, derived = settled.with_fixed(table, where, seen, watched)
    for line in passed.lines():
        say(line)
    manifest = tfrecords.write(records_dir, table, splits, derived=derived, say=say, **{"image_format": "auto"} | write)
    if own_table:
        say(_for_naming(table, pathlib.Path(records_dir)))
    return manifest


def _for_naming(table, folder: pathlib.Path) -> str:
    """Writes classes.csv of the ids that were found, to be named there, and says so; names that are there stay."""
    path, made, found = folder / "classes.csv", tables.to_csv(table).encode(), "no --classes: the ids found are classes"
    for left in folder.glob(f"{path.name}.*.tmp"):  # by a run that was killed
        left.unlink(missing_ok=True)
    if path.exists() and path.read_bytes() != made:
        return f"{found}; {path} says otherwise and is kept: --classes={path} uses it"
    files.write_whole(path, made)
    return f"{found}; name them in {path} and convert with --classes={path} --overwrite"


def _no_partner(part, passed: pairing.Passed) -> str:
    """Where nothing has a partner: what is there instead."""
    if part.images.keys() & part.labels.keys():
        return ""
    if part.images and part.labels:
        first = next(iter(part.labels.values()))
        return (
            f", nor has any of {len(part.images)} images ({first.name} is a label's); --image_suffix and "
            "--label_suffix say what names end in"
        )
    kind = "label pictures" if part.images else "pictures"
    return "; ".join([f", since there are no {kind}", *passed.lines()])


def _paired(parts, reader, options: Options, passed: pairing.Passed) -> dict[str, list[tfrecords.Pair]]:
    """Splits of pairs. What has no partner is an error, passed over, or, of images, kept as a split of its own."""
    splits: dict[str, list] = {}
    for part in parts:
        pairs = splits.setdefault(part.split, [])
        if part.labels is None:
            pairs += [tfrecords.Pair(pairing.image_id(key), path) for key, path in part.images.items()]
            continue
        for key in sorted(part.images.keys() ^ part.labels.keys()):
            if key in part.images:
                lone, what = part.images[key], "this image has no label file"
            else:
                lone, what = part.labels[key], "this label file has no image"
            if options.unlabelled == "error":
                what = f"{what} of the same name{_no_partner(part, passed)}"
                raise ValueError(f"{lone}: {what}; --unlabelled=skip passes it over, keep keeps images")
            if key in part.images and options.unlabelled == "keep":
                splits.setdefault(pairing.UNLABELLED, []).append(tfrecords.Pair(pairing.image_id(key), lone))
            else:
                passed.add(f"files: {what}", lone)
        for key, path in part.images.items():
            if key in part.labels:
                sequence = (part.sequences or {}).get(key) or pairing.sequence(key)
                pairs.append(tfrecords.Pair(pairing.image_id(key), path, part.labels[key], sequence, reader))
    return splits
