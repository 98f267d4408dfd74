"""One run of a study as a process of its own: started and waited for on one side, carried out on the other.

The two speak through the run's folder (run.json, log.txt, result.json) and the exit status. TensorFlow is loaded in the
run's process only. Which runs there are and what becomes of one that failed is kseg/study/runner.py's.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback

import ml_collections

import kseg
from kseg.study import folder as study_folder
from kseg.study import grid, results
from kseg.study import identity as study_identity

ROOT = os.path.dirname(os.path.dirname(kseg.__file__))
HELD = 75  # exit status of a run whose folder another process holds
ELSEWHERE = 77  # ... of a run whose seed was begun on another device
ERROR = 65  # ... of a run that ended by an error of its own: as far as one can tell it will end so again
_PROGRAM = "import sys; from kseg.study import worker; worker.run_one(sys.argv[1])"


def start(study, run, workdir: str, identity: dict) -> int:
    """Runs one process to its end and returns its exit status (negative: the signal).

    Args:
      study: the study configuration.
      run: a grid.Run.
      workdir: the study's folder.
      identity: what the run must not differ in from the others: {"code", "records", "versions"}.
    """
    folder = os.path.join(workdir, "runs", run.id)
    os.makedirs(folder, exist_ok=True)
    request = {
        "id": run.id,
        "study": study.name,
        "stage": run.stage,
        "arm": run.arm,
        "seed": run.seed,
        "identity": identity,
        "test_split": study.test_split,
        "pictures": study.publish_pictures,
        "sequence_pattern": study.sequence_pattern,
        "frames_per_unit": study.get("frames_per_unit", 1),
        "objects": dict(study.get("objects", {})),
        "objects_seen": dict(study.get("objects_seen", {})),
        "settings": grid.settings(run.config),
        "config": json.loads(run.config.to_json()),
    }
    results.write_text(os.path.join(folder, "run.json"), json.dumps(request, indent=1, sort_keys=True) + "\n")
    with contextlib.suppress(FileNotFoundError):
        os.remove(os.path.join(folder, "failed.txt"))
    return run_program(_PROGRAM, folder)


def run_program(program: str, folder: str) -> int:
    """Runs a Python program with `folder` as its argument, its output in `folder`/log.txt; ends it with this process.

    Returns its exit status (negative: the signal).
    """
    command = [sys.executable, "-c", program, folder]
    # The run takes its code from where this process has it: a clone, perhaps, while another one is installed.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")]))}
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


def last_line(path: str) -> str:
    """The last line that a log has, at most 300 characters."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        lines = [line.strip() for line in file.read()[-20000:].decode("utf-8", "replace").splitlines() if line.strip()]
        if lines:
            return lines[-1][:300]
    return "no output"


def run_one(folder: str) -> None:
    """The run that `folder`/run.json asks for, in this process: trains (or goes on), evaluates, writes result.json."""
    # Ctrl-C reaches the whole process group; the study's process takes it, and lets this one save its state.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with hold(folder) as held:
        if not held:
            sys.exit(HELD)
        threading.Thread(target=end_with_parent, daemon=True).start()
        with open(os.path.join(folder, "run.json"), encoding="utf-8") as file:
            request = json.load(file)
        kseg.load_tensorflow_quietly()
        from kseg import errors

        device = study_identity.device()
        workdir = os.path.dirname(os.path.dirname(folder))
        if study_folder.claim_seed(workdir, request["seed"], device) != device:
            sys.exit(ELSEWHERE)
        try:
            _train_and_save(folder, request)
        except ValueError as error:
            if errors.is_memory(error):  # there may be enough another time
                raise
            traceback.print_exc()
            sys.exit(ERROR)


def _train_and_save(folder, request):
    from kseg.study import run_result
    from kseg.training import train

    started, used = time.monotonic(), time.process_time()
    config = ml_collections.ConfigDict(tuples(request["config"]))
    training = os.path.join(folder, "train")
    resumed = os.path.exists(training)
    if train.train_and_evaluate(config, training, progress=False, page=False) != train.FINISHED:
        sys.exit("stopped before the last step; start the study again to go on")
    result = run_result.of_run(training, config, request, folder if request["pictures"] else "")
    result |= {key: request[key] for key in ("id", "study", "stage", "arm", "seed", "settings")}
    # Of this process alone: a run that was resumed says so, and no time is estimated from it.
    result["seconds"] = round(time.monotonic() - started, 1)
    result["cpu_seconds"] = round(time.process_time() - used, 1)
    result["resumed"] = resumed
    results.save(os.path.join(folder, "result.json"), result)
    shutil.rmtree(os.path.join(training, "checkpoints"), ignore_errors=True)


@contextlib.contextmanager
def hold(folder):
    """True inside while this process alone holds the run's folder."""
    with open(os.path.join(folder, "lock"), "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def end_with_parent():
    """Waits until the other end of standard input is closed, then ends this process: nobody waits for it any more."""
    with contextlib.suppress(OSError, ValueError):
        while os.read(0, 4096):
            pass
    os._exit(76)


def tuples(value):
    """JSON's lists as tuples, which is what configurations hold."""
    if isinstance(value, dict):
        return {key: tuples(inner) for key, inner in value.items()}
    return tuple(value) if isinstance(value, list) else value
