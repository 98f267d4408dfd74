"""`kseg demo` for a checkout: kseg/commands/demo.py."""

from kseg.commands import demo
from kseg.commands.flags import run

if __name__ == "__main__":
    run(demo)
