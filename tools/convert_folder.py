"""`kseg convert-folder` for a checkout: kseg/commands/convert_folder.py."""

from kseg.commands import convert_folder
from kseg.commands.flags import run

if __name__ == "__main__":
    run(convert_folder)
