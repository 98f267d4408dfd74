"""The table of classes and void, and findings, as rows: for the terminal here, for the page in page.py."""

import dataclasses

import numpy as np

from tfrecords import labels


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
      ids: published ids, such as (7,); several where a class has several.
      name: of class or void id, or "void", "void of kind scene".
      kind: "" for a class, else one of labels.KINDS; "" for void as a whole.
      level: "class"; "void" for all of it; "kind"; "id" of void.
      shares: of each labelled split, the share of pixels, 0..1; None where the split has no pixel that counts.
      frames: of each labelled split, label maps, of those read, that hold the id; None where there are several ids.
    """

    ids: tuple[int, ...]
    name: str
    kind: str
    level: str
    shares: tuple[float | None, ...]
    frames: tuple[int | None, ...]


def rows(manifest, looks) -> list[Row]:
    """Classes by index, then void: all of it, each kind and each id. Shares are of all pixels of the split."""
    labelled = [(manifest.splits[name], seen) for name, seen in looks.items() if manifest.splits[name].has_labels]
    table, found = manifest.full_table, []

    def row(ids, name, level, kind=""):
        ids = tuple(ids)
        shares, frames = [], []
        for split, seen in labelled:
            whole = sum(split.id_pixels.values())
            shares.append(sum(split.id_pixels.get(number, 0) for number in ids) / whole if whole else None)
            frames.append(int(seen.frames[ids[0]]) if len(ids) == 1 else None)
        found.append(Row(ids, name, kind, level, tuple(shares), tuple(frames)))

    for name, ids in zip(table.class_names, table.class_ids):
        row(ids, name, "class")
    kind_of = {label.id: label.kind for split, _ in labelled for label in split.table.void_labels}
    kind_of = {label.id: kind_of.get(label.id, label.kind) for label in table.void_labels}
    if not kind_of:
        return found
    row([number for number, kind in kind_of.items() if kind != "unannotated"] or kind_of, "void", "void")
    for kind in labels.KINDS:
        members = [label for label in table.void_labels if kind_of[label.id] == kind]
        if not members:
            continue
        row([label.id for label in members], f"of kind {kind}", "kind", kind)
        for label in members:
            row([label.id], label.name, "id", kind)
    return found


def share(value: float | None) -> str:
    """A share in per cent: "25.000", "0" where there is no pixel, "<0.001" where it would round to nothing."""
    if value is None:
        return "-"
    return "0" if value == 0 else "<0.001" if value < 5e-6 else f"{100 * value:.3f}"


def lines(manifest, looks) -> list[str]:
    """The table for the terminal: per labelled split the share of pixels and the number of images."""
    names = [name for name in looks if manifest.splits[name].has_labels]
    if not names:
        return []
    found = rows(manifest, looks)
    titles = [_titled(row) for row in found]
    width = max(map(len, titles)) + 2
    titles_of = [name if _is_whole(looks[name]) else f"{name} ({len(looks[name].read)} read)" for name in names]
    head = [f"{'':<{width}}" + "".join(f"{name:>19}" for name in titles_of)]
    head += [f"{'':<{width}}" + f"{'pixels, %':>11}{'images':>8}" * len(names)]
    for row, title in zip(found, titles):
        cells = [
            f"{share(value):>11}{'' if frames is None else frames:>8}" for value, frames in zip(row.shares, row.frames)
        ]
        head.append((f"{title:<{width}}" + "".join(cells)).rstrip())
    return head


def findings(found, checked: str) -> list[str]:
    """A line for each finding; where there is none, what was looked for."""
    if not found:
        return [f"nothing suspicious: {checked}"]
    return [f"look at: {one.title}. {one.text}" for one in found]


def checked(looks) -> str:
    """What the rules have looked at, in words."""
    seen, read, whole = (
        sum(len(part(one)) for one in looks.values())
        for part in (lambda one: one.looked_at, lambda one: one.read, lambda one: one.image_ids)
    )
    if seen == whole:
        return f"ids, sizes, sequences, edges and likeness of all {whole} pictures"
    of = "" if read == whole else f" of {read}"
    return f"ids and sizes{of}, sequences of all, edges of {seen} of {whole} pictures"


def _is_whole(seen) -> bool:
    return len(seen.read) == len(seen.image_ids)


def _titled(row: Row) -> str:
    if row.level in ("void", "kind"):
        return f"{'  ' * (row.level == 'kind')}{row.name}"
    return f"{'    ' * (row.level == 'id')}{','.join(map(str, row.ids))} {row.name}"


def void_share(seen) -> np.ndarray:
    """float [rows, columns]: in how many of the label maps a position is void of any kind but "unannotated"."""
    kinds = [number for number, kind in enumerate(labels.KINDS) if kind != "unannotated"]
    return seen.void[kinds].sum(0) / max(1, len(seen.read))
