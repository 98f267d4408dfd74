"""Many runs, one comparison: carries a study out and renders what it found; what tools/study.py calls.

Every run is a process of its own. It is finished where its result.json exists, and what is unfinished goes on from its
last checkpoint. Which runs there are is kseg/grid.py's to say, what they mean kseg/findings.py's, how that looks
kseg/report.py's. Loads TensorFlow in the runs' own processes only.
"""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
import time

import ml_collections

import kseg
import tfrecords
from kseg import grid, results


def state(run: grid.Run, workdir: str) -> str:
    """finished | failed | started | waiting."""
    folder = os.path.join(workdir, "runs", run.id)
    for name, word in (("result.json", "finished"), ("failed.txt", "failed"), ("run.json", "started")):
        if os.path.exists(os.path.join(folder, name)):
            return word
    return "waiting"


def carry_out(study, workdir: str, only: str = "", say=print) -> list[str]:
    """Does what is left of a study, one process per run, and returns the ids of the runs that did not get done.

    A run that fails is kept with its log (runs/<id>/log.txt) and tried again at the next start. Several calls may
    share a folder: a run that another process holds is passed over, and so is one whose seed was begun on another
    device. Ends the run's process if this one is ended.

    Args:
      workdir: gets runs/<id>/: run.json (the request), train/ (the run's workdir), log.txt, result.json.
      only: a share k/n of the runs.
      say: gets one line per event.
    """
    planned = grid.expand(study)
    runs = grid.share(planned, only)
    if not study.base.data.records_dir:
        raise ValueError("no records: set --config.base.data.records_dir=FOLDER (tools/convert_*.py writes one).")
    if not os.path.isdir(study.base.data.records_dir):
        raise FileNotFoundError(f"{study.base.data.records_dir}: no such folder; convert the data set first.")
    code = results.code_fingerprint()
    _same_as_finished(runs, workdir, code, tfrecords.info(study.base.data.records_dir).digest)
    left = [run for run in runs if state(run, workdir) != "finished"]
    say(f"{study.name}: {len(runs)} runs, {len(runs) - len(left)} finished; code {code[:12]} of {_ROOT}")
    failed = []
    for place, run in enumerate(left):
        remaining = _remaining(left[place:], runs, workdir)
        say(
            f"[{len(runs) - len(left) + place + 1}/{len(runs)}] {run.id}" + (f", {remaining} left" if remaining else "")
        )
        if state(run, workdir) == "finished":  # by another process meanwhile
            continue
        if results.code_fingerprint() != code:
            raise ValueError(
                "the code of kseg/ or tfrecords/ has changed since the study started; use a clone of its own."
            )
        device = _device_of_seed(planned, run.seed, workdir)
        status = _spawn(study, run, workdir, device)
        folder = os.path.join(workdir, "runs", run.id)
        if status == _HELD:
            say("  another process is at it: passed over")
        elif status == _ELSEWHERE:
            failed.append(run.id)
            say(f"  seed {run.seed} was begun on {device}, and a seed is compared on one device: passed over")
        elif state(run, workdir) == "finished":
            seconds = results.load(os.path.join(folder, "result.json"))["seconds"]
            say(f"  finished in {_duration(seconds)}")
        else:
            failed.append(run.id)
            reason = _last_line(os.path.join(folder, "log.txt"))
            results.write_text(os.path.join(folder, "failed.txt"), f"exit status {status}: {reason}\n")
            say(f"  FAILED, exit status {status}: {reason} ({folder}/log.txt)")
    return failed


def run_one(folder: str) -> None:
    """The run that `folder`/run.json asks for, in this process: trains (or goes on), evaluates, writes result.json."""
    with _hold(folder) as held:
        if not held:
            sys.exit(_HELD)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        with open(os.path.join(folder, "run.json"), encoding="utf-8") as file:
            request = json.load(file)
        kseg.load_tensorflow_quietly()
        from kseg import outcome, train

        if request["device"] not in ("", results.device()):
            sys.exit(_ELSEWHERE)
        started, used = time.monotonic(), time.process_time()
        config = ml_collections.ConfigDict(_tuples(request["config"]))
        training = os.path.join(folder, "train")
        resumed = os.path.exists(training)
        if train.train_and_evaluate(config, training, progress=False) != train.FINISHED:
            sys.exit("stopped before the last step; start the study again to go on")
        result = outcome.of_run(training, config, request["test_split"], folder if request["pictures"] else "")
        result |= {key: request[key] for key in ("id", "study", "stage", "arm", "seed", "settings")}
        # Of this process alone: a run that was resumed says so, and no time is estimated from it.
        result["seconds"] = round(time.monotonic() - started, 1)
        result["cpu_seconds"] = round(time.process_time() - used, 1)
        result["resumed"] = resumed
        results.save(os.path.join(folder, "result.json"), result)
        shutil.rmtree(os.path.join(training, "checkpoints"), ignore_errors=True)


