"""What predict may write over, what it takes as an image, and what it says about a run."""

import io
import json
import os

import numpy as np
import PIL.Image
import pytest
import small_models

from kseg.serving import client, images, model, predict
from tfrecords import labels

ABOUT = {
    "num_classes": 19,
    "official_ids": [int(number) for number in labels.CITYSCAPES.official_ids(abstain=0)],
    "classes": [{} for _ in range(19)],
    "table": labels.CITYSCAPES.to_json(),
}


class Fake(model.ServedModel):
    """Answers class 3 everywhere, and abstains in the first row."""

    address = "grpc://somewhere:8500"
    version = 1

    def __init__(self, about=ABOUT, answer=None):
        self.asked, self._about, self._answer = [], about, answer

    def predict(self, signature, inputs):
        if signature == client.ABOUT:
            return {"about_json": [json.dumps(self._about).encode()]}
        self.asked.append(inputs["image_bytes"][0])
        if self._answer is not None:
            return {"mask_png_bytes": self._answer}
        with PIL.Image.open(io.BytesIO(inputs["image_bytes"][0])) as image:
            mask = np.full(image.size[::-1], 3, np.uint8)
        mask[0] = 19
        return {"mask_png_bytes": [images.encode_png(mask)]}


def run(paths, out, served=None, **options):
    return predict.predict_files(served or Fake(), paths, out, progress=False, **options)


@pytest.fixture
def street(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "s.png").write_bytes(small_models.encode(small_models.picture(4, 6)))
    return folder


def test_a_ground_truth_beside_the_image_is_never_written_over(street):
    (street / "s_mask.png").write_bytes(b"by hand")
    for options in ({}, {"overwrite": True}, {"skip_existing": True}):
        with pytest.raises(ValueError, match="s_mask.png is in the way of .*s.png's mask"):
            run([street / "s.png"], street, **options)
    assert (street / "s_mask.png").read_bytes() == b"by hand" and len(os.listdir(street)) == 2


def test_outputs_in_the_input_folder_are_not_taken_as_images(street):
    assert run([street], street) == []
    lines, second = [], Fake()
    assert run([street], street, second, overwrite=True, report=lines.append) == []
    assert len(second.asked) == 1
    assert "2 written by an earlier run" in lines[0]
    assert sorted(os.listdir(street)) == ["predictions.json", "s.png", "s_mask.png", "s_overlay.png"]


def test_earlier_outputs_are_written_over_only_when_asked_to(street, tmp_path):
    run([street], tmp_path / "out")
    with pytest.raises(ValueError, match="--overwrite writes it again"):
        run([street], tmp_path / "out")
    (tmp_path / "out" / "s_mask.png").write_bytes(b"corrected by hand")
    with pytest.raises(ValueError, match="not as an earlier run wrote it"):
        run([street], tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "s_mask.png").read_bytes() == b"corrected by hand"


def test_a_run_goes_on_after_what_is_done(street, tmp_path):
    run([street], tmp_path / "out")
    (street / "t.png").write_bytes(small_models.encode(small_models.picture(5, 7)))
    second = Fake()
    assert run([street], tmp_path / "out", second, skip_existing=True) == []
    assert len(second.asked) == 1
    images = json.loads((tmp_path / "out" / "predictions.json").read_text())["images"]
    assert [(e["stem"], e["height"], e["width"], e["version"]) for e in images] == [("s", 4, 6, 1), ("t", 5, 7, 1)]
    assert images[0]["abstained"] == 0.25 and images[1]["abstained"] == 0.2
    assert images[0]["input"] == str(street / "s.png") and set(images[0]["files"]) == {"s_mask.png", "s_overlay.png"}


def test_ctrl_c_says_how_many_are_done_and_what_is_done_stays_known(street, tmp_path, monkeypatch):
    (street / "t.png").write_bytes(small_models.encode(small_models.picture(5, 7)))

    def one_then_stop(results, **unused):
        yield next(iter(results))
        raise KeyboardInterrupt

    monkeypatch.setattr(predict.tqdm, "tqdm", one_then_stop)
    with pytest.raises(predict.Interrupted, match=r"stopped: [12] of 2 images are done; --skip_existing"):
        run([street], tmp_path / "out", parallel=1)
    monkeypatch.undo()
    assert run([street], tmp_path / "out", skip_existing=True) == []
    assert len(list((tmp_path / "out").glob("*_mask.png"))) == 2


