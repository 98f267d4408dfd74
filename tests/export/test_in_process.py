"""A training run that is asked without an export answers as its export does; views are averaged in both."""

import json
import os
import shutil

import in_process as command
import keras
import numpy as np
import pytest
import small_models
import tensorflow as tf

from kseg import config
from kseg.export import export, in_process, portable, runtimes
from kseg.models import averaging
from kseg.serving import local, tiles
from tfrecords import labels


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(the folder of a run with an untrained network, as training leaves it, its model, its treatment)."""
    folder = tmp_path_factory.mktemp("run")
    model, treatment = small_models.network()
    settings = config.default()
    settings.model.width, settings.model.depth, settings.treatment.name = 4, 2, "ignore"
    settings.treatment.abstain = "calibrated"
    model.save(folder / "model.keras")
    stored = {
        "dataset": {"digest": "d", "table": labels.CITYSCAPES.to_json()},
        "config": json.loads(settings.to_json()),
    }
    (folder / "config.json").write_text(json.dumps(stored))
    (folder / "calibration.json").write_text(json.dumps({"score": treatment.primary, "threshold": 2.4}))
    return str(folder), model, treatment


PICTURES = [
    small_models.encode(small_models.picture(40, 61)),
    small_models.encode(small_models.picture(70, 33), "JPEG"),
]


@pytest.mark.parametrize("average", ["", "flip,0.75"])
def test_a_run_answers_as_its_export(run, tmp_path, average):
    path = export.export(run[0], str(tmp_path / "e"), warmup_sizes=[(32, 48)], average=average)
    with local.Local(path) as exported, in_process.RunModel(run[0], average) as here:
        about = here.about()
        assert {**exported.about(), "weights_sha256": ""} == {**about, "weights_sha256": ""}
        assert about["average"] == average and about["operating_point"] == "calibrated" and here.ready()
        for ours, theirs in zip(here.detail(PICTURES), exported.detail(PICTURES)):
            for name in ("mask_png", "class_png", "void_score_png"):
                ours_, theirs_ = (small_models.decode(getattr(detail, name)) for detail in (ours, theirs))
                assert np.mean(ours_ != theirs_) <= 1e-3 and len(np.unique(theirs_)) > 1
        image = small_models.picture(40, 61)[None]
        assert (
            np.mean(
                here.predict("tensor", {"image": image})["mask"] != exported.predict("tensor", {"image": image})["mask"]
            )
            <= 1e-3
        )
        for model in (here, exported):
            with pytest.raises(ValueError, match="neither a PNG nor a JPEG"):
                model.masks([b"GIF89a"])


def test_without_another_word_views_are_those_that_the_run_is_evaluated_with(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run[0], folder)
    stored = json.loads((folder / "config.json").read_text())
    stored["config"]["eval"]["average"] = "flip"
    (folder / "config.json").write_text(json.dumps(stored))
    with in_process.RunModel(str(folder)) as own, in_process.RunModel(str(folder), "") as none:
        assert own.about()["average"] == "flip" and none.about()["average"] == ""
    path = export.export(str(folder), str(tmp_path / "e"), warmup_sizes=())
    with local.Local(path) as exported:
        assert exported.about()["average"] == "flip"
    with pytest.raises(ValueError, match="averaged views .*average=flip.* --abstain=native") as error:
        portable.export(str(folder), str(tmp_path / "p"), "tflite")
    assert "\n" not in str(error.value) and not (tmp_path / "p").exists()


def test_the_average_is_of_the_probabilities_of_the_views(run):
    folder, model, treatment = run
    image = small_models.picture(64, 96)
    with in_process.RunModel(folder, "flip,0.5") as averaged, in_process.RunModel(folder) as plain:
        (answer,), (alone,) = averaged.detail([small_models.encode(image)]), plain.detail([small_models.encode(image)])
    x = tf.constant(image[None], tf.float32)
    small = tf.image.resize(x, (32, 48))
    views = [model(x), model(x[:, :, ::-1])[:, :, ::-1]]
    views += [tf.image.resize(model(small), (64, 96)), tf.image.resize(model(small[:, :, ::-1])[:, :, ::-1], (64, 96))]
    mean = sum(keras.ops.softmax(z[..., :19]) for z in views) / 4
    expected = np.asarray(tf.argmax(mean, -1))[0]
    assert np.mean(small_models.decode(answer.class_png) != expected) < 1e-3
    assert np.mean(small_models.decode(alone.class_png) != expected) > 0.01
    assert len(averaging.views("flip,0.5")) == 4


def test_larger_views_are_counted_in_what_a_request_may_have(run):
    with in_process.RunModel(run[0]) as plain, in_process.RunModel(run[0], "2") as larger:
        one, four = plain.about(), larger.about()
    assert four["activation_bytes_per_pixel"] > 4 * one["activation_bytes_per_pixel"]
    assert four["limits"]["max_pixels"] <= one["limits"]["max_pixels"]


def predict(*arguments):
    """The lines of the command's errors."""
    return command.kseg_command("predict", *arguments).err


