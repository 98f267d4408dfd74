"""`kseg predict` for a checkout: kseg/commands/predict.py."""

from kseg.commands import predict
from kseg.commands.flags import run

if __name__ == "__main__":
    run(predict)
