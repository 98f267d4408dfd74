"""Trains one model.

  kseg train --config=configs/street_scenes_unet.py --workdir=W [--config.KEY=VALUE ...]

Started again with the same workdir it goes on from its last checkpoint. Exit status: 0 when config.train.total_steps
was reached; 75 after SIGTERM, or when another worker is gone (start it again); 1 on an error.
"""

import sys

from absl import flags, logging
from ml_collections import config_flags

import kseg
import tfrecords
from kseg.commands.flags import DEFAULTS
from kseg.distribution import sigterm

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "A path, or a name in configs/; without it kseg/config.py's defaults."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of this run; made if missing, resumed if it holds one.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print parameters and memory, draw the first batch, and stop.")


CONFIG_DEFAULT = DEFAULTS


# Before the flags are parsed, since a configuration is a program that may take its time.
start = sigterm.leave_on_sigterm


def main(argv):
    if len(argv) > 1:
        sys.exit(f"error: {argv[1]!r} is not a flag; settings are given as --config.KEY=VALUE.")
    if not _WORKDIR.value:
        sys.exit("error: --workdir is missing; see --help.")
    try:
        settings = _CONFIG.value
        if not settings.data.records_dir:
            sys.exit("error: config.data.records_dir is not set; give --config.data.records_dir=FOLDER of records.")
        tfrecords.info(settings.data.records_dir)  # before the seconds that TensorFlow takes to load
    except (ValueError, OSError, RuntimeError) as error:
        # A configuration that failed to load only says so, over several lines, when its value is asked for.
        sys.exit(f"error: {' '.join(str(error).split())}")
    logging.set_verbosity(logging.INFO)
    kseg.load_tensorflow_quietly()
    from kseg.distribution import strategy
    from kseg.training import dry_run, train

    try:
        if _DRY_RUN.value:
            dry_run.dry_run(settings, _WORKDIR.value)
            return
        outcome = train.train_and_evaluate(settings, _WORKDIR.value)
    except (ValueError, OSError) as error:
        again = isinstance(error, strategy.LostWorker)
        sigterm.leave(f"error: {' '.join(str(error).split())}", sigterm.AGAIN if again else 1)
    if outcome == train.PREEMPTED:
        print("stopped by SIGTERM; the state is saved, start the same command again", file=sys.stderr)
        sys.exit(sigterm.AGAIN)
