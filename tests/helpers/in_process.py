"""Commands of kseg in this process: what they print and how they end, without loading TensorFlow again for each.

Each command defines its flags when it is imported, and some define the same ones. So the flags of the command before
are forgotten first, and the command is imported anew.
"""

import contextlib
import dataclasses
import importlib
import io
import sys
from unittest import mock

from absl import flags

from kseg import __main__ as front
from kseg import commands
from kseg.distribution import sigterm


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended: exit status, stdout, stderr with the message that it exits with."""

    status: int
    out: str
    err: str


def kseg_command(*arguments, cwd=None) -> Ended:
    """Runs `kseg ARGUMENTS`; an exception that would be a traceback is raised.

    Args:
      *arguments: the command line after "kseg"; paths are turned to str.
      cwd: where it is run; None for here.
    """
    _forget()
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.ExitStack() as stack,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", list(sys.argv)),
        # These two would end this process, now or at a signal.
        mock.patch.object(sigterm, "leave", _leave),
        mock.patch.object(sigterm, "leave_on_sigterm", lambda **_: None),
    ):
        if cwd is not None:
            stack.enter_context(contextlib.chdir(cwd))
        try:
            front.main(["kseg", *map(str, arguments)])
            code = None
        except SystemExit as end:
            code = end.code
    if isinstance(code, str):
        return Ended(1, out.getvalue(), f"{err.getvalue()}{code}\n")
    return Ended(code or 0, out.getvalue(), err.getvalue())


def _leave(message, status=1):
    print(message, file=sys.stderr)
    sys.exit(status)


def flags_of(name):
    """Names of the flags that a command defines, --config.KEY aside."""
    _forget()
    before = set(flags.FLAGS)
    importlib.import_module(f"kseg.commands.{name}")
    return set(flags.FLAGS) - before


def _forget():
    for name in [name for name in sys.modules if name.startswith("kseg.commands.") and name != front.flags.__name__]:
        vars(commands).pop(name.rpartition(".")[2], None)
        del sys.modules[name]
    known = flags.FLAGS
    defined = known.flags_by_module_dict().items()
    # absl knows a module that disclaims its flags by its id. One imported later may have the id of a forgotten one, and
    # its flags then count as those of the caller, importlib.
    ours = ("kseg.commands.", "importlib.")
    names = {flag.name for module, found in defined for flag in found if module.startswith(ours)}
    for name in names | {name for name in known if name == "config" or name.startswith("config.")}:
        if name in known:
            delattr(known, name)
