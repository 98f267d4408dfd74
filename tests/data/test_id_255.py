"""Id 255 is an id like any other, wherever ids go; the ignore label of the targets has the same number by chance."""

import json

import numpy as np
import pytest
from PIL import Image

import tfrecords
from kseg import config as config_module
from kseg import treatments
from kseg.data import input_pipeline
from kseg.evaluation import evaluate, pixel_counts
from kseg.export import served_model
from tfrecords import Label, LabelTable
from tfrecords.conversion import verify

GREY = 128  # of invented pixels
SHADE = {0: 20, 1: 60, 9: 200, 255: 240}  # the picture says which id a pixel has
# 255 is "scene" void as in VOC; 9 is geometry.
TABLE = LabelTable(
    "voc_like",
    (
        Label(0, "road", 0, None, (1, 2, 3)),
        Label(1, "car", 1, None, (4, 5, 6)),
        Label(9, "bonnet", None, "geometry", (0, 0, 0)),
        Label(255, "void", None, "scene", (224, 224, 192)),
    ),
)
# As a class: masks of 0 and 255.
MASKS = LabelTable("masks", (Label(0, "other", 0, None, (0, 0, 0)), Label(255, "object", 1, None, (9, 9, 9))))


def _write(folder, table, count=6):
    folder.mkdir()
    pairs = []
    for number in range(count):
        ids = np.random.default_rng(number).choice([label.id for label in table.labels], (4, 5))
        ids = np.kron(ids, np.ones((6, 6), int)).astype(np.uint8)
        shades = np.vectorize(SHADE.get)(ids).astype(np.uint8)
        pairs.append(tfrecords.Pair(f"a_{number}", folder / f"{number}.png", folder / f"{number}_ids.png"))
        Image.fromarray(np.stack([shades] * 3, -1)).save(pairs[-1].image_path)
        Image.fromarray(ids).save(pairs[-1].label_path)
    return tfrecords.write(folder / "records", table, {"train": pairs}, num_shards=1, num_workers=1)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return _write(tmp_path_factory.mktemp("data") / "voc_like", TABLE)


def _config(**augment):
    config = config_module.default()
    config.data.calibration_fraction, config.train.batch_size, config.data.crop_size = 0.0, 6, (40, 40)
    config.augment.update(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, scale_min=1.0, scale_max=1.0)
    config.augment.update(augment)
    config.data.train_split = "train"
    return config


def test_a_table_may_have_id_255_as_void_and_its_encodings_say_what_they_say_of_any_void():
    assert TABLE.encoding("ignore")[[0, 1, 9, 255]].tolist() == [0, 1, 255, 255]
    assert TABLE.encoding("background")[[0, 1, 9, 255]].tolist() == [0, 1, 2, 2]
    assert TABLE.encoding("hybrid")[[0, 1, 9, 255]].tolist() == [0, 1, 255, 2]
    assert MASKS.encoding("background")[[0, 255]].tolist() == [0, 1]
    assert LabelTable.from_json(json.loads(json.dumps(TABLE.to_json()))) == TABLE


def test_no_class_index_is_the_ignore_label():
    classes = [Label(i, f"c{i}", i, None, (0, 0, 0)) for i in range(256)]
    void = Label(255, "void", None, "scene", (0, 0, 0))
    assert LabelTable("most", (*classes[:254], void)).background_label == 254
    assert LabelTable("no void", tuple(classes[:255])).num_classes == 255  # as earlier programs wrote it
    for labels in ((*classes[:255], void), tuple(classes)):
        with pytest.raises(ValueError, match="expected at most 25[45]"):
            LabelTable("too many", labels)


def test_records_hold_255_as_published_and_a_stranger_is_named_beside_the_ids_there_are(manifest, tmp_path):
    (split,) = manifest.splits.values()
    assert split.id_pixels[255] > 0
    stored = np.concatenate([_png(one.ids_png).ravel() for one in tfrecords.read(manifest.records_dir, "train")])
    assert (stored == 255).sum() == split.id_pixels[255]
    assert verify.check(manifest.records_dir, num_workers=1)
    without = LabelTable("few", (TABLE.labels[0], TABLE.labels[1], Label(254, "void", None, "scene", (0, 0, 0))))
    pairs = [tfrecords.Pair("a", tmp_path / "image.png", tmp_path / "ids.png")]
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "image.png")
    Image.fromarray(np.array([[0, 255], [1, 0]], np.uint8)).save(tmp_path / "ids.png")
    with pytest.raises(ValueError, match=r"1 pixels of id 255, .* \(it has 0..1, 254\)"):
        tfrecords.write(tmp_path / "records", without, {"train": pairs}, num_workers=1)


