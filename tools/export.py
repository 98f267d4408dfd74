"""`kseg export` for a checkout: kseg/commands/export.py."""

from kseg.commands import export
from kseg.commands.flags import run

if __name__ == "__main__":
    run(export)
