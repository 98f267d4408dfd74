"""Laws of kseg/pictures.py: colours, mixing, sizes, what is refused, and files that are whole or absent."""

import os

import numpy as np
import pytest
from PIL import Image

from kseg import pictures
from tfrecords import labels

TABLES = (labels.CITYSCAPES, labels.CITYSCAPES_COARSE, labels.CAMVID)

TABLE = labels.CITYSCAPES
K = TABLE.num_classes


def image(height=6, width=9, value=100):
    return np.full((height, width, 3), value, np.uint8)


def test_classes_have_the_tables_colours_and_255_is_mid_grey():
    # road (128, 64, 128), sky (70, 130, 180), bicycle (119, 11, 32): cityscapesScripts' colours.
    drawn = pictures.colorize(np.array([[0, 10], [18, 255]], np.uint8), TABLE)
    np.testing.assert_array_equal(drawn, [[(128, 64, 128), (70, 130, 180)], [(119, 11, 32), (112, 112, 112)]])
    assert drawn.dtype == np.uint8


def test_no_class_is_hatched_along_diagonals():
    drawn = pictures.colorize(np.full((16, 16), K), TABLE)
    first, second = pictures.HATCH
    assert tuple(drawn[0, 0]) == first and tuple(drawn[0, 4]) == second and tuple(drawn[4, 0]) == second
    assert tuple(drawn[4, 4]) == first and tuple(drawn[1, 2]) == first and tuple(drawn[1, 3]) == second
    assert {tuple(color) for color in drawn.reshape(-1, 3)} == {first, second}


def test_the_hatch_is_never_a_class_colour():
    colors = {tuple(color) for table in TABLES for color in table.class_colors.tolist()}
    assert not colors & {*pictures.HATCH, pictures.GREY}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_drawing_a_map_can_be_undone(table):
    # Classes of one table differ in colour, so the picture tells every pixel's class.
    class_map = np.random.default_rng(0).integers(0, table.num_classes, (20, 30))
    drawn = pictures.colorize(class_map, table)
    distance = np.abs(drawn[:, :, None].astype(int) - table.class_colors.astype(int)).sum(-1)
    np.testing.assert_array_equal(distance.argmin(-1), class_map)


@pytest.mark.parametrize("value", [K + 1, 33, 254])
def test_a_value_that_is_no_class_is_refused_by_name(value):
    with pytest.raises(ValueError, match=f"value {value}; expected 0..19 or 255"):
        pictures.colorize(np.array([[0, value]]), TABLE)


def test_a_float_map_is_refused():
    with pytest.raises(ValueError, match="float64"):
        pictures.colorize(np.zeros((2, 2)), TABLE)


def test_an_overlay_is_the_weighted_mean():
    # 0.6 * (128, 64, 128) + 0.4 * 100 = (116.8, 78.4, 116.8)
    drawn = pictures.overlay(image(1, 1), np.zeros((1, 1), np.uint8), TABLE)
    np.testing.assert_array_equal(drawn, [[(117, 78, 117)]])


def test_an_overlay_of_nothing_is_the_image_and_of_all_the_map():
    picture, class_map = image(), np.random.default_rng(1).integers(0, K + 1, (6, 9))
    np.testing.assert_array_equal(pictures.overlay(picture, class_map, TABLE, 0), picture)
    np.testing.assert_array_equal(pictures.overlay(picture, class_map, TABLE, 1), pictures.colorize(class_map, TABLE))


def test_an_overlay_of_another_size_is_refused_with_both_sizes():
    with pytest.raises(ValueError, match="class map is 6x8 but its image is 6x9"):
        pictures.overlay(image(), np.zeros((6, 8), np.uint8), TABLE)


@pytest.mark.parametrize("width", [1, 90, 200, 777, 2000])
def test_a_legend_is_as_wide_as_asked(width):
    drawn = pictures.legend(TABLE, width)
    assert drawn.shape[1:] == (width, 3) and drawn.dtype == np.uint8


def test_a_legend_shows_every_class_colour():
    found = {tuple(color) for color in pictures.legend(TABLE, 600).reshape(-1, 3).tolist()}
    assert {tuple(color) for color in TABLE.class_colors.tolist()} <= found
    assert {*pictures.HATCH, pictures.GREY} <= found


def test_a_heat_map_rises_in_lightness():
    drawn = pictures.heat_map(np.linspace(-3, 5, 64)[None])
    light = drawn.astype(float) @ (0.299, 0.587, 0.114)
    assert (np.diff(light[0]) > 0).all()
    assert tuple(drawn[0, 0]) == pictures.HEAT[0] and tuple(drawn[0, -1]) == pictures.HEAT[-1]


def test_a_heat_map_takes_infinities_and_missing_scores():
    drawn = pictures.heat_map(np.array([[-np.inf, 0.0, 1.0, np.inf, np.nan]]))
    np.testing.assert_array_equal(drawn[0, 0], drawn[0, 1])
    np.testing.assert_array_equal(drawn[0, 2], drawn[0, 3])
    assert tuple(drawn[0, 4]) == pictures.GREY


def test_a_constant_score_is_drawn():
    assert len(np.unique(pictures.heat_map(np.full((3, 4), 7.0)))) <= 3
    assert tuple(pictures.heat_map(np.full((1, 1), np.nan))[0, 0]) == pictures.GREY


