"""`kseg train` for a checkout: kseg/commands/train.py."""

from kseg.commands import train
from kseg.commands.flags import run

if __name__ == "__main__":
    run(train)
