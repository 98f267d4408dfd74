"""deploy/demo: the page in headless Chromium against the stand-in. What it draws is what the model answered."""

import base64
import functools
import http.server
import io
import pathlib
import shutil
import threading
import time

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import serving_stand_in
import small_models

from kseg.serving import cpp_session, images
from tfrecords import labels

pytestmark = pytest.mark.browser
PAGE = pathlib.Path(__file__).parents[2] / "deploy" / "demo"
K = 19


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return pathlib.Path(small_models.exported(tmp_path_factory.getbasetemp(), "ignore", 2.4)[0])


@pytest.fixture(scope="module")
def session(folder):
    with cpp_session.CppSession(str(folder)) as opened:
        yield opened


@pytest.fixture(scope="module")
def rest(folder):
    models = serving_stand_in.Models(folder.parent, warm_up=False)
    with serving_stand_in.serve(models) as (_, address):
        yield address
    models.close()


@pytest.fixture(scope="module")
def site():
    """The page's own server, on another port than the model's: the browser treats them as two origins."""
    handler = functools.partial(Quiet, directory=str(PAGE))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *unused):
        pass


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,800"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, site, rest):
    browser.get(f"{site}/index.html?server={rest}")
    wait(lambda: "treatment ignore" in text(browser, "model"))
    return browser


