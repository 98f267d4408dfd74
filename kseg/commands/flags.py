"""What the commands have in common: how one is run, its --help, where its configuration is, errors in one line."""

import ast
import difflib
import logging as python_logging
import os
import pathlib
import re
import shlex
import signal
import sys

from absl import app, logging
from absl import flags as absl_flags

import kseg
from kseg import errors
from kseg.commands import setting_names

_HELP = {"--help", "-help", "--helpshort", "-h", "--helpfull", "-?"}
# What a flag, or the program that a configuration is, raises where it cannot be used.
_UNUSABLE = (
    absl_flags.Error, AttributeError, LookupError, ValueError, TypeError, OSError, ImportError, SyntaxError,
)  # fmt: skip
NO_RUN = "--config is no configuration of a run; those of studies are for kseg study"
QUIET_HELP = "Plain lines instead of a bar, as where the output is no terminal."
# A configuration of its own: every default.
# Its path alone: a client of a server has no ml_collections, which it imports.
DEFAULTS = os.path.join(os.path.dirname(kseg.__file__), "config.py")


def run(command, argv=None):
    """Runs a command: parses its flags, calls its main, and ends the process.

    Args:
      command: a module with flags, `main(argv)` and a docstring that --help shows. With `CONFIG_DEFAULT`, a path, it
        takes --config and has that one where none is given. `start()`, where it has one, is called first of all.
      argv: list of str, the program's name first; None for sys.argv.
    """
    sys.argv = list(sys.argv if argv is None else argv)
    getattr(command, "start", lambda: None)()
    if hasattr(command, "CONFIG_DEFAULT"):
        # config_flags reads sys.argv itself.
        try:
            sys.argv = with_config(sys.argv, command.CONFIG_DEFAULT)
        except OSError as error:
            sys.exit(f"error: {error}")
    try:
        try:
            app.run(command.main, sys.argv, flags_parser=lambda arguments: _parse(command, arguments))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # `kseg ... | head`: whoever read has read enough. What is left to flush at the end goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def _parse(command, argv):
    """The arguments that are no flags; ends the process with the help, or with one line about a wrong flag."""
    before_end = argv[1 : argv.index("--")] if "--" in argv else argv[1:]
    if _HELP & set(before_end):
        own = {flag.name for flag in absl_flags.FLAGS.get_key_flags_for_module(command.__name__)}
        shown = absl_flags.FlagValues()
        for name in sorted(own):
            shown[name] = absl_flags.FLAGS[name]
        print(f"{command.__doc__.strip()}\n\nFlags:\n{shown.get_help(include_special_flags=False)}")
        if hasattr(command, "CONFIG_DEFAULT"):
            print(_configurations(studies=command.CONFIG_DEFAULT is None))
        sys.exit(0)
    try:
        return absl_flags.FLAGS(argv)
    except _UNUSABLE as error:
        sys.exit(f"error: {explain(argv, error).rstrip('.')}; see --help")


def _configurations(studies):
    """What --config may name, a line each, and where the settings are explained; for --help."""
    lines = []
    for name, path in _brought().items():
        if name.startswith("study_") == studies:
            doc = ast.get_docstring(ast.parse(pathlib.Path(path).read_text(encoding="utf-8")))
            lines.append(f"  {name:22}{re.split(r'(?<=[^A-Z])[.:;] ', doc.splitlines()[0])[0].rstrip('.')}")
    key = "--config.base.KEY=VALUE" if studies else "--config.KEY=VALUE"
    return "\n".join(["", "Configurations:", *lines, "", f"Settings ({key}), each with its unit: {DEFAULTS}"])


