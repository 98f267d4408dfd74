"""Runs a conversion and kills it at each of its steps in turn: a program, started by tests/conversion/test_convert.py.

    python tests/helpers/kill_points.py SCENARIO SCRATCH

A step is anything that touches the target folder: opening, renaming, removing or making a file or folder, and each
record written. A forked child dies by SIGKILL at step k, for k = 1, 2, ...; after each death the folder must hold
either no manifest or one whose shards are all there and whole, and the same call once more must give, byte for byte,
the folder of an undisturbed run, hidden files included. Prints the number of steps.
"""

import os
import pathlib
import shutil
import signal
import sys

import tiny_folders

import tfrecords
from tfrecords import files, labels, shards

_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}


def main(scenario: str, scratch: pathlib.Path) -> None:
    os.fsync = lambda descriptor: None  # matters to a power cut, not to a kill; and it is slow
    source = scratch / "source"
    tiny_folders.cityscapes(source, {"train": 5, "val": 3})
    pairs = {split: _pairs(source, split) for split in ("train", "val")}

    def write(folder, splits, **options):
        chosen = {split: pairs[split] for split in splits}
        tfrecords.write(folder, labels.CITYSCAPES, chosen, num_shards=2, num_workers=1, **options)

    # What is there before, and the call that is killed.
    before, call = {
        "fresh": (lambda folder: None, lambda folder: write(folder, ("train", "val"))),
        "add": (lambda folder: write(folder, ("val",)), lambda folder: write(folder, ("train", "val"))),
        "overwrite": (
            # Shards of the new ones' names and others, which must go.
            lambda folder: tfrecords.write(
                folder,
                labels.CITYSCAPES,
                {"train": pairs["val"], "test": pairs["train"]},
                num_shards=2,
                num_workers=1,
            ),
            lambda folder: write(folder, ("train", "val"), overwrite=True),
        ),
    }[scenario]
    undisturbed = scratch / "undisturbed"
    before(undisturbed)
    call(undisturbed)
    expected = tiny_folders.contents(undisturbed)
    prepared = scratch / "prepared"
    before(prepared)
    step = 0
    while True:
        step += 1
        folder = scratch / "killed"
        if prepared.exists():
            shutil.copytree(prepared, folder)
        if not _dies_at(step, lambda folder=folder: call(folder), folder):
            break
        _check_readable(folder, expected)
        call(folder)
        found = tiny_folders.contents(folder)
        assert found.keys() == expected.keys(), (step, sorted(found))
        assert found == expected, step
        assert not [p for p in folder.rglob("*") if p.is_dir()], step
        shutil.rmtree(folder)
    print(step - 1)


def _dies_at(step: int, call, folder: pathlib.Path) -> bool:
    """True where a forked child that does `call` is killed at its step number `step`, False where it ends before."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            return True
        assert os.WEXITSTATUS(status) == 0
        return False
    taken = 0

    def one_more():
        nonlocal taken
        taken += 1
        if taken == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event, arguments):
        if event in _EVENTS and any(str(a).startswith(str(folder)) for a in arguments):
            one_more()

    write = shards.Writer.write

    def unbuffered(self, record):
        write(self, record)
        self._file.flush()  # so that death finds half a shard on the disk
        one_more()

    shards.Writer.write = unbuffered
    sys.addaudithook(hook)
    try:
        call()
    except BaseException as error:
        print(f"the child failed: {error!r}", file=sys.stderr)
        os._exit(1)
    os._exit(0)


def _check_readable(folder: pathlib.Path, expected: dict[str, bytes]) -> None:
    """A folder with a manifest holds what the manifest says."""
    if not (folder / "dataset.json").exists():
        return
    for split in tfrecords.info(folder).splits.values():
        for shard in split.shards:
            assert files.file_sha256(folder / shard.file) == shard.sha256


def _pairs(source: pathlib.Path, split: str) -> list[tfrecords.Pair]:
    label_paths = sorted((source / "gtFine" / split).glob("*/*.png"))
    image_paths = sorted((source / "leftImg8bit" / split).glob("*/*.png"))
    return [tfrecords.Pair(image.stem, str(image), str(label)) for image, label in zip(image_paths, label_paths)]


if __name__ == "__main__":
    main(sys.argv[1], pathlib.Path(sys.argv[2]))
