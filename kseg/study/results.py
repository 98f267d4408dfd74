"""result.json: what one run of a study leaves, small and whole, and whether two of them may be compared.

A result holds the run's settings and identity, the evaluation blocks, per-frame counts (which the bootstrap over test
frames needs) and curves. Counts are int arrays, xz-compressed in base64. Does not make results
(kseg/study/run_result.py), nor decide which runs there are (kseg/study/runner.py) or what they mean
(kseg/study/summary.py).
"""

import glob
import json
import lzma
import os

import numpy as np

from kseg.study import archive, identity, packing
from tfrecords import files

FORMAT = 1
pack, unpack = packing.pack, packing.unpack  # how a result holds counts

# What findings are made from; a result without one of them is not whole.
_NEEDED = (
    *("id", "study", "stage", "arm", "seed", "settings", "classes", "primary_score", "parameters", "flops", "training"),
    *("seconds", "resumed", "identity.code", "identity.records", "identity.versions", "identity.device"),
    *("evaluation.split", "evaluation.kinds", "evaluation.report.void", "evaluation.caught.kinds"),
    *("evaluation.native_point", "evaluation.frames.ids", "evaluation.frames.histograms.labelled"),
    *("evaluation.frames.forced", "evaluation.frames.native"),
)


def find(folder: str) -> list[str]:
    """Paths of the results in a folder, by name."""
    return sorted(glob.glob(os.path.join(glob.escape(folder), "runs", "*", "result.json")))


def save(path: str, result: dict) -> None:
    """Writes a result whole or not at all."""
    write_text(path, json.dumps({"format": FORMAT, **result}, allow_nan=False) + "\n")


def load(path: str) -> dict:
    """Reads a result; its counts stay packed.

    Raises:
      ValueError: if it is no whole result, or of another format, or not of the run that its folder is named after.
    """
    try:
        with open(path, encoding="utf-8") as file:
            result = json.load(file)
        known = result["format"] == FORMAT
    except (ValueError, KeyError, TypeError, IsADirectoryError):
        known = False
    if not known:
        raise ValueError(f"{path}: expected a result of format {FORMAT}; remove it and run the study again.")
    _check(result, path, os.path.basename(os.path.dirname(os.path.abspath(path))))
    return result


def load_all(folder: str) -> list[dict]:
    """Reads all results in a folder, by name, and makes sure that their counts can be unpacked.

    Of a run that is both in runs/ and in runs.xz, the one in runs/ is taken.

    Raises:
      ValueError: naming the first that is damaged.
    """
    found = {}
    path = os.path.join(folder, archive.FILE)
    for result in _archived(folder)[0]:
        _check(result, path, result.get("id"))
        _check_counts(result, path)
        found[result["id"]] = result
    for path in find(folder):
        result = load(path)
        _check_counts(result, path)
        found[result["id"]] = result
    return [found[name] for name in sorted(found)]


def notes(folder: str) -> dict:
    """What a folder's archive says beside the results; {} without an archive."""
    return _archived(folder)[1]


