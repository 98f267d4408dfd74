"""Every configuration loads, is made of known keys and typed values, and describes a run that could start."""

import importlib
import pathlib
import re

import pytest

from kseg import config as defaults
from kseg import treatments
from kseg.commands import flags, setting_names
from kseg.data import seen_size
from kseg.models import unet

ROOT = pathlib.Path(__file__).parents[2]
RUNS = sorted(p.stem for p in (ROOT / "configs").glob("*.py") if not p.stem.startswith("study_"))


def leaves(config, prefix=""):
    for key, value in config.items():
        if hasattr(value, "items"):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


@pytest.mark.parametrize("name", RUNS)
def test_a_configuration_only_changes_known_keys_and_keeps_their_types(name):
    config = importlib.import_module(f"configs.{name}").get_config()
    known = dict(leaves(defaults.default()))
    ours = dict(leaves(config))
    assert ours.keys() == known.keys()
    assert {k: type(v) for k, v in ours.items()} == {k: type(v) for k, v in known.items()}
    assert ours != known


@pytest.mark.parametrize("name", RUNS)
def test_a_configuration_says_its_command_hardware_and_result(name):
    text = importlib.import_module(f"configs.{name}").__doc__
    for word in ("python tools/train.py", "Hardware:", "Result:"):
        assert word in text


@pytest.mark.parametrize("name", RUNS)
def test_a_configuration_builds_its_model_and_loss(name):
    config = importlib.import_module(f"configs.{name}").get_config()
    treatment = treatments.get(config.treatment, 19, config.loss)
    # Without the weights: they are in an extra, and the network is the same.
    model = unet.build(config.model, treatment.num_outputs, config.train.precision, pretrained=False)
    assert model.output.shape[-1] == 19


def test_every_default_can_be_overridden_from_the_command_line():
    for key, value in leaves(defaults.default()):
        assert value is not None, f"{key} has no type"
        assert isinstance(value, (bool, int, float, str, tuple)), key


@pytest.mark.parametrize(
    "argument, words",
    [
        ("--config.model.widht=3", ["config.model.widht", 'did you mean "config.model.width"']),
        ("--config.optimiser.name=sgd", ["config.optimiser.name", 'mean "config.optimizer.name"?']),
        ("--config.train.lr=0.1", ["config.train.lr", 'did you mean "config.optimizer.learning_rate"?']),
        ("--config.lr=0.1", ['did you mean "config.optimizer.learning_rate"?']),
        ("--config.train.learning_rate=0.1", ['did you mean "config.optimizer.learning_rate"?']),
        ("--config.train.epochs=3", ['did you mean "config.train.total_steps"?', "epochs x images"]),
        ("--config.train.bs=4", ['did you mean "config.train.batch_size"?']),
        ("--config.data.batch-size=4", ['"config.eval.batch_size" or "config.train.batch_size"?']),
        ("--config.train.gpus=2", ["every GPU that is visible is used", "CUDA_VISIBLE_DEVICES"]),
        ("--config.model.num_classes=5", ["the records' label table"]),
        ("--config.model.backbone=resnet50", ['did you mean "config.model.encoder"?']),
        ("--config.train.AMP=True", ['did you mean "config.train.precision"?']),
        ("--config.loss.ignore_index=255", ["records' label table"]),
        ("--config.train.zzzzzz=1", ["kseg/config.py lists every key"]),
    ],
)
def test_a_mistyped_key_gets_the_right_one_in_one_line(argument, words):
    text = flags.explain(["train.py", "--config=configs/x.py", argument], ValueError("boom\nboom"))
    assert "\n" not in text
    for word in words:
        assert word in text


def test_every_key_that_a_foreign_name_stands_for_is_there_and_no_foreign_name_is_ours():
    known = flags._keys(defaults.default())
    names = [name for group in (*setting_names._MEANT.values(), *setting_names._SAID) for name in group.split()]
    assert set(setting_names._MEANT) <= set(known) and len(names) == len(set(names))
    for name in names:
        for key in re.findall(r'"config\.([\w.]+)"', setting_names.hint(f"x.{name}", known)):
            assert key in known
    assert not set(names) & {key.split(".")[1] for key in known}


@pytest.mark.parametrize(
    ("study", "its_own"),
    [
        ("study_camvid_lite0", {"data.seen_void_ids"}),
        ("study_recipe", set()),
        # Another data set, whose frames have another size; whole cities are held out.
        (
            "study_cityscapes256",
            {"data.crop_size", "data.calibration_fraction", "data.eval_split", "train.total_steps"},
        ),
    ],
)
def test_studies_of_the_recipe_train_by_it(study, its_own):
    recipe, base = (
        importlib.import_module("configs.camvid_lite0").get_config(),
        importlib.import_module(f"configs.{study}").get_config().base,
    )
    differ = {
        f"{section}.{key}" for section, values in recipe.items() for key in values if values[key] != base[section][key]
    }
    carried_out = {"eval.every_steps", "log.pictures", "train.distribution", "train.keep_checkpoints"}
    assert differ - carried_out - {"train.early_stopping_evals"} == its_own


def test_a_folder_of_ones_own_is_trained_by_the_recipe_with_crops_that_fit(monkeypatch):
    own, recipe = (importlib.import_module(f"configs.{name}") for name in ("own_folder", "camvid_lite0"))
    ours, theirs = dict(leaves(own.get_config())), dict(leaves(recipe.get_config()))
    differ = {key for key in ours if ours[key] != theirs[key]}
    assert differ == {"data.eval_split", "data.cache", "optimizer.warmup_steps", "train.total_steps"}
    monkeypatch.setattr(seen_size, "sizes", lambda records_dir, split: [(1080, 1920)])
    config = own.get_config("R")
    height, width = config.eval.input_size
    assert config.data.records_dir == "R" and abs(height * width / own.LARGEST - 1) < 0.01
    assert abs(width / height - 16 / 9) < 0.02 and config.augment.scale_max == pytest.approx(1.6 * height / 1080, 0.01)
    # As large a part of the picture as crops of CamVid are.
    assert all(0.6 < crop / side < 0.8 for crop, side in zip(config.data.crop_size, (height, width)))
