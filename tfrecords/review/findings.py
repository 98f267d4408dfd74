"""What in a folder of records a person should look at before training on it. Every rule says when it speaks.

A finding is no verdict: CamVid's own splits share a sequence, and one of its published label maps does not belong to
its picture.
"""

import collections
import dataclasses

import numpy as np

from tfrecords import labels
from tfrecords.review import edges, look, thumbs

FEW_FRAMES = 3  # an id in fewer label maps than these
ODD_SIZE = 0.01  # of a split's pictures; a size that so few have, where
_USUAL_SIZE = 0.9  # of them have one size
FIXED_SHARE = 0.9  # of a sequence's frames in which a position is void
_FIXED_LEAST = 0.005  # of the frame: smaller areas are not worth a word
MIN_SHIFT = 2  # px of the reduced picture
_PEAK = 0.1  # of edge agreement above its mean over shifts: less is no peak
_HIGHER = 1.25  # than in place, both above the mean: what another shift must reach
_AS_HIGH = 0.75  # of the best shift: what its opposite must not reach
_CLEAR_PEAK = 0.3  # so much makes a frame without one stand out
_MIN_FITTED = 5  # pictures; fewer say nothing about all
_NAMED = 5  # frames that a finding names


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing to look at.

    Attributes:
      title: a few words.
      text: what was found and what it may mean, sentences.
      frames: (split, image id) to look at, the most telling first.
      is_hint: rests on how pictures look, and may be wrong.
    """

    title: str
    text: str
    frames: tuple[tuple[str, str], ...] = ()
    is_hint: bool = False


def find(manifest, looks: dict[str, look.Look]) -> list[Finding]:
    """Everything that is suspicious, the plainest first.

    Args:
      manifest: of the folder.
      looks: of every split.
    """
    labelled = {name: seen for name, seen in looks.items() if manifest.splits[name].has_labels}
    found = (
        _broken(looks) + _missing_classes(manifest, labelled) + _rare_ids(manifest, labelled) + _unlabelled(labelled)
    )
    found += _fixed_void(labelled) + _odd_sizes(looks) + _shared_sequences(looks) + _same_pictures(looks)
    for name, seen in labelled.items():
        found += _shift(name, seen) + _misfits(name, seen)
    return found


def _broken(looks) -> list[Finding]:
    found = []
    for name, seen in looks.items():
        if seen.broken:
            named = _listed([f"{seen.image_ids[place]} ({reason})" for place, reason in seen.broken])
            count = _counted(len(seen.broken), "picture", "pictures")
            text = f"Training will fail on them: {named}. Convert again from whole files."
            found.append(Finding(f"{name}: {count} cannot be decoded", text))
    return found


def _missing_classes(manifest, labelled) -> list[Finding]:
    found, table = [], manifest.full_table
    present = {
        name: {number for number, count in manifest.splits[name].id_pixels.items() if count} for name in labelled
    }
    anywhere = set().union(*present.values())
    nowhere = [name for name, ids in zip(table.class_names, table.class_ids) if not anywhere & set(ids)]
    if labelled and nowhere:
        named = _listed([f'"{name}"' for name in nowhere])
        text = f"No label map has a pixel of {named}. Is the table of classes the right one?"
        found.append(Finding(_counted(len(nowhere), "class has", "classes have") + " no pixel at all", text))
    for name, ids_here in present.items():
        here = [
            label
            for label, ids in zip(table.class_names, table.class_ids)
            if not ids_here & set(ids) and label not in nowhere
        ]
        if here:
            effect = "it cannot be learnt" if name == "train" else "it has no IoU there"
            named = _listed([f'"{label}"' for label in here])
            text = f"No label map of {name} has a pixel of {named}, which other splits have: {effect}."
            found.append(Finding(f"{name} lacks " + _counted(len(here), "class", "classes"), text))
    return found


def _rare_ids(manifest, labelled) -> list[Finding]:
    frames = sum((seen.frames for seen in labelled.values()), np.zeros(256, np.int64))
    pixels = sum((collections.Counter(manifest.splits[name].id_pixels) for name in labelled), collections.Counter())
    rare = [x for x in manifest.full_table.labels if pixels[x.id] and frames[x.id] < FEW_FRAMES]
    if not rare:
        return []
    where = tuple(
        (name, seen.image_ids[seen.largest[label.id]])
        for label in rare
        for name, seen in labelled.items()
        if seen.frames[label.id]
    )
    named = _listed([f"{label.id} {label.name} ({frames[label.id]})" for label in rare])
    read = sum(len(seen.read) for seen in labelled.values())
    text = (
        f"In brackets, how many of {read} label maps have it: {named}. A slip of the pen, or too little to learn from."
    )
    return [Finding(_counted(len(rare), "id is", "ids are") + f" in under {FEW_FRAMES} images", text, where[:_NAMED])]


def _unlabelled(labelled) -> list[Finding]:
    found = []
    for name, seen in labelled.items():
        if seen.unlabelled:
            frames = tuple((name, seen.image_ids[place]) for place in seen.unlabelled[:_NAMED])
            count = _counted(len(seen.unlabelled), "label map has", "label maps have")
            named = _listed([frame for _, frame in frames], len(seen.unlabelled))
            text = f"They teach nothing about the classes: {named}."
            found.append(Finding(f"{name}: {count} no pixel of a class", text, frames))
    return found


def _fixed_void(labelled) -> list[Finding]:
    found = []
    for name, seen in labelled.items():
        frames = collections.Counter(look.sequence(seen.image_ids[place]) for place in seen.read)
        shares = {
            drive: float((counted >= FIXED_SHARE * frames[drive]).mean())
            for drive, counted in seen.fixed.items()
            if frames[drive] >= look.FIXED_MIN_FRAMES  # of those read
        }
        if not shares and len(seen.read) >= look.FIXED_MIN_FRAMES:  # names tell of no long sequence, as Cityscapes'
            counted = seen.void[[labels.KINDS.index(kind) for kind in ("scene", "dropped")]].sum(0)
            shares = {"all frames": float((counted >= FIXED_SHARE * len(seen.read)).mean())}
        fixed = {drive: share for drive, share in shares.items() if share >= _FIXED_LEAST}
        if fixed:
            drives = _listed(
                [
                    f"{drive or 'frames without a name'} {100 * share:.1f} % of the frame"
                    for drive, share in fixed.items()
                ]
            )
            text = (
                f"Positions that are void in {FIXED_SHARE:.0%} of a sequence's frames: {drives}. A part of the car or "
                'of the camera is void of kind "geometry", which no model need learn; labels that are sparse look '
                "alike."
            )
            found.append(Finding(f"{name}: void at fixed places", text))
    return found


def _odd_sizes(looks) -> list[Finding]:
    found = []
    for name, seen in looks.items():
        count = len(seen.read)
        usual, (most, _) = max(seen.sizes.items(), key=lambda item: item[1][0])
        odd = {size: entry for size, entry in seen.sizes.items() if entry[0] <= max(1, ODD_SIZE * count)}
        odd.pop(usual, None)
        if most < _USUAL_SIZE * count or not odd:
            continue
        turned = " One is the usual size turned: were pictures turned by a viewer?" if usual[::-1] in odd else ""
        sizes = _listed([f"{h}x{w} ({entry[0]})" for (h, w), entry in sorted(odd.items())])
        frames = tuple((name, seen.image_ids[place]) for entry in odd.values() for place in entry[1])
        text = (
            f"Height x width of {most} of {count} pictures is {usual[0]}x{usual[1]}; besides there are {sizes}.{turned}"
        )
        found.append(Finding(f"{name}: few pictures of another size", text, frames[:_NAMED]))
    return found


def _shared_sequences(looks) -> list[Finding]:
    """Of each two splits; a name that is a number alone tells nothing, nor does one that each split has once."""
    found, names = [], list(looks)
    counts = {name: collections.Counter(map(look.sequence, seen.image_ids)) for name, seen in looks.items()}
    for place, here in enumerate(names):
        for there in names[place + 1 :]:
            shared = sorted((counts[here].keys() & counts[there].keys()) - {""})
            # KITTI numbers the scenes of each split from 0.
            shared = [x for x in shared if not (x.isdigit() and counts[here][x] == counts[there][x] == 1)]
            if shared:
                drives = _listed([f"{x} ({counts[here][x]} and {counts[there][x]} frames)" for x in shared])
                text = (
                    f"By their names, before the frame number: {drives}. If these are drives, neighbours of "
                    f"{here}'s frames are in {there}, and scores on unseen streets will be lower."
                )
                found.append(
                    Finding(f"{here} and {there} share {_counted(len(shared), 'sequence', 'sequences')}", text)
                )
    return found


def _same_pictures(looks) -> list[Finding]:
    found, names = [], list(looks)
    for place, here in enumerate(names):
        for there in names[place + 1 :]:
            a, b = looks[here], looks[there]
            pairs = [
                (a.image_ids[a.looked_at[i]], b.image_ids[b.looked_at[j]]) for i, j in thumbs.same(a.thumbs, b.thumbs)
            ]
            if pairs:
                count = _counted(len(pairs), "picture", "pictures")
                named = _listed([f"{i} = {j}" for i, j in pairs])
                text = f"Nearly identical from far away: {named}. Look at both before you trust a score."
                frames = tuple(frame for i, j in pairs for frame in ((here, i), (there, j)))
                found.append(Finding(f"{count} of {here} seen again in {there}", text, frames[:4], True))
    return found


def _shift(name, seen) -> list[Finding]:
    if seen.fitted < _MIN_FITTED:
        return []
    mean = seen.shifts / seen.fitted
    rows, columns = np.unravel_index(mean.argmax(), mean.shape)
    down, right = int(rows) - edges.MAX_SHIFT, int(columns) - edges.MAX_SHIFT
    here, best, base = mean[edges.MAX_SHIFT, edges.MAX_SHIFT], mean.max(), mean.mean()
    factor = max(edges.reduction(*size) for size in seen.sizes)
    stated = (
        f"A picture is {here:.2f} times as steep at label boundaries as elsewhere; {{}}. Measured on {seen.fitted} "
        "pictures; a hint, no proof."
    )
    if best - base < _PEAK:
        text = stated.format(f"over all shifts up to {factor * edges.MAX_SHIFT} px that is {base:.2f} on average")
        text += " Are these the labels of these pictures? Soft pictures and coarse polygons look alike."
        return [Finding(f"{name}: labels follow no edges", text, (), True)]
    inside = max(abs(down), abs(right)) < edges.MAX_SHIFT  # at the window's border it is no peak
    # Edges in the middle of void borders, as VOC has them, are met from both sides, half a pixel more from one.
    row, column = (max(0, edges.MAX_SHIFT - move - 1) for move in (down, right))
    opposite = mean[row : row + 3, column : column + 3].max()
    higher = best - base >= _HIGHER * (here - base) and opposite - base < _AS_HIGH * (best - base)
    if inside and max(abs(down), abs(right)) >= MIN_SHIFT and higher:
        moves = [
            f"{abs(value) * factor} px {words[value > 0]}"
            for value, words in ((right, ("left", "right")), (down, ("up", "down")))
            if value
        ]
        text = stated.format(f"were the labels {' and '.join(moves)}, it would be {best:.2f}")
        return [Finding(f"{name}: labels look shifted against the pictures", text, (), True)]
    return []


def _misfits(name, seen) -> list[Finding]:
    """Single label maps that follow no edges where the others do."""
    contrast = seen.fit[:, 0] - seen.fit[:, 1] if len(seen.fit) else np.zeros(0)
    known = np.flatnonzero(np.isfinite(contrast))
    if len(known) < _MIN_FITTED or np.median(contrast[known]) < _CLEAR_PEAK:
        return []
    odd = [place for place in known[np.argsort(contrast[known], kind="stable")] if contrast[place] < _PEAK]
    if not odd:
        return []
    frames = tuple((name, seen.image_ids[seen.looked_at[place]]) for place in odd)
    text = (
        f"{_listed([frame for _, frame in frames])}: the picture is no steeper at label boundaries than beside them, "
        "as where a label map belongs to another frame. A hint, no proof."
    )
    count = _counted(len(odd), "label map does", "label maps do")
    return [Finding(f"{name}: {count} not follow the picture's edges", text, frames[:_NAMED], True)]


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _listed(names, whole: int | None = None) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    rest = (len(names) if whole is None else whole) - min(len(names), 2 * _NAMED)
    return ", ".join(names[: 2 * _NAMED]) + (f" and {rest} more" if rest else "")
