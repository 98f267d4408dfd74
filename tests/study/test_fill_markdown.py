"""Pages in docs/ are filled from the studies, and disagree with none."""

import json
import re

import pytest
from studies import ROOT, study_of_docs

from kseg.study import folder as study_folder
from kseg.study.report import fill_markdown, page_chart

PAGE = """# Answer
Cost <!--camvid/contrasts/capacity/estimate signed-->?<!--/--> points,
<!--camvid/contrasts/capacity/verdict text-->x<!--/-->;
<!--camvid/arms/ignore-w8/measures/forced_miou mean_sd--><!--/-->, unknown <!--camvid/arms/x count-->3<!--/-->;
of a study not made: <!--none/arms/x count-->not yet measured<!--/-->.
"""


def test_the_page_is_filled_from_the_study_and_a_disagreement_is_found(tmp_path):
    (tmp_path / "study" / "camvid").mkdir(parents=True)
    made = {
        "contrasts": [{"key": "capacity", "estimate": -0.0042, "verdict": "costs at most 0.9"}],
        "arms": {"ignore-w8": {"measures": {"forced_miou": {"mean": 0.5, "sd": 0.0123}}}},
    }
    (tmp_path / "study" / "camvid" / "study.json").write_text(json.dumps(made))
    page = tmp_path / "answer.md"
    page.write_text(PAGE)
    with pytest.raises(ValueError, match="does not agree with the studies at camvid/contrasts/capacity/estimate"):
        fill_markdown.fill_page(str(page), check=True)
    assert page.read_text() == PAGE
    fill_markdown.fill_page(str(page), say=lambda line: None)
    text = page.read_text()
    assert "signed-->−0.4<!--/-->" in text and "text-->costs at most 0.9<!--/-->" in text
    assert "mean_sd-->50.0 ± 1.2<!--/-->" in text and "count-->not yet measured<!--/-->" in text
    fill_markdown.fill_page(str(page), check=True, say=lambda line: None)
    page.write_text(text.replace("50.0 ± 1.2", "51.0 ± 1.2"))
    with pytest.raises(ValueError, match="forced_miou"):
        fill_markdown.fill_page(str(page), check=True)