def with_config(argv, default=None):
    """The command line with --config as the path of a file.

    Args:
      argv: the command line, a list of str.
      default: path for a command line without --config; None leaves it without.

    Returns:
      A list of str.

    Raises:
      FileNotFoundError: in one line, if --config names neither a file nor a configuration that kseg brings.
    """
    for place, argument in enumerate(argv):
        name, equals, value = argument.partition("=")
        if name in ("--config", "-config"):
            end = place + 1 if equals else place + 2
            path, colon, rest = (value if equals else "".join(argv[place + 1 : end])).partition(":")
            # After the colon: the argument of get_config.
            # First of all, since config_flags takes --config.KEY only after it.
            return [argv[0], f"--config={find_config(path)}{colon}{rest}", *argv[1:place], *argv[end:]]
        if argument == "--":
            break
    return [argv[0], f"--config={default}", *argv[1:]] if default else list(argv)


def find_config(name) -> str:
    """The path of a configuration: a file's as it is, or that of one that kseg brings, by its name.

    Args:
      name: a path, or a file name of configs/ with or without ".py".

    Raises:
      FileNotFoundError: in one line, with the names that there are.
    """
    if os.path.isfile(name):
        return name
    known = _brought()
    if name.removesuffix(".py") in known:
        return known[name.removesuffix(".py")]
    near = difflib.get_close_matches(pathlib.PurePath(name).stem, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"kseg brings {', '.join(known)}."
    raise FileNotFoundError(f"--config={name}: no such file; {hint}")


def _brought():
    """{name: path} of the configurations that kseg brings."""
    known = {}
    # Beside the package in a checkout, inside it in a wheel.
    for folder in (pathlib.Path(DEFAULTS).parent.parent / "configs", pathlib.Path(DEFAULTS).parent / "configs"):
        known |= {path.stem: str(path) for path in sorted(folder.glob("*.py")) if path.stem != "__init__"}
    return known


def plain_messages():
    """absl's messages as they are, without time, process and file before them."""
    logging.get_absl_handler().setFormatter(_Plain())
    # Of a program that evaluates now and then, TensorFlow says that it traces now and then.
    python_logging.getLogger("tensorflow").addFilter(lambda record: "retracing" not in record.getMessage())


class _Plain:
    """A logging formatter: warnings and errors say so, the rest is the message alone."""

    def format(self, record):
        text = record.getMessage()
        return f"{record.levelname.lower()}: {text}" if record.levelname != "INFO" else text


def typed(name, **arguments) -> str:
    """A command line to type next: `kseg NAME ...`, or tools/NAME.py where that is how this one was started."""
    own = pathlib.PurePath(sys.argv[0])
    program = f"kseg {name.replace('_', '-')}"
    if own.suffix == ".py" and own.name != "__main__.py":
        program = f"python {shlex.quote(str(own.with_name(name + '.py')))}"
    return " ".join([program, *(f"--{key}={shlex.quote(str(value))}" for key, value in arguments.items())])


def explain(arguments, error):
    """One line for a command line whose flags could not be parsed.

    Args:
      arguments: the command line, a list of str.
      error: the exception that the flags library raised.

    Returns:
      A sentence naming the first `--config.KEY` that is no key, with the one that is meant; else the error's own.
    """
    typed = any(argument.lstrip("-").startswith("config.") for argument in arguments)
    known = _keys(kseg.config.default()) if typed else []
    for argument in arguments:
        name = argument.lstrip("-").split("=")[0]
        if name.startswith("config.") and name[len("config.") :] not in known:
            return f'there is no "{name}"; {setting_names.hint(name[len("config.") :], known)}'
    if "no attribute 'get_config'" in str(error):
        (path,) = (argument for argument in arguments if argument.startswith("--config="))
        return f"{path} is no configuration: it defines no function get_config"
    if str(error).strip("\"'") in kseg.config.default():
        return NO_RUN
    missing = re.search(r"Flag (--\w+) must have a value other than None", str(error))
    return f"{missing[1]} is missing" if missing else errors.one_line(error)


def _keys(settings, prefix=""):
    keys = []
    for key, value in settings.items():
        if hasattr(value, "items"):
            keys += _keys(value, f"{prefix}{key}.")
        else:
            keys.append(prefix + key)
    return keys