def test_scales_given_by_the_caller_make_heat_maps_comparable():
    one = pictures.heat_map(np.array([[0.0, 0.5]]), low=0, high=1)
    two = pictures.heat_map(np.array([[0.5, 1.0]]), low=0, high=1)
    np.testing.assert_array_equal(one[0, 1], two[0, 0])


def test_a_heat_map_lets_its_image_through_in_grey():
    # Half of grey 100, half of the scale's ends.
    drawn = pictures.heat_map(np.array([[0.0, 1.0]]), image(1, 2))
    np.testing.assert_array_equal(drawn[0, 0], [50, 50, 52])
    np.testing.assert_array_equal(drawn[0, 1], [176, 176, 146])


def test_a_grid_holds_every_picture_untouched():
    red, green, blue = (
        np.full((10, w, 3), c, np.uint8) for w, c in ((20, (255, 0, 0)), (8, (0, 255, 0)), (20, (0, 0, 255)))
    )
    drawn = pictures.grid([[red, green], [None, blue]], gap=3)
    # Columns 20 and 20 wide, rows 10 and 10 tall, gaps of 3 around and between.
    assert drawn.shape == (29, 49, 3)
    np.testing.assert_array_equal(drawn[3:13, 3:23], red)
    np.testing.assert_array_equal(drawn[3:13, 26:34], green)
    np.testing.assert_array_equal(drawn[16:26, 26:46], blue)
    assert (drawn[16:26, 3:23] == 255).all() and (drawn[:3] == 255).all()


def test_titles_add_lines_of_text_and_nothing_else():
    cell = image(10, 60, 0)
    bare, titled = pictures.grid([[cell], [cell]]), pictures.grid([[cell], [cell]], ["top"], ["one", "two"])
    assert titled.shape[1] == bare.shape[1] and titled.shape[0] == bare.shape[0] + 3 * 21
    assert (titled[:27] < 128).any(), "no title drawn"
    assert (titled == 0).all(-1).sum() >= 2 * 600


def test_a_grid_refuses_titles_that_do_not_fit():
    with pytest.raises(ValueError, match="3 column titles for 1 columns"):
        pictures.grid([[image()]], ["a", "b", "c"])
    with pytest.raises(ValueError, match="without pictures"):
        pictures.grid([])


def test_a_comparison_shows_void_as_hatch_only_where_a_model_abstains():
    truth = np.zeros((16, 32), np.uint8)
    truth[4:12, 8:24] = K
    never, always = np.where(truth == K, 2, truth), truth
    sheet = pictures.comparison([image(16, 32)], [truth], {"a": [never], "b": [always]}, TABLE, cell_width=128)
    # Gap 6, title line 21, cells of 64 x 128: image, truth, a, b from the left.
    cells = [sheet[27:91, 6 + 134 * i : 134 * (i + 1)] for i in range(4)]
    hatched = [(cell == pictures.HATCH[0]).all(-1).any() for cell in cells]
    assert hatched == [False, True, False, True]
    buildings = [(cell == TABLE.class_colors[2]).all(-1).any() for cell in cells]
    assert buildings == [False, False, True, False]


def test_a_comparison_outlines_the_same_pixels_in_truth_and_models():
    truth = np.zeros((16, 32), np.uint8)
    truth[4:12, 8:24] = K
    other = np.ones_like(truth)
    sheet = pictures.comparison([image(16, 32)], [truth], {"a": [other]}, TABLE, cell_width=128)
    outline = [(sheet[27:91, 6 + 134 * i : 134 * (i + 1)] == 255).all(-1) for i in (1, 2)]
    np.testing.assert_array_equal(*outline)
    # The edge of a 32 x 64 px block, two px thick: 32 * 64 - 28 * 60.
    assert outline[0].sum() == 32 * 64 - 28 * 60


def test_the_share_claimed_is_of_the_outlined_void_alone():
    void = np.array([[True, True, True, True, False, False]])
    predicted = np.array([[K, 0, 1, 255, 5, 5]])  # of four outlined, one is not judged: 2 of 3 claimed
    assert pictures._claim(predicted, void, TABLE) == "67 % of outlined void called a class"
    assert pictures._claim(predicted, np.zeros((1, 6), bool), TABLE) == "no void here"


def test_a_comparison_refuses_lists_that_do_not_match():
    truth = np.zeros((6, 9), np.uint8)
    with pytest.raises(ValueError, match="b has 2 maps for 1 images"):
        pictures.comparison([image()], [truth], {"a": [truth], "b": [truth, truth]}, TABLE)
    with pytest.raises(ValueError, match="scene 0: a map is 6x8 but its image is 6x9"):
        pictures.comparison([image()], [truth], {"a": [truth[:, :8]]}, TABLE)


def test_a_saved_png_reads_back_as_it_was(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    pictures.save_png(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture)
    assert os.listdir(tmp_path) == ["a.png"]


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    pictures.save_png(tmp_path / "a.png", image())
    before = (tmp_path / "a.png").read_bytes()

    def broken(self, file, **_):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        pictures.save_png(tmp_path / "a.png", image(value=1))
    assert os.listdir(tmp_path) == ["a.png"] and (tmp_path / "a.png").read_bytes() == before


def test_what_is_no_picture_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="float64"):
        pictures.save_png(tmp_path / "a.png", np.zeros((3, 3, 3)))
    assert os.listdir(tmp_path) == []
