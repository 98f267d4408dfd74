"""One example <-> bytes: the only file that knows the feature keys.

`encode` and `decode` are plain Python, so that converter processes and readers need no TensorFlow. The bytes are those
of a `tf.train.Example` with its features in rising order of key. `parse` is the same decoding as TensorFlow ops.
"""

import dataclasses

_IMAGE = "image/encoded"
_FORMAT = "image/format"
_HEIGHT = "image/height"
_WIDTH = "image/width"
_ID = "image/id"
_IDS = "label/ids/encoded"
_IGNORE = "label/ignore/encoded"
_BACKGROUND = "label/background/encoded"
_BYTES_KEYS = {
    "image_encoded": _IMAGE,
    "image_format": _FORMAT,
    "image_id": _ID,
    "ids_png": _IDS,
    "ignore_png": _IGNORE,
    "background_png": _BACKGROUND,
}
_INT_KEYS = {"height": _HEIGHT, "width": _WIDTH}


@dataclasses.dataclass(frozen=True)
class Example:
    """One image and its label maps, as stored.

    Attributes:
      image_id: such as "frankfurt_000000_000294".
      image_encoded: PNG or JPEG bytes.
      image_format: "png" or "jpeg".
      height, width: px.
      ids_png: PNG of the published ids; b"" where the split has no labels, as the next two.
      ignore_png: PNG of 0..K-1, and 255 for void.
      background_png: PNG of 0..K-1, and K for void.
    """

    image_id: str
    image_encoded: bytes
    image_format: str
    height: int
    width: int
    ids_png: bytes = b""
    ignore_png: bytes = b""
    background_png: bytes = b""


def encode(example: Example) -> bytes:
    """The serialized tf.train.Example; features that are empty are left out, the others are sorted by key."""
    features = {}
    for field, key in _BYTES_KEYS.items():
        value = getattr(example, field)
        value = value.encode() if isinstance(value, str) else value
        if value:
            features[key] = _field(1, _field(1, [value]))  # Feature.bytes_list.value
    for field, key in _INT_KEYS.items():
        # Feature.int64_list.value, packed.
        features[key] = _field(3, _field(1, [_varint(getattr(example, field))]))
    entries = [_field(1, _field(1, [key.encode()]) + _field(2, features[key])) for key in sorted(features)]
    return b"".join(_field(1, [part for entry in entries for part in entry]))


def decode(serialized: bytes, name: str = "record") -> Example:
    """The example in `serialized`.

    Args:
      serialized: a tf.train.Example.
      name: what to call it in messages.

    Raises:
      ValueError: not a tf.train.Example, or one that lacks the features of FORMAT.md.
    """
    try:
        features = _features(memoryview(serialized))
        values = {field: features.get(key, b"") for field, key in _BYTES_KEYS.items()}
        values |= {field: features[key] for field, key in _INT_KEYS.items()}
        if not all(isinstance(values[field], bytes) for field in _BYTES_KEYS):
            raise ValueError("a feature has the wrong type")
        if not all(isinstance(values[field], int) for field in _INT_KEYS):
            raise ValueError("a feature has the wrong type")
        values |= {field: values[field].decode() for field in ("image_id", "image_format")}
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError(f"{name} is not an example as FORMAT.md describes it: {error}") from error
    if not values["image_encoded"] or not values["image_id"]:
        raise ValueError(f"{name} has no image or no image id")
    if len({bool(values[field]) for field in ("ids_png", "ignore_png", "background_png")}) != 1:
        raise ValueError(f"{name} has some of its three label maps but not all")
    return Example(**values)


def parse(serialized):
    """One example as TensorFlow tensors.

    Args:
      serialized: string scalar.

    Returns:
      dict of scalars: image_encoded, image_format, image_id, ids_png, ignore_png, background_png (strings, the
      last three "" where the split has no labels), height, width (int64, px).
    """
    import tensorflow as tf

    description = {
        key: tf.io.FixedLenFeature((), tf.string, "" if key in (_IDS, _IGNORE, _BACKGROUND) else None)
        for key in _BYTES_KEYS.values()
    } | {key: tf.io.FixedLenFeature((), tf.int64) for key in _INT_KEYS.values()}
    parsed = tf.io.parse_single_example(serialized, description)
    return {field: parsed[key] for field, key in (_BYTES_KEYS | _INT_KEYS).items()}


# The part of protocol buffers' wire format that tf.train.Example uses: field number and wire type in one varint
# (wire type 2 = length and bytes, 0 = varint, 5 = 4 bytes, 1 = 8 bytes).


def _varint(value: int) -> bytes:
    if value <= 0x7F:  # most of them
        return bytes((value,))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, parts: list[bytes]) -> list[bytes]:
    """A field of these bytes, as parts too: the image lies five fields deep and is copied once, at the end."""
    return [_varint(number << 3 | 2) + _varint(sum(map(len, parts))), *parts]


def _read_varint(view: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
        if shift > 63:
            raise ValueError("a number is longer than 10 bytes")


def _fields(view: memoryview):
    """Yields (field number, value): a memoryview for wire type 2, an int for wire type 0, None for fixed widths."""
    position = 0
    while position < len(view):
        tag, position = _read_varint(view, position)
        wire_type = tag & 7
        if wire_type == 0:
            value, position = _read_varint(view, position)
        elif wire_type == 2:
            length, position = _read_varint(view, position)
            value, position = view[position : position + length], position + length
        elif wire_type in (1, 5):
            value, position = None, position + (8 if wire_type == 1 else 4)
        else:
            raise ValueError(f"wire type {wire_type}")
        if position > len(view):
            raise ValueError("it ends in the middle of a field")
        yield tag >> 3, value


def _features(view: memoryview) -> dict[str, bytes | int]:
    """Key -> the one value of each feature that has exactly one; other features are left out."""
    found = {}
    for features in _messages(view, 1):
        for entry in _messages(features, 1):
            key, feature = b"", memoryview(b"")
            for number, value in _fields(entry):
                if number == 1 and isinstance(value, memoryview):
                    key = bytes(value)
                elif number == 2 and isinstance(value, memoryview):
                    feature = value
            values = [bytes(v) for bytes_list in _messages(feature, 1) for v in _messages(bytes_list, 1)]
            values += [n for int_list in _messages(feature, 3) for n in _integers(int_list)]
            if len(values) == 1:
                found[key.decode()] = values[0]
    return found


def _messages(view: memoryview, field: int):
    return (value for number, value in _fields(view) if number == field and isinstance(value, memoryview))


def _integers(view: memoryview):
    """The values of an Int64List, packed or one by one; two's complement, as the wire has it."""
    for number, value in _fields(view):
        if number != 1 or value is None:
            continue
        packed = memoryview(_varint(value)) if isinstance(value, int) else value
        position = 0
        while position < len(packed):
            raw, position = _read_varint(packed, position)
            yield raw - 2**64 if raw >= 2**63 else raw
