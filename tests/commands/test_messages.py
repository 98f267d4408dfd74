"""The mistakes that people make, as a table: one line each, with what to do; no traceback, exit status not 0.

The commands run in this process, on eight tiny pictures and on a run that was put together without training.
"""

import errno
import os
import pathlib
import shutil
import stat
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest
from in_process import kseg_command
from PIL import Image

import kseg

ROOT = next(folder for folder in pathlib.Path(__file__).parents if (folder / "setup.cfg").is_file())
TRAIN = "train --workdir=new --config.data.records_dir=records"

# Command line, what its one line says (pieces, in this order). Run in the folder that `place` makes.
MISTAKES = [
    # A wrong word.
    ("trian", "no command 'trian'; did you mean train?"),
    ("train --workdri=new", "'workdri'. Did you mean: workdir"),
    ("train workdir=new", "'workdir=new' is not a flag"),
    (f"{TRAIN} --config.train.steps=5", 'no "config.train.steps"; did you mean "config.train.total_steps"?'),
    (f"{TRAIN} --config.train.total_steps=many", "--config.train.total_steps=many"),
    (f"{TRAIN} --config.treatment.name=ignored", "treatment.name='ignored': expected one of ignore, background_class"),
    (f"{TRAIN} --config.model.encoder=resnet101", "model.encoder='resnet101': expected one of none, ", "resnet50"),
    (f"{TRAIN} --config.data.train_split=trian", "records has no split 'trian' (it has train, val)"),
    (f"{TRAIN} --config=cityscape_unet", "--config=cityscape_unet: no such file; did you mean cityscapes_unet?"),
    ("evaluate --workdir=run --split=tset", "records has no split 'tset'; it has train, val"),
    ("evaluate --workdir=run --checkpoint=last", "--checkpoint=last: value should be one of <model|best>"),
    ("convert-folder --images_dir=images --labels_dir=labels --records_dir=new --classes=cityscape",
     "--classes=cityscape (in ", ") is neither a file nor a preset; did you mean cityscapes?"),
    ("train --config=study_smoke --workdir=new", "no configuration of a run; those of studies are for kseg study"),
    ("train --config=study_smoke --workdir=new --config.data.records_dir=records", "are for kseg study"),
    ("study --config=camvid_unet --workdir=new", "--config is not of a study"),
    ("evaluate run", "'run' is not a flag; the run is given as --workdir=run"),
    ("export run --workdir=run --export_dir=new", "'run' is not a flag; the run is given as --workdir=run"),
    ("report run extra", "give one run, as --workdir=W"),
    ("convert-folder images labels new", "unexpected argument 'images'; options are --name=value"),
    # Something is missing.
    ("train --config.data.records_dir=records", "--workdir is missing"),
    ("train --workdir=new", "give --config.data.records_dir=FOLDER of records"),
    ("export --workdir=run", "--export_dir is missing; see --help"),
    ("predict --model=run images", "--output_dir is missing; see --help"),
    ("predict --output_dir=new images", "give either --model or --server"),
    ("report", "give one run, as --workdir=W"),
    ("compare run", "give the workdirs of two runs or more"),
    ("study --records_dir=records --workdir=new", "--hours is missing", "--hours=2 is a start"),
    ("study --config=study_smoke --workdir=new", "set --config.base.data.records_dir=FOLDER"),
    # The wrong folder, and a relative path from elsewhere.
    (f"{TRAIN}_of_mine", "records_of_mine (in ", ") is not a folder; expected one written by "),
    ("train --workdir=new --config.data.records_dir=images", "images has no dataset.json: it is no folder of records"),
    (f"{TRAIN}/dataset.json", "dataset.json (in ", ") is not a folder"),
    ("train --workdir=file --config.data.records_dir=records", "file is a file; give a folder"),
    ("train --workdir=file/new --config.data.records_dir=records", "--workdir=file/new cannot be made", "is a file"),
    ("convert-folder --images_dir=images --labels_dir=labels --records_dir=file/new",
     "--records_dir=file/new cannot be made, since ", "/file is a file; give another --records_dir"),
    ("make-street-scenes --output_dir=file/new", "--output_dir=file/new cannot be made, since "),
    ("make-street-scenes --output_dir=file", "file is a file; give a folder, or a name that is free, as --output_dir"),
    ("demo --output_dir=file/new", "--output_dir=file/new cannot be made, since "),
    ("evaluate --workdir=run --official_dir=file/new", "--official_dir=file/new cannot be made, since "),
    ("export --workdir=run --export_dir=file/new", "--export_dir=file/new cannot be made, since "),
    ("export --workdir=run --export_dir=file/new --format=onnx", "--export_dir=file/new cannot be made, since "),
    ("predict --model=run --output_dir=file/new images", "--output_dir=file/new cannot be made, since "),
    ("predict --server=grpc://localhost:1 --output_dir=file images", "file is a file; give a folder"),
    ("compare run run --output=file/new.html", "--output=file/new.html cannot be made, since "),
    ("compare run run --output=images", "--output=images is a folder; name a file in it"),
    ("inspect-records --records_dir=records --contact_sheet=file/new.png", "file/new.png cannot be made"),
    ("inspect-records --records_dir=records --contact_sheet=images", "--contact_sheet=images is a folder; name a file"),
    ("evaluate --workdir=file", "file is a file; give a folder, or a name that is free, as --workdir"),
    ("report --workdir=file", "file is a file; give a folder, or a name that is free, as --workdir"),
    ("study --records_dir=records --hours=1 --workdir=file/new", "--workdir=file/new cannot be made, since "),
    ("study --config=study_smoke --workdir=file/new --config.base.data.records_dir=records",
     "--workdir=file/new cannot be made, since "),
    ("evaluate --workdir=nowhere", "nowhere (in ", ") holds no run (no config.json); give the --workdir of"),
    ("evaluate --workdir=records", "holds no run (no config.json); give the --workdir of"),
    ("evaluate --workdir=unfinished", "unfinished/model.keras does not exist", "finish first"),
    ("evaluate --workdir=moved", "moved was trained on: ", "gone is not a folder", "--records_dir=FOLDER says where"),
    ("export --workdir=images --export_dir=new", "holds no run (no config.json); give the --workdir of"),
    ("report --workdir=images", "images (in ", ") holds no run (no config.json); give the --workdir of"),
    ("compare run nowhere", "nowhere (in ", ") holds no run (no config.json); give the --workdir of"),
    ("predict --model=images --output_dir=new images", "images holds no exported model; give the --export_dir of"),
    ("train --config=own_folder:images --workdir=new", "error: images has no dataset.json"),
    ("train --config=own_folder:nowhere --workdir=new", "error: nowhere (in ", ") is not a folder"),
    ("predict --model=run/model.keras --output_dir=new images", "holds no exported model", "or a finished run's"),
    ("evaluate --workdir=run --official_dir=images", "images holds ", "other files", "give an empty or a new folder"),
    ("inspect-records --records_dir=images", "images has no dataset.json: it is no folder of records"),
    ("convert-cityscapes --cityscapes_dir=images --records_dir=new", "images has no folder leftImg8bit; expected"),
    ("convert-folder --images_dir=nowhere --labels_dir=labels --records_dir=new",
     "--images_dir=nowhere (in ", ") is not a folder"),
    ("make-street-scenes --output_dir=images", "images exists and is no set of street scenes; choose another"),
    # Records of another data set, workdir of another run.
    ("evaluate --workdir=run --records_dir=others", "others has the classes class_0, class_1; run was trained on"),
    ("train --workdir=run --config.data.records_dir=others --config.model.width=4 --config.model.depth=1",
     "run was trained on other records than others", "give the same records or another --workdir"),
    ("train --workdir=run --config.data.records_dir=records --config.model.width=8 --config.model.depth=1",
     "run is a run with other settings: model.width (4 there, 8 here); give another --workdir"),
    ("export --workdir=run --export_dir=export", "export/1 exists; export as --version=next"),
    ("convert-folder --images_dir=labels --labels_dir=images --records_dir=new --num_workers=1",
     "the masks are in colour", "give pictures and labels the right way round"),
    ("convert-folder --images_dir=images --labels_dir=two --records_dir=records --num_workers=1",
     "records was converted with the label table own", "--overwrite replaces it"),
    # No images, images without labels, images that are none.
    ("convert-folder --images_dir=empty --labels_dir=empty --records_dir=new", "have no pair of an image and a label"),
    ("convert-folder --images_dir=images --labels_dir=images --records_dir=new", "are both images; --label_suffix"),
    ("convert-folder --images_dir=images --labels_dir=labels --records_dir=new --uncovered=sky", "masks say what each"),
    ("convert-folder --images_dir=images --labels_dir=fewer --records_dir=new",
     "images/d0_1.png: this image has no label file of the same name; --unlabelled=skip passes it over"),
    ("convert-folder --images_dir=tiff --labels_dir=labels --records_dir=new --num_workers=1", "tiff/d"),
    ("convert-folder --images_dir=images --labels_dir=small --records_dir=new --num_workers=1", "small/d"),
    ("predict --server=grpc://localhost:1 --output_dir=new", "no images; name files or folders"),
    ("predict --server=grpc://localhost:1 --output_dir=new empty", "empty has no picture below it (PNG, JPEG, TIFF"),
    ("predict --server=grpc://localhost:1 --output_dir=new nope.png", "nope.png (in ", ") does not exist"),
    # No server.
    ("predict --server=localhost:8500 --output_dir=new images", "expected grpc://HOST:8500 or http://HOST:8501"),
    ("predict --server=grpc://localhost:1 --output_dir=new --deadline_seconds=0.3 images", "localhost:1: UNAVAILABLE"),
    # Numbers that cannot be.
    (f"{TRAIN} --config.train.total_steps=0", "config.train.total_steps=0: expected at least 1"),
    (f"{TRAIN} --config.data.crop_size=(256,512", "--config.data.crop_size=(256,512"),
    (f"{TRAIN} --config.optimizer.learning_rate=1e-3x", "could not convert string to float: '1e-3x'"),
    ("convert-folder --images_dir=images --labels_dir=labels --records_dir=new --val_fraction=2",
     "--val_fraction is 2.0; expected 0 (none) to below 1"),
    ("export --workdir=run --export_dir=new --version=v2", "version=v2: expected a number from 1, or next"),
    ("evaluate --workdir=run --tile=big", "tile='big': expected auto, off or HEIGHTxWIDTH"),
    (f"{TRAIN} --config.train.batch_size=3 --config.train.accumulation_steps=2", "batch_size=3: expected a multiple"),
    (f"{TRAIN} --config.data.crop_size=512", "config.data.crop_size=(512,): expected a height and a width"),
    ("make-street-scenes --output_dir=new --height=10", "--height=10: expected at least 64"),
    ("export --workdir=run --export_dir=new --warmup_sizes=512", "--warmup_sizes=512: expected HEIGHTxWIDTH"),
]  # fmt: skip


