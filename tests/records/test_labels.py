"""Label tables against the official one, and the laws of encodings and selections."""

import numpy as np
import pytest
from cityscapesscripts.helpers import labels as official
from cityscapesscripts.helpers.annotation import Annotation
from cityscapesscripts.preparation import json2labelImg
from hypothesis import given
from hypothesis import strategies as st

from tfrecords import labels
from tfrecords.labels import CAMVID, CITYSCAPES, CITYSCAPES_COARSE, Label, LabelTable

# Two classes of which the first has two ids, and one void id of each kind.
SMALL = LabelTable(
    "small",
    (
        Label(0, "nothing", None, "unannotated", (9, 9, 9)),
        Label(3, "road", 0, None, (1, 2, 3)),
        Label(4, "road", 0, None, (1, 2, 3)),
        Label(5, "car", 1, None, (4, 5, 6)),
        Label(6, "thing", None, "scene", (7, 7, 7)),
        Label(7, "trailer", None, "dropped", (8, 8, 8)),
        Label(8, "bonnet", None, "geometry", (0, 0, 0)),
    ),
)


NOT_DRAWN = Label(-1, "license plate", None, "dropped", (0, 0, 142))  # in no published map


def test_every_official_row_is_in_the_cityscapes_table_as_it_stands():
    rows = {label.id: label for label in CITYSCAPES.labels}
    assert len(official.labels) == 35
    assert set(rows) == {row.id for row in official.labels if row.id >= 0}
    for row in official.labels:
        ours = rows.get(row.id, NOT_DRAWN)
        assert (ours.id, ours.name, ours.color) == (row.id, row.name, row.color)
        assert ours.class_index == (None if row.ignoreInEval else row.trainId)
        assert (ours.kind is None) == (not row.ignoreInEval)


def test_the_ignore_encoding_is_the_official_train_id_for_all_35_rows():
    lookup = CITYSCAPES.encoding("ignore")
    for row in official.labels:
        assert lookup[np.uint8(row.id % 256)] == row.trainId % 256, row.name  # -1 in a byte is 255
    background = CITYSCAPES.encoding("background")
    inside = np.arange(34)
    assert (background[inside] == np.where(lookup[inside] == 255, 19, lookup[inside])).all()
    assert (background[34:] == 255).all()


def test_the_official_tool_draws_no_number_plate_so_no_published_map_holds_id_minus_1():
    annotation = Annotation()
    square = "[[0,0],[3,0],[3,3],[0,3]]"
    annotation.fromJsonText(
        '{"imgWidth": 4, "imgHeight": 4, "objects": ['
        f'{{"label": "car", "polygon": {square}}}, {{"label": "license plate", "polygon": {square}}}]}}'
    )
    drawn = np.array(json2labelImg.createLabelImage(annotation, "ids"))
    assert (drawn == official.name2label["car"].id).all()
    assert -1 not in [label.id for label in CITYSCAPES.labels]


def test_the_kinds_of_cityscapes_void():
    kinds = {kind: {x.name for x in CITYSCAPES.void_labels if x.kind == kind} for kind in labels.KINDS}
    assert kinds == {
        "geometry": {"ego vehicle", "rectification border", "out of roi"},
        "scene": {"unlabeled", "static", "dynamic", "ground"},
        "dropped": {"parking", "rail track", "guard rail", "bridge", "tunnel", "polegroup", "caravan", "trailer"},
        "unannotated": set(),
    }


def test_coarse_labels_differ_by_id_0_alone():
    differing = [(a.id, a.kind, b.kind) for a, b in zip(CITYSCAPES.labels, CITYSCAPES_COARSE.labels) if a != b]
    assert differing == [(0, "scene", "unannotated")]
    for name in labels.ENCODINGS:
        assert CITYSCAPES_COARSE.encoding(name)[0] == 255
    assert CITYSCAPES.encoding("background")[0] == 19


def test_camvid_has_11_classes_void_and_the_bonnet():
    assert CAMVID.num_classes == 11
    assert CAMVID.class_names[0] == "sky" and CAMVID.class_names[10] == "bicyclist"
    assert [(x.id, x.kind) for x in CAMVID.void_labels] == [(11, "scene"), (12, "geometry")]
    assert CAMVID.encoding("hybrid")[[10, 11, 12]].tolist() == [10, 11, 255]


@pytest.mark.parametrize(
    "name, expected",
    [
        # ids               0    1    2    3  4  5  6    7    8    9
        ("ignore", [255, 255, 255, 0, 0, 1, 255, 255, 255, 255]),
        ("background", [255, 255, 255, 0, 0, 1, 2, 2, 2, 255]),
        ("hybrid", [255, 255, 255, 0, 0, 1, 2, 2, 255, 255]),
    ],
)
def test_encodings_by_hand(name, expected):
    lookup = SMALL.encoding(name)
    assert lookup.dtype == np.uint8 and lookup.shape == (256,)
    assert lookup[:10].tolist() == expected
    assert (lookup[10:] == 255).all()


