"""The street as a set of bands of ground, in metres. x runs across from our lane's middle, z ahead."""

import dataclasses


@dataclasses.dataclass
class Strip:
    """A band of ground along the street, from x0 to x1 metres (bend not included)."""

    kind: str
    x0: float
    x1: float


@dataclasses.dataclass
class Layout:
    name: str
    strips: list
    road: tuple  # x0, x1 of the carriageway
    lanes: list  # middles of the lanes and their direction (+1 = ours)
    crossing: tuple | None  # z0, z1 of a street that crosses ours
    zebra: float | None
    closed_m: float  # where a tunnel ends the street, or FAR_M
    outer: dict  # side -> kind of the ground beyond the strips
    patches: list  # darker or lighter repairs of the road


def is_blocked(layout: Layout, z0: float, z1: float) -> bool:
    """Whether [z0, z1] touches the crossing street, or lies behind a tunnel's mouth."""
    if z1 > layout.closed_m:
        return True
    return layout.crossing is not None and z0 < layout.crossing[1] + 0.5 and z1 > layout.crossing[0] - 0.5
