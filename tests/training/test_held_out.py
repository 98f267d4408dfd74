"""What best.keras is chosen by: the classes that the held-out images have enough of; and pictures of these images."""

import types

import numpy as np
import pytest
import small_models

import tfrecords
from kseg import config as defaults
from kseg import pictures
from kseg.data import input_pipeline
from kseg.evaluation import evaluate
from kseg.training import held_out


def judge(tmp_path, matrix, least=100, best=-1.0):
    config = defaults.default()
    config.eval.best_min_pixels = least
    model = types.SimpleNamespace(save=lambda path: open(path, "w").close())
    table = types.SimpleNamespace(class_names=("road", "car", "train")[: len(matrix) - 1])
    parts = types.SimpleNamespace(held_out=[3, 5], model=model, ema=None, table=table)
    state = types.SimpleNamespace(best=best, stale=0)
    made = held_out.HeldOut(config, str(tmp_path), parts, state, None, True)
    made.report = types.SimpleNamespace(matrix=lambda decision: np.array(matrix))
    return made, state


# Road: 150 right of 200, no false ones but 50 cars: 150 / 250. Car: 150 of 200, 50 roads too many: 150 / 250.
# Train: 5 of 10, IoU 1/2, too few to choose by.
MATRIX = [[150, 50, 0, 0], [50, 150, 0, 0], [0, 0, 5, 5], [9, 9, 9, 9]]


def test_classes_with_too_few_pixels_do_not_choose(tmp_path, caplog):
    made, state = judge(tmp_path, MATRIX)
    assert made.keep_best() == (pytest.approx(150 / 250), True)
    assert (state.best, state.stale) == (pytest.approx(0.6), 0)
    assert (tmp_path / "best.keras").exists()
    assert made.keep_best() == (pytest.approx(0.6), False) and state.stale == 1


def test_of_one_class_the_model_that_calls_everything_it_is_not_the_best(tmp_path):
    # Right of 200: 150, and 10 of 300 void pixels called the class: 150 / 210. All called it: 200 / 500.
    assert judge(tmp_path, [[150, 50], [10, 290]])[0].keep_best() == (pytest.approx(150 / 210), True)
    assert judge(tmp_path, [[200, 0], [300, 0]], best=150 / 210)[0].keep_best() == (pytest.approx(200 / 500), False)


def test_with_a_lower_limit_all_classes_choose(tmp_path):
    made, _ = judge(tmp_path, MATRIX, least=10)
    assert made.keep_best()[0] == pytest.approx((0.6 + 0.6 + 0.5) / 3)


def test_where_no_class_has_enough_it_says_so_once_and_nothing_is_kept(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(held_out.logging, "warning", lambda text, *values: said.append(text % values))
    made, state = judge(tmp_path, MATRIX, least=1000)
    assert made.keep_best() == made.keep_best() == (None, False)
    assert state.stale == 0 and state.best == -1.0 and not list(tmp_path.iterdir())
    assert len(said) == 1
    assert said[0].startswith("best.keras cannot be chosen: the 2 held-out images have fewer than 1000 labelled pixels")
    assert "road 200, car 200, train 10" in said[0] and "config.data.calibration_fraction" in said[0]


def test_pictures_of_the_log_are_answered_as_the_held_out_images_are_counted(records):
    config = defaults.default()
    config.data.records_dir, config.log.pictures = records, 2
    config.eval.input_size, config.eval.average = (16, 24), "flip"
    manifest = tfrecords.info(records)
    model, treatment = small_models.network("background_class")
    split = config.data.train_split
    parts = types.SimpleNamespace(
        held_out=np.arange(2), model=model, treatment=treatment, manifest=manifest, table=manifest.table, ema=None
    )
    drawn = held_out.HeldOut(config, "", parts, None, None, True).pictures()
    answer = evaluate.answering(model, treatment, config)
    for picture, example in zip(drawn, input_pipeline.eval_dataset(manifest, split, parts.held_out), strict=True):
        image = example["image"].numpy()
        decision, _ = answer(image)
        width = image.shape[1]
        np.testing.assert_array_equal(picture[:, :width], image)
        np.testing.assert_array_equal(picture[:, 2 * width :], pictures.colorize(decision, manifest.table))
        plain = treatment.native(model(image[None])).numpy()[0]
        assert np.mean(decision != plain) > 0.01
