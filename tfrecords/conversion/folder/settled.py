"""What masks hold, once all have been looked at -> the table of classes, and how they are read."""

from tfrecords import images, labels
from tfrecords.conversion import pairs
from tfrecords.conversion.folder import masks, tables


def settled(table, splits, seen, of_ids, say, published=False):
    """The table, and the reader of masks, once it is known what the masks hold.

    Args:
      table: that is given; None for one of what is found.
      splits: name -> pairs.
      seen: of all labels.
      of_ids: masks hold ids, whatever their channels.
      say: called with lines about what was decided.
      published: the table is complete. To another, id 255 is added as void where masks have it: lists of classes,
        such as COCO's or Ultralytics', cannot say that.
    """
    ids = [int(number) for number in seen.pixels.nonzero()[0]]
    known = {label.id for label in table.labels} if table else None
    binary = ids and set(ids) <= {0, 255} and 255 in ids and not of_ids and not seen.in_color
    if binary and (known is None or (255 not in known and 1 in known)):
        say("masks of 0 and 255: read as ids 0 and 1; --label_format=ids reads 255 as void")
        seen.pixels[1], seen.pixels[255] = seen.pixels[255], 0
        table = table or tables.from_rows("own", [{"id": 0, "name": "background"}, {"id": 1, "name": "object"}])
        return table, masks.Reader(bytes([*range(255), 1]), ())
    by_color = bool(table) and any(p.reader and p.reader.by_color for v in splits.values() for p in v)
    if table is None and seen.in_color:
        rows = [
            {"id": i, "name": f"class_{i}", "color": [code >> 16, code >> 8 & 255, code & 255]}
            for i, code in enumerate(sorted(seen.colors))
        ]
        if seen.colors.get(0) and len(rows) > 2:
            rows[0] |= {"name": "void", "void": "scene"}
        table = tables.from_rows("own", rows)
        seen.pixels[:] = 0
        for i, code in enumerate(sorted(seen.colors)):
            seen.pixels[i] = seen.colors[code]
        say(f"masks in colour: each of {len(rows)} colours is a class, black is void; --classes names them")
    elif table is None:
        rows = [{"id": i, "name": f"class_{i}", "color": list(tables.shown_color(i))} for i in ids if i != 255]
        rows += [{"id": 255, "name": "void", "void": "scene"}] if 255 in ids else []
        table = tables.from_rows("own", rows)
    elif 255 in ids and 255 not in known and not published:
        say("masks have id 255, which the table of classes does not have: it is void")
        table = labels.LabelTable(table.name, (*table.labels, labels.Label(255, "void", None, "scene", (0, 0, 0))))
    return table, masks.Reader(b"", () if of_ids else colors_of(table), by_color)


def is_by_color(table, parts, say) -> bool:
    """Whether masks with a palette are meant by their colours: the first has the table's, under other numbers."""
    path = next((path for part in parts for path in (part.labels or {}).values()), None)
    try:
        found = masks.palette_of(images.read_file(path), str(path)) if path else {}
    except ValueError:  # damaged, which is told where its turn comes
        found = {}
    ids = {tuple(color): number for *color, number, _ in colors_of(table)}
    if not found or not set(found.values()) <= ids.keys() or all(ids[found[number]] == number for number in found):
        return False
    say(
        "masks with a palette have the colours of --classes under other numbers: read by colour; "
        "--label_format=ids reads numbers"
    )
    return True


def covered(table, uncovered: str):
    """The table with what nobody drew as the class `uncovered`, of masks that a labelling program made of shapes.

    Raises:
      ValueError: `uncovered` of other masks, which say of each pixel what it is.
    """
    if not uncovered:
        return table
    free = {label.name.lower(): label for label in table.void_labels} if table else {}
    label = free.get("background") or free.get("uncovered")
    if label is None:
        raise ValueError(f"--uncovered={uncovered}: masks say what each pixel is; name the id's class in --classes")
    rows = [
        {
            "id": x.id,
            "name": uncovered if x == label else x.name,
            "void": "" if x == label else x.kind,
            "color": list(x.color),
        }
        for x in table.labels
    ]
    return tables.from_rows(table.name, rows)


def colors_of(table) -> tuple:
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


def scene_ids(table) -> tuple:
    """Ids that a part of the camera may have been given, of a table or, where it is None, of what is found."""
    return (255,) if table is None else tuple(label.id for label in table.void_labels if label.kind == "scene")


def with_fixed(table, where, seen, watched):
    """The table with an id for void at fixed places, and what derives it."""
    present = [number for number in watched if seen.pixels[number] and any(x.id == number for x in table.labels)]
    free = min(set(range(255)) - {label.id for label in table.labels})
    if not present:
        return table, None
    fixed = labels.Label(free, "fixed void", None, "geometry", (0, 0, 0))
    source = present[0] if len(present) == 1 else tuple(present)
    return labels.LabelTable(table.name, (*table.labels, fixed)), pairs.Derived(source, free, where)
