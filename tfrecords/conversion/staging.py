"""The hidden folder in which shards are built, and how they get from it into place.

Nothing half-written ever lies in the folder itself: finished shards are moved there, the manifest last, under a lock.
After an error everything is as it was; after a kill the same conversion goes on with what it finds. Does not know how
shards are made (build.py).

    <records_dir>/.converting/train-00003-of-00010.tfrecord         a finished shard
    <records_dir>/.converting/train-00003-of-00010.tfrecord.json    what it was made from (build.py)
    <records_dir>/.converting/replaced.json                         while an old folder is being replaced: its manifest
"""

import contextlib
import hashlib
import os
import pathlib
import shutil

from tfrecords import files as tfrecords_files
from tfrecords import manifest
from tfrecords.conversion import runners

WORK = ".converting"
_REPLACED = "replaced.json"


def manifest_digest(folder: pathlib.Path) -> str | None:
    """sha256 of the folder's manifest as it is now, whatever it holds; None where there is none."""
    try:
        return hashlib.sha256((folder / manifest.FILE).read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def opened(folder: pathlib.Path, files: set[str], digest: str | None):
    """Holds the hidden folder, made where it is missing, for the building of `files`; removes it in the end.

    After an error it goes, with the folders above it that were made for it. It stays after a kill, KeyboardInterrupt or
    the loss of a worker, so that the next run takes over the finished shards. It also stays once `move` has begun.

    Args:
      folder: the folder of records.
      files: names of the shards to build; what an interrupted run has left of others is removed.
      digest: `manifest_digest` when it was decided what to build.

    Yields:
      move(data, replace), which moves the finished shards into place with a manifest of these bytes.

    Raises:
      ValueError: another process holds the folder, or has changed its manifest since.
      OSError: it cannot be made, read or written.
    """
    work, moving = folder / WORK, False
    missing = [path for path in (folder, *folder.parents) if not path.exists()]

    def move(data: bytes, replace: bool) -> None:
        nonlocal moving
        tfrecords_files.write_whole(work / manifest.FILE, data)
        moving = True
        _move(folder, files, replace)

    try:
        work.mkdir(parents=True, exist_ok=True)
        with runners.lock(work):
            if manifest_digest(folder) != digest:
                with contextlib.suppress(OSError):  # what another has left in it, another will want
                    work.rmdir()
                raise ValueError(
                    f"{folder / manifest.FILE} has been changed by another conversion since this one began; run again"
                )
            try:
                _drop_leftovers(folder, files)
                yield move
                shutil.rmtree(work)
            except runners.WorkerLostError:
                raise
            except Exception:
                if not moving:  # once shards are being moved, going on is the way: run again
                    _drop_leftovers(folder, set())
                    shutil.rmtree(work)
                raise
    except Exception:
        for path in missing:
            with contextlib.suppress(OSError):  # not made, or not empty
                path.rmdir()
        raise


def remove_finished(folder: pathlib.Path) -> None:
    """Removes the hidden folder of a run that was killed between the manifest and the clean-up, if there is one."""
    with contextlib.suppress(FileNotFoundError, runners.LockedError):  # held: a conversion that is running
        with runners.lock(folder / WORK):
            shutil.rmtree(folder / WORK)


def _move(folder, files, replace) -> None:
    """Moves finished shards into place and the manifest last. Each step can be repeated after a kill.

    Adding splits leaves the old manifest, and so the old splits, valid until the new one takes its place. Replacing
    takes the old manifest away first: between the two there is no valid folder, rather than one of mixed shards.
    """
    work, target = folder / WORK, folder / manifest.FILE
    if replace and target.exists():
        os.replace(target, work / _REPLACED)
    for file in sorted(files):
        if (work / file).exists():
            os.replace(work / file, folder / file)
    if replace:
        for entry in folder.iterdir():
            if manifest.SHARD_NAME.fullmatch(entry.name) and entry.name not in files:
                entry.unlink()
    os.replace(work / manifest.FILE, target)
    tfrecords_files.sync_folder(folder)


def _drop_leftovers(folder, wanted: set[str]) -> None:
    """Removes what an interrupted run has left and this one does not go on with."""
    listed = set()
    if (folder / manifest.FILE).exists():
        try:
            listed = {s.file for split in manifest.info(folder).splits.values() for s in split.shards}
        except ValueError:
            listed = {entry.name for entry in folder.iterdir()}  # damaged, to be overwritten: leave it as it is
    for entry in (folder / WORK).iterdir():
        shard = entry.name.removesuffix(".json")
        if manifest.SHARD_NAME.fullmatch(shard) and shard not in wanted:
            entry.unlink()
            if shard not in listed and (folder / shard).exists():  # already moved when the run was killed
                (folder / shard).unlink()
        elif entry.name.endswith(".tmp"):
            entry.unlink()
