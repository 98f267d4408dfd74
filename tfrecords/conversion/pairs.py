"""What one example is made of: its files, and ids that follow from where published pixels lie."""

import dataclasses
import hashlib
import os

import numpy as np


@dataclasses.dataclass(frozen=True)
class Pair:
    """The files of one example.

    Paths may be pathlib's.

    Attributes:
      image_id: unique in its split; without "/" and "\\", since files are named after it.
      image_path: PNG or JPEG.
      label_path: PNG of published ids; None for an image without labels.
      sequence: a key of `Derived.masks`, or "".
      reader: how the label file's bytes become ids: read(data, name) -> uint8 [H, W], and digest(), which identifies
        it; None for a PNG of ids.
      payload: what the reader reads, where `label_path` is one file for many images; None for the file itself.

    Raises:
      ValueError: an image id or a path of another type, an image id that names no file.
    """

    image_id: str
    image_path: str
    label_path: str | None = None
    sequence: str = ""
    reader: object | None = None
    payload: bytes | None = None

    def __post_init__(self):
        name = self.image_id
        if not isinstance(name, str) or not name or name in (".", "..") or any(c in name for c in "/\\\0"):
            raise ValueError(
                f"image id {name!r} of {self.image_path}: expected a name without / and \\, since files are named "
                "after it; join the names of folder and file with _"
            )
        try:
            object.__setattr__(self, "image_path", os.fspath(self.image_path))
            if self.label_path is not None:
                object.__setattr__(self, "label_path", os.fspath(self.label_path))
        except TypeError as error:
            raise ValueError(
                f"image {name}: expected paths of an image and a label file, got {self.image_path!r} and "
                f"{self.label_path!r}"
            ) from error

    @property
    def label_name(self) -> str | None:
        """What messages call the label: its file, and the image where the file is of many images."""
        return self.label_path if self.payload is None else f"{self.label_path}, of {self.image_path}"


@dataclasses.dataclass(frozen=True, eq=False)
class Derived:
    """An id that is not published but follows from where published pixels lie.

    Pixels of id `from_id` within a sequence's mask become `to_id`.

    Attributes:
      from_id, to_id: ids of the label table; `from_id` may be several.
      masks: sequence -> bool [H, W].
    """

    from_id: int | tuple[int, ...]
    to_id: int
    masks: dict[str, np.ndarray]

    def apply(self, ids: np.ndarray, pair: Pair) -> np.ndarray:
        """`ids` uint8 [H, W] with the derived id in place."""
        mask = self.masks.get(pair.sequence)
        if mask is None:
            return ids
        if mask.shape != ids.shape:
            raise ValueError(
                f"{pair.label_path} is {size(ids.shape)}, others of sequence {pair.sequence} are {size(mask.shape)}"
            )
        lookup = np.zeros(256, bool)
        lookup[np.atleast_1d(self.from_id)] = True
        return np.where(lookup[ids] & mask, np.uint8(self.to_id), ids)

    def digest(self, sequence: str) -> str:
        """Identifies what `apply` does to this sequence."""
        mask = self.masks.get(sequence)
        if mask is None:
            return ""
        return hashlib.sha256(f"{self.from_id} {self.to_id} {mask.shape}".encode() + mask.tobytes()).hexdigest()


def size(shape) -> str:
    """ "480x640" of (480, 640)."""
    return "x".join(str(n) for n in shape)