@pytest.mark.parametrize("augment", [{}, {"rotate_degrees": 20.0}], ids=["upright", "turned"])
@pytest.mark.parametrize("encoding", ["ignore", "background", "hybrid"])
def test_padding_is_never_taken_for_void_of_id_255(manifest, encoding, augment):
    # An unseen id: the target is a look-up over ids, which are padded with 255 or not at all.
    config = _config(**augment)
    config.data.unseen_void_ids = (9,)
    wanted = {SHADE[0]: 0, SHADE[1]: 1, SHADE[9]: 255, SHADE[255]: 255 if encoding == "ignore" else 2, GREY: 255}
    (batch,) = input_pipeline.train_dataset(config, manifest, encoding).take(1)
    shades, target = batch["image"].numpy()[..., 0], batch["target"].numpy()
    pure = np.isin(shades, list(wanted))  # a turned picture has shades in between
    assert pure.mean() > 0.5 and (shades == GREY).sum() > 1000
    assert {int(v) for v in np.unique(target[shades == SHADE[255]])} == {wanted[SHADE[255]]}
    assert (target[shades == GREY] == 255).mean() > 0.995  # a few pixels of a turned picture are as grey by chance
    if not augment:
        np.testing.assert_array_equal(target[pure], np.vectorize(wanted.get)(shades[pure]))


def _model(table):
    """Logits [.., 3] that abstain (index 2) at the shade of 255, and say 0 elsewhere."""
    import tensorflow as tf

    def logits(images):
        void = tf.cast(images[..., 0] == SHADE[255], tf.float32)
        return tf.stack([1 - void, tf.zeros_like(void), 2 * void], -1)

    return logits


def test_evaluation_counts_255_as_the_void_it_is_and_writes_it_for_an_abstention(manifest, tmp_path):
    config = _config()
    config.treatment.name = "background_class"
    treatment = treatments.get(config.treatment, 2)
    report = evaluate.evaluate(
        _model(TABLE), treatment, manifest, config, "train", official_dir=str(tmp_path / "png"), progress=False
    ).to_json()
    pixels = manifest.split("train").id_pixels
    assert report["void"]["void"]["pixels"] == report["void"]["scene"]["pixels"] == pixels[255]
    assert report["void"]["void"]["leak"] == 0 and report["void"]["bonnet"]["leak"] == 1
    one = next(iter(tfrecords.read(manifest.records_dir, "train")))
    written = np.asarray(Image.open(tmp_path / "png" / f"{one.image_id}.png"))
    np.testing.assert_array_equal(written, np.where(_png(one.ids_png) == 255, 255, 0))


def test_an_exported_model_answers_255_for_an_abstention_only_where_that_is_no_class():
    config = config_module.default().treatment
    treatment = treatments.get(config, 2)
    assert served_model.describe(TABLE, treatment, None, None)["official_ids"] == [0, 1, 255]
    assert served_model.describe(MASKS, treatment, None, None)["official_ids"] == [0, 255, 254]


def test_without_a_void_id_official_pictures_are_refused_where_the_decision_may_abstain(tmp_path):
    manifest = _write(tmp_path / "masks", MASKS)
    config = _config()
    config.treatment.name = "background_class"
    treatment = treatments.get(config.treatment, 2)
    folder = tmp_path / "png"
    with pytest.raises(ValueError, match="masks has no void id"):
        evaluate.evaluate(_model(MASKS), treatment, manifest, config, "train", official_dir=str(folder), progress=False)
    assert not folder.exists()
    config.treatment.name = "ignore"  # never abstains
    treatment = treatments.get(config.treatment, 2)
    evaluate.evaluate(
        lambda images: _model(MASKS)(images)[..., :2], treatment, manifest, config, "train", official_dir=str(folder),
        progress=False,
    )  # fmt: skip
    assert len(list(folder.iterdir())) == 6


def test_the_id_of_an_abstention_is_scene_or_unannotated_void_before_any_other():
    def table(*void):
        labels = [Label(number, f"v{number}", None, kind, (0, 0, 0)) for number, kind in void]
        return LabelTable("t", (Label(3, "road", 0, None, (0, 0, 0)), *labels))

    assert tfrecords.labels.CITYSCAPES.abstain_id == tfrecords.labels.CITYSCAPES_COARSE.abstain_id == 0
    assert tfrecords.labels.CAMVID.abstain_id == 11
    assert table((0, "geometry"), (1, "dropped"), (255, "scene")).abstain_id == 255
    assert table((0, "geometry"), (1, "dropped")).abstain_id == 0
    assert table().abstain_id is None and table().official_ids().tolist() == [3]
    with pytest.raises(ValueError, match="id 3 of t is a class"):
        table().official_ids(abstain=3)


def test_256_ids_are_counted_each_in_its_row():
    labels = [Label(i, f"c{i}", i, None, (0, 0, 0)) for i in range(2)]
    labels += [Label(i, f"v{i}", None, "scene", (0, 0, 0)) for i in range(2, 256)]
    layout = pixel_counts.Layout.of(LabelTable("all", tuple(labels)))
    assert layout.rows.tolist() == list(range(256))


def _png(data):
    import io

    return np.asarray(Image.open(io.BytesIO(data)))
