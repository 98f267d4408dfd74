"""`kseg study` for a checkout: kseg/commands/study.py."""

from kseg.commands import study
from kseg.commands.flags import run

if __name__ == "__main__":
    run(study)
