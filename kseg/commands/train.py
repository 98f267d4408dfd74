"""Trains one model.

  kseg train --config=own_folder:R --workdir=W [--config.train.total_steps=500] [--config.treatment.name=T]
  kseg train --config=NAME --config.data.records_dir=R --workdir=W [--config.KEY=VALUE ...]

R is a folder of records (kseg convert-folder), W the run's own. T says what becomes of pixels of no class: ignore, or
background_class, which makes them an extra class; kseg study compares them and others.

Started again with the same workdir it goes on from its last checkpoint; with a larger --config.train.total_steps it
extends a run that had ended. --init_from=W2 starts from another run's weights, with a learning rate of its own, say.

Ctrl-C and SIGTERM save the state first; a second Ctrl-C stops at once. Exit status: 0 when config.train.total_steps was
reached; 75 after SIGTERM, or when another worker is gone (start it again); 130 after Ctrl-C; 1 on an error.
"""

import os
import sys

from absl import flags, logging
from ml_collections import config_flags

import kseg
import tfrecords
from kseg import errors
from kseg.commands import flags as command_flags
from kseg.distribution import sigterm

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "A path, or a name in configs/; without it kseg/config.py's defaults."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of this run; made if missing, resumed if it holds one.")
_INIT_FROM = flags.DEFINE_string(
    "init_from", None, "Finished run (its workdir) or .keras file whose weights the first step starts from."
)
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print parameters and memory, draw the first batch, and stop.")
_QUIET = flags.DEFINE_bool("quiet", False, command_flags.QUIET_HELP)

CONFIG_DEFAULT = command_flags.DEFAULTS


def start():
    # Before the flags are parsed, since a configuration is a program that may take its time.
    sigterm.leave_on_sigterm(interrupt=True)


def main(argv):
    if len(argv) > 1:
        sys.exit(f"error: {argv[1]!r} is not a flag; settings are given as --config.KEY=VALUE.")
    if not _WORKDIR.value:
        sys.exit("error: --workdir is missing; see --help.")
    try:
        settings = _CONFIG.value
        if "data" not in settings:
            sys.exit(f"error: {command_flags.NO_RUN}.")
        if not settings.data.records_dir:
            sys.exit("error: config.data.records_dir is not set; give --config.data.records_dir=FOLDER of records.")
        manifest = tfrecords.info(settings.data.records_dir)  # before the seconds that TensorFlow takes to load
        if _INIT_FROM.value:
            settings.model.init_from = _INIT_FROM.value
    except (ValueError, OSError, RuntimeError) as error:
        # A configuration that failed to load only says so, over several lines, when its value is asked for.
        sys.exit(f"error: {errors.one_line(error)}")
    command_flags.plain_messages()
    logging.set_verbosity(logging.INFO)
    kseg.load_tensorflow_quietly()
    from kseg.distribution import strategy
    from kseg.training import dry_run, train

    try:
        if _DRY_RUN.value:
            dry_run.dry_run(settings, _WORKDIR.value)
            return
        outcome = train.train_and_evaluate(settings, _WORKDIR.value, progress="lines" if _QUIET.value else True)
    except (ValueError, OSError) as error:
        again = isinstance(error, strategy.LostWorker)
        sigterm.leave(f"error: {errors.one_line(error)}", sigterm.AGAIN if again else 1)
    if outcome == train.PREEMPTED:
        by, status = sigterm.last_noted()
        message = f"{by}; the state is saved, start the same command again to go on"
        if settings.train.distribution == "multi_worker":  # whose others hear of an orderly end alone
            print(message, file=sys.stderr)
            sys.exit(status)
        sigterm.leave(message, status)
    print("\n".join(_ending(settings, _WORKDIR.value, manifest)))


def _ending(settings, workdir, manifest):
    """Lines for the end of a run: what the held-out images say, and what to type next."""
    from kseg.evaluation import report
    from kseg.runs import workdir as run_folder

    path = os.path.join(workdir, "eval_held_out.json")
    if os.path.exists(path):
        yield report.summary(run_folder.read_json(path)) + "\n"
    if os.path.exists(os.path.join(workdir, "report.html")):
        yield f"page:    {os.path.join(workdir, 'report.html')}"
    splits = [settings.data.eval_split, *manifest.splits]
    known = [name for name in splits if name in manifest.splits and manifest.splits[name].has_labels]
    split = next((name for name in known if name != settings.data.train_split), None)
    if split:
        yield f"next:    {command_flags.typed('evaluate', workdir=workdir, split=split)}"
    export = command_flags.typed("export", workdir=workdir, export_dir=os.path.join(workdir, "export"))
    yield f"{'or' if split else 'next'}:".ljust(9) + export
