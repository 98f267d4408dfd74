"""Which runs a study has: its configuration in, runs in order out. Carries nothing out; loads no TensorFlow.

A study configuration (configs/study_*.py) is an ml_collections.ConfigDict:
  name, title
  base              a whole configuration (kseg/config.py); every run starts from it
  arms              {name: {section: {key: value}}}: what differs from the base; the seed is the grid's
  grid              [(stage, arms, seeds)], in the order in which they run; in a stage seed by seed
  contrasts         [(name, arm, reference, measure, primary)]; see kseg/contrasts.py
  test_split        what runs are evaluated on; "" = the images held out of training
  sequence_pattern  regular expression; of an image id, its first group is the sequence
  block_frames, draws, margin    of the statistics
  headline          arms that figures compare
  folds             {arm: (group that is void in training, group that is unseen)}
  by_width          names of contrasts that differ in width alone
  choices           [(name, default, [(value, arms)], criterion, guard)]; see kseg/findings.py
  publish_pictures  whether the data's pictures may be shown
"""

import contextlib
import dataclasses
import json
import re

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
_ARM = re.compile(r"[A-Za-z0-9_-]+")


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
            if not _ARM.fullmatch(arm):
                raise ValueError(f"study {study.name}: arm {arm!r}: expected letters, digits, _ and - alone.")
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
    listed = {run.arm for run in runs}
    for name, *sides, _, _ in study.contrasts:
        sides = [(side,) if isinstance(side, str) else side for side in sides]
        for arm in (*sides[0], *sides[1]):
            if arm not in listed:
                raise ValueError(f"study {study.name}: contrast {name!r} speaks of arm {arm!r}, which has no run.")
        if len(sides[0]) != len(sides[1]):
            raise ValueError(f"study {study.name}: contrast {name!r} pairs {len(sides[0])} arms with {len(sides[1])}.")
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
