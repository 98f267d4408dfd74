"""The whole main job, tiny, through the commands a person types: scenes, records, training, figures, export, masks."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from programs import run_tool

import tfrecords
from tfrecords import labels


@pytest.fixture(scope="module")
def workdir(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("chain") / "run"
    run_tool(
        "tools/train.py", "--config=configs/street_scenes_unet.py", f"--workdir={folder}",
        f"--config.data.records_dir={records}", "--config.data.crop_size=(64, 128)", "--config.model.width=4",
        "--config.treatment.name=background_class", "--config.train.total_steps=6", "--config.train.batch_size=4",
        "--config.optimizer.warmup_steps=2", "--config.log.every_steps=2",
    )  # fmt: skip
    return folder


def test_the_main_job_from_scenes_to_masks(scenes, records, workdir, tmp_path):
    run_tool("tools/evaluate.py", f"--workdir={workdir}", "--split=val")
    report = json.loads((workdir / "eval_val.json").read_text())
    matrix = np.array(report["confusion_matrix"])
    assert matrix.shape == (20, 20) and matrix.sum() == 4 * 64 * 128
    assert {"all", "scene", "dropped", "geometry"} <= report["void"].keys()

    run_tool("tools/export.py", f"--workdir={workdir}", f"--export_dir={tmp_path / 'export'}")
    assert (tmp_path / "export" / "1" / "saved_model.pb").exists()

    images = sorted((scenes / "leftImg8bit" / "val").rglob("*.png"))
    run_tool("tools/predict.py", f"--model={tmp_path / 'export'}", f"--output_dir={tmp_path / 'masks'}", *images)
    masks = sorted((tmp_path / "masks").glob("*_mask.png"))
    assert len(masks) == len(images) == len(list((tmp_path / "masks").glob("*_overlay.png")))
    official = set(labels.CITYSCAPES.official_ids().tolist())
    for mask in masks:
        values = np.unique(np.array(Image.open(mask)))
        assert set(values.tolist()) <= official

    # The masks are the evaluation's decisions: counted against the label files they give its confusion matrix.
    counted = np.zeros((20, 20), np.int64)
    class_of = np.full(256, 19)
    class_of[labels.CITYSCAPES.official_ids()[:19]] = np.arange(19)
    for image, mask in zip(images, masks):
        ids = scenes / "gtFine" / "val" / image.parent.name / image.name.replace("leftImg8bit", "gtFine_labelIds")
        truth = labels.CITYSCAPES.encoding("background")[np.array(Image.open(ids))]
        np.add.at(counted, (truth, class_of[np.array(Image.open(mask))]), 1)
    assert np.abs(counted - matrix).sum() <= 4  # ties between equal logits may fall either way


def test_records_carry_the_official_maps_and_the_image_bytes_verbatim(scenes, records):
    # Both stored maps, id by id, from the table that cityscapesscripts publishes.
    from cityscapesscripts.helpers.labels import labels as official

    ignore = np.full(256, 255)
    for row in official:
        if row.id >= 0 and 0 <= row.trainId < 19:
            ignore[row.id] = row.trainId
    background = np.where(ignore == 255, 19, ignore)
    seen = 0
    for example in tfrecords.read(records, "val"):
        image = next((scenes / "leftImg8bit" / "val").rglob(f"{example.image_id}_leftImg8bit.png"))
        assert example.image_encoded == image.read_bytes()
        ids, stored_ignore, stored_background = (
            np.array(Image.open(io.BytesIO(png)))
            for png in (example.ids_png, example.ignore_png, example.background_png)
        )
        np.testing.assert_array_equal(stored_ignore, ignore[ids])
        np.testing.assert_array_equal(stored_background, background[ids])
        seen += 1
    assert seen == 4


@pytest.mark.parametrize(
    "command, words",
    [
        (["tools/train.py", "--config=configs/nope.py", "--workdir=W"], ["--config=configs/nope.py: no such file"]),
        (
            ["tools/train.py", "--config", "configs/nope.py", "--workdir=W", "--config.train.seed=3"],
            ["--config=configs/nope.py: no such file"],
        ),
        (["tools/train.py", "--config=configs/street_scenes_unet.py", "--workdir=W"], ["records_dir"]),
        (["tools/train.py", "--config=configs/street_scenes_unet.py"], ["--workdir"]),
        (["tools/train.py", "--config=configs/street_scenes_unet.py", "--workdir=W", "x"], ["'x'"]),
        (["tools/evaluate.py", "--workdir=W", "--split=val"], ["W"]),
        (["tools/export.py", "--workdir=W", "--export_dir=E"], ["W"]),
        (["tools/predict.py", "--model=E", "--output_dir=O", "picture.png"], ["E"]),
        (["tools/benchmark.py", "nope"], ["nope", "metrics"]),
        (["tools/demo.py", "x"], ["'x'"]),
    ],
    ids=lambda value: value[0] if value[0].startswith("tools") else None,
)
def test_a_users_mistake_is_one_line(command, words):
    done = run_tool(*command, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: "), done.stderr
    for word in words:
        assert word in last
