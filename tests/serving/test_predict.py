"""Masks in official ids, overlays, and the same from a server as from a file."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import serving_stand_in
import small_models

from kseg.serving import client as serving
from kseg.serving import local as serving_local
from kseg.serving import model, predict
from tfrecords import labels

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return pathlib.Path(small_models.exported(tmp_path_factory.getbasetemp(), "ignore", 2.4)[0])


@pytest.fixture(scope="module")
def local(folder):
    with serving_local.Local(str(folder.parent)) as opened:
        yield opened


@pytest.fixture
def images(tmp_path):
    """Three pictures of different sizes and formats, one below the folder, one with an EXIF orientation."""
    import PIL.Image

    folder = tmp_path / "images"
    (folder / "below").mkdir(parents=True)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    (folder / "a.png").write_bytes(small_models.encode(small_models.picture(40, 60)))
    (folder / "turned.jpg").write_bytes(small_models.encode(small_models.picture(30, 50), "JPEG", exif=exif))
    (folder / "below" / "b.jpeg").write_bytes(small_models.encode(small_models.picture(33, 21), "JPEG"))
    (folder / "notes.txt").write_text("not a picture")
    return folder


def test_masks_are_in_official_ids_and_abstentions_are_a_void_id(local, images, tmp_path):
    assert predict.predict_files(local, [images / "a.png"], tmp_path / "out", progress=False) == []
    ids = small_models.decode((tmp_path / "out" / "a_mask.png").read_bytes())
    mask = small_models.decode(local.masks([(images / "a.png").read_bytes()])[0])
    assert ids.shape == (40, 60) and ids.dtype == np.uint8
    assert (mask == 19).any() and (mask < 19).any()
    official = labels.CITYSCAPES.official_ids(abstain=0)
    np.testing.assert_array_equal(ids, official[mask])


def test_a_folder_keeps_its_shape_and_orientation_is_applied(local, images, tmp_path):
    assert predict.predict_files(local, [images], tmp_path / "out", void_score=True, progress=False) == []
    written = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.png"))
    stems = ("a", "below/b", "turned")
    assert written == sorted(f"{stem}_{kind}.png" for stem in stems for kind in ("mask", "overlay", "void_score"))
    turned = small_models.decode((tmp_path / "out" / "turned_mask.png").read_bytes())
    assert turned.shape == (50, 30)  # stored as 30 x 50
    score = small_models.decode((tmp_path / "out" / "a_void_score.png").read_bytes())
    mask = small_models.decode((tmp_path / "out" / "a_mask.png").read_bytes())
    np.testing.assert_array_equal(mask == 0, score >= 128)


def test_the_overlay_shows_the_image_and_below_it_the_legend(local, images, tmp_path):
    predict.predict_files(local, [images / "a.png"], tmp_path, progress=False)
    overlay = small_models.decode((tmp_path / "a_overlay.png").read_bytes())
    assert overlay.shape[0] > 40 and overlay.shape[1] >= 60 and overlay.shape[2] == 3
    image = small_models.picture(40, 60).astype(int)
    mask = small_models.decode(local.masks([(images / "a.png").read_bytes()])[0])
    colors = np.concatenate([labels.CITYSCAPES.class_colors, [[0, 0, 0]]]).astype(int)
    drawn = overlay[:40, :60].astype(int)
    # Between the image and the class colour everywhere the model answers.
    low, high = np.minimum(image, colors[mask]) - 1, np.maximum(image, colors[mask]) + 1
    answered = mask < 19
    assert np.all((drawn >= low)[answered] & (drawn <= high)[answered])
    assert len(np.unique(overlay[40:].reshape(-1, 3), axis=0)) > 19  # every class has its swatch


@pytest.mark.parametrize("transport", [0, 1], ids=["gRPC", "REST"])
def test_a_server_gives_the_same_files_as_a_local_model(local, folder, images, tmp_path, transport):
    predict.predict_files(local, [images], tmp_path / "local", void_score=True, progress=False)
    models = serving_stand_in.Models(folder.parent, warm_up=False)
    with serving_stand_in.serve(models) as addresses, serving.Client(addresses[transport]) as client:
        assert predict.predict_files(client, [images], tmp_path / "served", void_score=True, progress=False) == []
    models.close()
    here = {p.relative_to(tmp_path / "local"): p.read_bytes() for p in (tmp_path / "local").rglob("*.png")}
    there = {p.relative_to(tmp_path / "served"): p.read_bytes() for p in (tmp_path / "served").rglob("*.png")}
    assert len(here) == 9 and here == there


def test_a_picture_in_tiles_is_the_whole_one_and_a_servers_is_the_local_one(local, folder, tmp_path):
    (tmp_path / "in").mkdir()
    # The network sees 24 px far, less than half the overlap.
    contents = small_models.encode(small_models.picture(150, 210))
    (tmp_path / "in" / "a.png").write_bytes(contents)

    def files(model, tile):
        out, lines = tmp_path / f"{tile}-{type(model).__name__}", []
        options = {"void_score": True, "progress": False, "tile": tile, "overlap": 64, "report": lines.append}
        assert predict.predict_files(model, [tmp_path / "in"], out, **options) == []
        assert len(lines) == (tile != "off")
        return {kind: (out / f"a_{kind}.png").read_bytes() for kind in ("mask", "overlay", "void_score")}

    whole, cut = files(local, "off"), files(local, "100x100")
    for kind in ("mask", "void_score"):
        assert np.mean(small_models.decode(whole[kind]) != small_models.decode(cut[kind])) <= 1e-4
    models = serving_stand_in.Models(folder.parent, warm_up=False)
    with serving_stand_in.serve(models) as (address, _), serving.Client(address) as client:
        assert files(client, "100x100") == cut
    models.close()


def test_one_bad_image_is_reported_and_the_others_are_done(local, images, tmp_path):
    (images / "broken.png").write_bytes((images / "a.png").read_bytes()[:500])
    (images / "text.png").write_text("hello")
    failures = dict(predict.predict_files(local, [images], tmp_path / "out", progress=False))
    assert set(failures) == {str(images / "broken.png"), str(images / "text.png")}
    assert "Invalid PNG data" in failures[str(images / "broken.png")]
    assert failures[str(images / "text.png")] == "is not a readable image (its format is not known)."
    assert len(list((tmp_path / "out").rglob("*_mask.png"))) == 3
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_a_server_that_goes_away_is_waited_for_once(local, images, tmp_path):
    asked = []

    class Leaving(model.ServedModel):
        about = local.about

        def masks(self, contents):
            asked.append(contents)
            if len(asked) > 1:
                raise serving.ServingError("grpc://host:1", "UNAVAILABLE", "failed to connect")
            return local.masks(contents)

    for i in range(6):
        (images / f"copy{i}.png").write_bytes((images / "a.png").read_bytes())
    failures = predict.predict_files(Leaving(), [images], tmp_path / "out", parallel=1, progress=False)
    assert len(asked) == 2 and len(failures) == 8
    assert failures[0][1] == "grpc://host:1: UNAVAILABLE: failed to connect"
    assert {words for _, words in failures[1:]} == {"not tried, since the server is gone"}


def test_work_is_bounded_and_in_parallel(local, images, tmp_path):
    import threading

    most, now, lock = [0], [0], threading.Lock()
    together = threading.Event()

    class Watched(model.ServedModel):
        about = local.about

        def masks(self, contents):
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
                if now[0] == 2:
                    together.set()
            assert together.wait(20)
            answer = local.masks(contents)
            with lock:
                now[0] -= 1
            return answer

    for i in range(6):
        (images / f"copy{i}.png").write_bytes((images / "a.png").read_bytes())
    assert predict.predict_files(Watched(), [images], tmp_path / "out", parallel=2, progress=False) == []
    assert most[0] == 2


def test_wrong_paths_are_refused_before_any_work(local, images, tmp_path):
    out = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    for paths, words in [
        ([], "no images"),
        ([images / "missing.png"], "missing.png does not exist"),
        ([tmp_path / "empty"], "no picture below it"),
        ([images / "a.png", images / "a.png"], "both be written to a_mask.png"),
    ]:
        with pytest.raises(ValueError, match=words):
            predict.predict_files(local, paths, out, progress=False)
    assert not out.exists()
    out.touch()
    with pytest.raises(ValueError, match=r"out cannot be made a folder \(File exists"):
        predict.predict_files(local, [images / "a.png"], out, progress=False)


def test_a_model_folder_may_be_the_base_or_a_version_and_nothing_else(folder, tmp_path):
    assert serving_local.version_folder(str(folder)) == str(folder)
    assert serving_local.version_folder(str(folder.parent)) == str(folder)
    for name in ("2", "10", "x"):
        (tmp_path / name).mkdir()
    assert serving_local.version_folder(str(tmp_path)) == str(tmp_path / "10")
    with pytest.raises(ValueError, match="cannot be loaded"):
        serving_local.Local(str(tmp_path))
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match="no exported model"):
        serving_local.version_folder(str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--output_dir=o", "a.png"], "give either --model or --server"),
        (["--model=nowhere", "--output_dir=o", "a.png"], "nowhere holds no exported model"),
        (["--server=host:8500", "--output_dir=o", "a.png"], "expected grpc://HOST:8500"),
    ],
)
def test_the_tool_answers_a_mistake_in_one_line(flags, words, tmp_path):
    command = [sys.executable, str(ROOT / "tools" / "predict.py"), *flags]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 1 and done.stderr.startswith("error: ") and words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not os.listdir(tmp_path)
