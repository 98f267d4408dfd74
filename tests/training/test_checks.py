"""What cannot be trained, or would silently have no effect, is refused in one line before the folder is touched."""

import importlib
import types

import numpy as np
import pytest
import tensorflow as tf
import training_run
from test_configs import RUNS

import tfrecords
from kseg import config as defaults
from kseg import treatments
from kseg.training import checks, dry_run, train

ONE = tf.distribute.get_strategy()


def settings(records, *changes):
    return training_run.settings(records, ["train.num_virtual_devices=1", "train.deterministic=False", *changes])


MISTAKES = [
    ("augment.scale_min=0.0", "scale_min"),
    ("augment.hue=2.0", "hue"),
    ('augment.addons=("nope",)', "nope"),
    ("data.crop_size=(32,64,9)", "crop_size"),
    ("data.num_parallel_calls=-1", "num_parallel_calls"),
    ("train.seed=-1", "seed"),
    ("train.seed=2147483648", "seed"),
    ("train.keep_checkpoints=0", "keep_checkpoints"),
    ("train.checkpoint_every_steps=0", "checkpoint_every_steps"),
    ("train.early_stopping_evals=-1", "early_stopping_evals"),
    ("eval.every_steps=-4", "every_steps"),
    ("eval.batch_size=0", "eval.batch_size"),
    ("eval.input_size=(-3,5)", "input_size"),
    ("eval.input_size=(0,64)", "input_size"),
    ("eval.input_size=(64,)", "input_size"),
    ("eval.tile_size=(64,64)", "tile_size=.64, 64., config.eval.tile_overlap=256: tiles of 64 px cannot overlap"),
    ("eval.tile_size=(64,64);eval.tile_overlap=-1", "tile_overlap=-1"),
    ("log.every_steps=0", "log.every_steps"),
    ("log.pictures=-1", "pictures"),
    ("treatment.abstain_rate=1.0", "abstain_rate"),
    ('treatment.abstain_rate=float("nan")', "abstain_rate"),
    ('treatment.abstain="never"', "abstain"),
    ("data.calibration_fraction=0.0", "eval.every_steps=4"),
    ("train.early_stopping_evals=2;eval.every_steps=0", "early_stopping_evals=2"),
    ("model.freeze_encoder=True", "freeze_encoder"),
    ("model.freeze_encoder_norm=True", "freeze_encoder_norm"),
    ("optimizer.encoder_rate=0.1", "encoder_rate"),
    ('model.encoder="efficientnet_lite0";model.depth=3', "depth=3 has no effect .*efficientnet_lite0"),
    (
        'model.encoder="efficientnet_lite0";model.depth=4;model.width=8;model.decoder_widths=(8,8,8,8)',
        "width=8 has no effect .*decoder_widths is set",
    ),
    ("model.decoder_widths=(8, 8)", "decoder_widths"),
    ('model.encoder_weights="imagenet"', "encoder_weights"),
    ('loss.class_weights="inverse"', "median_frequency"),
    ("loss.tversky_alpha=0.7", "tversky_alpha=0.7 is for the Dice term.*dice_weight=-1 and inverted_dice_weight=-1"),
    ("loss.main_weight=0.0;loss.dice_weight=1.0;loss.focal_gamma=2.0", "focal_gamma=2.0 is for the main term"),
    ('treatment.name="ignore";treatment.void_weight=0.5', "void_weight=0.5 weighs void"),
    ("loss.label_smoothing=-1.0", "config.loss: label_smoothing must be between 0 and 1"),
    ("loss.dice_weight=1.0;loss.tversky_beta=-1.0", "config.loss: tversky_beta must be"),
    ('loss.main_weight=float("nan")', "main_weight"),
    ('treatment.void_weight=float("nan")', "void_weight"),
    ('treatment.abstain="calibrated";data.calibration_fraction=0.0;eval.every_steps=0', "abstain=calibrated"),
    ("train.jit_compile=True;train.deterministic=True", "deterministic"),
]


