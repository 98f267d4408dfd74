"""What the converters have in common: flags that say how records are written, and a line at the end or of an error."""

import os
import sys

from absl import flags

from tfrecords import files, pixels
from tfrecords.conversion import damaged
from tfrecords.review import review

# A flag that is defined here belongs to the command that asks for it, and is in its --help.
flags.disclaim_key_flags()


def define(num_shards: int, image_formats=("png", "jpeg"), format_help: str = "png: the published bytes.") -> None:
    """Defines the flags; the first of `image_formats` is the default."""
    flags.DEFINE_integer("num_shards", num_shards, "Files per split; the unit of parallel work.", lower_bound=1)
    flags.DEFINE_integer("num_workers", 0, "Processes; 0 = one per core.", lower_bound=0)
    flags.DEFINE_enum("image_format", image_formats[0], [*image_formats], format_help)
    flags.DEFINE_integer("jpeg_quality", 95, "Of what becomes JPEG.", lower_bound=1, upper_bound=100)
    flags.DEFINE_enum("verify", "fast", ["fast", "full"], "fast: checksums of every chunk. full: decode, too.")
    flags.DEFINE_bool("overwrite", False, "Replace what is in --records_dir, once all is built.")
    flags.DEFINE_enum(
        "bits", "0", [str(bits) for bits in pixels.BITS], "Bits that 16-bit pictures use; 0: all 16, dark ones refused."
    )
    flags.DEFINE_string(
        "skip_damaged", "", "File to write names of damaged files and reasons to; they are passed over, not an error."
    )
    flags.DEFINE_string(
        "report",
        "",
        "HTML page to write: classes, void, a contact sheet, and what is suspicious; decodes every picture.",
    )


def options() -> dict:
    """What tfrecords.write is asked."""
    names = ("num_shards", "num_workers", "image_format", "jpeg_quality", "verify", "overwrite")
    return {name: flags.FLAGS[name].value for name in names} | {
        "bits": int(flags.FLAGS.bits),
        "progress": True,
        "say": print,
    }


def run(argv, required, convert) -> None:
    """Runs a converter and says what was written; ends the process in one line where that fails.

    Args:
      argv: the command line's arguments that are no flags.
      required: names of flags without which nothing can be done.
      convert: a function without arguments that returns a manifest, lines to say then, and lines to say last of all.
    """
    if len(argv) > 1:
        sys.exit(f"error: unexpected argument {argv[1]!r}; options are --name=value (see --help)")
    for flag in required:
        if not flags.FLAGS[flag].value:  # "" would mean the current folder
            sys.exit(f"error: --{flag} is missing or empty; see --help")
    records_dir = flags.FLAGS.records_dir
    try:
        files.check_folder(records_dir, "--records_dir")
        review.check_path(flags.FLAGS.report, records_dir)
        manifest, lines, last = convert()
        for line in lines:
            print(line)
        for name, split in manifest.splits.items():
            print(f"{records_dir}: {name}, {split.examples} examples in {len(split.shards)} shards")
        review.review(records_dir, flags.FLAGS.report, flags.FLAGS.num_workers, progress=True)
        for line in last:
            print(line)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on from here")


def whole(splits) -> tuple[dict, list[str]]:
    """The splits without damaged files, and a line about them, where --skip_damaged asks for that."""
    path = flags.FLAGS.skip_damaged
    if not path:
        return splits, []
    inside = os.path.abspath(os.path.dirname(os.path.abspath(path))) == os.path.abspath(flags.FLAGS.records_dir)
    if inside:
        raise ValueError(f"--skip_damaged={path} lies in --records_dir, which holds records alone; give another folder")
    asked = {name: value for name, value in options().items() if name in ("bits", "num_workers", "verify", "progress")}
    return damaged.without(splits, path, **asked)
