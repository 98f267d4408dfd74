"""Runs a study and renders what it found.

    kseg study --config=configs/study_X.py --workdir=W --config.base.data.records_dir=R
        [--only=k/n]         a share of the runs, k from 0: for job arrays; several shares may use one folder
        [--list]             prints the runs and their state, runs nothing
        [--report_only]      renders W/study.json, W/report.html and W/figures/ from the finished runs, runs nothing
        [--collect=DIR]      writes the finished runs into DIR/runs.xz, with study.json.xz and figures/*.svg beside it,
                             runs nothing; --report_only --workdir=DIR renders the page from them
        [--frames_of=ARMS]   with --collect: arms whose counts stay frame by frame (names with commas, "primary" or
                             "none"); those of other arms are summed over each sequence, which is far smaller
        [--choose]           prints what the held-out frames chose (configurations with choices)
    kseg study --records_dir=R --hours=2 --workdir=W
                             without a configuration: compares ignoring void, void as a class, inverted Dice and the
                             entropic loss on your records. A pilot is timed, W/plan.json says how many seeds and steps
                             fit the hours, and the page ends with the finding in words. Started again it goes on with
                             that plan; --only, --list, --report_only and --collect work as above.
    kseg study --answer=docs/answer.md [--check]
                             fills the page's numbers from docs/study/*/study.json.xz; --check only compares

A run is finished where W/runs/<id>/result.json exists; finished runs are not run again. Killed or crashed runs go on
from their last checkpoint at the next start. One that failed twice by an error of its own, such as a loss that is not
finite, waits until its folder is removed. To hold a study: kill -STOP -PGID; to go on: kill -CONT -PGID. PGID is the
process group of this command (ps -o pgid= -p PID). Runs made with different code are not compared, so run a long study
from a clone that nobody edits:
    git clone . ../kseg-study && cd ../kseg-study && PYTHONPATH=$PWD python tools/study.py ...
"""

import os
import sys

from absl import flags
from ml_collections import config_flags

from kseg import errors
from kseg.study import own_records, publish, runner, schedule
from kseg.study.report import fill_markdown

_CONFIG = config_flags.DEFINE_config_file("config", None, "Study configuration, configs/study_*.py.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the study; made if missing.")
_RECORDS_DIR = flags.DEFINE_string("records_dir", "", "Your records: a study without a configuration.")
_HOURS = flags.DEFINE_float("hours", None, "With --records_dir: how long the study may take.")
_ONLY = flags.DEFINE_string("only", "", "Share k/n of the runs, k from 0.")
_LIST = flags.DEFINE_bool("list", False, "Print the runs and their state.")
_REPORT_ONLY = flags.DEFINE_bool("report_only", False, "Render from the finished runs.")
_COLLECT = flags.DEFINE_string("collect", "", "Archive finished results in this folder.")
_FRAMES_OF = flags.DEFINE_string(
    "frames_of", "", "With --collect: arms whose counts stay frame by frame; all if empty."
)
_CHOOSE = flags.DEFINE_bool("choose", False, "After the runs, print the choices on held-out frames.")
_ANSWER = flags.DEFINE_string("answer", "", "Page whose numbers are filled from docs/study/*/study.json.xz.")
_CHECK = flags.DEFINE_bool("check", False, "With --answer: change nothing, fail if the page and the files disagree.")

CONFIG_DEFAULT = None
_MODES = {"answer": _ANSWER, "list": _LIST, "collect": _COLLECT, "report_only": _REPORT_ONLY}
# Flags that would have no effect beside another one; whoever gave them expects one.
_AGAINST = {
    "only": ("answer", "collect", "report_only", "choose"),
    "choose": ("answer", "list", "collect", "records_dir"),
    "workdir": ("answer",),
    "config": ("answer", "records_dir"),
    "records_dir": ("answer",),
    "hours": ("answer", "list", "collect", "report_only"),
}


def main(argv):
    if len(argv) > 1:
        sys.exit(f"error: {argv[1]!r} is not a flag; settings are given as --config.KEY=VALUE.")
    check_combination()
    chosen = flags.FLAGS["config"].present or _RECORDS_DIR.value
    if not _ANSWER.value and not (chosen and _WORKDIR.value):
        sys.exit(
            "error: give --config=configs/study_X.py, or your own --records_dir=FOLDER and --hours=H, and "
            "--workdir=FOLDER; see --help."
        )
    failed = []
    try:
        # A configuration that failed to load only says so when its value is asked for.
        config, workdir = _own_study() if _RECORDS_DIR.value else _CONFIG.value, _WORKDIR.value
        if _ANSWER.value:
            fill_markdown.fill_page(_ANSWER.value, check=_CHECK.value)
        elif _LIST.value:
            runner.show(config, workdir, _ONLY.value)
        elif _COLLECT.value:
            publish.collect(config, workdir, _COLLECT.value, _FRAMES_OF.value)
        else:
            if not _REPORT_ONLY.value:
                failed = runner.carry_out(config, workdir, _ONLY.value)
            # A share of the runs is not the one to render.
            summary = publish.render(config, workdir) if not _ONLY.value else {"choices": []}
            if _CHOOSE.value:
                publish.show_choices(summary)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"error: {errors.one_line(error)}")
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on from here")
    if failed:
        sys.exit(
            f"error: {len(failed)} runs are not done ({failed[0]}); start again to go on with them, those that are "
            "passed over excepted."
        )


def _own_study():
    """The study of the user's own records: by the plan in --workdir, or one that is made now."""
    only_looks = _LIST.value or _REPORT_ONLY.value or _COLLECT.value
    if only_looks and not os.path.exists(os.path.join(_WORKDIR.value, schedule.PLAN)):
        raise ValueError(f"{_WORKDIR.value} has no {schedule.PLAN}; start the study first, with --hours=H.")
    plan = schedule.plan(_RECORDS_DIR.value, _HOURS.value, _WORKDIR.value)
    return own_records.study(plan, _RECORDS_DIR.value)


def check_combination():
    """Ends the program at flags of which one would be ignored."""
    modes = [name for name, flag in _MODES.items() if flag.value]
    if len(modes) > 1:
        sys.exit(f"error: --{modes[0]} and --{modes[1]} are two different things to do; give one of them.")
    if _HOURS.value is not None and not _RECORDS_DIR.value:
        sys.exit("error: --hours is for --records_dir=FOLDER, a study without a configuration; give that too.")
    if _CHECK.value and not _ANSWER.value:
        sys.exit("error: --check is for --answer=PAGE; give that too.")
    if _FRAMES_OF.value and not _COLLECT.value:
        sys.exit("error: --frames_of is for --collect=DIR; give that too.")
    for name, others in _AGAINST.items():
        for other in others:
            if flags.FLAGS[name].value and flags.FLAGS[other].value:
                sys.exit(f"error: --{name} has no effect with --{other}; leave one of them out.")
