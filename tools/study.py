"""Runs a study and renders what it found.

    python tools/study.py --config=configs/study_X.py --workdir=W --config.base.data.records_dir=R
        [--only=k/n]         a share of the runs, k from 0: for job arrays; several shares may use one folder
        [--list]             prints the runs and their state, runs nothing
        [--report_only]      renders W/study.json, W/report.html and W/figures/ from the finished runs, runs nothing
        [--collect=DIR]      copies the finished runs' result.json to DIR/runs/ and renders there, runs nothing
        [--choose]           prints what the held-out frames chose (configurations with choices)
    python tools/study.py --answer=docs/answer.md [--check]
                             fills the page's numbers from docs/study/*/study.json; --check only compares

A run is finished where W/runs/<id>/result.json exists; finished runs are not run again. Killed or crashed runs go on
from their last checkpoint at the next start. To hold a study: kill -STOP -PGID, to go on: kill -CONT -PGID, with PGID
the process group of this command (ps -o pgid= -p PID). Runs made with different code are not compared, so run a long
study from a clone that nobody edits: git clone . ../kseg-study && cd ../kseg-study && PYTHONPATH=$PWD python tools/...
"""

import sys

from absl import app, flags
from ml_collections import config_flags

from kseg import answer, study

_CONFIG = config_flags.DEFINE_config_file("config", None, "Study configuration, configs/study_*.py.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the study; made if missing.")
_ONLY = flags.DEFINE_string("only", "", "Share k/n of the runs, k from 0.")
_LIST = flags.DEFINE_bool("list", False, "Print the runs and their state.")
_REPORT_ONLY = flags.DEFINE_bool("report_only", False, "Render from the finished runs.")
_COLLECT = flags.DEFINE_string("collect", "", "Copy finished results into this folder and render there.")
_CHOOSE = flags.DEFINE_bool("choose", False, "After the runs, print the choices on held-out frames.")
_ANSWER = flags.DEFINE_string("answer", "", "Page whose numbers are filled from docs/study/*/study.json.")
_CHECK = flags.DEFINE_bool("check", False, "With --answer: change nothing, fail if the page and the files disagree.")


def main(argv):
    if len(argv) > 1:
        sys.exit(f"error: {argv[1]!r} is not a flag; settings are given as --config.KEY=VALUE.")
    config, workdir = _CONFIG.value, _WORKDIR.value
    if not _ANSWER.value and (config is None or not workdir):
        sys.exit("error: give --config=configs/study_X.py and --workdir=FOLDER; see tools/study.py --help.")
    failed = []
    try:
        if _ANSWER.value:
            answer.fill_page(_ANSWER.value, check=_CHECK.value)
        elif _LIST.value:
            study.show(config, workdir, _ONLY.value)
        elif _COLLECT.value:
            study.collect(config, workdir, _COLLECT.value)
        else:
            if not _REPORT_ONLY.value:
                failed = study.carry_out(config, workdir, _ONLY.value)
            # A share of the runs is not the one to render.
            summary = study.render(config, workdir) if not _ONLY.value else {"choices": []}
            if _CHOOSE.value:
                study.show_choices(summary)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    if failed:
        sys.exit(f"error: {len(failed)} runs are not done ({failed[0]}); start again to go on with them.")


def parse(argv):
    """Flags, with one line instead of a traceback for a key or a file that does not exist."""
    try:
        return flags.FLAGS(argv)
    except (flags.Error, AttributeError, KeyError, ValueError, TypeError, OSError, ImportError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
