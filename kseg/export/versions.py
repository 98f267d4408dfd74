"""Version folders: numbers below one folder, as model servers read them. A version appears whole or not at all."""

import contextlib
import fcntl
import hashlib
import os
import shutil


@contextlib.contextmanager
def writing(export_dir, version):
    """A folder to write into, which becomes `export_dir`/`version` when the block ends and is removed when it fails.

    Args:
      export_dir: folder of versions; made if missing.
      version: number, or "next" for one more than the highest there.

    Yields:
      (folder to write into, path that it will have).

    Raises:
      ValueError, OSError: in one line, if the number is none, the version exists, another process is writing it, or
        `export_dir` is a file.
    """
    target, temporary, lock = _reserve(export_dir, version)
    try:
        yield temporary, target
        _sync(temporary)
        if os.path.exists(target):
            raise FileExistsError(f"{target} appeared while it was being written; export under another --version.")
        os.rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(lock)


def digests(folder):
    """{path below `folder`: sha256} of every file, sorted."""
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = hashlib.file_digest(file, "sha256").hexdigest()
    return dict(sorted(found.items()))


def _reserve(export_dir, version):
    """(target, empty folder to write into, file descriptor whose lock keeps others from this number)."""
    skip = 0  # numbers that others are writing at this moment
    while True:
        target = _target(export_dir, version, skip)
        temporary = os.path.join(export_dir, f".writing-{os.path.basename(target)}")
        os.makedirs(temporary, exist_ok=True)
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if version != "next":
                message = f"{target} is being written by another process; wait, or take another --version."
                raise FileExistsError(message) from None
            skip += 1
            continue
        except OSError:
            pass  # a file system without locks
        try:
            ours = os.fstat(descriptor).st_ino == os.stat(temporary).st_ino and not os.path.exists(target)
        except FileNotFoundError:  # its writer has just renamed it
            ours = False
        if ours:
            for name in os.listdir(temporary):  # what a killed process left
                path = os.path.join(temporary, name)
                shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
            return target, temporary, descriptor
        os.close(descriptor)


def _target(export_dir, version, skip=0):
    if os.path.exists(export_dir) and not os.path.isdir(export_dir):
        raise NotADirectoryError(f"{export_dir} is no folder; give the folder that holds the versions.")
    if version != "next" and not (str(version).isdecimal() and int(version)):
        raise ValueError(f"version={version}: expected a number from 1, or next.")
    os.makedirs(export_dir, exist_ok=True)
    present = [int(name) for name in os.listdir(export_dir) if name.isdecimal()]
    if version == "next":
        version = max(present, default=0) + 1 + skip
    if int(version) in present:
        raise FileExistsError(
            f"{os.path.join(export_dir, str(version))} exists; export as --version=next (the highest there is "
            f"{max(present)}) or remove it."
        )
    return os.path.join(export_dir, str(int(version)))


def _sync(folder):
    """Forces the files to disk, so that the rename cannot come before them."""
    for root, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(root, name), "rb") as file:
                os.fsync(file.fileno())
