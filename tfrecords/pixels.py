"""A picture file of any usual kind -> upright RGB of 8 bits: the one reading that training and serving share.

PNG and JPEG of 8 bits that stand upright need nothing done to them (`look` tells, without decoding a pixel). Else:

    EXIF orientation   applied, so that the picture is as a viewer shows it
    grey, CMYK, alpha  made RGB, as a decoder does with grey PNG and JPEG; alpha is dropped
    16 bits            the upper byte, as TensorFlow's decoder takes it; `bits` says where a camera's lower bits begin
    floating point     refused: no file says what its white is

Imports no TensorFlow.
"""

import io
import struct

import numpy as np
from PIL import Image, ImageOps

from tfrecords import errors, images, png, png16
from tfrecords.png import Header

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
BITS = (0, 8, 10, 12, 14, 16)  # 0: 16 bits are full, and refused where they look like a camera's 10 or 12
_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")
_ORIENTATION, _BITS_PER_SAMPLE = 0x0112, 258
# Bits per channel and the name of the channels, of Pillow's modes.
_MODES = {"1": (1, "grey"), "L": (8, "grey"), "I;16": (16, "grey"), "I;16B": (16, "grey"), "I;16L": (16, "grey")}
_MODES |= {"I": (32, "grey"), "F": (32, "floating point"), "LA": (8, "grey with alpha"), "P": (8, "palette")}
_MODES |= {"RGB": (8, "RGB"), "RGBA": (8, "RGB with alpha"), "RGBX": (8, "RGB with alpha"), "CMYK": (8, "CMYK")}


def look(data: bytes, name: str) -> tuple[Header, int]:
    """What a picture's file says: its header (size as stored), and its EXIF orientation (1: upright).

    Checks PNG and JPEG as images.check does, but that a JPEG may be CMYK.

    Args:
      data: the file's bytes.
      name: what to call it in messages.

    Raises:
      ValueError: none of PNG, JPEG, TIFF, WebP and BMP, damaged, several pictures in one file, or too large.
    """
    if data[:8] == png.SIGNATURE:
        header = images.check(data, name)
        return header, _orientation(data, name) if _has_exif_chunk(data) else 1
    if data[:2] == b"\xff\xd8":
        header = images.check(data, name, cmyk=True)
        head = data[: _scan_begins(data)]  # searching all of it takes as long as checking it
        marked = b"Exif\0\0" in head or b"tiff:Orientation" in head
        return header, _orientation(data, name) if marked else 1
    if not data or not _known(data):
        images.check(data, name)  # says what it is not
    with _opened(data, name) as picture:
        if getattr(picture, "n_frames", 1) != 1:
            raise ValueError(f"{name} holds {picture.n_frames} pictures; expected one")
        depth, color = _MODES.get(picture.mode, (8, picture.mode))
        depth = 16 if _is_wide_tiff(picture) else depth
        turn = orientation(picture)
        width, height = picture.size
        if picture.format == "TIFF" and turn in (5, 6, 7, 8):  # Pillow gives the size that it will turn it to
            height, width = width, height
        images.check_size(height, width, name)
        return Header(picture.format.lower(), height, width, depth, color), turn


def is_plain(header: Header, orientation: int) -> bool:
    """Whether a picture needs nothing done to it: PNG or JPEG, upright, 8 bits, of which decoders make RGB."""
    return header.format in ("png", "jpeg") and orientation == 1 and header.bit_depth <= 8 and header.color != "CMYK"


def decode(data: bytes, name: str, bits: int = 0) -> np.ndarray:
    """A picture as a viewer shows it: uint8 [H, W, 3].

    Args:
      data: the file's bytes.
      name: what to call it in messages.
      bits: of a 16-bit picture, how many of its lower bits are used (one of `BITS`); 0: all 16.

    Raises:
      ValueError: as of `look`; it cannot be decoded; the brightness of its pixels is not known, see `check_depth`.
    """
    header, orientation = look(data, name)
    if header.format == "png":
        png.check_pixels(data, name)
        if header.bit_depth == 16 and bits and header.color != "grey":  # Pillow gives upper bytes alone
            wide = png16.decode(data, name)
            wide = wide[..., :3] if wide.shape[-1] > 2 else np.repeat(wide[..., :1], 3, -1)
            return _turned(_scaled(wide, name, bits), orientation)
    elif header.bit_depth == 16 and bits and header.color != "grey":
        raise RefusedError(
            f"{name} is a {header.format.upper()} of 16-bit colour, whose lower bits cannot be read; save it as PNG"
        )
    with _opened(data, name) as picture:
        try:
            picture.load()
            check_depth(picture, name, data, bits)
            # A TIFF, Pillow has turned while it loaded it.
            return _turned(rgb(picture, name, bits), 1 if header.format == "tiff" else orientation)
        except (MemoryError, RefusedError):
            raise
        except Exception as error:  # Pillow raises whatever its parsers meet
            raise ValueError(f"{name} cannot be decoded: {errors.one_line(error)}") from error


