"""Files that are whole or not there: written beside their place, then renamed into it."""

import hashlib
import os


def write_file(path: str | os.PathLike, data: bytes) -> None:
    """Writes a small file whole or not at all: temporary name, fsync, rename."""
    partial = temporary(path)
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        if os.path.exists(partial):
            os.remove(partial)
        raise named(error, partial) from error


def sync_folder(path: str | os.PathLike) -> None:
    """Puts the folder's names on the disk, so that a rename survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_sha256(path: str | os.PathLike) -> str:
    """Hexadecimal, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def temporary(path: str | os.PathLike) -> str:
    """A name beside `path` that no other process or attempt uses."""
    return f"{os.fspath(path)}.{os.urandom(8).hex()}.tmp"


def place(path: str | os.PathLike) -> str:
    """A path as messages name what is missing: a relative one with the folder in which it was looked for."""
    path = os.fspath(path)
    return path if os.path.isabs(path) else f"{path} (in {os.getcwd()})"


def named(error: OSError, path: str) -> OSError:
    """The same error with the file's name, which failing writes lack ("No space left on device")."""
    return error if error.filename else type(error)(error.errno, error.strerror, path)
