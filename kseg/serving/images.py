"""How a picture becomes a request: the bytes that a model decodes as a person sees the picture."""

import io
import os

import numpy as np
import PIL.Image
import PIL.ImageOps


def read_image(path):
    """A file as request bytes.

    PNG and JPEG go as they are. A picture with an EXIF orientation is turned upright first, since TensorFlow's decoder
    ignores orientation, and other formats are converted; both losslessly, as PNG.

    Raises:
      ValueError: if Pillow cannot read the file.
    """
    with open(path, "rb") as file:
        contents = file.read()
    return as_request_bytes(contents, path)


def as_request_bytes(contents, name="image"):
    """As `read_image`, from the bytes of a file; `name` is for the error message."""
    try:
        with PIL.Image.open(io.BytesIO(contents)) as image:
            _check_depth(image, name)
            # Asking a PNG without an EXIF chunk for its EXIF would decode it whole.
            has_exif = image.format != "PNG" or "exif" in image.info
            upright = not has_exif or image.getexif().get(0x0112, 1) in (0, 1)  # orientation: 1 is upright, 0 undefined
            if image.format in ("PNG", "JPEG") and upright:
                return contents
            turned = PIL.ImageOps.exif_transpose(image)
            buffer = io.BytesIO()
            PIL.Image.fromarray(rgb(turned)).save(buffer, "PNG", compress_level=1)
            return buffer.getvalue()
    except _Refused as error:
        raise ValueError(str(error)) from None
    except PIL.UnidentifiedImageError:  # its text is the address of the bytes
        raise ValueError(f"{name} is not a readable image (its format is not known).") from None
    except Exception as error:  # Pillow raises whatever its parsers meet in a damaged file, such as struct.error
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{name} is not a readable image ({reason}).") from None


def is_image_name(name):
    """Whether a file in a folder counts as a picture, by its name."""
    return os.path.splitext(name)[1].lower() in (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


def rgb(image):
    """uint8 [H, W, 3] of a Pillow image: what TensorFlow's decoder makes of it, 16 bits cut to their upper byte."""
    if image.mode.startswith("I"):
        values = np.asarray(image)
        grey = (values >> 8 if values.max(initial=0) > 255 else values).astype(np.uint8)
        return np.repeat(grey[..., None], 3, -1)
    return np.asarray(image.convert("RGB"))


class _Refused(Exception):
    pass


def _check_depth(image, name):
    """Refuses pictures whose brightness nothing in the file says."""
    if image.mode == "F":
        raise _Refused(f"{name} has floating point pixels, whose scale no file says; save it with 8 or 16 bits.")
    if not image.mode.startswith("I"):
        return
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise _Refused(f"{name} has pixels from {low} to {high}; save it with 8 bits (0..255) or 16 bits (0..65535).")
    if image.mode != "I" and high < 4096:  # the decoder keeps the upper byte: at most 15 of 255 would be left
        raise _Refused(
            f"{name} has 16 bits but no pixel over {high}, as 10- and 12-bit cameras store them; it would be seen as "
            "black. Multiply its pixels so that they fill 0..65535."
        )
