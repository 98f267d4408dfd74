"""The official law: cityscapesScripts' own pixel-level evaluation of our PNGs gives our numbers, to the last digit."""

import numpy as np
import pytest
import tensorflow as tf
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official
from PIL import Image

import tfrecords
from kseg import config as config_module
from kseg import treatments
from kseg.evaluation import evaluate

TABLE = tfrecords.labels.CITYSCAPES
K = TABLE.num_classes
SIZES = [(24, 40), (24, 40), (30, 33), (24, 40)]
# In no truth. "truck" is predicted on labelled pixels, "rider" on void pixels only, the others nowhere.
ABSENT = {"train", "bus", "truck", "rider"}


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    """Four images in Cityscapes' folders; red says which class is predicted, K = abstain, green the void score."""
    folder = tmp_path_factory.mktemp("cityscapes")
    rng = np.random.default_rng(0)
    ids_of = np.array([label.id for label in TABLE.labels if label.name not in ABSENT])
    index = {name: i for i, name in enumerate(TABLE.class_names)}
    likely = [i for name, i in index.items() if name not in ABSENT] + [K]
    truth_index = TABLE.encoding("background")
    pairs = []
    for number, (height, width) in enumerate(SIZES):
        name = f"{['ulm', 'bonn'][number % 2]}_{number:06d}_000019"
        ids = np.kron(rng.choice(ids_of, (height // 4 + 1, width // 4 + 1)), np.ones((4, 4), int))[:height, :width]
        predicted = np.where(rng.random(ids.shape) < 0.6, truth_index[ids], rng.choice(likely, ids.shape))
        predicted = np.where((ids == 7) & (rng.random(ids.shape) < 0.1), index["truck"], predicted)
        predicted = np.where((truth_index[ids] == K) & (rng.random(ids.shape) < 0.2), index["rider"], predicted)
        image = np.stack([predicted, rng.integers(0, 256, ids.shape), ids], -1).astype(np.uint8)
        paths = [folder / part / "val" / name.split("_")[0] for part in ("leftImg8bit", "gtFine")]
        for path in paths:
            path.mkdir(parents=True, exist_ok=True)
        image_path = paths[0] / f"{name}_leftImg8bit.png"
        label_path = paths[1] / f"{name}_gtFine_labelIds.png"
        Image.fromarray(image).save(image_path)
        Image.fromarray(ids.astype(np.uint8)).save(label_path)
        pairs.append(tfrecords.Pair(name, str(image_path), str(label_path)))
    return folder, tfrecords.write(folder / "records", TABLE, {"val": pairs}, num_workers=1)


def model(images):
    """Red is the largest of K + 1 logits."""
    images = tf.cast(images, tf.float32)
    best = tf.one_hot(tf.cast(images[..., 0], tf.int32), K + 1)
    return 5 * best + tf.concat([tf.zeros_like(best[..., :K]), images[..., 1:2] / 100], -1)


@pytest.mark.parametrize("abstain", ["native", "calibrated"])
def test_official_scores_of_our_pngs_equal_our_scores(data_set, tmp_path, monkeypatch, abstain):
    folder, manifest = data_set
    config = config_module.default()
    config.treatment.name, config.treatment.abstain = "background_class", abstain
    treatment = treatments.get(config.treatment, K)
    report = evaluate.evaluate(
        model, treatment, manifest, config, "val", threshold=-3.5, official_dir=str(tmp_path / "png"), progress=False
    )
    ours = report.to_json()["calibrated"] if abstain == "calibrated" else report.to_json()
    assert 0.01 < ours["abstain_rate"] < 0.6  # abstentions are there, on labelled pixels
    assert 0.1 < ours["void"]["all"]["leak"] < 0.9  # void is there, some of it claimed
    assert ours["per_class_iou"]["truck"] == 0.0
    assert {name for name, iou in ours["per_class_iou"].items() if iou is None} == {"train", "bus", "rider"}

    settings = official.args
    for name, value in (("evalInstLevelScore", False), ("JSONOutput", False), ("quiet", True)):
        monkeypatch.setattr(settings, name, value)
    for name in ("predictionPath", "predictionWalk"):  # it remembers where it looked last
        monkeypatch.setattr(settings, name, None)
    monkeypatch.setenv("CITYSCAPES_RESULTS", str(tmp_path / "png"))
    truths = sorted(str(path) for path in folder.glob("gtFine/val/*/*_gtFine_labelIds.png"))
    predictions = [official.getPrediction(settings, truth) for truth in truths]  # exits unless there is exactly one
    theirs = official.evaluateImgLists(predictions, truths, settings)

    for name, iou in ours["per_class_iou"].items():
        expected = theirs["classScores"][name]
        assert (iou is None) == np.isnan(expected), name
        assert iou is None or abs(iou - expected) <= 1e-12, name
    assert abs(ours["mean_iou"] - theirs["averageScoreClasses"]) <= 1e-12
    assert np.sum(ours["confusion_matrix"]) == np.sum(theirs["confMatrix"])
