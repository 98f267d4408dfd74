"""`kseg inspect-records` for a checkout: kseg/commands/inspect_records.py."""

from kseg.commands import inspect_records
from kseg.commands.flags import run

if __name__ == "__main__":
    run(inspect_records)