def test_a_version_that_is_taken_off_line_is_followed_by_the_next_with_its_own_table(street, tmp_path):
    class Moving(Fake):
        def pinned(self):
            if not self.asked:
                return Version(1, ABOUT["official_ids"], gone=True)
            return Version(2, ABOUT["official_ids"][::-1], gone=False)

    moving = Moving()

    class Version(Fake):
        def __init__(self, version, ids, gone):
            super().__init__({**ABOUT, "official_ids": ids})
            self.version, self._gone = version, gone

        def masks(self, images):
            moving.asked.append(1)
            if self._gone:
                raise client.ServingError(self.address, "NOT_FOUND", "Servable not found")
            return super().masks(images)

    lines = []
    assert run([street], tmp_path / "out", moving, report=lines.append) == []
    assert lines == ["version 1 is no longer served; from here on version 2 answers"]
    (entry,) = json.loads((tmp_path / "out" / "predictions.json").read_text())["images"]
    assert entry["version"] == 2
    mask = small_models.decode((tmp_path / "out" / "s_mask.png").read_bytes())
    assert (mask[0] == ABOUT["official_ids"][0]).all() and (mask[1:] == ABOUT["official_ids"][19 - 3]).all()


@pytest.mark.parametrize(
    "answer",
    [[], [None], ["text"], [b"no png"], [images.encode_png(np.zeros((9, 9), np.uint8))],
     [images.encode_png(np.full((4, 6), 20, np.uint8))], [images.encode_png(np.zeros((4, 6, 3), np.uint8))]],
)  # fmt: skip
def test_an_answer_of_another_model_is_one_line(street, tmp_path, answer):
    ((_, line),) = run([street], tmp_path / "out", Fake(answer=answer))
    assert "UNKNOWN: " in line and line.endswith("s it an export of kseg?") and "\n" not in line
    assert os.listdir(tmp_path / "out") == ["predictions.json"]


@pytest.mark.parametrize("about", [[], None, 3, {}, {**ABOUT, "official_ids": [300] * 20}, {**ABOUT, "table": {}}])
def test_a_model_that_says_nothing_usable_about_itself_is_one_line(street, tmp_path, about):
    with pytest.raises(client.ServingError, match="UNKNOWN: [^\n]*$"):
        run([street], tmp_path / "out", Fake(about))
    assert not (tmp_path / "out").exists()


def test_linked_folders_are_followed_and_what_is_passed_over_is_said(street, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "u.PNG").write_bytes(small_models.encode(small_models.picture(5, 7)))
    (street / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(street)
    (street / "._s.png").touch()
    (street / "notes.txt").touch()
    lines = []
    assert run([street], tmp_path / "out", report=lines.append) == []
    assert (tmp_path / "out" / "link" / "u_mask.png").exists()
    assert lines == ["passed over: 1 hidden, 1 no pictures by their names"]


def test_deep_pictures_are_seen_as_tensorflow_sees_them_or_refused(street, tmp_path):
    wide = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2730
    expected = np.repeat((wide >> 8).astype(np.uint8)[..., None], 3, -1)
    for name, array in (("16.png", wide), ("16.tif", wide), ("32.tif", wide.astype(np.int32))):
        PIL.Image.fromarray(array).save(tmp_path / name)
        sent = images.read_image(tmp_path / name)
        with PIL.Image.open(io.BytesIO(sent)) as image:
            np.testing.assert_array_equal(images.rgb(image), expected)
    for name, array, words in (
        ("float.tif", np.zeros((4, 6), np.float32), "floating point"),
        ("12bit.png", wide // 16, "no pixel over 39"),
        ("huge.tif", wide.astype(np.int32) * 70000, "save it with 8 bits"),
    ):
        PIL.Image.fromarray(array).save(tmp_path / name)
        with pytest.raises(ValueError, match=words):
            images.read_image(tmp_path / name)


@pytest.mark.parametrize("value", [np.array([[1.5]]), np.array([[300]]), np.array([[-1]]), [[True]], [["a"]]])
def test_numbers_that_would_be_cut_are_refused(value):
    from kseg.serving import messages

    with pytest.raises(ValueError, match="pixels are integers from 0 to 255"):
        messages.to_tensor(value)
    assert messages.checked([[7, 255]]).dtype == np.uint8


def test_bits_and_deep_colour_are_read_as_conversion_reads_them(street, tmp_path):
    grey = np.arange(24, dtype=np.uint16).reshape(4, 6) * 170
    PIL.Image.fromarray(grey).save(tmp_path / "12bit.png")
    sent = images.read_image(tmp_path / "12bit.png", bits=12)
    with PIL.Image.open(io.BytesIO(sent)) as image:
        np.testing.assert_array_equal(np.asarray(image)[..., 0], grey >> 4)
    with pytest.raises(ValueError, match="--bits=12"):
        images.read_image(tmp_path / "12bit.png")
    PIL.Image.fromarray(small_models.picture(4, 6)).convert("CMYK").save(tmp_path / "cmyk.jpg")
    with PIL.Image.open(io.BytesIO(images.read_image(tmp_path / "cmyk.jpg"))) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