def unarchive(folder: str, workdir: str) -> list[str]:
    """Writes the results of a folder's runs.xz as runs/<id>/result.json below `workdir`, so that a study goes on there.

    A result that `workdir` has already stays. Returns the ids of those that were written.

    Raises:
      ValueError: the archive is damaged, or has counts that were summed over sequences, which no study can go on with.
      FileNotFoundError: there is no archive.
    """
    path, written = os.path.join(folder, archive.FILE), []
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such archive; kseg study --collect={folder} writes one.")
    found = _archived(folder)[0]
    for result in found:
        _check(result, path, result.get("id"))
        if are_summed(result):
            raise ValueError(f"{path}: {result['id']} has its frames summed; a study needs them one by one.")
    for result in found:
        target = os.path.join(workdir, "runs", result["id"], "result.json")
        if not os.path.exists(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            save(target, _packed(result))
            written.append(result["id"])
    return written


def _packed(value):
    """A value of an archive with its arrays as `pack` gives them."""
    if isinstance(value, dict):
        if "values" in value and "dtype" in value:
            return pack(value["values"])
        return {key: _packed(inner) for key, inner in value.items()}
    return [_packed(inner) for inner in value] if isinstance(value, list) else value


def are_summed(result: dict) -> bool:
    """Whether a result has counts of sequences instead of frames."""
    return "sequences" in result["evaluation"]["frames"]


def sequence_sums(result: dict, sequences: list[str]) -> dict:
    """The result with its counts summed over each sequence.

    Args:
      result: one with counts of each frame.
      sequences: of each of its frames, in the order of its ids, the name of its sequence.
    """
    frames = result["evaluation"]["frames"]
    names = sorted(set(sequences))
    member = np.array(sequences) == np.array(names)[:, None]

    def summed(value):
        if isinstance(value, dict) and "dtype" not in value:
            return {key: summed(inner) for key, inner in value.items()}
        if value is None or isinstance(value, list):  # of bins
            return value
        return pack(np.tensordot(member.astype(np.int64), unpack(value), 1))

    counts = {key: summed(value) for key, value in frames.items() if key != "ids"}
    frames = {"ids": frames["ids"], "sequences": names, **counts}
    return {**result, "evaluation": {**result["evaluation"], "frames": frames}}


def check_comparable(found: list[dict], expected: dict[str, dict]) -> None:
    """Refuses results that differ in code, records or versions, in device within a seed, or that are of other settings.

    Every contrast is of differences within a seed, so what two devices round differently never enters one; another
    seed may be another device's.

    Args:
      found: results.
      expected: the settings of each run of the study, by run id.

    Raises:
      ValueError: naming two runs and all in which they differ.
    """
    for result in found:
        if result["id"] in expected:
            continue
        named = f"{result['arm']}-s{result['seed']}-"
        same = next((settings for run, settings in expected.items() if run.startswith(named)), None)
        if same is None:
            raise ValueError(f"runs/{result['id']} is no run of this study; move it out of the folder.")
        raise ValueError(
            f"runs/{result['id']} has other settings than this study's {named[:-1]}: "
            f"{_differences(result['settings'], same)}; runs that differ are not compared. Move it out of the folder, "
            "or use the configuration that it was made with."
        )
    first_of_seed = {}
    for result in found:
        same_seed = first_of_seed.setdefault(result["seed"], result)
        elsewhere = {**result["identity"], "device": found[0]["identity"]["device"]}
        for first, this in ((found[0], elsewhere), (same_seed, result["identity"])):
            if first["identity"] != this:
                raise ValueError(
                    f"runs/{first['id']} and runs/{result['id']} differ in {_differences(first['identity'], this)}; "
                    "runs that differ are not compared. Run all of them again the same way, or move one kind out of "
                    "the folder."
                )


def write_text(path: str, text: str) -> None:
    """Writes a file whole or not at all."""
    files.write_whole(path, text.encode())


def _archived(folder):
    path = os.path.join(folder, archive.FILE)
    return archive.read(path) if os.path.exists(path) else ([], {})


def _check(result, path, name):
    """Refuses what is not the whole result of run `name`."""
    lacking = [key for key in _NEEDED if not _has(result, key)]
    if lacking:
        raise ValueError(f"{path}: it lacks {', '.join(lacking)}; remove it and run the study again.")
    if result["id"] != f"{result['arm']}-s{result['seed']}-{identity.fingerprint(result['settings'])[:8]}":
        raise ValueError(f"{path}: its settings are not those that {result['id']} names; remove it and run it again.")
    if name != result["id"]:
        raise ValueError(f"{path}: it is the result of {result['id']}; move it to runs/{result['id']}/ or remove it.")


def _check_counts(result, path):
    """Refuses counts that cannot be unpacked, or are not of as many frames (or sequences) as the result has."""
    frames = result["evaluation"]["frames"]
    rows = len(frames.get("sequences", frames["ids"]))

    def check(value, name):
        if isinstance(value, dict) and "dtype" not in value:
            for key, inner in value.items():
                check(inner, f"{name} {key}" if name else key)
            return
        if isinstance(value, list):  # of bins
            return
        try:
            whole = value is None or len(unpack(value)) == rows
        except (ValueError, KeyError, TypeError, EOFError, lzma.LZMAError):
            whole = False
        if not whole:
            raise ValueError(f"{path}: its counts {name!r} are damaged; remove it and run the study again.")

    for name, value in frames.items():
        check(value, "" if name in ("histograms", "scores") else name)


def _has(value, path):
    """Whether nested dicts have a value at "a.b.c"."""
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True


def _differences(one, other, prefix="") -> str:
    """ "a.b (1 / 2), c (3 / 4)": the leaves in which two nested dicts differ."""
    parts = []
    for key in sorted(one.keys() | other.keys()):
        left, right = one.get(key), other.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            parts += [_differences(left, right, f"{prefix}{key}.")]
        elif left != right:
            parts.append(f"{prefix}{key} ({_short(left)} / {_short(right)})")
    return ", ".join(part for part in parts if part)


def _short(value):
    text = str(value)
    return text[:12] if len(text) == 64 else text