class RefusedError(ValueError):
    """The picture is whole, but how bright its pixels are, nothing in the file says."""


def check_depth(picture: Image.Image, name: str, data: bytes = b"", bits: int = 0) -> None:
    """Refuses pictures that would come out black or white.

    Args:
      picture: of Pillow, loaded.
      name: what to call it in messages.
      data: its file's bytes: of 16-bit colour Pillow does not say that it is 16-bit.
      bits: as in `decode`.

    Raises:
      RefusedError: floating point; whole numbers beyond 16 bits; 16 bits of which only the lower 12 are used, or
        more of them than `bits` says.
    """
    if picture.mode == "F":
        raise RefusedError(f"{name} has floating point pixels, whose scale no file says; save it with 8 or 16 bits")
    # 16 bits of which Pillow gives the upper bytes alone.
    wide_png = data[:8] == png.SIGNATURE and data[24] == 16 and not picture.mode.startswith("I")
    if wide_png or _is_wide_tiff(picture):
        high = int(np.asarray(picture.convert("RGB")).max(initial=0)) << 8 | 255  # at most this
    elif picture.mode.startswith("I"):
        values = np.asarray(picture)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise RefusedError(
                f"{name} has pixels from {low} to {high}; save it with 8 bits (0..255) or 16 bits (0..65535)"
            )
        if picture.mode == "I" and high <= 255:  # 8 bits in a wide type
            return
    else:
        return
    if not bits and high < 4096:
        used = 10 if high < 1024 else 12
        raise RefusedError(
            f"{name} has 16 bits but no pixel over {high}, as 10- and 12-bit cameras store them; it would become "
            f"black. --bits={used} reads it as {used} bits"
        )


def rgb(picture: Image.Image, name: str = "", bits: int = 0) -> np.ndarray:
    """uint8 [H, W, 3] of a Pillow picture as stored: what TensorFlow's decoder makes of it."""
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        eight = picture.mode == "I" and values.max(initial=0) <= 255
        grey = values.astype(np.uint8) if eight else _scaled(values, name, bits)
        return np.repeat(grey[..., None], 3, -1)
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))  # no second copy of a large one


def _scaled(values: np.ndarray, name: str, bits: int) -> np.ndarray:
    """The upper 8 of `bits` bits: uint8."""
    if bits and values.max(initial=0) >= 2**bits:
        raise RefusedError(f"{name} has a pixel of {values.max()}, which is more than --bits={bits} can hold")
    return (values >> ((bits or 16) - 8)).astype(np.uint8)


def _turned(array: np.ndarray, orientation: int) -> np.ndarray:
    if orientation == 1:
        return array
    picture = Image.fromarray(array)
    picture.getexif()[_ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(picture))


def _is_wide_tiff(picture: Image.Image) -> bool:
    bits = picture.tag_v2.get(_BITS_PER_SAMPLE, ()) if picture.format == "TIFF" else ()
    return len(bits) > 1 and max(bits) == 16


def orientation(picture: Image.Image) -> int:
    """EXIF's of an open picture, 1 to 8; EXIF that nobody can read turns nothing, for any viewer."""
    try:
        found = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow raises whatever its parser meets
        return 1
    return found if found in range(2, 9) else 1


def _orientation(data: bytes, name: str) -> int:
    with _opened(data, name) as picture:
        return orientation(picture)


def _opened(data: bytes, name: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=_FORMATS)
    except MemoryError:
        raise
    except Exception as error:
        reason = "its format is not known" if isinstance(error, OSError) else errors.one_line(error)
        raise ValueError(f"{name} cannot be decoded: {reason}") from error


def _known(data: bytes) -> bool:
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") or data[:2] == b"BM" or data[8:12] == b"WEBP"


def _scan_begins(data: bytes) -> int:
    """Where a JPEG's first scan begins, of one that images.check has passed."""
    position = 2
    while data[position + 1] != 0xDA:
        # A fill byte, or a segment and its length.
        position += 1 if data[position + 1] == 0xFF else 2 + struct.unpack_from(">H", data, position + 2)[0]
    return position


def _has_exif_chunk(data: bytes) -> bool:
    position = 8
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"eXIf":
            return True
        position += 12 + length
    return False
