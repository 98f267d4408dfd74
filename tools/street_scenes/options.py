"""What decides the bytes of a set: its options, its cities, and which scene has which feature."""

import dataclasses
import random

CITIES = {
    "train": (
        "ahornstadt",
        "eschenfurt",
        "fichtenrode",
        "haselbruck",
        "kieferhafen",
        "lindenwerder",
        "pappelheim",
        "tannenmoos",
        "ulmenbruck",
        "weidenfurt",
    ),
    "val": ("buchenwerder", "erlenmoos"),
}


# The share of scenes that have a feature. Which scenes do is spread evenly over the numbering (see `has_feature`), so
# that small sets come close to these shares too. Together with the sizes of things they set how much void there is.
FEATURE_SHARES = {
    "parking": 0.10,
    "bridge": 0.035,
    "tunnel": 0.02,
    "rail": 0.10,
    "ground_strip": 0.30,
    "island": 0.20,
    "water": 0.06,
    "crossing": 0.4,
    "truck": 0.30,
    "bus": 0.18,
    "motorcycle": 0.35,
    "rider": 0.45,
    "bicycles": 0.5,
    "caravan": 0.03,
    "trailer": 0.04,
    "polegroup": 0.04,
    "dynamic": 0.55,
    "unlabeled": 0.2,
    "scaffold": 0.06,
}
UNSEEN_SHARES = {"caravan": 0.15, "trailer": 0.15, "dynamic": 0.6}  # in val under --unseen_void


@dataclasses.dataclass(frozen=True)
class Options:
    """What decides the bytes of a set."""

    num_train: int = 240
    num_val: int = 60
    height: int = 128
    width: int = 256
    seed: int = 0
    unseen_void: bool = False

    def check(self) -> None:
        """Raises ValueError, one line, for a value that makes no set."""
        for name, low in (("num_train", 0), ("num_val", 0), ("height", 64), ("width", 128), ("seed", 0)):
            value = getattr(self, name)
            if value < low:
                raise ValueError(f"--{name}={value}: expected at least {low}")
        for name in ("height", "width"):
            if getattr(self, name) > 4096:
                raise ValueError(f"--{name}={getattr(self, name)}: expected at most 4096")
        if not 0.5 <= self.width / self.height <= 4:
            raise ValueError(
                f"--height={self.height} --width={self.width}: expected a width between half the height and 4 times it"
            )
        if self.num_train + self.num_val == 0:
            raise ValueError("--num_train=0 --num_val=0: nothing to draw; ask for at least one scene")


def has_feature(feature: str, options: Options, split: str, number: int) -> bool:
    """Whether a scene has a feature.

    Scenes come in blocks of 16. Each scene of a block draws from a sixteenth of [0, 1) of its own, in an order mixed
    per block and feature. So any block has a feature about as often as it should.
    """
    share = FEATURE_SHARES[feature]
    if options.unseen_void and feature in UNSEEN_SHARES:
        share = UNSEEN_SHARES[feature] if split == "val" else 0.0
    block, place = divmod(number, 16)
    mix = random.Random(f"feature/{options.seed}/{split}/{feature}/{block}")
    order = list(range(16))
    mix.shuffle(order)
    return (order[place] + mix.random()) / 16 < share
