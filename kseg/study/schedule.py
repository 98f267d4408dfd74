"""How many seeds and steps fit some hours: a pilot is timed once, and what it decides is written to W/plan.json.

The plan is made once. Whatever a later call would time, an interrupted study goes on with the plan in its folder. Loads
no TensorFlow: the pilot is a process of its own (kseg/study/pilot.py).
"""

import json
import math
import os
import shutil

from kseg.study import folder as study_folder
from kseg.study import own_records, results, worker
from tfrecords import files

PLAN = "plan.json"
FORMAT = 1
MOST_SEEDS, MOST_RECIPES = 6, 4
_SURE = 0.85  # of the time is planned with: a machine is not always as fast as while it was timed
_PAGE_S = 60  # for the page
_KEYS = {"format", "hours", "network", "says", "seeds", "steps", "pilot", "found"}


def plan(records_dir: str, hours: float | None, workdir: str, say=print) -> dict:
    """The plan of a study: that in `workdir`/plan.json, else a new one, which is written there.

    Args:
      records_dir: the user's records.
      hours: that the study may take; None = those of the plan that is there.
      say: gets one line per event.

    Returns:
      {"format", "hours", "network": of own_records.NETWORKS, "says": the network in words, "seeds": how many, "steps",
      "pilot": what pilot.py measured, "found": what own_records.look found}.

    Raises:
      ValueError, OSError: in one line, where there is neither a plan nor hours, the hours are too few, the plan is of
        other hours or records, or the pilot failed.
    """
    study_folder.check(workdir, "--workdir")
    path = os.path.join(workdir, PLAN)
    if os.path.exists(path):
        made = load(path)
        if hours is not None and hours != made["hours"]:
            raise ValueError(
                f"{path} is for {made['hours']:g} hours and --hours={hours:g}; leave --hours out to go on, or give "
                "another --workdir."
            )
        digest = own_records.look(records_dir)["records"]
        if digest != made["found"]["records"]:
            raise ValueError(f"{path} is of other records than {records_dir}; give those, or another --workdir.")
        say(f"{path}: going on with {in_words(made)}")
        return made
    if hours is None:
        raise ValueError("--hours is missing: how long may the study take? --hours=2 is a start; see --help.")
    if not 0 < hours < math.inf:
        raise ValueError(f"--hours={hours:g}: expected a number above 0, such as 2.")
    files.check_folder(workdir, "--workdir")
    found = own_records.look(records_dir)
    network, says = own_records.network()
    say(f"network: {says}")
    say(f"pilot: timing a few steps on {found['train']} pictures, crops {'x'.join(map(str, found['crop_size']))}")
    made = {"format": FORMAT, "hours": hours, "network": network, "says": says.partition(" (")[0], "found": found}
    os.makedirs(workdir, exist_ok=True)
    with worker.hold(workdir) as held:
        if not held or os.path.exists(path):
            raise ValueError(f"another process makes {path}; start this one again when it is there.")
        made["pilot"] = _timed(made, records_dir, workdir)
        made |= decide(made["pilot"], found, hours, network)
        results.write_text(path, json.dumps(made, indent=1, sort_keys=True) + "\n")
    say(f"{path}: {in_words(made)}, about {run_seconds(made) * _runs(made) / 3600:.2g} hours")
    return made


def load(path: str) -> dict:
    """Reads a plan.

    Raises:
      ValueError: if it is none.
    """
    try:
        with open(path, encoding="utf-8") as file:
            made = json.load(file)
        whole = made["format"] == FORMAT and made.keys() >= _KEYS
    except (ValueError, KeyError, TypeError, AttributeError, IsADirectoryError):
        whole = False
    if not whole:
        raise ValueError(f"{path} is no plan of a study; remove it, and with --hours=H another one is made.")
    return made


def decide(pilot: dict, found: dict, hours: float, network: str) -> dict:
    """{"seeds", "steps"} that fit.

    As many seeds, from six down to three, as leave every run its recipe's steps. Where not even three do: three if they
    leave a quarter of those steps, two if a tenth, else one. Then all steps that fit, up to four times the recipe's.

    Args:
      pilot: {"seconds": of the pilot itself, "start": from a process' start to the end of its first step, "step": of
        each further one, "frame": of a frame that is evaluated, "end": whatever else a run takes}; all in s.
      found: what own_records.look found.

    Raises:
      ValueError: if not even one seed gets two steps.
    """
    recipe = own_records.RECIPE_STEPS[network]
    time = _SURE * 3600 * hours - pilot["seconds"] - _PAGE_S
    fixed = _fixed(pilot, found)

    def steps(seeds):
        return math.floor((time / (len(own_records.ARMS) * seeds) - fixed) / pilot["step"]) + 1

    enough = {seeds: recipe for seeds in range(MOST_SEEDS, 2, -1)}
    for seeds, least in [*enough.items(), (3, recipe // 4), (2, recipe // 10), (1, 2)]:
        if steps(seeds) >= least:
            return {"seeds": seeds, "steps": min(steps(seeds), MOST_RECIPES * recipe)}
    least = (len(own_records.ARMS) * (fixed + pilot["step"]) + pilot["seconds"] + _PAGE_S) / _SURE / 3600
    # Rounded up, so that what the message asks for is enough.
    raise ValueError(
        f"--hours={hours:g} is too short: a run takes {fixed:.0f} s beside its steps ({found['held_out']} held-out and "
        f"{found['test']} test frames), and there are {len(own_records.ARMS)}; give at least "
        f"--hours={math.ceil(1000 * least) / 1000:g}."
    )


def run_seconds(made: dict) -> float:
    """What a run of the plan should take."""
    return _fixed(made["pilot"], made["found"]) + (made["steps"] - 1) * made["pilot"]["step"]


def in_words(made: dict) -> str:
    """A plan in a few words."""
    treatments, crops = len(own_records.ARMS), own_records.BATCH
    seeds = f"{made['seeds']} seed{'s' if made['seeds'] > 1 else ''}"
    return f"{treatments} treatments x {seeds} x {made['steps']} steps of {crops} crops, {made['says']}"


def _runs(made):
    return len(own_records.ARMS) * made["seeds"]


def _fixed(pilot, found):
    # Held-out frames: once in training, twice for the result where the head has several evidences.
    return pilot["start"] + pilot["end"] + pilot["frame"] * (3 * found["held_out"] + found["test"])


def _timed(made, records_dir, workdir):
    """What kseg/study/pilot.py measures, in a process of its own."""
    folder = os.path.join(workdir, "pilot")
    shutil.rmtree(folder, ignore_errors=True)  # of a call that was interrupted
    os.makedirs(folder)
    base = own_records.study(made | {"steps": 1, "seeds": 1}, records_dir).base
    request = {"config": json.loads(base.to_json()), "split": made["found"]["test_split"] or "train"}
    results.write_text(os.path.join(folder, "request.json"), json.dumps(request) + "\n")
    status = worker.run_program(_PROGRAM, folder)
    path = os.path.join(folder, "pilot.json")
    if status or not os.path.exists(path):
        reason = worker.last_line(os.path.join(folder, "log.txt"))
        raise ValueError(f"the pilot failed, exit status {status}: {reason} ({folder}/log.txt)")
    with open(path, encoding="utf-8") as file:
        measured = json.load(file)
    shutil.rmtree(folder, ignore_errors=True)
    return measured


_PROGRAM = "import sys; from kseg.study import pilot; pilot.run(sys.argv[1])"