def picture(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with pictures, labels, two sets of records, and runs: finished, unfinished, of records that are gone."""
    folder = tmp_path_factory.mktemp("messages")
    random = np.random.default_rng(0)
    for number in range(8):
        name = f"d{number}_1.png"
        picture(folder / "images" / name, random.integers(0, 256, (32, 64, 3), np.uint8))
        picture(folder / "labels" / name, random.choice(np.array([0, 1, 2, 255], np.uint8), (32, 64)))
        picture(folder / "two" / name, random.choice(np.array([0, 1], np.uint8), (32, 64)))
        picture(folder / "small" / name, random.choice(np.array([0, 1], np.uint8), (16, 64)))
        picture(folder / "tiff" / name.replace("png", "tif"), random.random((32, 64)).astype(np.float32))
        if number:
            picture(folder / "fewer" / name, random.choice(np.array([0, 1], np.uint8), (32, 64)))
    (folder / "empty").mkdir()
    (folder / "export/1").mkdir(parents=True)
    (folder / "file").write_text("")
    for labels, records in (("labels", "records"), ("two", "others")):
        done = kseg_command(
            "convert-folder", "--images_dir=images", f"--labels_dir={labels}", f"--records_dir={records}",
            "--num_workers=1", "--num_shards=1", cwd=folder,
        )  # fmt: skip
        assert done.status == 0, done.err
    for name, records in (("run", "records"), ("unfinished", "records"), ("moved", str(folder / "gone"))):
        finished_run(folder, name, records, whole=name != "unfinished")
    return folder


def finished_run(folder, name, records_dir, whole):
    """What a run with a tiny network leaves, without a step of training."""
    kseg.load_tensorflow_quietly()
    import tfrecords
    from kseg.models import unet
    from kseg.runs import workdir

    manifest = tfrecords.info(folder / "records")
    config = kseg.config.default()
    config.data.records_dir = records_dir
    config.model.width, config.model.depth = 4, 1
    workdir.open_run(str(folder / name), config, manifest, manifest.table)
    if whole:
        unet.build(config.model, manifest.table.num_classes).save(folder / name / "model.keras")


def contents(folder):
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def one_line_of(done):
    """The message of a command that failed: its last line; before it, progress and notes alone."""
    assert done.status not in (0, None)
    assert "Traceback" not in done.err
    lines = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and done.err.rstrip("\n").endswith(lines[0]), done.err
    return lines[0]


@pytest.mark.parametrize(
    "command, pieces", [(line, pieces) for line, *pieces in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_a_mistake_ends_in_one_line_that_says_what_to_do(place, command, pieces):
    before = contents(place)
    line, at = one_line_of(kseg_command(*command.split(), cwd=place)), 0
    for piece in pieces:
        assert piece in line[at:], line
        at = line.index(piece, at) + len(piece)
    assert line.rstrip(".")[-1] not in ";:,", line  # nothing is left half said
    assert "..;" not in line and ".;" not in line, line
    assert contents(place) == before  # nothing half-written is left, nothing is changed


def test_a_full_disk_is_named_with_the_file_and_the_way_on(place):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with mock.patch("os.fsync", side_effect=full):
        command = "convert-folder --images_dir=images --labels_dir=labels --records_dir=full --num_workers=1"
        line = one_line_of(kseg_command(*command.split(), cwd=place))
        assert "No space left on device" in line and "full" in line
        line = one_line_of(
            kseg_command(*f"{TRAIN} --config.model.width=4 --config.model.depth=1".split(), cwd=place)
        )  # fmt: skip
    assert "new cannot be written: No space left on device; make room and start the same command again" in line


def test_a_run_that_is_told_to_stop_saves_and_does_not_wait_for_its_input(place):
    from kseg.distribution import strategy
    from kseg.training import step, train

    taken_down, batches = [], step.distributed_batches

    class Input:
        def __init__(self, *arguments):
            self.batches = iter(batches(*arguments))

        def __iter__(self):
            return self

        def __next__(self):
            return next(self.batches)

        def __del__(self):
            taken_down.append(True)

    command = f"{TRAIN} --config.model.width=4 --config.model.depth=1 --config.data.crop_size=(32,32)"
    try:
        with mock.patch.object(step, "distributed_batches", Input):
            with mock.patch.object(strategy.TerminationRequest, "requested", lambda _: True):
                done = kseg_command(*command.replace("workdir=new", "workdir=stopped").split(), cwd=place)
        assert done.status == 75 and "stopped by SIGTERM; the state is saved" in done.err, done.err
        assert list((place / "stopped/checkpoints").iterdir()) and not taken_down
    finally:
        train._never_taken_down.clear()
        shutil.rmtree(place / "stopped", ignore_errors=True)


def test_training_without_a_gpu_says_so(place):
    from kseg.distribution import strategy

    config = kseg.config.default()
    with mock.patch.object(strategy.tf.config, "list_physical_devices", return_value=[]):
        with mock.patch.object(strategy.logging, "info") as said:
            strategy.make_strategy(config)
    assert "no GPU: training on the CPU" in said.call_args[0][0]


def test_make_refuses_a_python_that_is_too_new_before_it_makes_anything(tmp_path):
    for name in ("Makefile", "setup.cfg", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    python = tmp_path / "python3.14"
    # Runs the program it is given as if it were that version.
    python.write_text(
        f"#!{sys.executable}\nimport sys\nsys.version_info = (3, 14, 0)\nexec(sys.argv[sys.argv.index('-c') + 1])\n"
    )
    python.chmod(python.stat().st_mode | stat.S_IEXEC)
    for target in ("test", "test-extras"):
        done = subprocess.run(["make", target, f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True)
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
        assert done.returncode and "Python 3.11" in line and "PYTHON=python3.11" in line, done.stderr
    assert not list(tmp_path.glob(".venv*"))