def test_official_ids_undo_the_encoding_and_name_the_abstention():
    assert SMALL.official_ids().tolist() == [3, 5, 0]
    assert SMALL.official_ids(abstain=6).tolist() == [3, 5, 6]
    ids = CITYSCAPES.official_ids()
    assert ids.dtype == np.uint8 and ids[19] == 0
    assert [official.id2label[number].trainId for number in ids[:19]] == list(range(19))
    assert CITYSCAPES.encoding("ignore")[ids[:19]].tolist() == list(range(19))


def test_a_selected_class_becomes_dropped_void_and_the_others_close_ranks():
    table = CITYSCAPES.select(seen_void_ids=(7,), unseen_void_ids=(33, 5))
    assert table.num_classes == 17
    assert table.class_names[0] == "sidewalk" and "bicycle" not in table.class_names
    by_id = {label.id: label for label in table.labels}
    assert (by_id[7].kind, by_id[7].seen) == ("dropped", True)
    assert (by_id[33].kind, by_id[33].seen) == ("dropped", False)
    assert (by_id[5].kind, by_id[5].seen) == ("scene", False)
    evaluation, training = table.encoding("background"), table.encoding("background", training=True)
    assert evaluation[[7, 33, 5]].tolist() == [17, 17, 17]
    assert training[[7, 33, 5]].tolist() == [17, 255, 255]
    same = np.setdiff1d(np.arange(256), [33, 5])
    assert (evaluation[same] == training[same]).all()


def test_selecting_nothing_changes_nothing():
    assert CITYSCAPES.select() == CITYSCAPES


def test_unseen_geometry_stays_255_under_hybrid():
    table = SMALL.select(unseen_void_ids=(8, 6))
    assert table.encoding("hybrid")[[6, 8]].tolist() == [2, 255]
    assert table.encoding("hybrid", training=True)[[6, 8]].tolist() == [255, 255]


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"seen_void_ids": (99,)}, "id 99 is not in the label table small"),
        ({"seen_void_ids": (5,), "unseen_void_ids": (5,)}, "both as seen and as unseen"),
        ({"seen_void_ids": (3, 4, 5)}, "at least one must stay"),
        ({"unseen_void_ids": (0,)}, "unannotated"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        SMALL.select(**arguments)


def test_an_unknown_encoding_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="ignore, background, hybrid"):
        CITYSCAPES.encoding("void")


@pytest.mark.parametrize("table", [CITYSCAPES, CITYSCAPES_COARSE, CAMVID, SMALL, CITYSCAPES.select((7,), (33,))])
def test_a_table_survives_json(table):
    assert LabelTable.from_json(table.to_json()) == table


@pytest.mark.parametrize(
    "rows, words",
    [
        ((Label(1, "a", 0, None, (0, 0, 0)), Label(1, "b", 1, None, (0, 0, 0))), "ids must differ"),
        ((Label(256, "a", 0, None, (0, 0, 0)),), "0..255"),
        ((Label(-1, "a", 0, None, (0, 0, 0)),), "0..255"),
        ((Label(0, "a", 1, None, (0, 0, 0)),), "without gaps"),
        ((Label(0, "a", 0, "scene", (0, 0, 0)),), "is a class and has void kind"),
        ((Label(0, "a", 0, None, (0, 0, 0)), Label(1, "b", None, None, (0, 0, 0))), "has kind None"),
        ((Label(0, "a", 0, None, (0, 0, 0)), Label(1, "b", 0, None, (0, 0, 0))), "differ in name"),
        ((), "without gaps"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(rows, words):
    with pytest.raises(ValueError, match=words):
        LabelTable("bad", rows)


@st.composite
def _tables(draw):
    count = draw(st.integers(1, 12))
    ids = draw(st.lists(st.integers(0, 255), min_size=count, max_size=count, unique=True))
    num_classes = draw(st.integers(1, count))
    color = st.tuples(*[st.integers(0, 255)] * 3)
    return LabelTable(
        "drawn",
        tuple(
            Label(number, f"class {i}", i, None, draw(color))
            if i < num_classes
            else Label(number, f"void {i}", None, draw(st.sampled_from(labels.KINDS)), draw(color), draw(st.booleans()))
            for i, number in enumerate(ids)
        ),
    )


@given(_tables())
def test_any_table_survives_json_and_its_encodings_differ_on_void_alone(table):
    assert LabelTable.from_json(table.to_json()) == table
    ignore, background, hybrid = (table.encoding(name) for name in labels.ENCODINGS)
    classes = np.array([number for ids in table.class_ids for number in ids])
    assert (ignore[classes] < table.num_classes).all()
    assert (ignore[classes] == background[classes]).all() and (ignore[classes] == hybrid[classes]).all()
    void = np.setdiff1d(np.arange(256), classes)
    assert (ignore[void] == 255).all()
    assert np.isin(background[void], [table.background_label, 255]).all()
    assert ((hybrid == background) | (hybrid == 255)).all()
