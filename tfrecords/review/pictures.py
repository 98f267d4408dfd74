"""Pictures for the page: image beside labels, where an id lies, where void lies. Bytes that a page can hold."""

import base64
import io

import numpy as np
from PIL import Image

from tfrecords import example, images, manifest, shards

# Void has no colours worth showing in the published tables (mostly black): by kind instead.
KIND_COLORS = {
    "scene": (255, 0, 255),
    "dropped": (255, 140, 0),
    "geometry": (0, 255, 255),
    "unannotated": (255, 255, 255),
}
WIDTH = 320  # px of a picture on the page
_STRIPE = 4  # px, of void
_DIMMED = 0.4  # of a picture's brightness beside the id that is shown
# Few to many, lightness rising throughout, so that it also reads in grey.
_SCALE = ((8, 10, 20), (60, 15, 110), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191))


def colors(table) -> np.ndarray:
    """uint8 [256, 3]: classes in their own colours, void in its kind's, ids that the table lacks black."""
    found = np.zeros((256, 3), np.uint8)
    for label in table.labels:
        found[label.id] = label.color if label.kind is None else KIND_COLORS[label.kind]
    return found


def records(found: manifest.Manifest, split: str, names) -> dict[str, example.Example]:
    """The examples of these names, read one by one from where they lie."""
    files, file_of, offsets, image_ids = found.index(split)
    place = {name: number for number, name in enumerate(image_ids)}
    return {
        name: shards.read_one(files[file_of[place[name]]], int(offsets[place[name]]))
        for name in sorted(set(names), key=place.__getitem__)
    }


def photo(one: example.Example) -> np.ndarray:
    """uint8 [h, WIDTH, 3]; plain grey where the picture cannot be decoded, which findings say."""
    height = max(1, round(WIDTH * one.height / one.width))
    try:
        picture = Image.fromarray(images.decode_fully(one.image_encoded, one.image_id))
    except ValueError:
        return np.full((height, WIDTH, 3), 128, np.uint8)
    how = Image.Resampling.BOX if one.width > WIDTH else Image.Resampling.BILINEAR
    return np.asarray(picture.resize((WIDTH, height), how))


def label_map(one: example.Example) -> np.ndarray:
    """uint8 ids [h, WIDTH], each pixel one that is there."""
    ids = images.decode_map(one.ids_png, one.image_id)
    height = max(1, round(WIDTH * one.height / one.width))
    rows, columns = ((2 * np.arange(n) + 1) * size // (2 * n) for n, size in zip((height, WIDTH), ids.shape))
    return ids[rows[:, None], columns]


def highlighted(picture: np.ndarray, ids: np.ndarray, number: int) -> np.ndarray:
    """The picture, dark but for the pixels of one id and what touches them."""
    mask = ids == number
    near = mask.copy()
    for step in (1, 2):  # thin things show, too
        near[step:] |= mask[:-step]
        near[:-step] |= mask[step:]
        near[:, step:] |= mask[:, :-step]
        near[:, :-step] |= mask[:, step:]
    shown = np.where(near[..., None], picture, (picture * _DIMMED).astype(np.uint8))
    shown[near & ~mask] = (255, 255, 255)
    return shown


def heat(shares: np.ndarray) -> np.ndarray:
    """Shares 0..1 [h, w] as colours from dark to bright: uint8 [2h, 2w, 3]. The scale is of square roots."""
    place = np.sqrt(np.clip(shares, 0, 1))
    anchors = np.linspace(0, 1, len(_SCALE))
    picture = np.stack([np.interp(place, anchors, channel) for channel in zip(*_SCALE)], -1)
    return np.kron(np.round(picture).astype(np.uint8), np.ones((2, 2, 1), np.uint8))


def scale(shares) -> list[str]:
    """CSS colours of these shares in `heat`."""
    return ["rgb({}, {}, {})".format(*heat(np.array([[value]]))[0, 0]) for value in shares]


def colored(ids: np.ndarray, table) -> np.ndarray:
    """Ids in colour, uint8 [h, w, 3]; void is striped, so that no class looks like it."""
    picture = colors(table)[ids]
    is_void = np.isin(ids, [label.id for label in table.void_labels])
    stripe = np.add(*np.indices(ids.shape, sparse=True)) // _STRIPE % 2 == 0
    picture[is_void & stripe] //= 4
    return picture


def jpeg(picture: np.ndarray) -> str:
    """A data: URL."""
    return _url(Image.fromarray(picture), "JPEG", quality=82)


def png(picture: np.ndarray) -> str:
    """A data: URL."""
    return _url(Image.fromarray(picture), "PNG", optimize=True)


def _url(image: Image.Image, kind: str, **options) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
