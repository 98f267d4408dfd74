"""A picture that is cut is answered as the whole one is, wherever the network sees less far than half the overlap."""

import io
import itertools
import pathlib
import subprocess
import sys

import hypothesis
import numpy as np
import PIL.Image
import pytest
import small_models
from hypothesis import strategies as st

from kseg.serving import local, model, tiles

ROOT = next(folder for folder in pathlib.Path(__file__).parents if (folder / "setup.cfg").is_file())
LIMITS = {"max_pixels": 4096, "max_side": 16384, "stride": 4}


class Halves(model.ServedModel):
    """A model whose class is the grey value // 16, and that refuses more pixels than it says it takes."""

    def __init__(self, **about):
        self.asked = []
        self._about = {"limits": LIMITS, **about}

    def about(self):
        return self._about

    def _run(self, signature, inputs):
        (contents,) = inputs["image_bytes"]
        pixels = np.asarray(PIL.Image.open(io.BytesIO(contents)).convert("RGB"))
        height, width = pixels.shape[:2]
        assert -(-height // 4) * 4 * (-(-width // 4) * 4) <= LIMITS["max_pixels"]
        self.asked.append((signature, height, width))
        answers = {"mask": pixels[..., 0] // 16, "class": pixels[..., 1] // 16, "void_score": pixels[..., 2]}
        return {f"{name}_png_bytes": [small_models.encode(array)] for name, array in answers.items()}


@hypothesis.settings(deadline=None, max_examples=200)
@hypothesis.given(
    st.integers(1, 700), st.integers(1, 700), st.sampled_from([1, 4, 32]), st.integers(0, 40), st.integers(1, 6)
)
def test_kept_parts_cover_each_pixel_once_and_seams_lie_half_an_overlap_from_every_cut(
    height, width, stride, overlap, factor
):
    rounded = -(-overlap // (2 * stride)) * 2 * stride
    side = rounded + factor * stride
    counted = np.zeros((height, width), int)
    for tile in tiles.plan(height, width, (side, side + stride), overlap, stride):
        counted[tile.kept_rows, tile.kept_columns] += 1
        for outer, inner, length, most in (
            (tile.rows, tile.kept_rows, height, side),
            (tile.columns, tile.kept_columns, width, side + stride),
        ):
            assert outer.start % stride == 0 and 0 < outer.stop - outer.start <= most
            assert outer.start <= inner.start < inner.stop <= outer.stop <= length
            assert outer.start == 0 or inner.start - outer.start >= rounded // 2
            assert outer.stop == length or outer.stop - inner.stop >= rounded // 2
    assert np.all(counted == 1)


@hypothesis.settings(deadline=None, max_examples=200)
@hypothesis.given(
    st.integers(1, 9000), st.integers(1, 9000), st.sampled_from([1, 16, 32]), st.integers(500_000, 9_000_000)
)
def test_the_largest_tiles_are_what_the_model_takes_and_few(height, width, stride, max_pixels):
    size = tiles.largest(height, width, max_pixels, 16384, 128, stride)
    pieces = tiles.plan(height, width, size, 128, stride)
    for piece in pieces:
        padded = [-(-side // stride) * stride for side in piece.shape]
        assert padded[0] * padded[1] <= max_pixels + (0 if stride == 1 else stride * stride)
    # No more than squares of the same area that overlap as far would take.
    square = (int(max_pixels**0.5) // stride * stride,) * 2
    assert len(pieces) <= len(tiles.plan(height, width, square, 128, stride))


def test_cuts_by_hand():
    rows = [(tile.rows, tile.kept_rows) for tile in tiles.plan(20, 5, (12, 12), overlap=4, stride=2)]
    # 20 px, tiles of 12: 0..12 and 8..20 share 8..12, and meet in its middle.
    assert rows == [(slice(0, 12), slice(0, 10)), (slice(8, 20), slice(10, 20))]
    # 21 px: the last tile starts at the multiple of 2 from which 12 px reach the end.
    rows = [(tile.rows, tile.kept_rows) for tile in tiles.plan(21, 5, (12, 12), overlap=4, stride=2)]
    assert rows == [(slice(0, 12), slice(0, 10)), (slice(8, 20), slice(10, 14)), (slice(10, 21), slice(14, 21))]


def test_a_picture_that_fits_goes_as_it_is_and_a_larger_one_in_tiles():
    halves, lines = Halves(), []
    tiled = tiles.Tiled(halves, overlap=16, report=lines.append)
    small = small_models.picture(64, 64)
    contents = small_models.encode(small, "JPEG")
    tiled.masks([contents])
    assert halves.asked == [("serving_default", 64, 64)] and not lines
    large = small_models.picture(150, 230)
    (detail,) = tiled.detail([small_models.encode(large)])
    assert {signature for signature, _, _ in halves.asked[1:]} == {"detail"} and len(halves.asked) > 9
    np.testing.assert_array_equal(small_models.decode(detail.mask_png), large[..., 0] // 16)
    np.testing.assert_array_equal(small_models.decode(detail.class_png), large[..., 1] // 16)
    np.testing.assert_array_equal(small_models.decode(detail.void_score_png), large[..., 2])
    assert len(lines) == 1 and lines[0].startswith("150x230 px in ")


def test_a_given_size_cuts_what_would_fit_too_and_off_cuts_nothing():
    contents = small_models.encode(small_models.picture(40, 64))
    halves = Halves()
    tiles.Tiled(halves, (32, 32), overlap=8).masks([contents])
    assert len(halves.asked) == 2 * 3 and max(height for _, height, _ in halves.asked) == 32
    halves = Halves()
    tiles.Tiled(halves, "off").masks([contents])
    assert len(halves.asked) == 1


def test_a_model_with_an_input_size_gets_a_large_picture_shrunk():
    halves = Halves(input_size=[32, 48])
    contents = small_models.encode(np.full((200, 100, 3), 80, np.uint8))
    (mask,) = tiles.Tiled(halves).masks([contents])
    assert small_models.decode(mask).shape == (200, 100) and np.all(small_models.decode(mask) == 5)
    assert len(halves.asked) == 1 and halves.asked[0][1] > 80
    with pytest.raises(ValueError, match="sees every picture at one size"):
        tiles.Tiled(halves, (64, 64)).masks([contents])


def test_a_picture_that_is_too_large_is_refused_with_the_remedy_where_none_may_be_cut():
    halves = Halves()
    with pytest.raises(
        ValueError, match="^65x64 px are more than the model takes at once .max_pixels 4096.*--tile=auto"
    ):
        tiles.Tiled(halves, "off").masks([small_models.encode(small_models.picture(65, 64))])
    assert not halves.asked


def test_the_texts_of_a_size():
    assert [tiles.parse(text) for text in ("auto", "off", "96x128")] == ["auto", "off", (96, 128)]
    for text in ("", "96", "96x", "0x96", "-1x5", "96x96x96", "big"):
        with pytest.raises(ValueError, match="expected auto, off or HEIGHTxWIDTH"):
            tiles.parse(text)


def test_tiles_that_are_chosen_take_a_gibibyte_of_activations_where_the_model_would_take_more():
    class Generous(Halves):
        def _run(self, signature, inputs):
            self.asked.append(PIL.Image.open(io.BytesIO(inputs["image_bytes"][0])).size)
            return {"mask_png_bytes": [small_models.encode(np.zeros(self.asked[-1][::-1], np.uint8))]}

    limits = {"max_pixels": 300 * 300, "max_side": 16384, "stride": 4}
    generous = Generous(limits=limits, activation_bytes_per_pixel=2**30 / 100**2)
    tiles.Tiled(generous, overlap=16).masks([small_models.encode(np.zeros((400, 400, 3), np.uint8))])
    assert max(height * width for height, width in generous.asked) <= 100**2
    # But never too small to overlap.
    generous = Generous(limits=limits, activation_bytes_per_pixel=2**30)
    tiles.Tiled(generous, overlap=16).masks([small_models.encode(np.zeros((400, 400, 3), np.uint8))])
    assert len(generous.asked) > 100


MEMORY = """
import io, json, sys
import numpy as np, PIL.Image
sys.path.insert(0, sys.argv[3])
from kseg.serving import images, model, predict
from tfrecords import labels

class Grey(model.ServedModel):
    def _run(self, signature, inputs):
        if signature == "about":
            ids = [int(number) for number in labels.CITYSCAPES.official_ids(abstain=0)]
            about = {"num_classes": 19, "official_ids": ids, "classes": ids[:19], "table": labels.CITYSCAPES.to_json(),
                     "limits": {"max_pixels": 700 * 700, "max_side": 16384, "stride": 4}}
            return {"about_json": [json.dumps(about).encode()]}
        with PIL.Image.open(io.BytesIO(inputs["image_bytes"][0])) as image:
            classes = np.asarray(image.convert("L")) // 13
        return {"mask_png_bytes": [images.encode_png(classes)]}

def peak():  # of this program; getrusage's is at least that of the one that started it
    with open("/proc/self/status") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

assert predict.predict_files(Grey(), [sys.argv[4]], sys.argv[2] + "/small", progress=False) == []
before = peak()
assert predict.predict_files(Grey(), [sys.argv[1] + "/large"], sys.argv[2] + "/large", progress=False) == []
assert "tensorflow" not in sys.modules
print(peak() - before)
"""


def test_memory_grows_with_the_pictures_bytes_alone(tmp_path):
    (tmp_path / "in" / "large").mkdir(parents=True)
    coarse = PIL.Image.fromarray(small_models.picture(30, 40))
    for i in range(2):  # at work one at a time, however many there are
        coarse.resize((4600, 3500), PIL.Image.Resampling.BILINEAR).save(tmp_path / "in" / "large" / f"{i}.jpg")
    (tmp_path / "one").mkdir()
    coarse.resize((700, 700)).save(tmp_path / "one" / "s.png")
    command = [
        sys.executable,
        "-c",
        MEMORY,
        str(tmp_path / "in"),
        str(tmp_path / "out"),
        str(ROOT),
        str(tmp_path / "one"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    grown = int(done.stdout)
    # Decoded, over and under its overlay, as PNG; class map. Floats of the whole would be 24 bytes a value, 72 a pixel.
    assert grown < 25 * 4600 * 3500
    assert (tmp_path / "out" / "large" / "1_overlay.png").exists()


def test_wrong_sizes_are_refused_in_one_line():
    for arguments, match in (
        (((0, 5),), "tile"),
        (("auto", -1), "overlap -1"),
    ):
        with pytest.raises(ValueError, match=match):
            tiles.Tiled(Halves(), *arguments)
    with pytest.raises(ValueError, match="tiles of 32 px cannot overlap by 32 px"):
        tiles.plan(100, 100, (32, 32), 32)
    with pytest.raises(ValueError, match="lower the overlap"):
        tiles.Tiled(Halves()).masks([small_models.encode(small_models.picture(100, 100))])


@pytest.mark.parametrize("mode", ["L", "I;16", "RGBA", "P"])
def test_tiles_of_every_kind_of_png_have_the_pixels_that_the_model_would_decode(tmp_path_factory, mode):
    path, _, _ = small_models.exported(tmp_path_factory.getbasetemp(), "ignore", 2.4)
    image = PIL.Image.fromarray(small_models.picture(96, 128))
    if mode == "I;16":
        grey = np.asarray(image.convert("L")).astype(np.uint16)
        image = PIL.Image.fromarray(grey * 257)
    else:
        image = image.convert(mode)
    contents = small_models.encode(image)
    with local.Local(path) as served:
        (whole,) = served.masks([contents])
        (joined,) = tiles.Tiled(served, (80, 80), overlap=64).masks([contents])
    np.testing.assert_array_equal(small_models.decode(joined), small_models.decode(whole))


def test_a_tiled_picture_has_the_whole_ones_answer_where_the_network_sees_half_the_overlap(tmp_path_factory):
    # Depth 2, five blocks of two 3x3 convolutions: a pixel depends on less than 32 px around it.
    path, _, _ = small_models.exported(tmp_path_factory.getbasetemp(), "ignore", 2.4)
    with local.Local(path) as served:
        for (height, width), image_format in itertools.product([(203, 310), (96, 401)], ["PNG", "JPEG"]):
            contents = small_models.encode(small_models.picture(height, width), image_format)
            (whole,) = served.detail([contents])
            (joined,) = tiles.Tiled(served, (100, 130), overlap=64).detail([contents])
            for name in ("mask_png", "class_png", "void_score_png"):
                ours, theirs = (small_models.decode(getattr(detail, name)) for detail in (joined, whole))
                assert np.mean(ours != theirs) <= 1e-4, (height, width, image_format, name)
            # With too little overlap the seams show: what is compared above is not blind to them.
            (seams,) = tiles.Tiled(served, (64, 64), overlap=0).detail([contents])
            assert np.mean(small_models.decode(seams.class_png) != small_models.decode(whole.class_png)) > 1e-3
