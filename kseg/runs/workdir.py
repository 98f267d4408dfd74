"""The files of a training run that are not weights: config.json and metrics.jsonl.

Both are written so that a kill at any moment leaves a state that the next start can use. Both hold nothing that a clock
or a machine put there: two undisturbed runs of the same configuration write the same bytes.
"""

import json
import os

import kseg
from kseg import config as default_config
from kseg.runs import checkpoints
from tfrecords import files

# What may change when a run is resumed: where things are, what is logged, and how the same batch is spread.
CHANGEABLE = ("data.records_dir", "data.num_parallel_calls", "data.cache", "log.", "train.distribution")
CHANGEABLE += ("train.num_virtual_devices", "train.checkpoint_every_steps", "train.keep_checkpoints")
CHANGEABLE += ("treatment.abstain", "eval.batch_size")
# Where the first step's weights come from: what is resumed has its own. config.json keeps what the run started from.
_FIRST_STEP = ("model.init_from", "model.encoder_weights")
CHANGEABLE += _FIRST_STEP
_TOTAL = "train.total_steps"  # may rise: that extends the run


def open_run(workdir, config, manifest, table, write=True):
    """Makes the workdir a run of this configuration, or makes sure that it already is one.

    While it holds no checkpoint and no model, nothing is lost by other settings: they take the place of those before.
    A larger train.total_steps extends the run, and config.json keeps the totals before as "earlier_totals".

    Args:
      workdir: str; created if missing.
      config: the run's ml_collections.ConfigDict.
      manifest: tfrecords Manifest of config.data.records_dir.
      table: the run's LabelTable.
      write: False in the workers that must not write; they only compare.

    Raises:
      ValueError: if the workdir belongs to another configuration or other records; the line names the keys that differ.
    """
    path = os.path.join(workdir, "config.json")
    ours = {
        "kseg": kseg.__version__,
        "dataset": {"digest": manifest.digest, "table": table.to_json()},
        "config": json.loads(config.to_json()),
    }
    if _has_weights(workdir) and os.path.exists(path):
        theirs = _read_run(path, "config", "dataset")
        before, now = default_config.flatten(theirs["config"]), default_config.flatten(ours["config"])
        differ = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
        differ = [key for key in differ if not key.startswith(CHANGEABLE)]
        if before.get(_TOTAL, 0) < now[_TOTAL] and _TOTAL in differ:
            differ.remove(_TOTAL)
        if differ:
            listed = ", ".join(f"{key} ({before.get(key)!r} there, {now.get(key)!r} here)" for key in differ[:6])
            more = f" and {len(differ) - 6} more" if len(differ) > 6 else ""
            raise ValueError(
                f"{workdir} is a run with other settings: {listed}{more}; give another --workdir (there, "
                f"--init_from={workdir} starts from its weights)."
            )
        if theirs["dataset"].get("digest") != ours["dataset"]["digest"]:
            raise ValueError(
                f"{workdir} was trained on other records than {manifest.records_dir} (dataset.json differs); "
                "give the same records or another --workdir."
            )
        for key in _FIRST_STEP:
            section, name = key.split(".")
            ours["config"][section][name] = before.get(key, now[key])
        if earlier := earlier_totals(workdir, config):
            ours["earlier_totals"] = list(earlier)
    if write:
        os.makedirs(workdir, exist_ok=True)
        write_json(path, ours)


def earlier_totals(workdir, config):
    """The totals of steps at which a run had ended before it was extended to this configuration's, ascending.

    Args:
      workdir: str; need not exist.
      config: the run's ConfigDict.

    Raises:
      ValueError: if a run is to be extended that has not made its steps yet: a schedule cannot change under way.
    """
    path = os.path.join(workdir, "config.json")
    if not (_has_weights(workdir) and os.path.exists(path)):
        return ()
    theirs = _read_run(path, "config")
    earlier = tuple(theirs.get("earlier_totals", ()))
    before, now = default_config.flatten(theirs["config"]).get(_TOTAL, 0), config.train.total_steps
    if now <= before:
        return earlier
    made = max(checkpoints.steps(os.path.join(workdir, "checkpoints")), default=0)
    if made < before and _stopped_early(workdir, config.train.early_stopping_evals):
        raise ValueError(
            f"{workdir} stopped early, at step {made} of {before} (config.train.early_stopping_evals), and is not "
            f"extended; start another --workdir with --init_from={workdir}."
        )
    if made < before:
        raise ValueError(
            f"{workdir} has a checkpoint of step {made} of {before}: a run is extended once it has made all its steps; "
            f"finish it with --config.{_TOTAL}={before}, or start another --workdir with --init_from={workdir}."
        )
    return (*earlier, before)


def read_config(workdir):
    """(ConfigDict, the whole of config.json) of a run; keys the file lacks have their defaults.

    Raises:
      ValueError: if the workdir holds no readable run.
    """
    path = os.path.join(workdir, "config.json")
    if not os.path.exists(path):
        raise ValueError(
            f"{files.place(workdir)} holds no run (no config.json); give the --workdir of a finished kseg train."
        )
    stored = _read_run(path, "config")
    config = default_config.default()
    for key, value in default_config.flatten(stored["config"]).items():
        default_config.set_key(config, key, value)
    return config, stored


def read_json(path):
    """The content of a JSON file; ValueError in one line if it is none."""
    try:
        with open(path) as file:
            return json.load(file)
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); it is corrupt or was not written by kseg.") from None


def write_json(path, value):
    """Writes JSON so that the file is either the old one or the new one, whole. NaN is refused."""
    files.write_whole(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def _has_weights(workdir):
    """Whether a checkpoint or a model is there, so that something was trained with what config.json says."""
    checkpoints = os.path.join(workdir, "checkpoints")
    kept = [(checkpoints, ".npz"), (workdir, ".keras")]
    return any(name.endswith(ending) for folder, ending in kept if os.path.isdir(folder) for name in os.listdir(folder))


def _stopped_early(workdir, patience):
    """Whether the newest checkpoint says that a run has ended before its last step, by train.early_stopping_evals."""
    _, arrays = checkpoints.load_newest(os.path.join(workdir, "checkpoints"))
    return bool(patience) and arrays is not None and int(arrays["best"][1]) >= patience


def _read_run(path, *keys):
    stored = read_json(path)
    for key in keys:
        if not isinstance(stored, dict) or not isinstance(stored.get(key), dict):
            raise ValueError(f'{path} has no "{key}" of a run; it is corrupt or was not written by kseg.')
    return stored
