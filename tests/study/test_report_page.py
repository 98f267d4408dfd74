"""The study's page in headless Chromium: it fits telephone and desk, sorts, and loads nothing from outside."""

import functools
import importlib.util
import io
import json
import pathlib
import re
import shutil

import matplotlib
import numpy as np
import pytest
import simulated_study
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from kseg import treatments
from kseg.report import charts
from kseg.report import page as pages
from kseg.study import grid
from kseg.study import summary as findings
from kseg.study.report import contrast_figures, figures, picture_sheets, tables
from kseg.study.report import page as report
from tfrecords import labels

ROOT = pathlib.Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


def load_config(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "configs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    configuration = module.get_config()
    configuration.draws = 200
    return configuration


def summary(configuration, folder, only, frames):
    """study.json's content of made-up runs."""
    runs = simulated_study.write(configuration, folder, only, frames)
    found = findings.read(folder, {run.id: grid.settings(run.config) for run in grid.expand(configuration)})
    return findings.summarise(configuration, found, runs, folder)


@pytest.fixture(scope="module")
def configuration():
    return load_config("study_camvid")


@pytest.fixture(scope="module")
def folder(configuration, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    simulated_study.write(configuration, folder, only=lambda run: run.stage in ("primary", "core") and run.seed < 2)
    return folder


@pytest.fixture(scope="module")
def study(configuration, folder):
    runs = grid.expand(configuration)
    found = findings.read(folder, {run.id: grid.settings(run.config) for run in runs})
    return findings.summarise(configuration, found, runs, folder)


@pytest.fixture(scope="module")
def whole(configuration, tmp_path_factory):
    """The study with runs of every stage but further seeds, on some of the frames."""
    return summary(
        configuration, tmp_path_factory.mktemp("whole"), lambda run: run.seed < 2, simulated_study.FRAMES[::3]
    )


@pytest.fixture(scope="module", params=["study_camvid", "study_camvid, one seed", "study_street_scenes"])
def drawn_study(request, whole, tmp_path_factory):
    """Studies whose figures differ in their panels: all of them, without intervals, without folds."""
    if request.param == "study_camvid":
        return whole
    only = (lambda run: run.stage == "primary" and run.seed == 0) if "one seed" in request.param else (lambda run: True)
    folder = tmp_path_factory.mktemp("drawn")
    return summary(load_config(request.param.split(",")[0]), folder, only, simulated_study.FRAMES[::6])


@pytest.fixture(scope="module")
def page(study, folder):
    return pathlib.Path(report.write(study, str(folder)))


@pytest.fixture(scope="module")
def browser():
    if not (CHROMIUM and DRIVER):
        pytest.skip("no Chromium with chromedriver: apt-get install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def show(browser, page, width, height=900):
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(page.as_uri())


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_its_screen_and_every_figure_is_drawn(browser, page, study, width):
    show(browser, page, width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    # Decoded, and no wider than the page.
    drawn = browser.execute_async_script(
        "const done = arguments[0]; const all = Array.from(document.images);"
        "Promise.all(all.map(i => i.decode())).then(() => done(all.map(i => [i.naturalWidth, i.clientWidth])),"
        "() => done(null));"
    )
    assert drawn is not None and len(drawn) == len(figures.figures(study)) > 4
    assert all(0 < shown <= width and natural > 0 for natural, shown in drawn)
    # A telephone gets the layout made for it.
    sources = browser.execute_script("return Array.from(document.images).map(i => i.currentSrc.length)")
    narrow = browser.execute_script("return Array.from(document.querySelectorAll('source')).map(s => s.srcset.length)")
    assert (sources == narrow) == (width < 600)
    assert browser.get_log("browser") == []


def test_the_page_asks_for_nothing_beyond_itself(browser, page):
    browser.get_log("performance")
    show(browser, page, 1000)
    asked = re.findall(
        r'"method":"Network.requestWillBeSent".*?"url":"([^"]{0,80})', str(browser.get_log("performance"))
    )
    outside = [url for url in asked if not url.startswith(("data:", "file:"))]
    assert asked and not outside
    assert {url for url in asked if url.startswith("file:")} == {page.as_uri()[:80]}
    text = page.read_text()
    assert (
        not re.search(r"""(src|srcset|href)=["'](?!data:|#)""", text) and "@import" not in text and "url(" not in text
    )


def test_a_click_sorts_a_table_and_a_second_click_turns_it_round(browser, page):
    show(browser, page, 1280)
    script = """
      const table = document.querySelector('#contrasts ~ .scroll table'), heads = Array.from(table.tHead.rows[0].cells);
      const column = heads.findIndex(h => h.textContent.trim() === arguments[0]);
      heads[column].querySelector('button').click();
      return [heads[column].getAttribute('aria-sort'), Array.from(table.tBodies[0].rows).map(r =>
              [r.cells[column].dataset.sort ?? null, r.cells[column].textContent])];
    """
    for order in ("descending", "ascending"):
        state, cells = browser.execute_script(script, "points")
        assert state == order
        values = [float(value) for value, _ in cells if value is not None]
        assert values == sorted(values, reverse=order == "descending") and len(set(values)) > 5
        missing = [text == "–" for _, text in cells]
        assert missing == sorted(missing)  # what was not measured is last, either way
    state, cells = browser.execute_script(script, "verdict")
    kinds = [text.split()[0] for _, text in cells]
    assert state == "ascending" and kinds == sorted(kinds) and len(set(kinds)) > 2


def test_a_table_scrolls_inside_itself_on_a_telephone(browser, page):
    show(browser, page, 360)
    script = "return Array.from(document.querySelectorAll('.scroll')).map(s => [s.scrollWidth, s.clientWidth])"
    scrolls = browser.execute_script(script)
    assert any(inner > outer for inner, outer in scrolls) and all(outer <= 360 for _, outer in scrolls)


def test_the_page_shows_the_verdicts_and_what_is_missing(browser, page, study):
    show(browser, page, 1280)
    text = browser.find_element("tag name", "body").text
    primary = next(entry for entry in study["contrasts"] if entry["name"] == "capacity")
    for entry in study["contrasts"]:
        if entry["primary"]:
            verdict = tables.verdict(entry, study["margin"])
            assert verdict in text and "points of" in verdict
    ends = [f"{100 * primary[key]:+.1f}".replace("-", "−") for key in ("holm_low", "holm_high")]
    assert f"{' to '.join(ends)} points of mIoU" in text
    assert "Not complete" in text and "leave-out 0/15" in text
    assert study["identity"]["code"] in text


# Without a browser.


def test_figures_are_written_as_png_and_svg_and_the_same_study_gives_the_same_bytes(page, study):
    for name in figures.figures(study):
        for suffix in (".svg", "_narrow.svg", ".png"):
            assert (page.parent / "figures" / f"{name}{suffix}").stat().st_size > 1000
    function = figures.figures(study)["void_caught"][2]
    assert pages.draw(function, study, "svg") == (page.parent / "figures" / "void_caught.svg").read_bytes()


def test_words_from_a_study_cannot_become_markup(study):
    made = {**study, "title": "<script>alert(1)</script>"}
    assert "<script>alert" not in report.page(made, [])


def test_every_treatment_has_colour_dash_and_marker_of_its_own():
    assert set(charts.STYLE) == set(treatments.NAMES)
    for kind in zip(*charts.STYLE.values()):
        assert len(set(kind)) == len(charts.STYLE)


def test_classes_have_colours_that_no_treatment_has_and_that_part_in_grey():
    shades = [*charts.SHADES, charts.OTHERS]
    assert not {color.lower() for color in shades} & {color.lower() for color, *_ in charts.STYLE.values()}
    grey = [np.dot([0.299, 0.587, 0.114], to_rgb(color)) for color in shades]
    assert min(np.diff(grey)) > 0.04


@pytest.mark.parametrize("narrow", [False, True])
def test_text_of_every_figure_is_inside_legible_and_apart(drawn_study, narrow, monkeypatch):
    drawn = {}

    def record(text, renderer):  # figures hold more than they draw, such as ticks outside the axes
        if text.get_visible() and text.get_text().strip():
            drawn[text] = Text.get_window_extent(text, renderer)  # an annotation's own has the arrow

    monkeypatch.setattr(Text, "draw", record)
    for name, (*_, function) in figures.figures(drawn_study).items():
        drawn.clear()
        with matplotlib.rc_context(charts.RC):
            figure = function(drawn_study, narrow)
            FigureCanvasAgg(figure).draw()
        boxes = [(text.get_text(), box.x0, box.x1, box.y0, box.y1) for text, box in drawn.items()]
        assert len(boxes) > 5
        assert min(text.get_fontsize() for text in drawn) >= (9 if narrow else 7.5), name
        for place, (one, left, right, low, high) in enumerate(boxes):
            # A wide figure is saved as large as it turns out.
            assert not narrow or (left >= 0 and right <= figure.bbox.x1), (name, one)
            for other, left2, right2, low2, high2 in boxes[place + 1 :]:
                across, along = min(right, right2) - max(left, left2), min(high, high2) - max(low, low2)
                assert across <= 1 or along <= 2, (name, one, other)


def test_a_narrow_figure_is_as_wide_as_a_telephone_shows_it(whole):
    for name, (*_, function) in figures.figures(whole).items():
        width = re.search(rb'width="([\d.]+)pt"', pages.draw(function, whole, "svg", narrow=True))
        assert float(width[1]) == 72 * charts.NARROW_INCHES, name  # 252 points are 336 CSS pixels


def test_every_contrast_that_was_measured_is_in_one_forest(whole):
    measured = [entry for entry in whole["contrasts"] if entry.get("estimate") is not None]
    marks = 0
    for function in (
        contrast_figures.capacity,
        contrast_figures.rejection,
        contrast_figures.all_void,
        contrast_figures.caught,
        functools.partial(contrast_figures.group, name="attribution"),
        contrast_figures.left_out,
        contrast_figures.left_out_caught,
    ):
        for axis in function(whole).axes:
            marks += len(axis.collections)  # an estimate each; arrows beside
            marks -= sum(not collection.get_clip_on() for collection in axis.collections)
    assert marks == len(measured) > 40
    assert {entry["name"] for entry in measured} >= {"attribution", "leave-out, seen", "leave-out, unseen"}
    folds = [entry for entry in measured if entry["name"].startswith("leave-out")]
    assert {entry["mean_of"] for entry in folds} == {3} and folds[0]["arm"] == "background_class-w8-seen"
    name = "background_class-w8-seen − ignore-w8-seen (mean of 3 folds, 2 seeds)"
    assert contrast_figures.row(whole, folds[0]).name.replace("\u00a0", " ") == name


@pytest.mark.parametrize("upright", [False, True])
def test_no_axis_cuts_a_primary_interval_or_an_estimate_and_arrows_mark_what_it_cuts(upright):
    rows = [
        charts.Row("primary", -9.0, -16.0, -2.0, judged=(-18.0, -0.5), primary=True),
        charts.Row("beyond", 1.0, -40.0, 42.0),
        charts.Row("one seed", 19.0),
        *(charts.Row(f"small {i}", 0.2, 0.1, 0.3) for i in range(9)),
    ]
    axis = Figure().subplots()
    (charts.cost(axis, "", rows, 1.0, False) if upright else charts.forest(axis, rows, 1.0, False))
    low, high = axis.get_ylim() if upright else axis.get_xlim()
    assert low < -18 * 1.07 and 19 * 1.07 < high < 40
    assert sum(not collection.get_clip_on() for collection in axis.collections) == 2


def test_stacked_shares_have_no_slivers_and_a_legend_of_what_is_drawn():
    axis = Figure().subplots()
    rows = [
        ("ignore", {"road": 0.7, "sky": 0.3, "other classes": 0.0, "abstained": 1e-16}),
        ("hybrid", {"road": 0.6, "sky": 0.1, "other classes": 0.0, "abstained": 0.3}),
    ]
    patches = charts.stacked(axis, rows, narrow=False)
    assert [bar.get_width() for bar in axis.patches] == pytest.approx([70, 30, 60, 10, 30])
    assert list(patches) == ["road", "sky", "abstained"] and patches["abstained"].get_hatch()


def test_where_void_goes_is_a_table_of_every_arm_kind_and_class(whole):
    table = next(table for table in tables.tables(whole) if table["name"] == "claims")
    assert [column["name"] for column in table["columns"]] == ["arm", "void", *whole["classes"], "abstained"]
    rows = {tuple(cell["show"] for cell in row["cells"][:2]): row["cells"][2:] for row in table["rows"]}
    assert rows.keys() == {(name, kind) for name, arm in whole["arms"].items() for kind in arm["claimed_as"]}
    for cells in rows.values():
        assert sum(float(cell["sort"]) for cell in cells if cell["sort"]) == pytest.approx(100)
    # A class that a fold left out claims nothing there, and says so.
    fold = rows["ignore-w8-seen_car-unseen_person", "unseen"]
    assert fold[whole["classes"].index("car")]["show"] == "–"


@pytest.mark.parametrize(
    "numbers, measure, words",
    [
        ((-0.092, -0.12, -0.03), "auroc_scene_off_edge", "costs 9.2 points of AUROC"),
        ((0.001, -0.003, 0.005), "forced_miou", "costs at most 0.3 points of mIoU"),
        ((0.0, -0.014, 0.014), "native_miou", "undecided (±1.4 points of mIoU)"),
    ],
)
def test_a_verdict_names_what_it_counts(numbers, measure, words):
    entry = dict(zip(("estimate", "low", "high"), numbers)) | {"measure": measure, "primary": False, "verdict": "as is"}
    assert tables.verdict(entry, 0.01) == words
    assert tables.verdict({"verdict": "not measured", "measure": measure, "primary": False}, 0.01) == "not measured"
    # A primary one goes by the interval at Holm's level, and of some families it is said whether they are not worse.
    judged = entry | {"primary": "family", "low": -9.0, "high": 9.0, "holm_low": numbers[1], "holm_high": numbers[2]}
    assert tables.verdict(judged, 0.01) == words
    judged |= {"not_worse": "not worse (at most 0.8)", "not_worse_low": -0.008}
    unit = words.partition("points of ")[2].rstrip(")")
    assert tables.verdict(judged, 0.01) == f"not worse (at most 0.8 points of {unit}); {words}"


@pytest.mark.parametrize(
    "families, one_sided, words",
    [
        ((True, True, True), False, "(Holm over the 3 primary contrasts). "),
        ((True, False, False), False, "(Holm over the 1 primary contrast). "),
        (("accuracy", "accuracy", "void"), True, "(Holm within each family: 2 of accuracy, 1 of void). "),
    ],
)
def test_the_page_says_which_contrasts_were_judged_together(study, families, one_sided, words):
    entries = [
        entry | {"primary": family} | ({"not_worse": ""} if family == "accuracy" else {})
        for entry, family in zip([entry for entry in study["contrasts"] if entry["primary"]], families)
    ]
    text = " ".join(report.page(study | {"contrasts": entries}, []).split())
    assert words in text
    assert ('"Not worse": ' in text) == (", of accuracy alone: the interval" in text) == one_sided


def test_a_table_has_a_cell_for_every_column(study):
    made = tables.tables(study)
    assert {table["name"] for table in made} >= {
        "contrasts", "treatments", "void", "claims", "scores", "sequences", "runs",
    }  # fmt: skip
    for table in made:
        for row in table["rows"]:
            assert len(row["cells"]) == len(table["columns"]), table["name"]


@pytest.mark.parametrize("wanted", [[0.5, 0.5, 0.5], [0.0, 0.01, 0.9], [0.97, 0.98, 0.99], [0.2]])
def test_names_at_line_ends_keep_apart_in_order_and_inside(wanted):
    places = charts._spread(wanted, 0.1)
    gaps = [b - a for a, b in zip(places, places[1:])]
    assert all(gap >= 0.1 - 1e-9 for gap in gaps)
    assert min(places) >= -1e-9 and max(places) <= 1 + 1e-9
    if wanted == [0.2]:
        assert places == [0.2]


def test_the_grid_of_pictures_scrolls_inside_itself_on_a_telephone(browser, study, folder, monkeypatch):
    random = np.random.default_rng(0)
    table = labels.CITYSCAPES
    paths = []
    for treatment in ("ignore", "entropic"):
        content = {"table": np.array(json.dumps(table.to_json())), "treatment": np.array(treatment)}
        for place in range(2):
            content[f"image_{place}"] = random.integers(0, 256, (32, 64, 3), np.uint8)
            for name, top in (("truth", table.num_classes + 1), ("mask", table.num_classes + 1), ("score", 256)):
                content[f"{name}_{place}"] = random.integers(0, top, (32, 64), np.uint8)
        paths.append(folder / f"{treatment}.npz")
        np.savez(paths[-1], **content)
    sheets = picture_sheets.sheets([str(path) for path in paths])
    assert list(sheets) == ["Masks", "Void scores"] and picture_sheets.sheets([]) == {}
    (folder / "pictures").mkdir()
    monkeypatch.setattr(figures, "figures", lambda made: {})  # charts have tests of their own
    page = pathlib.Path(report.write(study, str(folder / "pictures"), sheets))
    show(browser, page, 360)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    widths = "return Array.from(document.querySelectorAll('.sheet')).map(s => [s.scrollWidth, s.clientWidth])"
    assert all(inner > 2 * outer for inner, outer in browser.execute_script(widths))


def test_a_sheet_of_scores_is_bright_where_a_run_is_sure_of_void(tmp_path):
    table = labels.CITYSCAPES
    truth = np.zeros((32, 64), np.uint8)
    truth[:, 48:] = table.num_classes
    content = {"table": np.array(json.dumps(table.to_json())), "treatment": np.array("ignore")}
    content |= {"image_0": np.full((32, 64, 3), (10, 200, 30), np.uint8), "truth_0": truth, "mask_0": truth}
    content["score_0"] = np.where(truth == table.num_classes, 255, 0).astype(np.uint8)
    np.savez(tmp_path / "ignore.npz", **content)
    _, png = picture_sheets.sheets([str(tmp_path / "ignore.npz")])["Void scores"]
    sheet = np.asarray(Image.open(io.BytesIO(png)), float)
    # Three pictures 400 wide with gaps of 6: the image, void in white, the score.
    image, void, score = (sheet[-106:, 6 + 406 * place : 406 + 406 * place] for place in range(3))
    assert (image[50, 200] == (10, 200, 30)).all()
    for picture in (void, score):
        assert picture[50, 380].mean() > 200 and picture[50, 100].mean() < 20


@pytest.mark.parametrize("margin, said", [({}, "grey: margin, ±1"), ({"margin": 0.0}, "")])
def test_a_margin_of_accuracy_is_not_drawn_where_void_is_caught(margin, said):
    entry = {"name": "void", "arm": "b", "reference": "a", "measure": "recall_at_0.05_all_off_edge", "group": ""}
    entry |= {"seeds": [0, 1, 2], "primary": False, "mean_of": 1, "estimate": 0.0, "low": -0.02, "high": 0.02} | margin
    (axis,) = contrast_figures.caught({"margin": 0.01, "contrasts": [entry]}).axes
    assert said in axis.get_xlabel() and ("grey" in axis.get_xlabel()) == bool(said)
    band = axis.patches[0].get_extents().transformed(axis.transData.inverted())
    assert (band.width > 0) == bool(said)
