"""At which size a network sees the pictures of some records, and crops that fit. Loads no TensorFlow."""

import itertools
import math

import tfrecords

_SAMPLED = 16  # pictures of a split that are looked at for their size
_STRIDE = 32  # px; crops are multiples of it


def sizes(records_dir: str, split: str) -> list[tuple[int, int]]:
    """Height and width, px, of the first pictures of a split."""
    examples = itertools.islice(tfrecords.read(records_dir, split), _SAMPLED)
    return [(example.height, example.width) for example in examples]


def seen_at(of: list[tuple[int, int]], largest: int) -> dict:
    """What fits pictures of these heights and widths: {"crop_size", "input_size", "scale"}.

    Crops are 0.7 of the smallest picture's sides, in multiples of 32, as in configs/camvid_lite0.py. Pictures of one
    size and of more than `largest` pixels are made smaller first, to about that many; of mixed sizes they are not.

    Args:
      of: (height, width), px.
      largest: pixels.

    Returns:
      crop_size, px; input_size, px, (0, 0) for pictures as they are; scale, the factor of their sides. Lists, for JSON.
    """
    height, width = (min(size[side] for size in of) for side in (0, 1))
    scale = 1.0
    if len(set(of)) == 1 and height * width > largest:
        scale = math.sqrt(largest / (height * width))
    input_size = [round(scale * side) for side in (height, width)] if scale < 1 else [0, 0]
    # Mixed sizes may all be large; a crop is bounded all the same.
    crop = [min(max(_STRIDE * round(0.7 * scale * side / _STRIDE), _STRIDE), 1024) for side in (height, width)]
    return {"crop_size": crop, "input_size": input_size, "scale": scale}
