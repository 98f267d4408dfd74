"""`kseg NAME`, the wheel that brings it, and the ten lines of a notebook."""

import os
import pathlib
import re
import subprocess
import sys
import sysconfig

import pytest
import setuptools

import kseg
from kseg import __main__ as front
from kseg import commands
from kseg.commands import flags

ROOT = next(folder for folder in pathlib.Path(__file__).parents if (folder / "setup.cfg").is_file())
# What a test below runs, and a small model.
SMALL = {
    "config.model.width": 4, "config.model.depth": 2, "config.data.crop_size": "(32, 64)", "config.train.batch_size": 2,
    "config.train.total_steps": 5, "config.data.calibration_fraction": 0.3, "config.log.pictures": 0,
}  # fmt: skip


def kseg_command(*arguments, cwd=ROOT, python=(sys.executable,), check=True, environment=None):
    done = subprocess.run(
        [*python, "-m", "kseg", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, env=environment
    )
    assert not check or done.returncode == 0, done.stderr[-3000:]
    return done


def test_every_command_is_listed_and_has_its_script():
    modules = {path.stem for path in (ROOT / "kseg/commands").glob("*.py") if "\ndef main(" in path.read_text()}
    assert modules == set(commands.NAMES)
    # Two programs of the checkout are no commands: they measure the code beside them.
    scripts = {path.stem for path in (ROOT / "tools").glob("*.py")} - {"benchmark", "gpu_checks"}
    assert scripts == modules
    for name in modules:
        assert len((ROOT / f"tools/{name}.py").read_text().splitlines()) <= 7
        assert f"kseg {name.replace('_', '-')}" in (ROOT / f"kseg/commands/{name}.py").read_text()


def test_alone_it_lists_the_commands_with_a_line_each():
    text = kseg_command().stdout
    for name, line in commands.NAMES.items():
        assert re.search(rf"^  {name.replace('_', '-')} +{re.escape(line)}$", text, re.MULTILINE)
    assert kseg_command("--help").stdout == text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    "typed, said",
    [
        ("trian", "did you mean train?"),
        ("convert_camvit", "did you mean convert-camvid?"),
        ("inspect", "did you mean inspect-records?"),
        ("qqqq", "there are: make-street-scenes, "),
    ],
)
def test_an_unknown_command_says_which_one_was_meant(typed, said, capsys):
    with pytest.raises(SystemExit) as ended:
        front.main(["kseg", typed])
    assert typed in str(ended.value) and said in str(ended.value) and "\n" not in str(ended.value)


@pytest.mark.parametrize("name", commands.NAMES)
def test_help_shows_how_a_command_is_used_and_its_flags_alone(name):
    done = kseg_command(name.replace("_", "-"), "--help")
    assert f"kseg {name.replace('_', '-')}" in done.stdout
    assert "Flags:" in done.stdout and "--only_check_args" not in done.stdout
    assert done.stderr == ""
    assert subprocess.run(
        [sys.executable, f"tools/{name}.py", "--help"], cwd=ROOT, capture_output=True, text=True
    ).stdout == done.stdout  # fmt: skip


def test_a_reader_that_has_read_enough_is_no_error():
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-m", "kseg", "train", "--help"], cwd=ROOT, **pipes) as process:
        process.stdout.close()  # as `| true` does, before it says a word
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_help_lists_what_a_configuration_may_be():
    text = kseg_command("train", "--help").stdout
    assert re.search(r"^  own_folder +UNet on .* a folder of your own$", text, re.MULTILINE)
    assert "study_camvid" not in text and str(ROOT / "kseg/config.py") in text
    assert re.search(r"^  study_camvid +", kseg_command("study", "--help").stdout, re.MULTILINE)


def test_a_configuration_is_found_by_path_and_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert flags.find_config("cityscapes_unet") == str(ROOT / "configs/cityscapes_unet.py")
    assert flags.find_config("cityscapes_unet.py") == str(ROOT / "configs/cityscapes_unet.py")
    (tmp_path / "mine.py").write_text("")
    assert flags.find_config("mine.py") == "mine.py"
    with pytest.raises(FileNotFoundError, match="--config=cityscape_unet: no such file; did you mean cityscapes_unet?"):
        flags.find_config("cityscape_unet")
    with pytest.raises(FileNotFoundError, match="kseg brings camvid_lite0, camvid_unet, "):
        flags.find_config("qqq")


@pytest.mark.parametrize(
    "argv, expected",
    [
        (["p", "--config=mine.py", "--x"], ["p", "--config=mine.py", "--x"]),
        (["p", "--config", "mine.py", "--x"], ["p", "--config=mine.py", "--x"]),
        (["p", "-config=mine.py:tiny"], ["p", "--config=mine.py:tiny"]),
        (["p", "--x"], ["p", "--config=D", "--x"]),
        (["p"], ["p", "--config=D"]),
        (["p", "--config.train.seed=1"], ["p", "--config=D", "--config.train.seed=1"]),
        # Settings are of a configuration that is read before them.
        (["p", "--config.train.seed=1", "--config=mine.py"], ["p", "--config=mine.py", "--config.train.seed=1"]),
    ],
)
def test_a_command_line_without_a_configuration_gets_the_default(argv, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("")
    assert flags.with_config(argv, "D") == expected
    if argv == expected:
        assert flags.with_config(argv) == expected


def test_the_wheels_packages_are_those_of_the_checkout():
    import configparser

    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = set(setup["options"]["packages"].split())
    found = set(setuptools.find_packages(ROOT, include=["kseg", "kseg.*", "tfrecords", "tfrecords.*"]))
    drawn = {"street_scenes"} | {
        f"street_scenes.{name}" for name in setuptools.find_packages(ROOT / "tools/street_scenes")
    }
    assert listed == found | {"kseg.configs"} | drawn


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Python of an environment that has the wheel, and of the checkout nothing; the dependencies of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    files = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard", "--", ".", ":!docs/study"],
        cwd=ROOT, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())

    def run(*command):
        done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]

    # By way of the source archive, as `python -m build` does; build's own environment would need the network.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", source)
    run(sys.executable, "-m", "venv", "--without-pip", folder / "env")
    (wheel,) = (folder / "dist").glob("*.whl")
    target = next((folder / "env").glob("lib/python3*/site-packages"))
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", target, wheel)
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    (target / "dependencies.pth").write_text("\n".join(dependencies) + "\n")
    return folder / "env/bin/python"


