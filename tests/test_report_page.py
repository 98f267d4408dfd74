"""The study's page in headless Chromium: it fits telephone and desk, sorts, and loads nothing from outside."""

import importlib.util
import json
import pathlib
import re
import shutil

import numpy as np
import pytest
import simulated_study

from kseg import charts, figures, findings, gallery, grid, report, tables
from tfrecords import labels

ROOT = pathlib.Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="module")
def configuration():
    spec = importlib.util.spec_from_file_location("study_camvid", ROOT / "configs/study_camvid.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    configuration = module.get_config()
    configuration.draws = 200
    return configuration


@pytest.fixture(scope="module")
def folder(configuration, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    simulated_study.write(configuration, folder, only=lambda run: run.stage == "core" and run.seed < 2)
    return folder


@pytest.fixture(scope="module")
def study(configuration, folder):
    runs = grid.expand(configuration)
    found = findings.read(folder, {run.id: grid.settings(run.config) for run in runs})
    return findings.summarise(configuration, found, runs, folder)


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
    for entry in study["contrasts"]:
        if entry["primary"]:
            assert entry["verdict"] in text
    assert "Not complete" in text and "leave-out 0/15" in text
    assert study["identity"]["code"] in text


# Without a browser.


def test_figures_are_written_as_png_and_svg_and_the_same_study_gives_the_same_bytes(page, study):
    for name in figures.figures(study):
        for suffix in (".svg", "_narrow.svg", ".png"):
            assert (page.parent / "figures" / f"{name}{suffix}").stat().st_size > 1000
    function = figures.figures(study)["void_caught"][2]
    assert figures.render(function, study, "svg") == (page.parent / "figures" / "void_caught.svg").read_bytes()


def test_words_from_a_study_cannot_become_markup(study):
    made = {**study, "title": "<script>alert(1)</script>"}
    assert "<script>alert" not in report.page(made, [])


def test_every_treatment_has_a_style_of_its_own():
    treatments = pytest.importorskip("kseg.treatments")
    assert set(charts.STYLE) == set(treatments.NAMES)
    assert len(set(charts.STYLE.values())) == len(charts.STYLE)


def test_a_table_has_a_cell_for_every_column(study):
    made = tables.tables(study)
    assert {table["name"] for table in made} >= {"contrasts", "treatments", "void", "scores", "sequences", "runs"}
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


def test_the_grid_of_pictures_scrolls_inside_itself_on_a_telephone(browser, study, folder):
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
    sheets = gallery.sheets([str(path) for path in paths])
    assert list(sheets) == ["Masks", "Void scores"] and gallery.sheets([]) == {}
    (folder / "pictures").mkdir()
    page = pathlib.Path(report.write(study, str(folder / "pictures"), sheets))
    show(browser, page, 360)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    widths = "return Array.from(document.querySelectorAll('.sheet')).map(s => [s.scrollWidth, s.clientWidth])"
    assert all(inner > 2 * outer for inner, outer in browser.execute_script(widths))
