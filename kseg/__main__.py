"""`kseg NAME --FLAG=VALUE ...`, also as `python -m kseg NAME ...`: the one front door to the commands."""

import difflib
import importlib
import sys

import kseg
from kseg import commands
from kseg.commands import flags


def main(argv=None):
    """Runs the command that the command line names; without one, lists them.

    Args:
      argv: list of str, the program's name first; None for sys.argv.
    """
    _, *arguments = sys.argv if argv is None else argv
    name = arguments[0].replace("-", "_") if arguments else "help"
    if name in ("help", "__help", "_h", "_help"):
        print(overview())
    elif name == "__version":
        print(f"kseg {kseg.__version__}")
    elif name in commands.NAMES:
        command = importlib.import_module(f"kseg.commands.{name}")
        flags.run(command, [f"kseg {arguments[0]}", *arguments[1:]])
    else:
        near = difflib.get_close_matches(name, commands.NAMES, 1)
        hint = f"did you mean {_typed(near[0])}?" if near else f"there are: {', '.join(map(_typed, commands.NAMES))}."
        sys.exit(f"error: kseg has no command {arguments[0]!r}; {hint}")


def overview() -> str:
    """The commands with a line each."""
    width = max(map(len, commands.NAMES)) + 2
    lines = [f"  {_typed(name):{width}}{line}" for name, line in commands.NAMES.items()]
    return "\n".join(
        ["Semantic segmentation that knows what to do with pixels of no class.", ""]
        + ["kseg COMMAND --FLAG=VALUE ...", "", *lines, "", "kseg COMMAND --help says more of each."]
        + ["Begin with kseg convert-folder and your own pictures, or with kseg demo."]
    )


def _typed(name):
    return name.replace("_", "-")


if __name__ == "__main__":
    main()
