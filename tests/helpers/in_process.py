"""Commands of kseg in this process: what they print and how they end, without loading TensorFlow again for each.

Each command defines its flags when it is imported, and some define the same ones. So the flags of the command before
are forgotten first, and the command is imported anew.
"""

import contextlib
import dataclasses
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
        mock.patch.object(sigterm, "leave_on_sigterm", lambda: None),
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


def _forget():
    for name in commands.NAMES:
        sys.modules.pop(f"kseg.commands.{name}", None)
        vars(commands).pop(name, None)
    known = flags.FLAGS
    for module, defined in list(known.flags_by_module_dict().items()):
        for flag in list(defined):
            if module.startswith("kseg.commands.") or flag.name.startswith("config"):
                if flag.name in known:
                    delattr(known, flag.name)
    for name in [name for name in known if name == "config" or name.startswith("config.")]:
        delattr(known, name)
