"""What the commands have in common: errors in one line."""

import difflib
import os

import ml_collections

from kseg import config


def explain(arguments, error):
    """One line for a command line whose flags could not be parsed.

    Args:
      arguments: the command line, a list of str.
      error: the exception that the flags library raised.

    Returns:
      A sentence naming the first `--config.KEY` that is no key, with the nearest one that is; else the error's own.
    """
    known = _keys(config.default())
    for argument in arguments:
        name = argument.lstrip("-").split("=")[0]
        if name.startswith("config.") and name[len("config.") :] not in known:
            near = difflib.get_close_matches(name[len("config.") :], known, 1)
            hint = f'did you mean "config.{near[0]}"?' if near else "kseg/config.py lists every key."
            return f'there is no "{name}"; {hint}'
    return one_line(error)


def check_file(arguments) -> None:
    """Raises FileNotFoundError, in one line, where a command line's --config names a file that is not there.

    To be called before the flags are parsed: the flags library would say it later, in words about itself.

    Args:
      arguments: the command line, a list of str.
    """
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in ("--config", "-config"):
            path = value if equals else "".join(arguments[place + 1 : place + 2])
            path = path.partition(":")[0]  # after the colon: the argument of get_config
            if not os.path.isfile(path):
                raise FileNotFoundError(f"--config={path}: no such file; the configurations of kseg are in configs/.")


def one_line(error) -> str:
    """An exception's message in one line; of a traceback in it, as the flags library gives one, the last line alone."""
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    # What a KeyError shows is quoted, ends of lines and all.
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    head, traceback, rest = text.partition("Traceback (most recent call last):")
    last = rest.strip().splitlines()[-1:] if traceback else []
    return " ".join(" ".join([head, *last]).split())


def _keys(settings, prefix=""):
    keys = []
    for key, value in settings.items():
        if isinstance(value, ml_collections.ConfigDict):
            keys += _keys(value, f"{prefix}{key}.")
        else:
            keys.append(prefix + key)
    return keys
