"""`kseg report` for a checkout: kseg/commands/report.py."""

from kseg.commands import report
from kseg.commands.flags import run

if __name__ == "__main__":
    run(report)
