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


def check_folder(path: str | os.PathLike, flag: str) -> None:
    """Refuses what is no folder that one can write to, and cannot become one. Makes nothing.

    Args:
      flag: that gave the path, for the message, such as "--records_dir".

    Raises:
      ValueError: in one line.
    """
    path = os.fspath(path)
    if os.path.lexists(path) and not os.path.isdir(path):
        raise ValueError(f"{path} is {_what(path)}; give a folder, or a name that is free, as {flag}.")
    _check_below(os.path.abspath(path), path, flag)


def check_file(path: str | os.PathLike, flag: str) -> None:
    """Refuses a file that `write_whole` could not write, even after its folder was made. As `check_folder`."""
    path = os.fspath(path)
    if os.path.isdir(path):
        raise ValueError(f"{flag}={path} is a folder; name a file in it.")
    _check_below(os.path.dirname(os.path.abspath(path)), path, flag)


def _check_below(above, path, flag):
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if not os.path.isdir(above):
        raise ValueError(f"{flag}={path} cannot be made, since {above} is {_what(above)}; give another {flag}.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise ValueError(f"{flag}={path} cannot be written: {above} is not yours to write to; give another {flag}.")


def _what(path):
    return "a file" if os.path.exists(path) else "a link to nothing"


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
