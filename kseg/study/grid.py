"""Which runs a study has: its configuration in, runs in order out. Carries nothing out; loads no TensorFlow.

A study configuration (configs/study_*.py) is an ml_collections.ConfigDict:
  name, title
  base              a whole configuration (kseg/config.py); every run starts from it
  arms              {name: {section: {key: value}}}: what differs from the base; the seed is the grid's
  grid              [(stage, arms, seeds)], in the order in which they run; in a stage seed by seed
  contrasts         [(name, arm, reference, measure, primary)]; primary: True, False, or the name of a family of them;
                    see kseg/study/contrasts.py
  not_worse         optional: the families that ask whether an arm is worse by the margin; it is then of accuracy alone
  primary_seeds     optional: the seeds that primary contrasts use, whatever is run later; else all
  test_split        what runs are evaluated on; "" = the images held out of training
  sequence_pattern  regular expression; of an image id, its first group is the sequence
  block_frames, draws, margin    of the statistics
  frames_per_unit   optional, 1: how many frames that follow each other are counted together; divides block_frames
  objects           optional: {name: folder of photos}, see kseg/study/objects.py; set by --config.objects.NAME=FOLDER
  objects_seen      optional: {height, aspect} at which the network sees photos, those of `objects.evaluate`
  headline          arms that figures compare
  folds             {arm: (group that is void in training, group that is unseen)}
  by_width          names of contrasts that differ in width alone
  choices           [(name, default, [(value, arms)], criterion, guard)]; see kseg/study/summary.py
  publish_pictures  whether the data's pictures may be shown
  publish_figures   optional: names of the figures that --collect writes; else all
  groups            optional: {name: {title, caption, contrasts, arms}}: contrasts with a figure of their own, by their
                    names or by their first arms
  in_words          optional, False: whether the page and the command end with a paragraph (kseg/study/in_words.py)
"""

import contextlib
import dataclasses
import json
import math
import re

import ml_collections

from kseg.study import identity

