"""What a folder of records holds.

    kseg inspect-records --records_dir=R [--verify] [--report=HTML] [--contact_sheet=PNG]

Prints splits, sizes, and the share of pixels of each class, each kind of void and each void id. --verify reads
everything: checksums, offsets, every record, and that all label maps follow from the published ids; it exits 1 at the
first thing that is wrong. --report decodes every picture and writes one page that says what is suspicious. That is ids
in under three images, labels that do not lie on the pictures' edges, and splits that share sequences or pictures.
--contact_sheet draws images beside their labels, void coloured by its kind.
"""

import os
import sys

import numpy as np
from absl import flags
from PIL import Image, ImageDraw

import tfrecords
from tfrecords import files, images
from tfrecords.conversion import verify
from tfrecords.review import pictures, review

_RECORDS_DIR = flags.DEFINE_string("records_dir", None, "Folder of records.")
_VERIFY = flags.DEFINE_bool("verify", False, "Read and check every byte.")
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers", 0, "Processes of --verify and --report; 0 = one per core.", lower_bound=0
)
_REPORT = flags.DEFINE_string("report", "", "HTML page to write: classes, void, pictures, and what is suspicious.")
_CONTACT_SHEET = flags.DEFINE_string("contact_sheet", "", "PNG to write.")
_CONTACT_IMAGES = flags.DEFINE_integer("contact_images", 6, "Images per split on the contact sheet.", lower_bound=1)

_TILE_WIDTH, _TEXT_HEIGHT, _COLUMNS = 320, 14, 3


def main(argv):
    if len(argv) > 1:
        sys.exit(f"error: unexpected argument {argv[1]!r}; options are --name=value (see --help)")
    if not _RECORDS_DIR.value:  # "" would mean the current folder
        sys.exit("error: --records_dir is missing or empty; see --help")
    try:
        review.check_path(_REPORT.value, _RECORDS_DIR.value)
        if _CONTACT_SHEET.value:
            files.check_file(_CONTACT_SHEET.value, "--contact_sheet")
        manifest = tfrecords.info(_RECORDS_DIR.value)
        print(describe(manifest))
        if _VERIFY.value:
            verify.check(_RECORDS_DIR.value, _NUM_WORKERS.value, progress=True)
            print("verified: checksums, offsets, every record, and label maps against ids")
        if _REPORT.value:
            review.review(_RECORDS_DIR.value, _REPORT.value, _NUM_WORKERS.value, progress=True, table=False)
        if _CONTACT_SHEET.value:
            sheet = contact_sheet(manifest, _CONTACT_IMAGES.value)
            os.makedirs(os.path.dirname(os.path.abspath(_CONTACT_SHEET.value)), exist_ok=True)
            files.write_whole(_CONTACT_SHEET.value, lambda file: sheet.save(file, "PNG"))
            print(f"wrote {_CONTACT_SHEET.value}")
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


