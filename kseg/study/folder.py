"""What lies in a study's folder: how far each run is, whether all compares, which device a seed belongs to.

Several processes on several machines may share the folder, so what is written here appears whole. Does not start runs
(kseg/study/worker.py) or say what a result holds (kseg/study/results.py).

  runs/<id>/      run.json (the request), train/ (the run's workdir), log.txt, result.json; failed.txt, errors.txt
  seeds/<seed>    the device that began the seed
  study.json      what was found; study.json.xz, the same compressed, where results were collected into runs.xz
"""

import contextlib
import glob
import json
import lzma
import os
import secrets

from kseg.study import archive, results
from tfrecords import files

SUMMARY = "study.json"
PICTURES = "pictures.npz"  # of kseg/study/report/picture_sheets.py


def check(folder: str, flag: str) -> None:
    """Refuses a folder that is a file."""
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise ValueError(f"{folder} is a file; give a folder, or a name that is free, as {flag}.")


def state(run, folder: str) -> str:
    """finished | damaged (a result.json that is none) | failed | started | waiting; of the run, only `id` is read."""
    own = os.path.join(folder, "runs", run.id)
    for name, word in (("result.json", "finished"), ("failed.txt", "failed"), ("run.json", "started")):
        path = os.path.join(own, name)
        if os.path.exists(path):
            return "damaged" if word == "finished" and refusal(path) else word
    return "waiting"


def refusal(path: str) -> str:
    """Why a result.json is no result, in one line; "" where it is one."""
    try:
        results.load(path)
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def check_comparable(folder: str, identity: dict, expected: dict[str, dict]) -> None:
    """Refuses to begin where what is in the folder would not compare with what comes.

    Args:
      folder: of the study.
      identity: that of results.py, less the device, of the runs to come.
      expected: the settings of each run of the study, by run id.

    Raises:
      ValueError: naming a run that is damaged, of another study, or was made or begun with other code, records or
        versions.
    """
    found = results.load_all(folder)
    known = [(result["id"], "made", result["identity"]) for result in found]
    known += [(run_id, "begun", begun) for run_id in expected if (begun := _begun_with(folder, run_id))]
    ours = _parts(identity)
    for run_id, verb, theirs in known:
        for part, value in _parts(theirs).items():
            if ours.get(part) != value:
                raise ValueError(
                    f"runs/{run_id} in {folder} was {verb} with other {part} ({value[:12]}, "
                    f"now {ours.get(part, 'none')[:12]}); go on with those, or give another --workdir."
                )
    results.check_comparable(found, expected)


def errors(run_folder: str) -> list[str]:
    """A line for each time that a run ended by an error of its own."""
    with contextlib.suppress(FileNotFoundError), open(os.path.join(run_folder, "errors.txt"), encoding="utf-8") as file:
        return file.read().splitlines()
    return []


def note_error(run_folder: str, reason: str) -> None:
    """Adds a line to what `errors` returns."""
    lines = [*errors(run_folder), reason]
    results.write_text(os.path.join(run_folder, "errors.txt"), "".join(f"{line}\n" for line in lines))


def claim_seed(folder: str, seed: int, device: str) -> str:
    """The device that a seed belongs to: from now on `device`, where it was nobody's.

    A seed is compared on one device, and which one that is must be known before its first run ends.
    """
    owner = device_of_seed(folder, seed)
    if owner:
        return owner
    path = _claim(folder, seed)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{secrets.token_hex(8)}.tmp"  # process ids are alike on two machines
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(device + "\n")
        # Unlike a rename, fails where there is one already; unlike open(path, "x"), never shows an empty file.
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
    return device_of_seed(folder, seed)


def device_of_seed(folder: str, seed: int) -> str:
    """The device of a seed's finished runs, else the one that began its first run; "" where there is neither."""
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "runs", f"*-s{seed}-*", "result.json"))):
        result = results.load(path)
        if result["seed"] == seed:  # an arm may have such a name
            return result["identity"]["device"]
    with contextlib.suppress(FileNotFoundError), open(_claim(folder, seed), encoding="utf-8") as file:
        return file.read().strip()
    return ""


def save_summary(folder: str, text: str) -> None:
    """Writes study.json, compressed beside an archive; the other of the two, which would be an older one, goes."""
    plain, packed = (os.path.join(folder, name) for name in (SUMMARY, f"{SUMMARY}.xz"))
    if os.path.exists(os.path.join(folder, archive.FILE)):
        files.write_whole(packed, lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
        old = plain
    else:
        results.write_text(plain, text)
        old = packed
    with contextlib.suppress(FileNotFoundError):
        os.remove(old)


def load_summary(folder: str) -> dict | None:
    """What study.json or study.json.xz says; None where there is neither.

    Raises:
      ValueError: at both, or at one that holds no study's object.
    """
    paths = [path for name in (SUMMARY, f"{SUMMARY}.xz") if os.path.exists(path := os.path.join(folder, name))]
    if len(paths) > 1:
        raise ValueError(f"{paths[0]} and {SUMMARY}.xz: expected one of them; remove the older one.")
    if not paths:
        return None
    try:
        with open(paths[0], "rb") as file:
            data = file.read()
        study = json.loads(lzma.decompress(data) if paths[0].endswith(".xz") else data)
    except (ValueError, lzma.LZMAError, EOFError, IsADirectoryError):
        study = None
    if not isinstance(study, dict):
        raise ValueError(f"{paths[0]}: expected a study's JSON object; render it again (kseg study --report_only).")
    return study


def _claim(folder, seed):
    return os.path.join(folder, "seeds", str(seed))


def _begun_with(folder, run_id):
    """The identity that an unfinished run with checkpoints was begun with; None where nothing tells."""
    own = os.path.join(folder, "runs", run_id)
    with contextlib.suppress(OSError, ValueError, KeyError):
        if not os.path.exists(os.path.join(own, "result.json")) and os.listdir(os.path.join(own, "train/checkpoints")):
            with open(os.path.join(own, "run.json"), encoding="utf-8") as file:
                return json.load(file)["identity"]
    return None


def _parts(identity):
    return {"code": identity["code"], "records": identity["records"], **identity["versions"]}