# Keys that say where and how a run is carried out, not what it computes; they are no part of its name.
_CARRIED_OUT = (
    "data.records_dir",
    "data.num_parallel_calls",
    "data.cache",
    "log.pictures",
    "train.checkpoint_every_steps",
    "train.keep_checkpoints",
)
# Keys that came after runs had been published, and what they do where they are not set: at that value a run is the run
# that it was without them, and keeps its name.
_ADDED = {"model.decoder_widths": [], "model.freeze_encoder_norm": False, "optimizer.encoder_rate": 1.0}
_ADDED |= {"eval.tile_size": [0, 0], "eval.tile_overlap": 256, "eval.average": ""}
_ADDED |= {"model.decoder_convs": [], "model.decoder_block": "conv", "model.pyramid_pooling": []}
_ADDED |= {"eval.best_min_pixels": 1000, "log.callbacks": []}
_KEYS = ("name", "title", "base", "arms", "grid", "contrasts", "test_split", "sequence_pattern", "block_frames")
_KEYS += ("draws", "margin", "headline", "folds", "by_width", "choices", "publish_pictures")
_ENTRIES = {
    "grid": ("stage", "arms", "seeds"),
    "contrasts": ("name", "arm", "reference", "measure", "primary"),
    "choices": ("name", "default", "candidates", "criterion", "guard"),
}
_GROUP = ("title", "caption", "contrasts", "arms")
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

    Checks the whole configuration, what is only used in the end too: that would come hours late.

    Raises:
      ValueError: on what is no study, an unknown arm, key or measure, a run listed twice, or a number out of its range.
    """
    _check_form(study)
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
        runs.append(Run(f"{arm}-s{seed}-{identity.fingerprint(settings(config))[:8]}", stage, arm, seed, config))
    _check_names(study, {run.arm for run in runs})
    _check_numbers(study)
    return runs


def settings(config) -> dict:
    """What a run computes: its configuration as plain JSON values, less the keys that say how it is carried out."""
    values = json.loads(config.to_json())
    for key in _CARRIED_OUT:
        section, name = key.split(".")
        values.get(section, {}).pop(name, None)
    for key, default in _ADDED.items():
        section, name = key.split(".")
        if values.get(section, {}).get(name) == default:
            del values[section][name]
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
                try:
                    config[section][key] = value
                except TypeError as error:
                    raise ValueError(f"study {study.name}, arm {arm}: {section}.{key}: {error}") from error
        config.train.seed = seed
    return config


def _check_form(study):
    lacking = [key for key in _KEYS if key not in study]
    if lacking:
        raise ValueError(
            f"--config is not of a study, it lacks {len(lacking)} keys ({', '.join(lacking[:5])}); "
            "kseg/study/grid.py lists them, configs/study_smoke.py is an example."
        )
    for key, parts in _ENTRIES.items():
        for entry in study[key]:
            if not isinstance(entry, (tuple, list)) or len(entry) != len(parts):
                raise ValueError(f"study {study.name}: {key}: expected ({', '.join(parts)}), got {entry!r}.")


def _check_names(study, listed):
    """Refuses arms without a run, measures that there are not, and what else would be looked up in vain."""
    from kseg.study import measures

    def check_arms(what, arms):
        for arm in arms:
            if arm not in listed:
                raise ValueError(f"study {study.name}: {what} speaks of arm {arm!r}, which has no run.")

    for name, arm, reference, measure, _ in study.contrasts:
        sides = [(side,) if isinstance(side, str) else tuple(side) for side in (arm, reference)]
        check_arms(f"contrast {name!r}", sides[0] + sides[1])
        if len(sides[0]) != len(sides[1]):
            raise ValueError(f"study {study.name}: contrast {name!r} pairs {len(sides[0])} arms with {len(sides[1])}.")
        if not measures.is_contrasted(measure):
            raise ValueError(
                f"study {study.name}: contrast {name!r} is of {measure!r}, expected forced_miou, native_miou, "
                "calibrated_miou, auroc_KIND_off_edge or recall_at_SHARE_KIND_off_edge, KIND being all, scene, "
                "dropped, geometry or unseen, SHARE such as 0.05."
            )
    for name, default, candidates, criterion, guard in study.choices:
        check_arms(f"choice {name!r}", [arm for _, arms in candidates for arm in arms])
        if default not in [value for value, _ in candidates]:
            raise ValueError(f"study {study.name}: choice {name!r}: its default {default!r} is no candidate.")
        for measure in (criterion, guard) if guard else (criterion,):
            if not measures.is_measure(measure):
                raise ValueError(f"study {study.name}: choice {name!r}: there is no measure {measure!r}.")
    check_arms("headline", study.headline)
    check_arms("folds", study.folds)
    for arm, groups in study.folds.items():
        if isinstance(groups, str) or len(groups) != 2:
            raise ValueError(f"study {study.name}: folds: expected two groups of {arm}, got {groups!r}.")
    _check_contrast_names(study, "by_width", study.by_width)
    for name, group in study.get("groups", {}).items():
        what = f"groups.{name}"
        if not _ARM.fullmatch(name) or set(group) != set(_GROUP):
            raise ValueError(f"study {study.name}: {what}: expected a name of letters and {', '.join(_GROUP)}.")
        check_arms(what, group.arms)
        _check_contrast_names(study, what, group.contrasts)


def _check_contrast_names(study, what, names):
    known = [entry[0] for entry in study.contrasts]
    for name in names:
        if name not in known:
            raise ValueError(f"study {study.name}: {what} names {name!r}, which is no contrast.")


def _check_numbers(study):
    try:
        re.compile(study.sequence_pattern)
    except re.error as error:
        raise ValueError(
            f"study {study.name}: sequence_pattern={study.sequence_pattern!r}: expected a regular expression ({error})."
        ) from error
    for key, lowest in (("block_frames", 1), ("draws", 2), ("frames_per_unit", 1)):
        if study.get(key, lowest) < lowest:
            raise ValueError(f"study {study.name}: {key}={study[key]}: expected at least {lowest}.")
    per_unit = study.get("frames_per_unit", 1)
    if study.block_frames % per_unit:
        raise ValueError(
            f"study {study.name}: block_frames={study.block_frames} is no multiple of frames_per_unit={per_unit}; "
            "blocks are drawn of whole units."
        )
    for key, value in study.get("objects_seen", {}).items():
        if key not in ("height", "aspect") or not 0 < value < math.inf:
            raise ValueError(f"study {study.name}: objects_seen.{key}={value}: expected height or aspect, above 0.")
    if not 0 < study.margin < math.inf:
        raise ValueError(f"study {study.name}: margin={study.margin}: expected a share above 0, such as 0.01.")


def sequence(image_id: str, pattern: str) -> str:
    """The sequence that an image is a frame of: the first group of `pattern` in its id, or all that matched."""
    match = re.search(pattern, image_id)
    if not match:
        raise ValueError(
            f"frame {image_id!r} does not match sequence_pattern {pattern!r}; set --config.sequence_pattern."
        )
    return match[1] if match.groups() else match[0]


def settings_of(runs):
    """{run id: its settings}."""
    return {run.id: settings(run.config) for run in runs}
