"""Pictures as the bytes of requests and answers, such that a model decodes what a person sees."""

import io
import os

import numpy as np
import PIL.Image

from kseg import errors
from tfrecords import pixels


def read_image(path, bits=0):
    """A file as request bytes.

    PNG and JPEG go as they are. A picture with an EXIF orientation is turned upright first, since TensorFlow's decoder
    ignores orientation. Other formats are converted, as conversion to records does (tfrecords/pixels.py). Both are
    lossless, as PNG.

    Args:
      path: of the file.
      bits: how many of 16 bits a picture uses, as of `kseg convert-folder --bits`; 0 for all.

    Raises:
      ValueError: if Pillow cannot read the file, or nothing says how bright its pixels are.
    """
    with open(path, "rb") as file:
        contents = file.read()
    return as_request_bytes(contents, path, bits)


def as_request_bytes(contents, name="image", bits=0):
    """As `read_image`, from the bytes of a file; `name` is for the error message."""
    try:
        with PIL.Image.open(io.BytesIO(contents)) as image:
            pixels.check_depth(image, str(name), contents, bits)
            # Asking a PNG without an EXIF chunk for its EXIF would decode it whole; the chunk may follow the pixels.
            has_exif = image.format != "PNG" or b"eXIf" in contents
            upright = not has_exif or image.getexif().get(0x0112, 1) in (0, 1)  # orientation: 1 is upright, 0 undefined
            deep = bits and (image.mode.startswith("I") or contents[24:25] == b"\x10")
            if image.format in ("PNG", "JPEG") and upright and image.mode != "CMYK" and not deep:
                return contents
            turned = pixels.decode(contents, str(name), bits)
            return encode_png(turned, compress_level=1)
    except pixels.RefusedError as error:
        raise ValueError(f"{error}.") from None
    except PIL.Image.DecompressionBombError:
        most = 2 * PIL.Image.MAX_IMAGE_PIXELS
        raise ValueError(f"{name} has more pixels than can be read at once ({most}); cut it into parts.") from None
    except PIL.UnidentifiedImageError:  # its text is the address of the bytes
        raise ValueError(f"{name} is not a readable image (its format is not known).") from None
    except Exception as error:  # Pillow raises whatever its parsers meet in a damaged file, such as struct.error
        reason = errors.first_line(error).removeprefix(f"{name} cannot be decoded: ")
        raise ValueError(f"{name} is not a readable image ({reason}).") from None


def encode_png(array, **options):
    """The bytes of a PNG: uint8 [H, W] or [H, W, 3] in, `options` of Pillow's writer."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(array).save(buffer, "PNG", **options)
    return buffer.getvalue()


def decode_png(contents):
    """uint8 [H, W] from the bytes of a one-channel PNG."""
    with PIL.Image.open(io.BytesIO(contents)) as image:
        return np.array(image)


def is_image_name(name):
    """Whether a file in a folder counts as a picture, by its name."""
    return os.path.splitext(name)[1].lower() in pixels.SUFFIXES


def rgb(image):
    """uint8 [H, W, 3] of a Pillow image: what TensorFlow's decoder makes of it, 16 bits cut to their upper byte."""
    return pixels.rgb(image)
