"""Draws a small set of street scenes in Cityscapes' exact folder layout, so that everything runs without Cityscapes.

  kseg make-street-scenes --output_dir=D [--num_train=240 --num_val=60 --height=128 --width=256 --seed=0]
      [--unseen_void] [--num_workers=0]

Writes D/leftImg8bit/ and D/gtFine/ with the splits train and val, and D/scenes/ with what is where in each scene.
D/street_scenes.json has the options and a digest of every file. With --unseen_void the ids dynamic, caravan and trailer
occur in val only. The same options draw the same bytes; run again, the command checks the folder.
"""

import sys

from absl import flags
from street_scenes import make
from street_scenes.options import Options

from tfrecords import files

_DEFAULT = Options()
flags.DEFINE_string("output_dir", None, "Folder to create; must not hold anything else.")
flags.DEFINE_integer("num_train", _DEFAULT.num_train, "Scenes in train, over ten cities in turn.")
flags.DEFINE_integer("num_val", _DEFAULT.num_val, "Scenes in val, over two other cities in turn.")
flags.DEFINE_integer("height", _DEFAULT.height, "Height of a picture in px, from 64.")
flags.DEFINE_integer("width", _DEFAULT.width, "Width of a picture in px, from 128.")
flags.DEFINE_integer("seed", _DEFAULT.seed, "Decides every scene; the same seed gives the same bytes.")
flags.DEFINE_boolean(
    "unseen_void", _DEFAULT.unseen_void, "Ids dynamic, caravan and trailer in val only, in families train never has."
)
flags.DEFINE_integer("num_workers", 0, "Processes; 0 = one per core. Changes no byte.")


def main(argv):
    values = flags.FLAGS
    if len(argv) > 1:
        sys.exit(f"error: unexpected argument {argv[1]!r}; everything is a flag, see --help.")
    if not values.output_dir:
        sys.exit("error: --output_dir is missing; name the folder to create.")
    options = Options(values.num_train, values.num_val, values.height, values.width, values.seed, values.unseen_void)
    try:
        files.check_folder(values.output_dir, "--output_dir")
        written = make.make_set(values.output_dir, options, values.num_workers)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    state = "written" if written else "was there already and is whole"
    size = f"{options.height} x {options.width}"
    print(f"{values.output_dir}: {options.num_train} train and {options.num_val} val scenes of {size}; {state}")