@pytest.mark.parametrize("changes, word", MISTAKES)
def test_a_mistake_is_one_line_with_its_key_and_leaves_no_folder(records, tmp_path, changes, word):
    config = settings(records)
    for change in changes.split(";"):
        key, value = change.split("=")
        section, name = key.split(".")
        config[section][name] = eval(value)
    for start in (lambda: train.train_and_evaluate(config, str(tmp_path / "run"), progress=False),
                  lambda: dry_run.dry_run(config, str(tmp_path / "run"))):  # fmt: skip
        with pytest.raises(ValueError, match=word) as caught:
            start()
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_file_is_no_workdir(records, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(ValueError, match="run is a file"):
        train.train_and_evaluate(settings(records), str(tmp_path / "run"), progress=False)


def test_compilation_for_several_replicas_of_the_cpu_is_refused(records):
    config, manifest = settings(records, "train.jit_compile=True"), tfrecords.info(records)
    checks.check(config, manifest, ONE, "run")
    with pytest.raises(ValueError, match="2 replicas on the CPU"):
        checks.check(config, manifest, types.SimpleNamespace(num_replicas_in_sync=2), "run")


@pytest.mark.parametrize("main_weight", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("name", treatments.NAMES)
def test_class_weights_are_refused_exactly_where_the_loss_would_be_the_same_without_them(records, name, main_weight):
    config = settings(records, "loss.dice_weight=1.0", f"loss.main_weight={main_weight}")
    config.treatment.name, config.loss.class_weights = name, "inverse_sqrt"
    plain, weighted = (treatments.get(config.treatment, 3, config.loss, w) for w in (None, np.array([1.0, 2.0, 9.0])))
    random = np.random.default_rng(0)
    target = random.integers(0, 3, (1, 4, 4)).astype(np.uint8)
    logits = random.normal(size=(1, 4, 4, plain.num_outputs)).astype(np.float32)
    same = float(plain.loss(target, logits)) == float(weighted.loss(target, logits))
    try:
        checks.check(config, tfrecords.info(records), ONE, "run")
        refused = False
    except ValueError as error:
        refused = "class_weights" in str(error)
        assert refused, error
    assert refused == same


@pytest.mark.parametrize("name", [*RUNS, *(f"study_{name}" for name in ("smoke", "camvid", "street_scenes"))])
def test_every_configuration_of_ours_passes(records, name):
    config = importlib.import_module(f"configs.{name}").get_config()
    arms = [{}]
    if name.startswith("study_"):
        config, arms = config.base, config.arms.to_dict().values()
    config.data.train_split = "train"
    for arm in arms:
        ours = config.copy_and_resolve_references()
        for section, values in arm.items():
            ours[section].update(values)
        checks.check(ours, tfrecords.info(records), ONE, "run")


def test_the_defaults_pass(records):
    checks.check(defaults.default(), tfrecords.info(records), ONE, "run")


@pytest.mark.parametrize(
    "model, remedies",
    [
        ({}, ["config.model.norm=group"]),
        ({"norm": "group"}, []),
        ({"norm": "group", "encoder": "efficientnet_lite0"}, ["config.model.freeze_encoder_norm=True"]),
        ({"norm": "group", "encoder": "efficientnet_lite0", "freeze_encoder": True}, []),
        ({"encoder": "resnet50"}, ["config.model.norm=group", "config.model.freeze_encoder_norm=True"]),
        ({"norm": "none", "encoder": "convnext_tiny"}, []),
    ],
)
def test_with_accumulation_every_norm_of_a_part_of_the_batch_is_warned_of(monkeypatch, model, remedies):
    said = []
    monkeypatch.setattr(checks.logging, "warning", lambda text, *values: said.append(text % values))
    config = defaults.default()
    config.train.batch_size = config.train.accumulation_steps = 2
    config.model.update(model)
    checks._check_batch(config, 1)
    assert len(said) == bool(remedies) and all(remedy in said[0] for remedy in remedies)
