"""One look at every label before anything is written: which ids there are, and what is void at fixed places."""

import collections
import dataclasses

import numpy as np

from tfrecords import images
from tfrecords.conversion import runners
from tfrecords.conversion.folder import masks

FIXED_SHARE = 0.9  # of a sequence's frames in which a position must be void
FIXED_MIN_FRAMES = 10  # fewer frames cannot tell what stands still from what happens to be there
FIXED_MAX = 0.5  # of the frame: more is a data set that is labelled sparsely, not a bonnet
_MAX_COLORS = 64  # without a table of classes
_CHUNK = 256  # pairs


@dataclasses.dataclass
class Survey:
    """What all labels hold.

    Attributes:
      pixels: int64 [256], of each id.
      colors: packed colour -> pixels, of masks of three channels without a table.
      in_color: whether any mask of three channels is in colour; else all three of each are the same.
      as_ids: whether any of these holds ids, by masks.Reader.are_ids.
      void: sequence -> [frames, int32 [H, W], in how many a position is void].
    """

    pixels: np.ndarray
    void: dict
    colors: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    in_color: bool = False
    as_ids: bool = False


def look(pairs, void_ids, num_workers: int, progress: bool, allow_colors: bool = False) -> Survey:
    """Reads all labels of `pairs`.

    Args:
      void_ids: ids to look for at fixed places; () for none.
      num_workers, progress: as in tfrecords.write.
      allow_colors: collect colours where a mask is in colour and its reader has none.

    Raises:
      ValueError: the first label that cannot be read.
    """
    sizes = collections.Counter(pair.sequence for pair in pairs)
    watched = {name for name, count in sizes.items() if count >= FIXED_MIN_FRAMES} if void_ids else set()
    ordered = sorted(pairs, key=lambda pair: (pair.sequence, pair.image_id))
    calls = [
        (_look, ordered[start : start + _CHUNK], watched, tuple(void_ids), allow_colors)
        for start in range(0, len(ordered), _CHUNK)
    ]
    total = Survey(np.zeros(256, np.int64), {})
    # Starting processes takes longer than looking at few labels.
    for part in runners.get("local", num_workers if len(calls) > 1 else 1, (), progress)("look", calls, len(ordered)):
        total.pixels += part.pixels
        total.colors.update(part.colors)
        total.in_color |= part.in_color
        total.as_ids |= part.as_ids
        if total.in_color and len(total.colors) > _MAX_COLORS:
            raise ValueError(
                f"the masks are in colour and have more than {_MAX_COLORS} colours; name them with --classes (id, "
                "name, color), export masks without smoothing, or give pictures and labels the right way round"
            )
        for name, (frames, count) in part.void.items():
            if name in total.void and total.void[name][1].shape != count.shape:
                total.void[name] = [0, np.zeros((0, 0), np.int32)]  # of several sizes: nothing stands still
            elif name in total.void:
                total.void[name] = [total.void[name][0] + frames, total.void[name][1] + count]
            else:
                total.void[name] = [frames, count]
    return total


def fixed(survey: Survey) -> tuple[dict[str, np.ndarray], list[str]]:
    """Positions that are void in nearly all frames of a sequence: {sequence: bool [H, W]}, and what to say about it."""
    found, said = {}, []
    for name, (frames, count) in sorted(survey.void.items()):
        if frames < FIXED_MIN_FRAMES:
            continue
        mask = count >= FIXED_SHARE * frames
        if mask.mean() > FIXED_MAX:
            said.append(
                f"{name or 'all frames'}: {mask.mean():.0%} of the frame is void in nearly all frames: taken as labels "
                "that are sparse, not as a part of the camera"
            )
        elif mask.any():
            found[name] = mask
            said.append(f"{name or 'all frames'}: void at {mask.sum()} fixed positions, {mask.mean():.1%} of the frame")
    return found, said


def _look(pairs, watched, void_ids, allow_colors, count) -> Survey:
    part, is_void = Survey(np.zeros(256, np.int64), {}), np.zeros(256, bool)
    is_void[list(void_ids)] = True
    for pair in pairs:
        data = images.read_file(pair.label_path) if pair.payload is None else pair.payload
        count()
        if allow_colors:
            values = masks.decode(data, pair.label_path, pair.reader.by_color)
            if values.ndim == 3:  # of one frame in grey alone nobody knows whether it is ids or colours
                codes, pixels = np.unique(masks.packed(values), return_counts=True)
                part.colors.update(dict(zip(codes.tolist(), pixels.tolist())))
                if not masks.is_grey(values):
                    part.in_color = True
                    continue
            ids = pair.reader.ids_of(values, pair.label_path)
        elif isinstance(pair.reader, masks.Reader):
            values = masks.decode(data, pair.label_path, pair.reader.by_color)
            if values.ndim == 3:
                part.in_color |= not masks.is_grey(values)
                part.as_ids |= pair.reader.are_ids(values)
            ids = pair.reader.ids_of(values, pair.label_path)
        else:
            ids = (pair.reader.read if pair.reader else images.decode_map)(data, pair.label_name)
        part.pixels += images.histogram(ids)
        if pair.sequence in watched:
            void = is_void[ids]
            frames, counted = part.void.setdefault(pair.sequence, [0, np.zeros(void.shape, np.int32)])
            if counted.shape != void.shape:
                part.void[pair.sequence] = [0, np.zeros((0, 0), np.int32)]
            elif counted.size:
                part.void[pair.sequence] = [frames + 1, counted + void]
    return part
