"""`kseg evaluate` for a checkout: kseg/commands/evaluate.py."""

from kseg.commands import evaluate
from kseg.commands.flags import run

if __name__ == "__main__":
    run(evaluate)
