"""`kseg make-street-scenes` for a checkout: kseg/commands/make_street_scenes.py."""

from kseg.commands import make_street_scenes
from kseg.commands.flags import run

if __name__ == "__main__":
    run(make_street_scenes)