def show(study, workdir: str, only: str = "", say=print) -> None:
    """Lists the runs: id, stage and state."""
    runs = grid.share(grid.expand(study), only)
    states = [state(run, workdir) for run in runs]
    for run, word in zip(runs, states):
        say(f"{word:9} {run.stage:12} {run.id}")
    counts = ", ".join(f"{states.count(word)} {word}" for word in dict.fromkeys(states))
    say(f"{study.name}: {len(runs)} runs, {counts}")


def render(study, workdir: str, say=print) -> dict:
    """Writes study.json, report.html and figures/ from the finished runs in a folder; returns study.json's content."""
    from kseg import findings, report  # SciPy and matplotlib take their time, and runs do without

    runs = grid.expand(study)
    found = findings.read(workdir, {run.id: grid.settings(run.config) for run in runs})
    summary = findings.summarise(study, found, runs, workdir)
    path = report.write(summary, workdir, _pictures(study, found, workdir))
    say(f"{path}: {len(found)} of {len(runs)} runs")
    for entry in summary["contrasts"]:
        if entry["primary"]:
            say(f"  {entry['name']}: {entry['arm']} - {entry['reference']}, {entry['measure']}: {entry['verdict']}")
    return summary


def collect(study, workdir: str, into: str, say=print) -> dict:
    """Copies every finished run's result.json (and pictures) to `into`/runs/<id>/, and renders there."""
    found = results.find(workdir)
    if not found:
        raise FileNotFoundError(f"{workdir}: no finished run (runs/<id>/result.json); run the study first.")
    for path in found:
        target = os.path.join(into, os.path.relpath(path, workdir))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(path, encoding="utf-8") as file:
            results.write_text(target, file.read())
        drawn = os.path.join(os.path.dirname(path), _PICTURES)
        if study.publish_pictures and os.path.exists(drawn):
            shutil.copyfile(drawn, os.path.join(os.path.dirname(target), _PICTURES))
    return render(study, into, say)


def show_choices(summary: dict, say=print) -> None:
    """Prints what the held-out frames chose."""
    for choice in summary["choices"]:
        say(f"{choice['name']}: {choice['chosen']:g}" if "chosen" in choice else f"{choice['name']}: not complete")
        for row in choice["candidates"]:
            values = [
                f"{name} {100 * row[name]:.2f}" for name in (choice["criterion"], choice["guard"]) if row.get(name)
            ]
            say(f"  {row['value']:g}: {', '.join(values) or 'not complete'}")


_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PICTURES = "pictures.npz"  # of kseg/gallery.py
_PROGRAM = "import sys; from kseg import study; study.run_one(sys.argv[1])"
_HELD = 75  # exit status of a run whose folder another process holds
_ELSEWHERE = 77  # ... of a run whose seed was begun on another device


def _pictures(study, found, workdir):
    """The sheets of kseg/gallery.py, of the first seed of each headline arm, where they may be shown."""
    from kseg import gallery

    if not study.publish_pictures:
        return {}
    paths = {}
    for result in found:
        path = os.path.join(workdir, "runs", result["id"], _PICTURES)
        if result["arm"] in study.headline and os.path.exists(path):
            paths.setdefault(result["arm"], path)
    return gallery.sheets(list(paths.values()))


def _same_as_finished(runs, workdir, code, records):
    """Refuses to add runs that could not be compared with the finished ones."""
    for run in runs:
        path = os.path.join(workdir, "runs", run.id, "result.json")
        if not os.path.exists(path):
            continue
        made = results.load(path)["identity"]
        for name, ours in (("code", code), ("records", records)):
            if made[name] != ours:
                raise ValueError(
                    f"runs/{run.id} in {workdir} was made with other {name} ({made[name][:12]}, now {ours[:12]}); "
                    "go on with those, or give another --workdir."
                )


def _device_of_seed(runs, seed, workdir):
    """The device on which finished runs of a seed were made; "" where there is none."""
    for run in runs:
        path = os.path.join(workdir, "runs", run.id, "result.json")
        if run.seed == seed and os.path.exists(path):
            return results.load(path)["identity"]["device"]
    return ""


def _tuples(value):
    """JSON's lists as tuples, which is what configurations hold."""
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _spawn(study, run, workdir, device):
    """Runs one process to its end and returns its exit status (negative: the signal)."""
    folder = os.path.join(workdir, "runs", run.id)
    os.makedirs(folder, exist_ok=True)
    request = {
        "id": run.id,
        "study": study.name,
        "stage": run.stage,
        "arm": run.arm,
        "seed": run.seed,
        "device": device,
        "test_split": study.test_split,
        "pictures": study.publish_pictures,
        "settings": grid.settings(run.config),
        "config": json.loads(run.config.to_json()),
    }
    results.write_text(os.path.join(folder, "run.json"), json.dumps(request, indent=1, sort_keys=True) + "\n")
    with contextlib.suppress(FileNotFoundError):
        os.remove(os.path.join(folder, "failed.txt"))
    command = [sys.executable, "-c", _PROGRAM, folder]
    # The run takes its code from where this process has it: a clone, perhaps, while another one is installed.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")]))}
    # The same process group, so that `kill -STOP -PGID` holds everything; the pipe's end tells the run we are gone.
    with open(os.path.join(folder, "log.txt"), "ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=environment
        )
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
