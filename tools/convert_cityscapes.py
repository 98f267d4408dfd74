"""`kseg convert-cityscapes` for a checkout: kseg/commands/convert_cityscapes.py."""

from kseg.commands import convert_cityscapes
from kseg.commands.flags import run

if __name__ == "__main__":
    run(convert_cityscapes)