def test_a_contrast_whose_runs_are_not_made_has_no_values_yet(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.json").write_text(json.dumps({"contrasts": [{"key": "c", "seeds": []}]}))
    for form in ("values", "interval"):
        spot = f"<!--s/contrasts/c {form}-->not yet measured<!--/-->"
        assert fill_markdown.fill(spot, str(tmp_path)) == spot


@pytest.mark.parametrize("content", [None, "", '{"contrasts": [', "[]"])
def test_a_page_keeps_its_numbers_where_their_study_is_missing_or_damaged(tmp_path, content):
    page, file = tmp_path / "answer.md", tmp_path / "study" / "camvid" / "study.json"
    file.parent.mkdir(parents=True)
    page.write_text(PAGE)
    if content is not None:
        file.write_text(content)
    message = f"^{file}" + (
        " or study.json.xz is missing, and 4 places of the page" if content is None else ": expected a study's JSON"
    )
    for check in (True, False):
        with pytest.raises(ValueError, match=message):
            fill_markdown.fill_page(str(page), check=check, say=lambda line: None)
    assert page.read_text() == PAGE
    # Nothing of it is written yet: as where the page is made before the study.
    file.unlink(missing_ok=True)
    text = PAGE
    for old in (">?<", ">x<", "--><!--/-->, unk", ">3<"):
        text = text.replace(old, {"-": "-->not yet measured<!--/-->, unk"}.get(old[0], ">not yet measured<"))
    page.write_text(text)
    fill_markdown.fill_page(str(page), check=True, say=lambda line: None)


def test_a_value_that_its_spot_cannot_write_is_named(tmp_path):
    (tmp_path / "camvid").mkdir()
    (tmp_path / "camvid" / "study.json").write_text('{"title": "CamVid"}')
    with pytest.raises(ValueError, match="<!--camvid/title signed-->: the value there cannot be written as signed"):
        fill_markdown.fill("<!--camvid/title signed-->x<!--/-->", str(tmp_path))


def test_what_is_caught_at_a_price_is_read_off_the_curve_of_its_kind(tmp_path):
    (tmp_path / "camvid").mkdir()
    curve = {
        "lost": [0.005, 0.015, 0.085],
        "kinds": {"scene": {"mean": [0.1, 0.3, 1.0]}, "unseen": {"mean": [0.0, 0.1, 0.2]}},
    }
    (tmp_path / "camvid" / "study.json").write_text(json.dumps({"curve": curve}))
    page = "<!--camvid/curve scene_at_1-->?<!--/--> <!--camvid/curve unseen_at_5-->?<!--/-->"
    filled = fill_markdown.fill(page, str(tmp_path))
    assert filled == "<!--camvid/curve scene_at_1-->20.0<!--/--> <!--camvid/curve unseen_at_5-->15.0<!--/-->"


def test_an_unknown_way_of_writing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected one of signed"):
        fill_markdown.fill("<!--camvid/title loudly-->not yet measured<!--/-->", str(tmp_path))


def test_the_table_of_contrasts_has_those_with_runs_and_counts_the_others(summary):
    filled = fill_markdown._FORMS["table"](summary["contrasts"])
    measured = [entry for entry in summary["contrasts"] if entry["seeds"]]
    rows = [line for line in filled.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(measured) < len(summary["contrasts"])
    assert rows[0].startswith("| **background_class-w8 − ignore-w8** | forced mIoU | 4 | ")
    # Some only repeat a primary one as long as there are no further seeds.
    repeats = sum(entry["verdict"] == "no further seeds" for entry in summary["contrasts"])
    left = len(summary["contrasts"]) - len(measured) - repeats
    assert repeats and f"\n{left} further contrasts of the plan have no runs yet." in filled
    # Runs that lack what a contrast asks for will not have it later.
    without = {key: measured[0][key] for key in ("arm", "reference", "measure", "mean_of", "seeds")}
    row = fill_markdown._FORMS["table"]([without | {"primary": False, "verdict": "not measured: no such score"}])
    assert row.splitlines()[3].endswith("| 4 | – | not measured: no such score |")
    capacity = measured[0] | {"values": [-0.031, 0.002, -0.0104]}
    assert fill_markdown._FORMS["values"](capacity) == "−3.1, +0.2, −1.0"
    assert fill_markdown._FORMS["median"](capacity) == "−1.0"
    at_holms_level = {"holm_low": -0.0154, "holm_high": 0.002, "holm_level": 0.98333}
    assert fill_markdown._FORMS["holm"](at_holms_level) == "−1.5 to +0.2 (98.3 %)"


@pytest.mark.parametrize("page", ["answer.md", "answer_methods.md", "answer_first_edition.md"])
def test_docs_answer_says_what_the_studies_in_docs_say(page):
    fill_markdown.fill_page(str(ROOT / "docs" / page), check=True, say=lambda line: None)


def test_the_answer_is_one_screen():
    text = re.sub(r"<!--.*?-->|\]\([^)]*\)", "", (ROOT / "docs" / "answer.md").read_text())
    words = [word for line in text.splitlines() if not line.startswith("|") for word in line.split()]
    assert len(words) <= 600


def test_the_readme_says_what_the_answer_says():
    found = {entry["key"]: entry for entry in study_of_docs("camvid_lite0")["contrasts"]}
    names = ("1a accuracy, extra class", "2 void, extra class", "3 void, inverted Dice", "4 never seen")
    capacity, void, inverted, unseen = (found[name] for name in names)
    text = " ".join((ROOT / "README.md").read_text().split())
    assert f"costs {-100 * capacity['estimate']:.1f} points of mIoU against ignoring" in text
    assert f"finds {100 * void['estimate']:.0f} points more of the void that training shows" in text
    assert capacity["holm_high"] < 0 < void["holm_low"]
    assert inverted["holm_high"] < 0 and "Dice plus inverted Dice finds less of it than the extra class" in text
    assert unseen["holm_low"] < 0 < unseen["holm_high"] and "For things never seen it is undecided" in text


def test_a_chart_that_other_numbers_drew_is_found_and_drawn_again(tmp_path):
    description = (ROOT / "docs" / "study" / "first_edition.json").read_text()
    chart = json.loads(description)
    studies = {name: study_of_docs(name) for name in page_chart.studies_of(chart)}
    for name, study in studies.items():
        (tmp_path / "study" / name).mkdir(parents=True)
        study_folder.save_summary(tmp_path / "study" / name, json.dumps(study))
    (tmp_path / "study" / "first_edition.json").write_text(description)
    page, file = tmp_path / "answer.md", tmp_path / "study" / "camvid_heads" / "study.json"
    page.write_text("![chart](study/first_edition.svg)\n")
    fill_markdown.fill_page(str(page), say=lambda line: None)
    fill_markdown.fill_page(str(page), check=True, say=lambda line: None)
    study = studies["camvid_heads"] = json.loads(file.read_text())
    entry = next(entry for entry in study["contrasts"] if entry["key"] == "heads alike, forced_miou")
    entry["low"] -= 0.001
    file.write_text(json.dumps(study))
    with pytest.raises(ValueError, match="first_edition.svg does not agree with the studies"):
        fill_markdown.fill_page(str(page), check=True)
    fill_markdown.fill_page(str(page), say=lambda line: None)
    drawn = {(point["panel"], point["name"]): point for point in page_chart.points(chart, studies)}
    assert drawn["scene", "extra class, weight 3"]["low"] == round(100 * entry["low"], 2)
    fill_markdown.fill_page(str(page), check=True, say=lambda line: None)
    file.unlink()
    with pytest.raises(ValueError, match="first_edition.svg needs camvid and camvid_heads beside it"):
        fill_markdown.fill_page(str(page), check=True)


def test_a_panel_may_be_of_a_level_whose_upright_bar_is_lowest_to_highest_seed():
    levels = {"caught_at_0.05_movable": {"mean": 0.5, "sd": 0.1, "values": [0.4, 0.62, 0.48]}}
    levels["objects_caught_at_0.05_photos"] = {"mean": 0.2, "sd": None, "values": [0.2]}
    cost = {"key": "cost", "estimate": -0.004, "low": -0.012, "high": 0.0041}
    study = {"margin": 0.01, "arms": {"a": {"levels": levels}}, "contrasts": [cost]}
    point = {"mark": "extra class", "study": "s", "arms": ["a"], "contrast": "cost"}
    chart = {
        "lost": 0.05, "margin_of": "s", "x": {"label": "points", "limits": [-3, 3]},
        "marks": {"extra class": {"treatment": "background_class", "filled": True}},
        "panels": [{"level": level, "title": level[:7], "points": [point]} for level in levels],
    }  # fmt: skip
    first, second = page_chart.points(chart, {"s": study})
    assert first == {
        "panel": "caught_at_0.05_movable", "name": "extra class", "x": -0.4, "low": -1.2, "high": 0.41,
        "y": 50.0, "y_low": 40.0, "y_high": 62.0,
    }  # fmt: skip
    assert (second["panel"], second["y"]) == ("objects_caught_at_0.05_photos", 20.0)
    axes = page_chart.draw(chart, {"s": study}).axes
    assert [axis.get_title() for axis in axes] == ["caught_", "objects"]
    assert [axis.collections[-1].get_offsets().tolist() for axis in axes] == [[[-0.4, 50.0]], [[-0.4, 20.0]]]


@pytest.mark.parametrize("key", ["level", "contrast", "arms", "mark"])
def test_a_chart_that_names_what_its_study_lacks_is_one_line_and_nothing_is_drawn(key, tmp_path):
    chart = json.loads((ROOT / "docs" / "study" / "answer.json").read_text())
    panel = chart["panels"][1]
    (panel if key == "level" else panel["points"][2])[key] = ["no_such"] if key == "arms" else "no_such"
    folder = tmp_path / "study" / "camvid_lite0"
    folder.mkdir(parents=True)
    study_folder.save_summary(folder, json.dumps(study_of_docs("camvid_lite0")))
    (tmp_path / "study" / "answer.json").write_text(json.dumps(chart))
    (tmp_path / "answer.md").write_text("![chart](study/answer.svg)\n")
    with pytest.raises(ValueError, match=r"answer\.json: .*no_such.*(arm|level|contrast|mark)"):
        fill_markdown.fill_page(str(tmp_path / "answer.md"), say=lambda line: None)
    assert not (tmp_path / "study" / "answer.svg").exists()


@pytest.mark.parametrize("text", ['{"lost": 0.05, "mar', '{"lost": 0.05}', "[]"])
def test_a_chart_that_is_cut_off_is_one_line_that_names_its_file(text, tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "answer.json").write_text(text)
    (tmp_path / "answer.md").write_text("![chart](study/answer.svg)\n")
    with pytest.raises(ValueError, match=r"answer\.json: it describes no chart"):
        fill_markdown.fill_page(str(tmp_path / "answer.md"), say=lambda line: None)


def test_the_chart_of_the_answer_has_its_four_arms_in_both_panels():
    chart = json.loads((ROOT / "docs" / "study" / "answer.json").read_text())
    drawn = page_chart.points(chart, {"camvid_lite0": study_of_docs("camvid_lite0")})
    assert [point["name"] for point in drawn] == [*chart["marks"]] * 2
    assert {point["panel"] for point in drawn} == {"caught_at_0.05_movable", "objects_caught_at_0.05_road_anomaly"}
