"""What predict may write over, what it takes as an image, and what it says about a run."""

import io
import json
import os

import numpy as np
import PIL.Image
import pytest
import small_models

from kseg.serving import client, images, model, predict, predictions
from tfrecords import labels, pixels

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


@pytest.mark.parametrize("about", [[], None, 3, {}, {**ABOUT, "official_ids": [300] * 20}, {**ABOUT, "table": {}},
              {**ABOUT, "table": labels.CAMVID.to_json()}, {**ABOUT, "limits": {}}])  # fmt: skip
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


def test_own_outputs_that_a_pattern_names_are_not_taken_as_images(street):
    run([street / "s.png"], street)
    for options in ({"overwrite": True}, {"skip_existing": True}):
        second, lines = Fake(), []
        assert run(sorted(street.glob("*.png")), street, second, report=lines.append, **options) == []
        assert len(second.asked) == (1 if "overwrite" in options else 0)
        assert "passed over: 2 written by an earlier run" in lines
    with pytest.raises(ValueError, match="no images; .* 1 written by an earlier run"):
        run([street / "s_mask.png"], street)
    assert sorted(os.listdir(street)) == ["predictions.json", "s.png", "s_mask.png", "s_overlay.png"]


def test_outputs_of_another_folder_below_the_images_are_not_taken_as_images(street):
    run([street], street / "first")
    (street / "predictions.json").write_text("of something else")
    second, lines = Fake(), []
    assert run([street], street / "second", second, report=lines.append) == []
    assert len(second.asked) == 1 and "2 written by an earlier run" in lines[0]


def test_what_is_known_of_an_image_stays_known_where_doing_it_again_fails(street, tmp_path):
    def record():
        (entry,) = json.loads((tmp_path / "out" / "predictions.json").read_text())["images"]
        return entry

    run([street], tmp_path / "out")
    before = record()
    assert len(run([street], tmp_path / "out", Fake(answer=[]), overwrite=True)) == 1
    assert record() == before and before["model"] == "grpc://somewhere:8500"
    second = Fake()
    assert run([street], tmp_path / "out", second, skip_existing=True) == [] and not second.asked


def test_a_file_that_comes_while_the_image_is_at_work_is_never_ours(street, tmp_path):
    out = tmp_path / "out"

    class Late(Fake):
        def masks(self, images):
            (out / "s_overlay.png").write_bytes(b"by hand")
            return super().masks(images)

    ((_, line),) = run([street], out, Late())
    assert "s_overlay.png has come to be while the image was at work" in line
    for options in ({"overwrite": True}, {"skip_existing": True}):
        with pytest.raises(ValueError, match="s_overlay.png is in the way"):
            run([street], out, **options)
    assert (out / "s_overlay.png").read_bytes() == b"by hand"
    # The mask was written before, and is known.
    (entry,) = json.loads((out / "predictions.json").read_text())["images"]
    assert list(entry["files"]) == ["s_mask.png"] and entry["files"]["s_mask.png"]


def test_two_runs_do_not_write_to_one_folder_at_once(street, tmp_path):
    out, lines = tmp_path / "out", []

    class Meanwhile(Fake):
        def masks(self, images):
            with pytest.raises(ValueError, match="another run writes to .*out; wait for it"):
                (street / "t.png").write_bytes((street / "s.png").read_bytes())
                run([street / "t.png"], out)
            lines.append(1)
            return super().masks(images)

    assert run([street / "s.png"], out, Meanwhile()) == [] and lines
    assert run([street / "t.png"], out) == []  # once the first has ended
    assert len(json.loads((out / "predictions.json").read_text())["images"]) == 2
    # A run that ended between the moment this one read the record and the moment it begins has changed it.
    record = predictions.Record(out)
    (street / "u.png").write_bytes((street / "s.png").read_bytes())
    run([street / "u.png"], out)
    with pytest.raises(ValueError, match="another run writes to"):
        record.begin([], ("mask",), "model")


def test_going_on_says_what_another_model_did_and_does_changed_images_again(street, tmp_path):
    out = tmp_path / "out"
    run([street], out)
    newer = Fake()
    newer.version, lines = 2, []
    (street / "t.png").write_bytes(small_models.encode(small_models.picture(5, 7)))
    assert run([street], out, newer, skip_existing=True, report=lines.append) == []
    assert lines == [
        "1 images were done by an earlier run",
        "1 of them by another model or version; --overwrite does them again",
    ]
    (street / "s.png").write_bytes(small_models.encode(small_models.picture(4, 6, seed=1)))
    os.utime(street / "s.png", (2e9, 2e9))
    lines, again = [], Fake()
    assert run([street], out, again, skip_existing=True, report=lines.append) == []
    assert again.asked == [(street / "s.png").read_bytes()]


def test_a_model_of_the_same_name_that_was_made_again_is_another_one(street, tmp_path):
    out, lines = tmp_path / "out", []
    run([street], out)
    retrained = ABOUT | {"weights_sha256": "0" * 64}
    assert run([street], out, Fake(retrained), skip_existing=True, report=lines.append) == []
    assert lines[-1] == "1 of them by another model or version; --overwrite does them again"
    lines.clear()
    run([street], out, Fake(), skip_existing=True, report=lines.append)
    assert lines == ["1 images were done by an earlier run"]


def test_what_was_removed_from_the_folder_is_done_again(street, tmp_path):
    out = tmp_path / "out"
    run([street], out)
    for name in ("s_mask.png", "s_overlay.png"):
        (out / name).unlink()
        again = Fake()
        assert run([street], out, again, skip_existing=True) == [] and len(again.asked) == 1
        assert (out / name).exists()
    # Below the folder that is asked for, its own files are passed over, removed or not.
    assert run([tmp_path], out, Fake(), skip_existing=True) == []


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, '{"images": [{"stem": 5, "files": {}}]}', '{"images": [{"stem": "s", "files": null}]}', "\0"],
)
def test_a_record_that_is_none_is_refused_in_one_line(street, tmp_path, text):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "predictions.json").write_text(text)
    with pytest.raises(ValueError, match="^[^\n]*predictions.json cannot be read as a list of predictions[^\n]*$"):
        run([street], tmp_path / "out")
    with pytest.raises(ValueError, match="output folder's name is empty"):
        run([street], "")


def test_a_png_whose_exif_comes_after_its_pixels_is_turned_as_conversion_turns_it(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    picture = small_models.picture(4, 6)
    early, plain = small_models.encode(picture, exif=exif), small_models.encode(picture)
    place = early.index(b"eXIf") - 4
    chunk = early[place : place + 12 + int.from_bytes(early[place : place + 4], "big")]
    late = plain[:-12] + chunk + plain[-12:]  # before IEND
    for contents in (early, late):
        turned = small_models.decode(images.as_request_bytes(contents))
        np.testing.assert_array_equal(turned, np.rot90(picture, -1))
        np.testing.assert_array_equal(turned, pixels.decode(contents, "a.png"))
    assert images.as_request_bytes(plain) == plain


def test_a_picture_of_more_pixels_than_pillow_reads_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ValueError, match="a.png has more pixels than can be read at once .20.; cut it into parts"):
        images.as_request_bytes(small_models.encode(small_models.picture(4, 6)), "a.png")
