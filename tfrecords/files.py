"""Files that are whole or not there: written beside their place, then renamed into it."""

import contextlib
import hashlib
import os


def write_whole(path: str | os.PathLike, content) -> None:
    """Writes a file whole or not at all; what was there before stays until then.

    Args:
      content: bytes, str (written as UTF-8), or a function that writes into the open binary file it is given.
    """
    with replacing(path) as partial, open(partial, "wb") as file:
        if callable(content):
            content(file)
        else:
            file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def replacing(path: str | os.PathLike, suffix: str = ".tmp"):
    """Yields a name beside `path`; the file written there takes the place of `path` when the block ends without error.

    Its content is on the disk before it has the name. After an error nothing of it is left.
    """
    partial = temporary(path, suffix)
    try:
        yield partial
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise named(error, partial) from error
    finally:
        with contextlib.suppress(OSError):
            os.remove(partial)


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


def temporary(path: str | os.PathLike, suffix: str = ".tmp") -> str:
    """A name beside `path` that no other process or attempt uses."""
    return f"{os.fspath(path)}.{os.urandom(8).hex()}{suffix}"


def place(path: str | os.PathLike) -> str:
    """A path as messages name what is missing: a relative one with the folder in which it was looked for."""
    path = os.fspath(path)
    return path if os.path.isabs(path) else f"{path} (in {os.getcwd()})"


def named(error: OSError, path: str) -> OSError:
    """The same error with the file's name, which failing writes lack ("No space left on device")."""
    return error if error.filename or not error.errno else type(error)(error.errno, error.strerror, path)
