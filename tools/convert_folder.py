"""`kseg convert-folder` for a checkout: kseg/commands/convert_folder.py."""

from absl import app

from kseg.commands import convert_folder

if __name__ == "__main__":
    app.run(convert_folder.main, flags_parser=convert_folder.parse)
