"""Pictures of images, label maps and scores: arrays in, pictures out.

Answers how a class map looks in colour, over its image, beside others, with titles and a legend. It knows label tables,
NumPy and Pillow; it reads no data set, runs no model and draws no charts.

Everywhere: classes in the table's colours, plain; "no class" (index K) as a magenta and dark hatch; 255, what nothing
is said about, in mid grey.
"""

import os

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfrecords import files
from tfrecords.labels import IGNORE_LABEL

GREY = (112, 112, 112)  # 255; CamVid draws its sky in 128
HATCH = ((255, 0, 255), (70, 0, 70))  # index K: its stripes
HATCH_PX = 4  # width of a stripe
PAPER, INK = (255, 255, 255), (24, 24, 24)
FONT_PX = 14
BAND_PX = 1 << 16  # of what is drawn at once, times twice the stripe
# A dark-to-bright scale whose lightness rises throughout, so that it also reads in grey.
HEAT = ((0, 0, 4), (60, 15, 110), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191))


def colorize(class_map: np.ndarray, table) -> np.ndarray:
    """A class map in colour.

    Args:
      class_map: integers [H, W]: 0..K-1, K = no class, 255 = nothing said.
      table: a tfrecords.labels.LabelTable.

    Returns:
      uint8 [H, W, 3].

    Raises:
      ValueError: wrong shape, or a value that is none of these.
    """
    class_map = _checked_map(class_map, table)
    colors = np.full((256, 3), GREY, np.uint8)
    colors[: table.num_classes] = table.class_colors
    picture = colors[class_map]
    void = class_map == table.num_classes
    if void.any():
        rows, columns = (index % (2 * HATCH_PX) for index in np.indices(class_map.shape, sparse=True))
        stripe = ((rows + columns) // HATCH_PX % 2).astype(np.uint8)
        picture[void] = np.array(HATCH, np.uint8)[stripe[void]]
    return picture


def overlay(image: np.ndarray, class_map: np.ndarray, table, alpha: float = 0.6) -> np.ndarray:
    """A class map in colour over its image.

    Args:
      image: uint8 [H, W, 3].
      class_map: as in `colorize`, of the same H and W.
      table: a tfrecords.labels.LabelTable.
      alpha: share of the colour, 0..1; the image keeps the rest.

    Returns:
      uint8 [H, W, 3].
    """
    image, class_map = _checked_image(image), np.asarray(class_map)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha {alpha}: expected 0 to 1")
    if class_map.shape != image.shape[:2]:
        class_map = _checked_map(class_map, table)
        raise ValueError(f"class map is {_size(class_map)} but its image is {_size(image)}; expected the same size")
    picture = np.empty_like(image)
    # In bands, since floats of a whole picture take sixteen times its memory; each begins where the hatch does.
    height = max(BAND_PX // max(image.shape[1], 1), 1) * 2 * HATCH_PX
    for top in range(0, image.shape[0], height):
        band = slice(top, top + height)
        picture[band] = _mix(image[band], colorize(class_map[band], table), alpha)
    return picture


def legend(table, width: int, font_px: int = FONT_PX, extra: tuple = ()) -> np.ndarray:
    """What the colours mean: a swatch and a name per class, then "no class" and "ignored", in as many columns as fit.

    Args:
      table: a tfrecords.labels.LabelTable.
      width: px.
      font_px: size of the text.
      extra: further entries, (uint8 [h, w, 3] swatch, text).

    Returns:
      uint8 [H, width, 3].
    """
    side = font_px + 2
    values = [*range(table.num_classes), table.num_classes, IGNORE_LABEL]
    names = [*table.class_names, "no class (void)", "ignored"]
    entries = [(colorize(np.full((side, 2 * side), value), table), name) for value, name in zip(values, names)]
    entries += [(_fit(swatch, side, 2 * side), text) for swatch, text in extra]
    font = ImageFont.load_default(font_px)
    gap = font_px // 2
    cell = 2 * side + 3 * gap + max(int(font.getlength(text)) for _, text in entries)
    columns = max(1, min(len(entries), width // cell))
    lines = -(-len(entries) // columns)
    paper = Image.new("RGB", (width, lines * (side + gap) + gap), PAPER)
    pen = ImageDraw.Draw(paper)
    for i, (swatch, text) in enumerate(entries):
        column, line = divmod(i, lines)
        x, y = gap + column * (width // columns), gap + line * (side + gap)
        paper.paste(Image.fromarray(swatch), (x, y))
        pen.rectangle((x, y, x + 2 * side - 1, y + side - 1), outline=INK)
        pen.text((x + 2 * side + gap, y + side / 2), text, fill=INK, font=font, anchor="lm")
    return np.asarray(paper)


def heat_map(score: np.ndarray, image: np.ndarray | None = None, low=None, high=None) -> np.ndarray:
    """A score from dark (low) to bright (high).

    Args:
      score: float [H, W]; infinities are drawn as the ends of the scale, NaN in mid grey.
      image: uint8 [H, W, 3] to show through in grey, at one half.
      low, high: the ends of the scale; None = the least and greatest finite score.

    Returns:
      uint8 [H, W, 3].
    """
    score = np.asarray(score, np.float64)
    if score.ndim != 2:
        raise ValueError(f"score has shape {score.shape}; expected [H, W]")
    finite = score[np.isfinite(score)]
    low = low if low is not None else (float(finite.min()) if finite.size else 0.0)
    high = high if high is not None else (float(finite.max()) if finite.size else 1.0)
    missing = np.isnan(score)
    place = (np.clip(np.where(missing, low, score), low, high) - low) / ((high - low) or 1.0)
    anchors = np.linspace(0, 1, len(HEAT))
    picture = np.stack([np.interp(place, anchors, channel) for channel in zip(*HEAT)], -1)
    picture[missing] = GREY
    picture = np.round(picture).astype(np.uint8)
    if image is None:
        return picture
    image = _checked_image(image)
    if image.shape != picture.shape:
        raise ValueError(f"score is {_size(picture)} but its image is {_size(image)}; expected the same size")
    grey = np.asarray(Image.fromarray(image).convert("L"))
    return _mix(np.repeat(grey[:, :, None], 3, 2), picture, 0.5)


def grid(rows, column_titles=None, row_titles=None, gap: int = 6, font_px: int = FONT_PX) -> np.ndarray:
    """Pictures in rows and columns, with titles.

    Args:
      rows: list of rows, each a list of uint8 [h, w, 3] or None (left blank). Columns are as wide as their widest.
      column_titles: one text per column, above.
      row_titles: one text per row, above the row's pictures, from the left.
      gap: px between pictures and around all.
      font_px: size of the text.

    Returns:
      uint8 [H, W, 3].
    """
    rows = [[None if cell is None else _checked_image(cell) for cell in row] for row in rows]
    count = max((len(row) for row in rows), default=0)
    if not count:
        raise ValueError("a grid without pictures; expected at least one")
    for name, titles, expected in (("column", column_titles, count), ("row", row_titles, len(rows))):
        if titles is not None and len(titles) != expected:
            raise ValueError(f"{len(titles)} {name} titles for {expected} {name}s; expected one each")
    widths = [max((r[c].shape[1] for r in rows if c < len(r) and r[c] is not None), default=0) for c in range(count)]
    heights = [max((cell.shape[0] for cell in row if cell is not None), default=0) for row in rows]
    line = font_px + font_px // 2
    font = ImageFont.load_default(font_px)
    width = gap + sum(w + gap for w in widths)
    height = gap + sum(h + gap for h in heights)
    height += line * ((column_titles is not None) + len(rows) * (row_titles is not None))
    paper = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(paper)
    lefts = [gap + sum(w + gap for w in widths[:c]) for c in range(count)]
    y = gap
    if column_titles is not None:
        for x, w, title in zip(lefts, widths, column_titles):
            pen.text((x + w / 2, y + line / 2), title, fill=INK, font=font, anchor="mm")
        y += line
    for i, row in enumerate(rows):
        if row_titles is not None:
            pen.text((gap, y + line / 2), row_titles[i], fill=INK, font=font, anchor="lm")
            y += line
        for x, cell in zip(lefts, row):
            if cell is not None:
                paper.paste(Image.fromarray(cell), (x, y))
        y += heights[i] + gap
    return np.asarray(paper)


def comparison(images, truths, predictions: dict, table, outlines=None, cell_width: int = 400) -> np.ndarray:
    """Models side by side on the same scenes: what each makes of the pixels that are no class.

    One row per scene: image, truth, then each model's prediction, with true void outlined in white and, beneath, the
    share of it that is claimed as a class. A legend below.

    Args:
      images: list of uint8 [H, W, 3].
      truths: list of class maps under the encoding "background" (void = K).
      predictions: {title: list of class maps}, columns in this order.
      table: a tfrecords.labels.LabelTable.
      outlines: list of bool [H, W]: the void to outline and to count; None = all true void.
      cell_width: px of one picture. Maps are enlarged or reduced to it without new colours.

    Returns:
      uint8 [H, W, 3].

    Raises:
      ValueError: where a list is not as long as `images`, or sizes differ within a scene.
    """
    for name, maps in (("truths", truths), *predictions.items(), ("outlines", outlines)):
        if maps is not None and len(maps) != len(images):
            raise ValueError(f"{name} has {len(maps)} maps for {len(images)} images; expected one each")
    rows = []
    for i, image in enumerate(images):
        image, truth = _checked_image(image), _checked_map(truths[i], table)
        void = np.asarray(outlines[i], bool) if outlines is not None else truth == table.num_classes
        maps = [truth, *(_checked_map(maps[i], table) for maps in predictions.values())]
        for other in (void, *maps):
            if other.shape != image.shape[:2]:
                raise ValueError(f"scene {i}: a map is {_size(other)} but its image is {_size(image)}")
        height = max(1, round(image.shape[0] * cell_width / image.shape[1]))
        outline = _outline(_fit(void, height, cell_width))
        row = [
            _captioned(np.asarray(Image.fromarray(image).resize((cell_width, height), Image.Resampling.BICUBIC)), "")
        ]
        for number, class_map in enumerate(maps):
            cell = colorize(_fit(class_map, height, cell_width), table)
            cell[outline] = PAPER
            caption = "" if number == 0 else _claim(class_map, void, table)
            row.append(_captioned(cell, caption))
        rows.append(row)
    sheet = grid(rows, ["image", "truth", *predictions])
    mark = np.full((16, 32, 3), GREY, np.uint8)
    mark[_outline(np.pad(np.ones((8, 22), bool), ((4, 4), (5, 5))))] = PAPER
    below = legend(table, sheet.shape[1], extra=((mark, "outline of true void"),))
    return np.concatenate([sheet, below])


def save_png(path: str | os.PathLike, picture: np.ndarray) -> None:
    """Writes a picture, uint8 [H, W, 3] or [H, W], as PNG: whole or not at all."""
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or (picture.ndim != 2 and (picture.ndim != 3 or picture.shape[2] != 3)):
        raise ValueError(f"{path}: a picture is uint8 [H, W] or [H, W, 3], not {picture.dtype} {picture.shape}")
    files.write_whole(path, lambda file: Image.fromarray(picture).save(file, format="PNG"))


def _checked_map(class_map: np.ndarray, table) -> np.ndarray:
    class_map = np.asarray(class_map)
    if class_map.ndim != 2 or class_map.dtype.kind not in "ui":
        raise ValueError(f"class map is {class_map.dtype} {class_map.shape}; expected integers [H, W]")
    wrong = (class_map != IGNORE_LABEL) & ((class_map < 0) | (class_map > table.num_classes))
    if wrong.any():
        expected = f"0..{table.num_classes} or {IGNORE_LABEL}"
        raise ValueError(f"class map has the value {class_map[wrong][0]}; expected {expected} (published ids?)")
    return class_map.astype(np.uint8)


def _checked_image(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image is {image.dtype} {image.shape}; expected uint8 [H, W, 3]")
    return image


def _size(array: np.ndarray) -> str:
    return f"{array.shape[0]}x{array.shape[1]}"


def _mix(below: np.ndarray, above: np.ndarray, alpha: float) -> np.ndarray:
    return np.round(below * (1 - alpha) + above * float(alpha)).astype(np.uint8)


def _fit(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """Nearest-neighbour resize: no value that was not there."""
    rows = (np.arange(height) * 2 + 1) * array.shape[0] // (2 * height)
    columns = (np.arange(width) * 2 + 1) * array.shape[1] // (2 * width)
    return array[rows[:, None], columns[None, :]]


def _outline(mask: np.ndarray) -> np.ndarray:
    """The two-pixel edge of a region, inside it; the picture's own border is no edge."""
    padded = np.pad(mask, 2, mode="edge")
    inside = mask.copy()
    height, width = mask.shape
    for row in range(5):
        for column in range(5):
            inside &= padded[row : row + height, column : column + width]
    return mask & ~inside


def _claim(class_map: np.ndarray, void: np.ndarray, table) -> str:
    void = void & (class_map != IGNORE_LABEL)
    if not void.any():
        return "no void here"
    return f"{100 * np.mean(class_map[void] != table.num_classes):.0f} % of outlined void called a class"


def _captioned(picture: np.ndarray, text: str) -> np.ndarray:
    strip = Image.new("RGB", (picture.shape[1], FONT_PX + 6), PAPER)
    font = ImageFont.load_default(FONT_PX)
    ImageDraw.Draw(strip).text((picture.shape[1] / 2, strip.height / 2), text, fill=INK, font=font, anchor="mm")
    return np.concatenate([picture, np.asarray(strip)])
