"""Many runs, one comparison: carries a study out and renders what it found; what kseg study calls.

Every run is a process of its own (kseg/study/worker.py). It is finished where its result.json exists, and what is
unfinished goes on from its last checkpoint. Which runs there are is kseg/study/grid.py's to say, what they mean
kseg/study/summary.py's, how that looks kseg/study/report/page.py's.
"""

import os

import tfrecords
from kseg.study import folder as study_folder
from kseg.study import grid, results, worker
from kseg.study import identity as study_identity
from tfrecords import files


def carry_out(study, workdir: str, only: str = "", say=print) -> list[str]:
    """Does what is left of a study, one process per run, and returns the ids of the runs that did not get done.

    A run that fails is kept with its log (runs/<id>/log.txt) and tried again at the next start. One that failed twice
    by an error of its own, such as a loss that is not finite, is passed over. Several calls may share a folder. A run
    that another process holds is passed over, and so is one whose seed was begun on another device. Ends the run's
    process if this one is ended.

    Args:
      workdir: gets runs/<id>/ and seeds/ (kseg/study/folder.py).
      only: a share k/n of the runs.
      say: gets one line per event.

    Raises:
      ValueError, OSError: before the first run, on whatever would keep its result from being made or compared.
    """
    planned = grid.expand(study)
    runs = grid.share(planned, only)
    files.check_folder(workdir, "--workdir")
    for name, photos in study.get("objects", {}).items():
        if not photos:
            raise ValueError(
                f"no photos: set --config.objects.{name}=FOLDER (kseg/study/objects.py says what is in it)."
            )
        for part in ("images", "labels"):
            if not os.path.isdir(os.path.join(photos, part)):
                raise FileNotFoundError(f"--config.objects.{name}={photos}: it has no folder {part}/.")
    identity = {
        "code": study_identity.code_fingerprint(),
        "records": _records(study),
        "versions": study_identity.versions(),
    }
    study_folder.check_comparable(workdir, identity, grid.settings_of(planned))
    left = [run for run in runs if study_folder.state(run, workdir) != "finished"]
    code = f"code {identity['code'][:12]} of {worker.ROOT}"
    say(f"{study.name}: {len(runs)} runs, {len(runs) - len(left)} finished; {code}")
    failed = []
    for place, run in enumerate(left):
        remaining = _remaining(left[place:], runs, workdir)
        say(
            f"[{len(runs) - len(left) + place + 1}/{len(runs)}] {run.id}" + (f", {remaining} left" if remaining else "")
        )
        if study_folder.state(run, workdir) == "finished":  # by another process meanwhile
            continue
        folder = os.path.join(workdir, "runs", run.id)
        errors = study_folder.errors(folder)
        if len(errors) >= _GIVE_UP:
            failed.append(run.id)
            say(f"  failed {len(errors)} times, {errors[-1]}: passed over; to try it again, remove {folder}")
            continue
        if study_identity.code_fingerprint() != identity["code"]:
            raise ValueError(
                "the code of kseg/ or tfrecords/ has changed since the study started; use a clone of its own."
            )
        status = worker.start(study, run, workdir, identity)
        if status == worker.HELD:
            say("  another process is at it: passed over")
        elif status == worker.ELSEWHERE:
            failed.append(run.id)
            device = study_folder.device_of_seed(workdir, run.seed)
            say(f"  seed {run.seed} was begun on {device}, and a seed is compared on one device: passed over")
        elif study_folder.state(run, workdir) == "finished":
            seconds = results.load(os.path.join(folder, "result.json"))["seconds"]
            say(f"  finished in {_duration(seconds)}")
        else:
            failed.append(run.id)
            reason = worker.last_line(os.path.join(folder, "log.txt"))
            if status == worker.ERROR:
                study_folder.note_error(folder, reason)
            results.write_text(os.path.join(folder, "failed.txt"), f"exit status {status}: {reason}\n")
            say(f"  FAILED, exit status {status}: {reason} ({folder}/log.txt)")
    return failed


def show(study, workdir: str, only: str = "", say=print) -> None:
    """Lists the runs: id, stage and state."""
    runs = grid.share(grid.expand(study), only)
    study_folder.check(workdir, "--workdir")
    states = [study_folder.state(run, workdir) for run in runs]
    for run, word in zip(runs, states):
        reason = study_folder.refusal(os.path.join(workdir, "runs", run.id, "result.json")) if word == "damaged" else ""
        say(f"{word:9} {run.stage:12} {run.id}" + (f" ({reason})" if reason else ""))
    counts = ", ".join(f"{states.count(word)} {word}" for word in dict.fromkeys(states))
    say(f"{study.name}: {len(runs)} runs, {counts}")


_GIVE_UP = 2  # errors of its own after which a run is passed over


def _records(study):
    """The digest of the study's records, which must have what it is evaluated on, in frames of a sequence."""

    records_dir, split = study.base.data.records_dir, study.test_split
    if not records_dir:
        raise ValueError(
            "no records: set --config.base.data.records_dir=FOLDER (a convert command of kseg writes one)."
        )
    if not os.path.isdir(records_dir):
        raise FileNotFoundError(f"{records_dir}: no such folder; convert the data set first.")
    manifest = tfrecords.info(records_dir)
    if split and (split not in manifest.splits or not manifest.splits[split].has_labels):
        raise ValueError(
            f"{records_dir} has no split {split!r} with labels (it has {', '.join(manifest.splits)}), on which the "
            "study evaluates; convert it too, or set --config.test_split."
        )
    for shard in manifest.split(split or study.base.data.train_split).shards:
        for image_id in shard.image_ids:
            grid.sequence(image_id, study.sequence_pattern)
    return manifest.digest


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