def test_the_command_takes_a_run_and_averages(run, tmp_path):
    (tmp_path / "a.png").write_bytes(PICTURES[0])
    done = predict(f"--model={run[0]}", "--average=flip", f"--output_dir={tmp_path / 'out'}", tmp_path / "a.png")
    assert "error" not in done, done
    assert {"a_mask.png", "a_overlay.png", "predictions.json"} == set(os.listdir(tmp_path / "out"))
    line = predict(f"--model={run[0]}", "--average=flop", f"--output_dir={tmp_path / 'out2'}", tmp_path / "a.png")
    assert line.startswith("error: average='flop': 'flop' is not understood") and not (tmp_path / "out2").exists()
    for other in ("--server=grpc://host:1", f"--model={tmp_path}"):
        line = predict(other, "--average=flip", f"--output_dir={tmp_path}", "x")
        assert "needs probabilities" in line and "kseg export --average" in line and line.count("\n") == 1


def test_the_command_writes_the_run_for_another_runtime(run, tmp_path):
    def export(*arguments):
        return command.kseg_command("export", f"--workdir={run[0]}", f"--export_dir={tmp_path / 'out'}", *arguments)

    done = export("--format=tflite")
    assert done.status == 0 and done.out.endswith("1: checked in its own runtime, equal to Keras\n"), done
    assert sorted(os.listdir(tmp_path / "out" / "1")) == ["kseg.json", "model.tflite"]
    image = small_models.picture(101, 203)[None]
    with in_process.RunModel(run[0]) as model:
        ours = model.predict("tensor", {"image": image})
    theirs = runtimes.load(str(tmp_path / "out" / "1"))(image)
    for name in ("mask", "class", "void_score"):
        assert np.mean(ours[name] != theirs[name]) < 1e-3 and len(np.unique(ours[name])) > 3
    assert export("--format=tflite", "--version=next", "--size=45x70").status == 0
    with pytest.raises(ValueError, match="is for images of"):
        runtimes.load(str(tmp_path / "out" / "2"))(image)
    for arguments, words in [
        (["--format=tflite", "--max_pixels=5"], "--max_pixels=5 goes with --format=savedmodel alone"),
        (["--format=tflite", "--average=flip"], "--average=flip goes with --format=savedmodel alone"),
        (["--format=tflite", "--num_pictures=5"], "--num_pictures=5 goes with --precision=int8 alone"),
        (["--size=45x70"], "--size=45x70 goes with another --format alone"),
        (["--format=tflite", "--size=45"], "--size=45: expected HEIGHTxWIDTH"),
        (["--format=tflite", "--precision=bfloat16"], "is written in float32 or int8, not in bfloat16"),
        (["--precision=int8"], "--precision=int8 goes with --format=tflite or openvino alone"),
        ([], "holds versions of another format (1 is tflite); give --format=savedmodel a folder"),
    ]:
        done = export("--version=next", *arguments)
        assert done.status and done.err.startswith("error: ") and words in done.err, done
        assert done.err.count("\n") == 1
    assert sorted(os.listdir(tmp_path / "out")) == ["1", "2"]


def test_a_run_that_is_not_finished_is_told(run, tmp_path):
    (tmp_path / "config.json").write_text(open(os.path.join(run[0], "config.json")).read())
    with pytest.raises(ValueError, match="model.keras does not exist; let kseg train .* finish first"):
        in_process.RunModel(str(tmp_path))


def test_tiles_and_averages_go_together(run):
    # Sides of whole strides: mirrored, another width would be pooled from another column on than its tiles are.
    contents = small_models.encode(small_models.picture(152, 208))
    with in_process.RunModel(run[0], "flip") as model:
        (whole,) = model.masks([contents])
        (joined,) = tiles.Tiled(model, (100, 130), overlap=64).masks([contents])
    assert np.mean(small_models.decode(whole) != small_models.decode(joined)) <= 1e-3