def describe(manifest: tfrecords.Manifest) -> str:
    """The summary, several lines."""
    # Which of them were JPEG before, the records do not say.
    bytes_ = (
        "" if manifest.jpeg_quality == 0 else f" (JPEG files as they were, others at quality {manifest.jpeg_quality})"
    )
    table = manifest.full_table
    lines = [
        f"{manifest.records_dir}: {table.name}, {table.num_classes} classes, {len(table.void_labels)} void ids; "
        f"{manifest.image_format} images{bytes_}",
        "",
        f"{'split':<14}{'examples':>9}{'shards':>8}{'MiB':>10}{'first image':>13}  labels",
    ]
    for split in manifest.splits.values():
        first = next(iter(tfrecords.read(manifest.records_dir, split.name)))
        size = sum(shard.bytes for shard in split.shards) / 2**20
        kind = "none" if not split.has_labels else "coarse" if split.unannotated_ids else "fine"
        shape = f"{first.height}x{first.width}"
        lines.append(f"{split.name:<14}{split.examples:>9}{len(split.shards):>8}{size:>10.1f}{shape:>13}  {kind}")
    labelled = [split for split in manifest.splits.values() if split.has_labels]
    if not labelled:
        return "\n".join(lines)
    lines += ["", "share of pixels, %" + " " * 12 + "".join(f"{split.name:>14}" for split in labelled)]

    def row(name, ids_of_split, of_ids_of_split=None):
        cells = []
        for split in labelled:
            whole = sum(split.id_pixels.get(n, 0) for n in (of_ids_of_split or _all_ids)(split))
            part = sum(split.id_pixels.get(n, 0) for n in ids_of_split(split))
            cells.append(f"{100 * part / whole:>14.3f}" if whole else f"{'-':>14}")
        lines.append(f"{name:<30}" + "".join(cells))

    for name, ids in zip(table.class_names, table.class_ids):
        row(name, lambda split, ids=ids: ids)
    row("void", lambda split: _ids_of(split, ("scene", "dropped", "geometry")))
    for kind in ("scene", "dropped", "geometry", "unannotated"):
        row(f"  of kind {kind}", lambda split, kind=kind: _ids_of(split, (kind,)))
    for label in table.void_labels:
        row(f"    {label.id} {label.name}", lambda split, label=label: (label.id,))
    return "\n".join(lines)


def contact_sheet(manifest: tfrecords.Manifest, per_split: int) -> Image.Image:
    """The first images of each split, each beside its label map, with a legend below."""
    tiles = []
    for split in manifest.splits.values():
        for _, example in zip(range(per_split), tfrecords.read(manifest.records_dir, split.name)):
            tiles.append(_tile(example, split))
    legend = [(name, tuple(color)) for name, color in zip(manifest.table.class_names, manifest.table.class_colors)]
    kinds = {label.kind for split in manifest.splits.values() for label in split.table.void_labels}
    legend += [(f"void: {kind}", color) for kind, color in pictures.KIND_COLORS.items() if kind in kinds]
    height = max(tile.height for tile in tiles)
    rows = -(-len(tiles) // _COLUMNS)
    legend_rows = -(-len(legend) // 8)
    sheet = Image.new("RGB", (_COLUMNS * 2 * _TILE_WIDTH, rows * height + legend_rows * 20), (30, 30, 30))
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % _COLUMNS * 2 * _TILE_WIDTH, index // _COLUMNS * height))
    draw = ImageDraw.Draw(sheet)
    for index, (name, color) in enumerate(legend):
        x, y = 8 + index % 8 * (sheet.width // 8), rows * height + index // 8 * 20
        draw.rectangle((x, y + 4, x + 12, y + 16), tuple(int(v) for v in color))
        draw.text((x + 18, y + 4), name, (255, 255, 255))
    return sheet


def _tile(example: tfrecords.Example, split: tfrecords.Split) -> Image.Image:
    size = (_TILE_WIDTH, max(1, round(_TILE_WIDTH * example.height / example.width)))
    picture = Image.fromarray(images.decode_fully(example.image_encoded, example.image_id)).resize(size)
    tile = Image.new("RGB", (2 * size[0], size[1] + _TEXT_HEIGHT), (30, 30, 30))
    tile.paste(picture, (0, _TEXT_HEIGHT))
    if example.ids_png:
        colors = np.zeros((256, 3), np.uint8)
        for label in split.table.labels:
            colors[label.id] = label.color if label.kind is None else pictures.KIND_COLORS[label.kind]
        ids = images.decode_map(example.ids_png, example.image_id)
        tile.paste(Image.fromarray(colors[ids]).resize(size, Image.Resampling.NEAREST), (size[0], _TEXT_HEIGHT))
    ImageDraw.Draw(tile).text((2, 1), f"{split.name}: {example.image_id}", (255, 255, 255))
    return tile


def _all_ids(split):
    return tuple(split.id_pixels)


def _ids_of(split, kinds):
    return tuple(label.id for label in split.table.void_labels if label.kind in kinds)
