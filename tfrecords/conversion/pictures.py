"""What becomes of a picture's file in a record: its bytes as they are, or the upright RGB of 8 bits that it shows.

PNG and JPEG that need nothing keep their bytes. Whatever else is done to a picture has a name, by which it is counted.
"""

import io
import os

import numpy as np
from PIL import Image, JpegImagePlugin

from tfrecords import images, pixels
from tfrecords.png import Header

FORMATS = ("auto", "png", "jpeg")
_JPEG_SUFFIXES = (".jpg", ".jpeg")
_TURNED = "turned upright by EXIF orientation"
_SWAPPED = (5, 6, 7, 8)  # orientations that exchange height and width


def auto_format(paths) -> str:
    """The format that keeps the bytes of these pictures, or loses nothing: "jpeg" where all are JPEG, else "png".

    CMYK is looked for in the first: pictures that are all CMYK would lose by becoming JPEG again.
    """
    paths = sorted(paths)
    if {os.path.splitext(path)[1].lower() for path in paths} - {*_JPEG_SUFFIXES}:
        return "png"
    try:
        header, _ = pixels.look(images.read_file(paths[0]), paths[0])
    except (ValueError, OSError, IndexError):  # it is told where its turn comes
        return "jpeg"
    return "png" if header.color == "CMYK" else "jpeg"


def stored(data: bytes, name: str, looked, image_format: str, quality: int, bits: int, from_jpeg: bool, full: bool):
    """A record's picture.

    Args:
      data: the file's bytes.
      name: what to call it in messages.
      looked: what pixels.look says of it.
      image_format: "png" or "jpeg", that of all records of a folder.
      quality: of a JPEG that is made of another format.
      bits: as in pixels.decode.
      from_jpeg: make PNG of JPEG, where `image_format` is "png", rather than refuse it.
      full: decode every pixel, where bytes are kept.

    Returns:
      (bytes, Header of the file with the upright size, EXIF orientation, names of what was done).

    Raises:
      ValueError: as of pixels.decode, and where the format cannot hold the picture.
    """
    header, orientation = looked
    if pixels.is_plain(header, orientation) and header.format == image_format:
        if full:
            images.decode_fully(data, name)
        return data, header, orientation, ()
    upright = Header(header.format, *_upright_size(header, orientation), header.bit_depth, header.color)
    if image_format == "png" and header.format == "jpeg" and not from_jpeg:
        raise ValueError(f"{name} is a jpeg; convert with --image_format=jpeg")
    if image_format == "jpeg" and header.bit_depth == 16 and not bits:
        raise ValueError(
            f"{name} has {header.bit_depth} bits per channel, which JPEG cannot hold; convert with "
            "--image_format=png, or make it 8-bit first"
        )
    array = pixels.decode(data, name, bits)
    done = [_TURNED] if orientation != 1 else []
    if image_format == "png":
        encoded = images.encode_png(array)
    elif header.format == "jpeg" and header.color != "CMYK":  # it is only turned
        return _jpeg_again(data, array, orientation), upright, orientation, (f"{_TURNED}, and encoded as before",)
    else:
        encoded = images.encode_jpeg(array, quality)
    if not pixels.is_plain(header, 1) or header.format != image_format:
        done.append(_transcoded(header, image_format, quality))
    return encoded, upright, orientation, tuple(done)


def treatment(header: Header, orientation: int, bits: int) -> str:
    """Identifies what is done to a picture beyond what the folder's format says; "" where nothing is."""
    if pixels.is_plain(header, orientation):
        return ""
    return f"{header.format} {header.bit_depth} {header.color} {orientation} {bits}"


def _upright_size(header: Header, orientation: int) -> tuple[int, int]:
    return (header.width, header.height) if orientation in _SWAPPED else (header.height, header.width)


def _transcoded(header: Header, image_format: str, quality: int) -> str:
    kind = {"png": "PNG", "jpeg": "JPEG", "tiff": "TIFF", "webp": "WebP", "bmp": "BMP"}[header.format]
    if header.bit_depth > 8:
        kind = f"{header.bit_depth}-bit {kind}"
    elif header.color in ("grey", "CMYK", "grey with alpha"):
        kind = f"{header.color} {kind}"
    if image_format == "jpeg":
        return f"transcoded from {kind} to JPEG of quality {quality}"
    if kind == "JPEG":
        return "transcoded from JPEG to PNG, without loss (--image_format=jpeg keeps their bytes)"
    loss = "without loss" if header.bit_depth <= 8 else "upper 8 bits"
    return f"transcoded from {kind} to PNG, {loss}"


def _jpeg_again(data: bytes, array: np.ndarray, orientation: int) -> bytes:
    """A turned picture in the file's own quantization and sampling of colour, which has rounded all of it before."""
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as source:
        tables = [np.reshape(table, (8, 8)) for _, table in sorted(source.quantization.items())]
        sampling = JpegImagePlugin.get_sampling(source)
        grey = source.mode == "L"
    if orientation in _SWAPPED:
        tables = [table.T for table in tables]
    picture = Image.fromarray(array).convert("L") if grey else Image.fromarray(array)
    # 4:2:2 on its side is 4:4:0, which Pillow cannot write; -1 is what it does not know.
    sampling = 0 if sampling == 1 and orientation in _SWAPPED else 2 if sampling == -1 else sampling
    buffer = io.BytesIO()
    options = {} if grey else {"subsampling": sampling}
    picture.save(buffer, "JPEG", qtables=[table.reshape(-1).tolist() for table in tables], **options)
    return buffer.getvalue()
