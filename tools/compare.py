"""`kseg compare` for a checkout: kseg/commands/compare.py."""

from kseg.commands import compare
from kseg.commands.flags import run

if __name__ == "__main__":
    run(compare)
