"""A picture and its label map: every stroke goes into both, from the same outline."""

import math

from PIL import Image, ImageChops, ImageDraw

from street_scenes.materials import SKY

SUPERSAMPLING = 2


class Canvas:
    """A picture and its label map, at SUPERSAMPLING times the size; a label value is id + 256 * instance."""

    def __init__(self, height: int, width: int):
        self.height, self.width = height, width
        self.rgb = Image.new("RGB", (width, height))
        self.labels = Image.new("I", (width, height), SKY)
        self.instance = 0
        self._paint, self._label = ImageDraw.Draw(self.rgb), ImageDraw.Draw(self.labels)

    def poly(self, points: list, color: tuple | None, label: int | None) -> None:
        """A filled polygon; color None leaves the picture, label None the label map."""
        if color is not None:
            self._paint.polygon(points, fill=color)
        if label is not None:
            self._label.polygon(points, fill=label + 256 * self.instance)

    def line(self, points: list, width: float, color: tuple | None, label: int | None) -> None:
        # Never thinner than the label map's own pixel, or thin things would be in the picture but not in the labels.
        thick = max(SUPERSAMPLING, round(width))
        joint = "curve" if thick > 4 and len(points) > 2 else None
        if color is not None:
            self._paint.line(points, fill=color, width=thick, joint=joint)
        if label is not None:
            self._label.line(points, fill=label + 256 * self.instance, width=thick, joint=joint)

    def disc(self, x: float, y: float, rx: float, ry: float, color: tuple | None, label: int | None) -> None:
        box = (x - rx, y - ry, x + rx, y + ry)
        if color is not None:
            self._paint.ellipse(box, fill=color)
        if label is not None:
            self._label.ellipse(box, fill=label + 256 * self.instance)

    def ring(self, x: float, y: float, rx: float, ry: float, width: float, color: tuple) -> None:
        self._paint.ellipse((x - rx, y - ry, x + rx, y + ry), outline=color, width=max(1, round(width)))

    def stamp(self, corner: tuple, color: tuple, alpha: Image.Image, label: int | None) -> None:
        """Paints a colour through a soft mask; the label follows the mask at one half."""
        box = (*corner, corner[0] + alpha.width, corner[1] + alpha.height)
        self.rgb.paste(color, box, alpha)
        if label is not None:
            self.labels.paste(label + 256 * self.instance, box, _half(alpha))

    def textured(self, texture: Image.Image, quad: list, label: int | None) -> None:
        """Maps a flat texture on a quadrilateral (top left, top right, bottom right, bottom left), in perspective.

        The label fills the whole quadrilateral, also where the texture is seen through.
        """
        left = max(0, math.floor(min(p[0] for p in quad)))
        top = max(0, math.floor(min(p[1] for p in quad)))
        right = min(self.width, math.ceil(max(p[0] for p in quad)) + 1)
        bottom = min(self.height, math.ceil(max(p[1] for p in quad)) + 1)
        if right - left < 1 or bottom - top < 1:
            return
        coefficients = _to_texture([(x - left, y - top) for x, y in quad], texture.width, texture.height)
        if coefficients is None:
            return
        size = (right - left, bottom - top)
        # The mask can reach a pixel past the texture: there its corner's colour, not black.
        how = (Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
        mapped = texture.transform(size, *how, fillcolor=texture.getpixel((0, 0)))
        mask = Image.new("L", size, 0)
        ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in quad], fill=255)
        if texture.mode == "RGBA":
            alpha = ImageChops.multiply(mapped.getchannel("A"), mask)
            mapped = mapped.convert("RGB")
        else:
            alpha = mask
        self.rgb.paste(mapped, (left, top), alpha)
        if label is not None:
            self.labels.paste(label + 256 * self.instance, (left, top, right, bottom), _half(mask))


def _half(mask: Image.Image) -> Image.Image:
    """Where a soft mask is at least one half."""
    return mask.convert("1", dither=Image.Dither.NONE)


def _to_texture(quad: list, width: int, height: int) -> tuple | None:
    """The eight numbers PIL wants to map a quadrilateral back to a texture; None where it is degenerate.

    The projective map of the unit square to a quadrilateral in closed form (Heckbert 1989, section 2.2.3), inverted by
    its adjugate: plain float arithmetic, so that no linear-algebra library can change a bit.
    """
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = quad
    dx1, dx2, sx = x1 - x2, x3 - x2, x0 - x1 + x2 - x3
    dy1, dy2, sy = y1 - y2, y3 - y2, y0 - y1 + y2 - y3
    det = dx1 * dy2 - dx2 * dy1
    if abs(det) < 1e-9:
        return None
    g, h = (sx * dy2 - dx2 * sy) / det, (dx1 * sy - sx * dy1) / det
    a, b, c = x1 - x0 + g * x1, x3 - x0 + h * x3, x0
    d, e, f = y1 - y0 + g * y1, y3 - y0 + h * y3, y0
    u = (e - f * h, c * h - b, b * f - c * e)
    v = (f * g - d, a - c * g, c * d - a * f)
    w = (d * h - e * g, b * g - a * h, a * e - b * d)
    if abs(w[2]) < 1e-9:
        return None
    k = 1 / w[2]
    return (
        u[0] * k * width, u[1] * k * width, u[2] * k * width,
        v[0] * k * height, v[1] * k * height, v[2] * k * height,
        w[0] * k, w[1] * k,
    )  # fmt: skip
