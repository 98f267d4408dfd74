"""Many runs, one comparison: which runs a study has, and how they get done.

A study configuration (configs/study_*.py) names arms, each a few keys that differ from one base configuration, and a
grid of (stage, arms, seeds). Every run is a process of its own; one is finished where its result.json exists, and
what is unfinished goes on from its last checkpoint. What the results mean is for kseg/findings.py, how they look for
kseg/report.py. This module loads TensorFlow in the run's own process only.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time

import ml_collections

from kseg import results

# Keys that say where and how a run is carried out, not what it computes; they are no part of its name.
_CARRIED_OUT = (
    "data.records_dir",
    "data.num_parallel_calls",
    "data.cache",
    "log.pictures",
    "train.checkpoint_every_steps",
    "train.keep_checkpoints",
)


@dataclasses.dataclass(frozen=True)
class Run:
    """One run: `config` is complete; `id` reads arm-sSEED-HASH, the hash being of the configuration."""

    id: str
    stage: str
    arm: str
    seed: int
    config: ml_collections.ConfigDict


def expand(study) -> list[Run]:
    """All runs of a study configuration, in order: stage by stage, in a stage seed by seed, then as listed.

    Raises:
      ValueError: on an unknown arm or key, a run listed twice, or a contrast whose arm has no run.
    """
    stages = list(dict.fromkeys(stage for stage, _, _ in study.grid))
    listed = []
    for stage, arms, seeds in study.grid:
        for place, arm in enumerate(arms):
            if arm not in study.arms:
                raise ValueError(
                    f"study {study.name}: the grid lists arm {arm!r}, expected one of {', '.join(study.arms)}."
                )
            listed += [((stages.index(stage), seed, len(listed), place), stage, arm, seed) for seed in seeds]
    runs, names = [], set()
    # Sorting is stable: in a stage and seed, the order is that of the grid.
    for _, stage, arm, seed in sorted(listed, key=lambda entry: entry[0][:2]):
        if (arm, seed) in names:
            raise ValueError(f"study {study.name}: {arm} with seed {seed} is in the grid twice; list it once.")
        names.add((arm, seed))
        config = _configure(study, arm, seed)
        runs.append(Run(f"{arm}-s{seed}-{results.fingerprint(settings(config))[:8]}", stage, arm, seed, config))
    for name, *arms, _, _ in study.contrasts:
        for arm in arms:
            if arm not in {run.arm for run in runs}:
                raise ValueError(f"study {study.name}: contrast {name!r} speaks of arm {arm!r}, which has no run.")
    return runs


def settings(config) -> dict:
    """What a run computes: its configuration as plain JSON values, less the keys that say how it is carried out."""
    values = json.loads(config.to_json())
    for key in _CARRIED_OUT:
        section, name = key.split(".")
        values.get(section, {}).pop(name, None)
    return values


def share(runs, only: str) -> list[Run]:
    """Share k of n of the runs, for job arrays: "k/n", k from 0; every n-th run from k on. "" is all of them."""
    if not only:
        return list(runs)
    match = re.fullmatch(r"(\d+)/(\d+)", only)
    k, n = (int(match[1]), int(match[2])) if match else (0, 0)
    if not match or not 0 <= k < n:
        raise ValueError(f"--only={only}: expected k/n with 0 <= k < n, such as 0/4 to 3/4.")
    return list(runs)[k::n]


def state(run: Run, workdir: str) -> str:
    """finished | failed | started | waiting."""
    folder = os.path.join(workdir, "runs", run.id)
    for name, word in (("result.json", "finished"), ("failed.txt", "failed"), ("run.json", "started")):
        if os.path.exists(os.path.join(folder, name)):
            return word
    return "waiting"


def carry_out(study, workdir: str, only: str = "", say=print) -> list[str]:
    """Does what is left of a study, one process per run, and returns the ids of the runs that failed.

    A run that fails is kept with its log (runs/<id>/log.txt) and tried again at the next start. Several calls may
    share a folder: a run that another process holds is passed over. Ends the run's process if this one is ended.

    Args:
      workdir: gets runs/<id>/: run.json (the request), train/ (the run's workdir), log.txt, result.json.
      only: a share k/n of the runs.
      say: gets one line per event.
    """
    runs = share(expand(study), only)
    if not study.base.data.records_dir:
        raise ValueError("no records: set --config.base.data.records_dir=FOLDER (tools/convert_*.py writes one).")
    if not os.path.isdir(study.base.data.records_dir):
        raise FileNotFoundError(f"{study.base.data.records_dir}: no such folder; convert the data set first.")
    left = [run for run in runs if state(run, workdir) != "finished"]
    say(f"{study.name}: {len(runs)} runs, {len(runs) - len(left)} finished")
    failed = []
    for place, run in enumerate(left):
        remaining = _remaining(left[place:], runs, workdir)
        say(
            f"[{len(runs) - len(left) + place + 1}/{len(runs)}] {run.id}" + (f", {remaining} left" if remaining else "")
        )
        if state(run, workdir) == "finished":  # by another process meanwhile
            continue
        code = _spawn(study, run, workdir)
        folder = os.path.join(workdir, "runs", run.id)
        if code == _HELD:
            say("  another process is at it: passed over")
        elif state(run, workdir) == "finished":
            seconds = results.load(os.path.join(folder, "result.json"))["seconds"]
            say(f"  finished in {_duration(seconds)}")
        else:
            failed.append(run.id)
            reason = _last_line(os.path.join(folder, "log.txt"))
            results.write_text(os.path.join(folder, "failed.txt"), f"exit status {code}: {reason}\n")
            say(f"  FAILED, exit status {code}: {reason} ({folder}/log.txt)")
    return failed


def run_one(folder: str) -> None:
    """The run that `folder`/run.json asks for, in this process: trains (or goes on), evaluates, writes result.json."""
    with _hold(folder) as held:
        if not held:
            sys.exit(_HELD)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        with open(os.path.join(folder, "run.json"), encoding="utf-8") as file:
            request = json.load(file)
        from kseg import train  # TensorFlow, in the run's own process

        started, used = time.monotonic(), time.process_time()
        config = ml_collections.ConfigDict(_tuples(request["config"]))
        training = os.path.join(folder, "train")
        resumed = os.path.exists(training)
        if train.train_and_evaluate(config, training, progress=False) != train.FINISHED:
            sys.exit("stopped before the last step; start the study again to go on")
        result = results.of_run(training, config, request["test_split"])
        result |= {key: request[key] for key in ("id", "study", "stage", "arm", "seed", "settings")}
        # Of this process alone: a run that was resumed says so, and no time is estimated from it.
        result["seconds"] = round(time.monotonic() - started, 1)
        result["cpu_seconds"] = round(time.process_time() - used, 1)
        result["resumed"] = resumed
        results.save(os.path.join(folder, "result.json"), result)
        shutil.rmtree(os.path.join(training, "checkpoints"), ignore_errors=True)


def collect(workdir: str, into: str) -> int:
    """Copies every finished run's result.json to `into`/runs/<id>/result.json; returns how many there are."""
    found = results.find(workdir)
    if not found:
        raise FileNotFoundError(f"{workdir}: no finished run (runs/<id>/result.json); run the study first.")
    for path in found:
        target = os.path.join(into, os.path.relpath(path, workdir))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(path, encoding="utf-8") as file:
            results.write_text(target, file.read())
    return len(found)


_HELD = 75  # exit status of a run whose folder another process holds


def _configure(study, arm, seed):
    config = study.base.copy_and_resolve_references()
    with config.unlocked() if config.is_locked else contextlib.nullcontext():
        for section, values in study.arms[arm].items():
            for key, value in values.items():
                if section not in config or key not in config[section]:
                    raise ValueError(f"study {study.name}, arm {arm}: there is no key {section}.{key}.")
                config[section][key] = value
        config.train.seed = seed
    return config


def _tuples(value):
    """JSON's lists as tuples, which is what configurations hold."""
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _spawn(study, run, workdir):
    """Runs one process to its end and returns its exit status (negative: the signal)."""
    folder = os.path.join(workdir, "runs", run.id)
    os.makedirs(folder, exist_ok=True)
    request = {
        "id": run.id,
        "study": study.name,
        "stage": run.stage,
        "arm": run.arm,
        "seed": run.seed,
        "test_split": study.test_split,
        "settings": settings(run.config),
        "config": json.loads(run.config.to_json()),
    }
    results.write_text(os.path.join(folder, "run.json"), json.dumps(request, indent=1, sort_keys=True) + "\n")
    with contextlib.suppress(FileNotFoundError):
        os.remove(os.path.join(folder, "failed.txt"))
    command = [sys.executable, "-c", "import sys; from kseg import study; study.run_one(sys.argv[1])", folder]
    # The same process group, so that `kill -STOP -PGID` holds everything; the pipe's end tells the run we are gone.
    with open(os.path.join(folder, "log.txt"), "ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT)
        try:
            return process.wait()
        except BaseException:
            process.terminate()  # the run saves its state and ends
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=60)
            process.kill()
            raise


def _end_with_parent():
    """Waits until the other end of standard input is closed, then ends this process: nobody waits for it any more."""
    with contextlib.suppress(OSError, ValueError):
        while os.read(0, 4096):
            pass
    os._exit(76)


@contextlib.contextmanager
def _hold(folder):
    """True inside while this process alone holds the run's folder."""
    with open(os.path.join(folder, "lock"), "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _remaining(left, runs, workdir):
    """Time for the runs left, from the finished ones: by arm, else in proportion to steps x width."""
    seconds_of, per_cost = {}, []
    for run in runs:
        path = os.path.join(workdir, "runs", run.id, "result.json")
        if os.path.exists(path):
            result = results.load(path)
            if result["resumed"]:
                continue
            seconds = result["seconds"]
            seconds_of.setdefault(run.arm, []).append(seconds)
            per_cost.append(seconds / _cost(run.config))
    if not per_cost:
        return ""
    mean = sum(per_cost) / len(per_cost)
    total = 0.0
    for run in left:
        known = seconds_of.get(run.arm)
        total += sum(known) / len(known) if known else mean * _cost(run.config)
    return f"about {_duration(total)}"


def _cost(config):
    return config.train.total_steps * config.model.width


def _duration(seconds):
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def _last_line(path):
    with contextlib.suppress(OSError), open(path, "rb") as file:
        lines = [line.strip() for line in file.read()[-20000:].decode("utf-8", "replace").splitlines() if line.strip()]
        if lines:
            return lines[-1][:300]
    return "no output"
