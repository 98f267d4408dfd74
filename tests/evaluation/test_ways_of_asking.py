"""An evaluation by tiles counts what the whole image gives; one that averages over views is of the averaged answer."""

import dataclasses
import os

import evaluation_cases as cases
import numpy as np
import pytest
import small_models

from kseg.data import input_pipeline
from kseg.evaluation import evaluate


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return cases.write_records(tmp_path_factory.mktemp("toy"))


def evaluated(manifest, model=cases.model, **settings):
    config = cases.config()
    config.eval.update(settings)
    return evaluate.evaluate(model, cases.treatment(), manifest, config, "val", threshold=4.0, progress=False)


def test_tiles_change_nothing_for_a_model_that_looks_at_one_pixel(manifest):
    whole = evaluated(manifest)
    tiled = evaluated(manifest, tile_size=(7, 8), tile_overlap=4)
    assert tiled.to_json() == whole.to_json()
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(tiled.arrays()[name], array)


def test_tiles_start_at_multiples_of_the_networks_stride_and_give_the_whole_images_maps():
    model, treatment = small_models.network("background_class")
    config = cases.config().eval
    images = [small_models.picture(131, 170, seed) for seed in (0, 1)]
    predict = evaluate._predict_function(model, treatment, 1.0, config)

    def run(pieces):
        return {name: value.numpy() for name, value in predict(np.stack(pieces)).items()}

    whole, joined = run(images), evaluate._joined(run, images, (99, 101), 64, model)
    assert set(whole) == set(joined)
    for name, array in whole.items():
        assert joined[name].dtype == array.dtype
        assert np.mean(joined[name] != array) < 1e-3, name  # a score at the border of a bin may fall to either side


def test_the_average_is_what_is_decided_on(manifest):
    def model(images):  # likes class 0 in the left half, 1 in the right one, whatever is there
        z = np.zeros((*images.shape[:3], cases.K + 1), np.float32)
        z[:, :, : images.shape[2] // 2, 0], z[:, :, images.shape[2] // 2 :, 1] = 3, 1
        return z

    plain = evaluated(manifest, model=lambda images: _in_graph(model, images)).matrix("forced")
    mirrored = evaluated(manifest, model=lambda images: _in_graph(model, images), average="flip").matrix("forced")
    assert (
        plain[:, 1].sum() > 0 and mirrored[:, 1].sum() < 0.2 * plain[:, 1].sum()
    )  # 0 is surer, and wins on both sides


def _in_graph(model, images):
    import tensorflow as tf

    z = tf.numpy_function(model, [images], tf.float32)
    return tf.ensure_shape(z, [None, None, None, cases.K + 1])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"tile_size": (7, 0)}, "tile_size"),
        ({"tile_size": (8, 8), "input_size": (4, 4)}, "set one of them"),
        ({"tile_size": (8, 8), "tile_overlap": 8}, "cannot overlap"),
        ({"average": "mirror"}, "expected flip and scales"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(manifest, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        evaluated(manifest, **settings)
    assert "\n" not in str(error.value)


def test_another_way_of_asking_is_written_beside_the_runs_own_report(tmp_path, manifest):
    report = evaluated(manifest)
    report.save(str(tmp_path))
    dataclasses.replace(report, suffix="_averaged").save(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == [
        "eval_val.json",
        "eval_val.npz",
        "eval_val_averaged.json",
        "eval_val_averaged.npz",
    ]


@pytest.mark.parametrize("settings", [{}, {"input_size": (8, 9)}, {"tile_size": (7, 8), "tile_overlap": 4}])
@pytest.mark.parametrize("abstain", ["native", "calibrated"])
def test_one_picture_is_answered_as_it_is_counted(manifest, settings, abstain):
    config, threshold = cases.config(), 1.0
    config.eval.update(settings)
    config.treatment.abstain = abstain
    model, treatment = cases.model, cases.treatment()
    report = evaluate.evaluate(model, treatment, manifest, config, "val", threshold=threshold, progress=False)
    answer = evaluate.answering(model, treatment, config, threshold)
    counted = np.zeros((cases.K + 1, cases.K + 1), np.int64)
    encoding = manifest.split("val").table.encoding("background")
    for example in input_pipeline.eval_dataset(manifest, "val").as_numpy_iterator():
        decision, score = answer(example["image"])
        truth = encoding[example["ids"]]
        assert decision.shape == score.shape == truth.shape and (decision.dtype, score.dtype) == ("uint8", "float32")
        inside = truth <= cases.K
        np.add.at(counted, (truth[inside], decision[inside]), 1)
        if abstain == "calibrated":
            np.testing.assert_array_equal(decision == cases.K, score > threshold)
    np.testing.assert_array_equal(counted, report.matrix(abstain))