def test_the_wheel_alone_does_the_main_job_from_an_empty_folder(installed, tmp_path):
    def run(*arguments):
        return kseg_command(
            *arguments, cwd=tmp_path, python=(str(installed),), environment=os.environ | {"PYTHONPATH": ""}
        )

    where = subprocess.run(
        [installed, "-c", "import kseg, street_scenes; print(kseg.__file__, street_scenes.__file__)"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert where.stdout.count(str(installed.parent.parent)) == 2, where
    script = installed.parent.parent / "lib"
    assert list(script.rglob("entry_points.txt")), "no console script"

    run("make-street-scenes", "--output_dir=S", "--num_train=8", "--num_val=2", "--height=64", "--width=128")
    run("convert-cityscapes", "--cityscapes_dir=S", "--records_dir=R", "--splits=train,val")
    assert "street_scenes" not in run("inspect-records", "--records_dir=R").stderr
    settings = [f"--{key}={value}" for key, value in SMALL.items()]
    trained = run("train", "--workdir=W", "--config.data.records_dir=R", *settings)  # without --config
    assert "train: step 1 of 5, loss " in trained.stderr and "\r" not in trained.stderr
    assert "IoU by class" in trained.stdout and "labelled pixels lost" in trained.stdout
    assert trained.stdout.endswith(
        "page:    W/report.html\nnext:    kseg evaluate --workdir=W --split=val\n"
        "or:      kseg export --workdir=W --export_dir=W/export\n"
    )
    assert "Confusion matrix" in (tmp_path / "W" / "report.html").read_text()
    run("train", "--config=street_scenes_unet", "--workdir=N", "--config.data.records_dir=R", "--dry_run")  # by name
    evaluated = run("evaluate", "--workdir=W", "--split=val")
    assert "next:    kseg report --workdir=W\n" in evaluated.stdout and "\r" not in evaluated.stderr
    run("report", "--workdir=W")
    assert "Scored on 2 images of val" in (tmp_path / "W" / "report.html").read_text()
    run("export", "--workdir=W", "--export_dir=E", "--warmup_sizes=64x128")
    run("predict", "--model=E", "--output_dir=O", "S/leftImg8bit/val")
    assert len(list((tmp_path / "O").rglob("*_mask.png"))) == 2


def test_the_console_script_is_the_module():
    script = pathlib.Path(sysconfig.get_path("scripts")) / "kseg"
    text = (ROOT / "setup.cfg").read_text()
    assert "kseg = kseg.__main__:main" in text
    if script.exists():  # not where the checkout is only on the path
        done = subprocess.run([script], capture_output=True, text=True)
        assert done.stdout.strip() == front.overview()


NOTEBOOK = """
import kseg
config = kseg.config.default()
config.data.records_dir = "RECORDS"
config.update_from_flattened_dict({"train.total_steps": 5, "train.batch_size": 2, "model.width": 4, "model.depth": 2})
config.data.crop_size, config.data.calibration_fraction = (32, 64), 0.3
kseg.train(config, "W")
print(kseg.evaluate("W", "val").summary())
kseg.export_model("W", "E", warmup_sizes=[(64, 128)])
pictures = kseg.predict("E", ["PICTURE"])
display(*pictures, kseg.load("W").model)
"""


def test_ten_lines_of_a_notebook_train_evaluate_show_and_export(records, scenes, tmp_path):
    picture = next(scenes.glob("leftImg8bit/val/*/*.png"))
    assert len(NOTEBOOK.strip().splitlines()) <= 10
    script = NOTEBOOK.replace("RECORDS", records).replace("PICTURE", str(picture))
    shown = """
def display(*things):
    prediction, model = things
    print("shown:", prediction._repr_png_()[:4], prediction.mask.shape, prediction.mask.max() <= 19)
    print("same:", (prediction.class_map == model(__import__("numpy").array(
        __import__("PIL.Image").Image.open(PICTURE))[None], training=False)[0].numpy().argmax(-1)).mean() > 0.999)
    print(prediction.overlay.shape, prediction.void_score.dtype, len(prediction.class_names))
""".replace("PICTURE", repr(str(picture)))
    done = subprocess.run([sys.executable, "-c", shown + script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "mean IoU" in done.stdout
    assert "shown: b'\\x89PNG' (64, 128) True\nsame: True\n(64, 128, 3) uint8 19" in done.stdout


def test_importing_kseg_loads_no_tensorflow_and_says_what_it_offers():
    code = (
        "import sys, kseg; kseg.config.default(); print([kseg.train.__name__, 'tensorflow' in sys.modules]); "
        "print(sorted(set(dir(kseg)) & {'train', 'evaluate', 'export_model', 'predict', 'load', 'config'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "['train', False]", "['config', 'evaluate', 'export_model', 'load', 'predict', 'train']",
    ]  # fmt: skip
    for name in ("train", "evaluate", "export_model", "predict", "load"):
        text = getattr(kseg, name).__doc__
        assert "Args:" in text and "Returns:" in text and "Raises:" in text
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = kseg.trian
