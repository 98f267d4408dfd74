"""The review as one HTML page that loads nothing from outside; the same records give the same bytes."""

import os

import jinja2

from tfrecords.review import look, pictures, text

MARK = '<meta name="generator" content="kseg review">'
_SHEET = 6  # frames of each split on the contact sheet


def page(manifest, looks: dict[str, look.Look], found) -> str:
    """The page's text.

    Args:
      manifest: of the folder; pictures are read from its shards.
      looks: of every split.
      found: findings.find(...).
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(__file__)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rows = text.rows(manifest, looks)
    labelled = [name for name in looks if manifest.splits[name].has_labels]
    return environment.get_template("page.html.j2").render(
        mark=MARK,
        name=manifest.full_table.name,
        num_classes=manifest.full_table.num_classes,
        splits=[_split(manifest, name, seen) for name, seen in looks.items()],
        findings=[_finding(manifest, one) for one in found],
        checked=text.checked(looks),
        labelled=labelled,
        classes=[_row(manifest, row) for row in rows if row.level == "class"],
        void=[_row(manifest, row) for row in rows if row.level != "class"],
        largest=max((value or 0 for row in rows if row.level == "class" for value in row.shares), default=0) or 1,
        void_maps=[_void_map(name, looks[name]) for name in labelled if text.void_share(looks[name]).any()],
        scale=[(value, color) for value, color in zip((0, 5, 25, 50, 100), pictures.scale((0, 0.05, 0.25, 0.5, 1)))],
        examples=_examples(manifest, looks),
        sheets=[_sheet(manifest, name) for name in looks],
        legend=_legend(manifest, looks),
    )


def _row(manifest, row) -> dict:
    color = pictures.colors(manifest.full_table)[row.ids[0]]
    return {
        "ids": ", ".join(map(str, row.ids)) if row.level in ("class", "id") else "",
        "name": row.name,
        "level": row.level,
        "color": "rgb({}, {}, {})".format(*color) if row.level in ("class", "kind") else "",
        "cells": [
            {"share": text.share(value), "value": value or 0, "frames": frames}
            for value, frames in zip(row.shares, row.frames)
        ],
    }


def _split(manifest, name, seen) -> dict:
    split = manifest.splits[name]
    sizes = sorted(seen.sizes.items(), key=lambda item: -item[1][0])
    kind = "no labels" if not split.has_labels else "coarse labels" if split.unannotated_ids else "labelled"
    (height, width), _ = sizes[0]
    more = f" and {len(sizes) - 1} other size{'s' if len(sizes) > 2 else ''}" if len(sizes) > 1 else ""
    drives = len({look.sequence(image_id) for image_id in seen.image_ids})
    return {
        "name": name,
        "examples": split.examples,
        "kind": kind,
        "size": f"{height} x {width} px{more}",
        "mib": f"{sum(shard.bytes for shard in split.shards) / 2**20:.1f} MiB in {len(split.shards)} shards",
        "drives": f"{drives} sequence{'s' if drives > 1 else ''} by name",
    }


def _finding(manifest, one) -> dict:
    return {"title": one.title, "text": one.text, "is_hint": one.is_hint, "frames": _frames(manifest, one.frames)}


def _frames(manifest, named) -> list[dict]:
    """Pictures of (split, image id), in this order."""
    read = {}
    for split in dict.fromkeys(split for split, _ in named):
        for name, one in pictures.records(manifest, split, [n for s, n in named if s == split]).items():
            read[split, name] = _frame(manifest, split, one)
    return [read[key] for key in named]


def _frame(manifest, split, one) -> dict:
    table = manifest.splits[split].table
    labels = pictures.png(pictures.colored(pictures.label_map(one), table)) if one.ids_png else ""
    return {"title": f"{split}: {one.image_id}", "photo": pictures.jpeg(pictures.photo(one)), "labels": labels}


def _sheet(manifest, name) -> dict:
    image_ids = manifest.index(name).image_ids
    # Records lie in order of a hash: any run of them is a mixture.
    return {"name": name, "frames": _frames(manifest, [(name, image_id) for image_id in image_ids[:_SHEET]])}


def _void_map(name, seen) -> dict:
    shares = text.void_share(seen)
    height, width = max(seen.sizes, key=lambda size: seen.sizes[size][0])
    return {
        "name": name,
        "aspect": f"{width} / {height}",
        "picture": pictures.png(pictures.heat(shares)),
        "mean": f"{100 * shares.mean():.1f}",
    }


def _examples(manifest, looks) -> list[dict]:
    """For each id that occurs, the record in which it has most pixels, that id lit up."""
    wanted, shown = {}, []
    for label in manifest.full_table.labels:
        best = max((seen.most[label.id], -order, name) for order, (name, seen) in enumerate(looks.items()))
        if best[0]:
            seen = looks[best[2]]
            wanted[label] = (best[2], seen.image_ids[seen.largest[label.id]])
    read = {}
    for split in dict.fromkeys(split for split, _ in wanted.values()):
        names = [name for s, name in wanted.values() if s == split]
        read |= {(split, name): one for name, one in pictures.records(manifest, split, names).items()}
    for label, key in wanted.items():
        one = read[key]
        picture = pictures.highlighted(pictures.photo(one), pictures.label_map(one), label.id)
        kind = "" if label.kind is None else f"void, {label.kind}"
        shown.append(
            {
                "id": label.id,
                "name": label.name,
                "kind": kind,
                "title": f"{key[0]}: {key[1]}",
                "picture": pictures.jpeg(picture),
            }
        )
    return shown


def _legend(manifest, looks) -> list[tuple[str, str]]:
    table = manifest.full_table
    kinds = {label.kind for split in manifest.splits.values() for label in split.table.void_labels}
    entries = [(name, "rgb({}, {}, {})".format(*color)) for name, color in zip(table.class_names, table.class_colors)]
    return entries + [
        (f"void, {kind}", "rgb({}, {}, {})".format(*color))
        for kind, color in pictures.KIND_COLORS.items()
        if kind in kinds
    ]