def wait(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the page did not get there in time"
        time.sleep(0.02)


def text(browser, identifier):
    return browser.execute_script("return document.getElementById(arguments[0]).textContent", identifier)


def choose(browser, path):
    browser.find_element("id", "file").send_keys(str(path))
    wait(lambda: "answered in" in text(browser, "status") or browser.find_elements("css selector", "#status.bad"))
    settle(browser)


def settle(browser):
    browser.execute_async_script("const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))")


def set_slider(browser, identifier, value):
    browser.execute_script(
        "const e = document.getElementById(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event('input'))",
        identifier,
        value,
    )
    settle(browser)


def show(browser, view):
    browser.execute_script(f"document.querySelector('input[value={view}]').click()")
    settle(browser)


def canvas(browser):
    """uint8 [H, W, 3] of what is drawn."""
    width, height, data = browser.execute_script(
        "const c = document.getElementById('canvas');"
        "const drawn = c.getContext('2d').getImageData(0, 0, c.width, c.height);"
        "return [c.width, c.height, Array.from(drawn.data)]"
    )
    return np.array(data, np.uint8).reshape(height, width, 4)[..., :3]


@pytest.fixture
def picture(tmp_path, session):
    """(path, image, mask, class, void score) of a picture with answers and abstentions."""
    image = small_models.picture(48, 64)
    path = tmp_path / "scene.png"
    path.write_bytes(small_models.encode(image))
    answer = session.run("tensor", image=image[None])
    assert 0.1 < (answer["mask"][0] == K).mean() < 0.9
    return path, image, answer["mask"][0], answer["class"][0], answer["void_score"][0]


def colors(mask):
    palette = np.concatenate([labels.CITYSCAPES.class_colors, [[0, 0, 0]]])[mask].astype(int)
    rows, columns = np.indices(mask.shape)
    hatch = np.array([[255, 0, 255], [70, 0, 70]])[(rows + columns) // 4 % 2]
    return np.where((mask == K)[..., None], hatch, palette)


def test_the_mask_is_drawn_over_the_image_and_the_legend_counts_it(page, picture):
    path, image, mask, best, _ = picture
    choose(page, path)
    set_slider(page, "opacity", 100)
    np.testing.assert_array_equal(canvas(page), colors(mask))
    set_slider(page, "opacity", 50)
    np.testing.assert_allclose(canvas(page), (image.astype(int) + colors(mask)) / 2, atol=1)
    entries = [item.text.split("\n") for item in page.find_elements("css selector", "#legend li")]
    names = [*labels.CITYSCAPES.class_names, "no class"]
    assert entries[0][0] == "no class"
    assert dict(entries) == {names[v]: percent((mask == v).mean()) for v in {*np.unique(best), K}}
    absent = ", ".join(names[v] for v in range(K) if v not in best)
    assert text(page, "absent") == (f"Not here: {absent}" if absent else "")
    assert text(page, "abstained") == f"{100 * (mask == K).mean():.1f} %"


def percent(share):
    return "< 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def test_the_slider_moves_the_threshold_of_abstaining(page, picture):
    path, _, mask, best, score = picture
    choose(page, path)
    set_slider(page, "opacity", 100)
    assert "entropy 2.4: the model's own" in text(page, "threshold-note")
    for threshold in (0, 90, 200, 256):
        set_slider(page, "threshold", threshold)
        np.testing.assert_array_equal(canvas(page), colors(np.where(score >= threshold, K, best)))
    assert text(page, "abstained") == "0.0 %" and text(page, "threshold-value") == "never"
    page.find_element("id", "reset").click()
    settle(page)
    np.testing.assert_array_equal(canvas(page), colors(mask))


def test_the_void_score_and_the_image_can_be_seen(page, picture):
    path, image, _, _, score = picture
    choose(page, path)
    show(page, "image")
    np.testing.assert_array_equal(canvas(page), image)
    show(page, "score")
    set_slider(page, "opacity", 100)
    drawn = canvas(page)
    order = np.argsort(score, axis=None)
    assert np.all(
        np.diff(drawn.reshape(-1, 3)[order].astype(int) @ [299, 587, 114]) >= 0
    )  # brighter = more likely void
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 20


def test_a_dropped_jpeg_is_turned_upright_and_sent_whole(page, session, tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    stored = small_models.picture(40, 56)
    contents = small_models.encode(stored, "JPEG", quality=95, exif=exif)
    page.execute_script(
        "const bytes = Uint8Array.from(atob(arguments[0]), c => c.charCodeAt(0)); const data = new DataTransfer();"
        "data.items.add(new File([bytes], 'turned.jpg', {type: 'image/jpeg'}));"
        "dispatchEvent(new DragEvent('drop', {dataTransfer: data, cancelable: true}))",
        base64.b64encode(contents).decode(),
    )
    wait(lambda: "answered in" in text(page, "status"))
    assert "40 × 56 px" in text(page, "status")  # wider than high as stored, higher than wide as meant
    upright = PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(contents)))
    expected = session.run("detail", image_bytes=[small_models.encode(upright.convert("RGB"))])
    set_slider(page, "opacity", 100)
    settle(page)
    mask = small_models.decode(expected["mask_png_bytes"][0])
    # Two JPEG decoders differ by a grey value here and there.
    assert np.mean(np.any(canvas(page) != colors(mask), -1)) < 0.05


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_png_is_turned_by_its_exif_as_predict_turns_it(page, session, tmp_path, orientation):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    contents = small_models.encode(small_models.picture(40, 56), exif=exif)
    (tmp_path / "turned.png").write_bytes(contents)
    choose(page, tmp_path / "turned.png")
    asked = images.as_request_bytes(contents)
    mask = small_models.decode(session.run("detail", image_bytes=[asked])["mask_png_bytes"][0])
    set_slider(page, "opacity", 100)
    np.testing.assert_array_equal(canvas(page), colors(mask))


def test_a_png_whose_exif_comes_after_its_pixels_is_turned_as_predict_turns_it(page, session, tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    picture = small_models.picture(40, 56)
    early, plain = small_models.encode(picture, exif=exif), small_models.encode(picture)
    place = early.index(b"eXIf") - 4
    contents = plain[:-12] + early[place : place + 12 + early[place + 3]] + plain[-12:]  # before IEND
    (tmp_path / "late.png").write_bytes(contents)
    choose(page, tmp_path / "late.png")
    mask = small_models.decode(
        session.run("detail", image_bytes=[images.as_request_bytes(contents)])["mask_png_bytes"][0]
    )
    assert mask.shape == (56, 40)
    set_slider(page, "opacity", 100)
    np.testing.assert_array_equal(canvas(page), colors(mask))


def test_an_image_that_is_read_slowly_does_not_take_the_place_of_the_one_chosen_after_it(page, picture):
    path, _, mask, *_ = picture
    page.execute_script(
        "const before = createImageBitmap; createImageBitmap = async (source, ...rest) => {"
        "const bitmap = await before(source, ...rest);"
        "if (bitmap.width === 80) await new Promise(done => setTimeout(done, 1500)); return bitmap; };"
        "const bytes = Uint8Array.from(atob(arguments[0]), c => c.charCodeAt(0));"
        "window.slow = open(new File([bytes], 'slow.png'))",
        base64.b64encode(small_models.encode(small_models.picture(64, 80))).decode(),
    )
    choose(page, path)
    assert "64 × 48 px" in text(page, "status")
    page.execute_async_script("const done = arguments[0]; window.slow.then(done)")
    settle(page)
    set_slider(page, "opacity", 100)
    np.testing.assert_array_equal(canvas(page), colors(mask))


def test_another_model_is_asked_again_and_a_foreign_one_is_told(page, picture, site):
    path, _, mask, *_ = picture
    choose(page, path)
    asked = "return performance.getEntriesByType('resource').filter(e => e.name.endsWith(':predict')).length"
    before = page.execute_script(asked)
    page.execute_script("document.getElementById('server-form').requestSubmit()")
    wait(lambda: page.execute_script(asked) == before + 2)  # what it is, and this image's mask
    wait(lambda: "answered in" in text(page, "status"))
    settle(page)
    set_slider(page, "opacity", 100)
    np.testing.assert_array_equal(canvas(page), colors(mask))
    for answer, words in (
        ("{}", "answers, but not as a kseg model does"),
        ('{"predictions": ["{}"]}', "does not say what"),
    ):
        page.execute_script("const answer = arguments[0]; fetch = async () => new Response(answer)", answer)
        page.execute_script("document.getElementById('server-form').requestSubmit()")
        wait(lambda words=words: words in text(page, "status"))
        # Nothing of the former model can be moved or saved.
        assert not page.find_element("id", "controls").is_displayed()
        assert page.execute_script("return state.classes") is None


def test_an_answer_with_height_and_width_exchanged_is_refused(page, picture):
    path, *_ = picture
    page.execute_script(
        "const before = channel; channel = async (coded) => { const m = await before(coded);"
        "return { values: m.values, width: m.height, height: m.width }; }"
    )
    choose(page, path)
    assert text(page, "status") == "the answer is 48 × 64 px, the image 64 × 48 px"


def test_the_saved_mask_is_what_predict_writes(page, picture, tmp_path):
    path, _, mask, *_ = picture
    choose(page, path)
    page.execute_script(
        "window.saved = null; const make = URL.createObjectURL;"
        "URL.createObjectURL = (blob) => { const r = new FileReader(); r.onload = () => window.saved = r.result;"
        "r.readAsDataURL(blob); return make(blob); }"
    )
    page.find_element("id", "save").click()
    wait(lambda: page.execute_script("return window.saved"))
    contents = base64.b64decode(page.execute_script("return window.saved").partition(",")[2])
    with PIL.Image.open(io.BytesIO(contents)) as image:
        assert image.mode == "L"
        saved = np.asarray(image)
    np.testing.assert_array_equal(saved, labels.CITYSCAPES.official_ids()[mask])


def test_the_sample_is_a_click_away_and_all_is_in_one_window(browser, site, rest):
    for width, height in ((1280, 657), (390, 844)):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        try:
            browser.get(f"{site}/index.html?server={rest}")
            wait(lambda: "treatment ignore" in text(browser, "model"))
            browser.find_element("id", "sample").click()
            wait(lambda: "answered in" in text(browser, "status"))
            settle(browser)
            assert "512 × 256 px" in text(browser, "status")
            bottom = browser.execute_script("return document.getElementById('absent').getBoundingClientRect().top")
            assert bottom <= height, (width, height)
            cut = browser.execute_script(
                "return [...document.querySelectorAll('#legend span')].filter(e => e.scrollWidth > e.clientWidth)"
                ".map(e => e.textContent)"
            )
            assert not cut, (width, cut)  # a name that runs into its share
        finally:
            browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_errors_are_told_and_the_next_image_works(page, picture, tmp_path):
    path, *_ = picture
    (tmp_path / "text.png").write_text("hello")
    choose(page, tmp_path / "text.png")
    assert "text.png is not an image" in text(page, "status")
    (tmp_path / "large.png").write_bytes(small_models.encode(np.zeros((1300, 1300, 3), np.uint8)))
    choose(page, tmp_path / "large.png")
    said = "image 0 of the request: at most 1638400 pixels, got 1300 x 1300 px"
    assert text(page, "status") == f"{said}; kseg predict asks for such an image in tiles"
    choose(page, path)
    assert "64 × 48 px" in text(page, "status")


def test_a_server_that_is_not_there_is_told(browser, site):
    browser.get(f"{site}/index.html?server=http://127.0.0.1:9")
    wait(lambda: "no answer from http://127.0.0.1:9" in text(browser, "status"))
    browser.get(f"{site}/index.html?server=127.0.0.1:9")  # without http://
    wait(lambda: "no answer from http://127.0.0.1:9" in text(browser, "status"))
    assert browser.execute_script("return document.getElementById('connection').open")
    browser.get_log("browser")  # the browser itself logs the refused connection


def test_an_entry_of_the_legend_shows_its_class_alone(page, picture):
    path, image, mask, *_ = picture
    choose(page, path)
    set_slider(page, "opacity", 100)
    page.find_element("css selector", "#legend li button").click()  # "no class"
    settle(page)
    drawn = canvas(page).astype(int)
    np.testing.assert_array_equal(drawn[mask == K], colors(mask)[mask == K])
    others = (0.9 * image + 0.1 * colors(mask))[mask != K]
    np.testing.assert_allclose(drawn[mask != K], others, atol=1)


def test_nothing_is_loaded_from_elsewhere_and_nothing_is_logged(page, site, rest, picture):
    page.get_log("browser")
    choose(page, picture[0])
    loaded = page.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert loaded and all(name.startswith((site, rest, "data:", "blob:")) for name in loaded), loaded
    assert [entry["message"] for entry in page.get_log("browser")] == []
    source = "".join(path.read_text() for path in PAGE.iterdir() if path.suffix != ".jpg")
    assert "//cdn" not in source and "@import" not in source


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_sticks_out_of_the_window(page, picture, width):
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    try:
        choose(page, picture[0])
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
        assert page.execute_script("return document.getElementById('canvas').getBoundingClientRect().width") > 0
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
