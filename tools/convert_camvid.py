"""`kseg convert-camvid` for a checkout: kseg/commands/convert_camvid.py."""

from kseg.commands import convert_camvid
from kseg.commands.flags import run

if __name__ == "__main__":
    run(convert_camvid)
