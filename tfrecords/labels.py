"""Label tables: what each published id means, and the encodings that follow from it.

Answers: which class an id is, which kind of void it is where it is no class, and how it is coloured. Makes the
256-entry look-up that turns a map of ids into a training target. Does not read files and does not know models or
configs. Pure Python and NumPy.

Ids are what goes in, encodings are what comes out. Both are bytes, and 255 occurs in both. As an id it is whatever the
table says (void, in most data sets). In an encoding it is the ignore label.

Over 320 lines, since the last quarter is data: the tables of published data sets, written out. They stay beside the
class that they are made of because `labels.CITYSCAPES` is the name that users know.
"""

import dataclasses
import operator

import numpy as np

IGNORE_LABEL = 255
ENCODINGS = ("ignore", "background", "hybrid")
KINDS = ("scene", "dropped", "geometry", "unannotated")


@dataclasses.dataclass(frozen=True)
class Label:
    """One published id.

    Integers may be NumPy's, and the colour any sequence.

    Attributes:
      id: pixel value in the published label maps, 0..255.
      name: its name.
      class_index: 0..K-1 where the id is trained and evaluated as a class; None where it is void.
      kind: None for classes; for void one of `KINDS`. "scene": real things without a class. "dropped": named classes
        left out of training. "geometry": camera, car and image borders. "unannotated": nobody looked; neither class nor
        void, in no metric.
      color: (red, green, blue), 0..255.
      seen: False for void that training never shows.

    Raises:
      ValueError: an id, a class index or a colour that is not of integers.
    """

    id: int
    name: str
    class_index: int | None
    kind: str | None
    color: tuple[int, int, int]
    seen: bool = True

    def __post_init__(self):
        # Plain types, so that equal tables compare equal and JSON can hold them.
        try:
            object.__setattr__(self, "id", operator.index(self.id))
            if self.class_index is not None:
                object.__setattr__(self, "class_index", operator.index(self.class_index))
            object.__setattr__(self, "color", tuple(operator.index(value) for value in self.color))
        except TypeError as error:
            raise ValueError(
                f"label {self.name!r}: id, class index and colour must be integers, got {self.id!r}, "
                f"{self.class_index!r} and {self.color!r}"
            ) from error
        if len(self.color) != 3 or not all(0 <= value <= 255 for value in self.color):
            raise ValueError(f"label {self.name!r}: a colour is three values in 0..255, got {self.color!r}")


@dataclasses.dataclass(frozen=True)
class LabelTable:
    """All ids of a data set, in rising order of id.

    Raises:
      ValueError: an id twice or out of 0..255; class indices with gaps; a label that is both class and void, or
        neither; labels of one class that differ in name or colour. Also so many classes that K, the target of void,
        would be 255, the ignore label.
    """

    name: str
    labels: tuple[Label, ...]

    def __post_init__(self):
        object.__setattr__(self, "labels", tuple(sorted(self.labels, key=lambda label: label.id)))
        _check(self)

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len({label.class_index for label in self.labels} - {None})

    @property
    def ignore_label(self) -> int:
        """The target value that nothing trains on: 255."""
        return IGNORE_LABEL

    @property
    def background_label(self) -> int:
        """The target value of void under the encoding "background": K."""
        return self.num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self._of_class(index)[0].name for index in range(self.num_classes))

    @property
    def class_colors(self) -> np.ndarray:
        """uint8 [K, 3], red, green, blue."""
        return np.array([self._of_class(index)[0].color for index in range(self.num_classes)], np.uint8)

    @property
    def class_ids(self) -> tuple[tuple[int, ...], ...]:
        """For each class, the published ids that belong to it."""
        return tuple(tuple(label.id for label in self._of_class(index)) for index in range(self.num_classes))

    @property
    def void_labels(self) -> tuple[Label, ...]:
        """Labels that are no class, "unannotated" among them."""
        return tuple(label for label in self.labels if label.class_index is None)

    def encoding(self, name: str, training: bool = False) -> np.ndarray:
        """The look-up from published id to target value.

        Classes map to their index. Void maps to 255 under "ignore", to K under "background"; under "hybrid" void of
        kind "geometry" maps to 255 and all other void to K. Under every encoding 255 also stands for ids that the
        table does not have, for kind "unannotated" and, with `training`, for void that is unseen.

        Args:
          name: "ignore", "background" or "hybrid".
          training: True for training targets, False for evaluation.

        Returns:
          uint8 [256].

        Raises:
          ValueError: unknown encoding.
        """
        if name not in ENCODINGS:
            raise ValueError(f"unknown encoding {name!r}; expected one of {', '.join(ENCODINGS)}")
        lookup = np.full(256, IGNORE_LABEL, np.uint8)
        for label in self.labels:
            if label.class_index is not None:
                lookup[label.id] = label.class_index
            elif name == "ignore" or label.kind == "unannotated" or (training and not label.seen):
                continue
            elif name == "background" or label.kind != "geometry":
                lookup[label.id] = self.background_label
        return lookup

    @property
    def abstain_id(self) -> int | None:
        """The published id that says "no class" in a result picture; None where the table has no void id.

        The lowest void id of kind "scene" or "unannotated" (Cityscapes' 0, CamVid's 11), else the lowest of any.
        """
        named = [label.id for label in self.void_labels if label.kind in ("dropped", "geometry")]
        return min((label.id for label in self.void_labels if label.id not in named), default=min(named, default=None))

    def official_ids(self, abstain: int | None = None) -> np.ndarray:
        """The look-up from predicted class to the id that an official result picture carries.

        Args:
          abstain: the id written for index K, "no class"; None is `abstain_id`.

        Returns:
          uint8 [K + 1], [K] where there is no id for "no class"; a class of several ids gives its lowest.

        Raises:
          ValueError: `abstain` is the id of a class.
        """
        abstain = self.abstain_id if abstain is None else abstain
        if any(abstain in ids for ids in self.class_ids):
            raise ValueError(f"id {abstain} of {self.name} is a class; it cannot say that a pixel is of none")
        return np.array([ids[0] for ids in self.class_ids] + ([] if abstain is None else [abstain]), np.uint8)

    def select(self, seen_void_ids=(), unseen_void_ids=()) -> "LabelTable":
        """The table in which these ids are void and the remaining classes are numbered 0.. in their old order.

        A class that becomes void is of kind "dropped"; what was void keeps its kind. `unseen_void_ids` are besides
        never trained on.

        Raises:
          ValueError: an id that the table does not have, that is named in both, that is unannotated, or no class
            left.
        """
        seen, unseen = set(seen_void_ids), set(unseen_void_ids)
        known = {label.id: label for label in self.labels}
        for number in sorted(seen | unseen):
            if number not in known:
                raise ValueError(f"id {number} is not in the label table {self.name}; it has {ranges(known)}")
            if known[number].kind == "unannotated":
                raise ValueError(f"id {number} of {self.name} is unannotated: it cannot be made void")
        if seen & unseen:
            raise ValueError(f"id {min(seen & unseen)} is named both as seen and as unseen void; choose one")
        moved = seen | unseen
        kept = sorted({label.class_index for label in self.labels if label.id not in moved} - {None})
        if not kept:
            raise ValueError(f"every class of {self.name} is named as void; at least one must stay")
        index = {old: new for new, old in enumerate(kept)}
        labels = []
        for label in self.labels:
            if label.id in moved:
                kind = label.kind if label.class_index is None else "dropped"
                label = dataclasses.replace(label, class_index=None, kind=kind, seen=label.id not in unseen)
            elif label.class_index is not None:
                label = dataclasses.replace(label, class_index=index[label.class_index])
            labels.append(label)
        return LabelTable(self.name, tuple(labels))

    def with_unannotated(self, ids) -> "LabelTable":
        """The table in which these void ids mean "nobody looked" (gtCoarse's id 0); ValueError if one is no void."""
        if not ids:
            return self
        if not set(ids) <= {label.id for label in self.void_labels}:
            raise ValueError(f"unannotated ids {sorted(ids)} are not all void ids of {self.name}")
        return LabelTable(
            f"{self.name}_coarse",
            tuple(dataclasses.replace(x, kind="unannotated") if x.id in ids else x for x in self.labels),
        )

    def to_json(self) -> dict:
        """A JSON object from which `from_json` makes an equal table; `dataset.json` holds the same keys."""
        return {
            "name": self.name,
            "num_classes": self.num_classes,
            "ignore_label": self.ignore_label,
            "background_label": self.background_label,
            "classes": [
                {"name": name, "color": [int(v) for v in color], "ids": list(ids)}
                for name, color, ids in zip(self.class_names, self.class_colors, self.class_ids)
            ],
            "void": [
                {"id": x.id, "name": x.name, "kind": x.kind, "color": list(x.color), "seen": x.seen}
                for x in self.void_labels
            ],
        }

    @classmethod
    def from_json(cls, obj: dict) -> "LabelTable":
        """The table that `to_json` wrote.

        Raises:
          ValueError: a key is missing, a value has the wrong type, or the parts contradict each other.
        """
        try:
            labels = [
                Label(_integer(number), str(entry["name"]), index, None, _color(entry["color"]))
                for index, entry in enumerate(obj["classes"])
                for number in entry["ids"]
            ] + [
                Label(_integer(x["id"]), str(x["name"]), None, x["kind"], _color(x["color"]), bool(x.get("seen", True)))
                for x in obj["void"]
            ]
            table = cls(str(obj["name"]), tuple(labels))
            stated = [_integer(obj[key]) for key in ("num_classes", "ignore_label", "background_label")]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a label table: {type(error).__name__} {error}") from error
        found = [table.num_classes, table.ignore_label, table.background_label]
        if len(obj["classes"]) != table.num_classes or stated != found:
            raise ValueError(
                f"label table {table.name} contradicts itself: num_classes, ignore_label, background_label are stated "
                f"as {stated}, its classes give {found}"
            )
        return table

    def _of_class(self, index: int) -> list[Label]:
        return [label for label in self.labels if label.class_index == index]


def _check(table: LabelTable) -> None:
    ids = [label.id for label in table.labels]
    if len(set(ids)) != len(ids) or not all(0 <= number <= 255 for number in ids):
        raise ValueError(f"label table {table.name}: ids must differ and lie in 0..255, got {ids}")
    by_class: dict[int, Label] = {}
    for label in table.labels:
        if label.class_index is None:
            if label.kind not in KINDS:
                raise ValueError(
                    f"label table {table.name}: void id {label.id} has kind {label.kind!r}; expected one of "
                    f"{', '.join(KINDS)}"
                )
            continue
        if label.kind is not None:
            raise ValueError(f"label table {table.name}: id {label.id} is a class and has void kind {label.kind!r}")
        first = by_class.setdefault(label.class_index, label)
        if (first.name, first.color) != (label.name, label.color):
            raise ValueError(
                f"label table {table.name}: ids {first.id} and {label.id} are one class but differ in name or colour"
            )
    if not by_class or sorted(by_class) != list(range(len(by_class))):
        raise ValueError(
            f"label table {table.name}: class indices must be 0, 1, 2, ... without gaps, got {sorted(by_class)}"
        )
    # Targets are bytes, 255 is the ignore label: 255 classes fit, and then no index is left for void.
    most = IGNORE_LABEL - bool(table.void_labels)
    if len(by_class) > most:
        raise ValueError(
            f"label table {table.name} has {len(by_class)} classes; expected at most {most}, since the target "
            f"{IGNORE_LABEL} is the ignore label"
        )


def _integer(value) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"not a label table: expected an integer, got {value!r}")
    return value


def _color(value) -> tuple[int, int, int]:
    red, green, blue = (_integer(v) for v in value)
    if not all(0 <= v <= 255 for v in (red, green, blue)):
        raise ValueError(f"not a label table: a colour is three values in 0..255, got {value!r}")
    return red, green, blue


def difference(here: LabelTable, asked: LabelTable) -> str:
    """Where two tables first differ: "the label table t, in which id 3 is ... where ... is asked"."""
    if here.name != asked.name:
        return f"the label table {here.name!r} where {asked.name!r} is asked"
    ours, theirs = ({label.id: label for label in table.labels} for table in (here, asked))
    number = min(n for n in ours.keys() | theirs.keys() if ours.get(n) != theirs.get(n))
    both = [_described(table.get(number)) for table in (ours, theirs)]
    if both[0] == both[1]:
        both = [f"{text}, coloured {table[number].color}" for text, table in zip(both, (ours, theirs))]
    return f"the label table {here.name}, in which id {number} is {both[0]} where {both[1]} is asked"


def _described(label: Label | None) -> str:
    if label is None:
        return "missing"
    if label.class_index is not None:
        return f"{label.name!r}, class {label.class_index}"
    return f"{label.name!r}, {'' if label.seen else 'unseen '}void of kind {label.kind}"


def ranges(ids) -> str:
    """ "0..3, 7" for {0, 1, 2, 3, 7}."""
    runs: list[list[int]] = []
    for number in sorted(ids):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in runs)


# Names, ids, class indices and colours as published by the Cityscapes benchmark (cityscapesscripts,
# helpers/labels.py; tests/records/test_labels.py holds every row against it). The kinds of void are this project's.
CITYSCAPES = LabelTable(
    "cityscapes",
    (
        Label(0, "unlabeled", None, "scene", (0, 0, 0)),
        Label(1, "ego vehicle", None, "geometry", (0, 0, 0)),
        Label(2, "rectification border", None, "geometry", (0, 0, 0)),
        Label(3, "out of roi", None, "geometry", (0, 0, 0)),
        Label(4, "static", None, "scene", (0, 0, 0)),
        Label(5, "dynamic", None, "scene", (111, 74, 0)),
        Label(6, "ground", None, "scene", (81, 0, 81)),
        Label(7, "road", 0, None, (128, 64, 128)),
        Label(8, "sidewalk", 1, None, (244, 35, 232)),
        Label(9, "parking", None, "dropped", (250, 170, 160)),
        Label(10, "rail track", None, "dropped", (230, 150, 140)),
        Label(11, "building", 2, None, (70, 70, 70)),
        Label(12, "wall", 3, None, (102, 102, 156)),
        Label(13, "fence", 4, None, (190, 153, 153)),
        Label(14, "guard rail", None, "dropped", (180, 165, 180)),
        Label(15, "bridge", None, "dropped", (150, 100, 100)),
        Label(16, "tunnel", None, "dropped", (150, 120, 90)),
        Label(17, "pole", 5, None, (153, 153, 153)),
        Label(18, "polegroup", None, "dropped", (153, 153, 153)),
        Label(19, "traffic light", 6, None, (250, 170, 30)),
        Label(20, "traffic sign", 7, None, (220, 220, 0)),
        Label(21, "vegetation", 8, None, (107, 142, 35)),
        Label(22, "terrain", 9, None, (152, 251, 152)),
        Label(23, "sky", 10, None, (70, 130, 180)),
        Label(24, "person", 11, None, (220, 20, 60)),
        Label(25, "rider", 12, None, (255, 0, 0)),
        Label(26, "car", 13, None, (0, 0, 142)),
        Label(27, "truck", 14, None, (0, 0, 70)),
        Label(28, "bus", 15, None, (0, 60, 100)),
        Label(29, "caravan", None, "dropped", (0, 0, 90)),
        Label(30, "trailer", None, "dropped", (0, 0, 110)),
        Label(31, "train", 16, None, (0, 80, 100)),
        Label(32, "motorcycle", 17, None, (0, 0, 230)),
        Label(33, "bicycle", 18, None, (119, 11, 32)),
    ),
)

# Not there: the benchmark's 35th row, "license plate". Its id is negative, and the official tool draws no polygon of a
# negative id, so no published map holds it: number plates carry the id of the vehicle below them.

# gtCoarse: most of an image is left without any polygon, as id 0. That is not void but absent annotation.
CITYSCAPES_COARSE = CITYSCAPES.with_unannotated((0,))

# The 11-class label maps of the SegNet tutorial, ids as in those files, with the colours usual for CamVid. Id 12 is
# not published: tools/convert_camvid.py derives it (positions that are void in nearly all frames of a sequence).
CAMVID = LabelTable(
    "camvid",
    (
        Label(0, "sky", 0, None, (128, 128, 128)),
        Label(1, "building", 1, None, (128, 0, 0)),
        Label(2, "pole", 2, None, (192, 192, 128)),
        Label(3, "road", 3, None, (128, 64, 128)),
        Label(4, "pavement", 4, None, (60, 40, 222)),
        Label(5, "tree", 5, None, (128, 128, 0)),
        Label(6, "sign", 6, None, (192, 128, 128)),
        Label(7, "fence", 7, None, (64, 64, 128)),
        Label(8, "car", 8, None, (64, 0, 128)),
        Label(9, "pedestrian", 9, None, (64, 64, 0)),
        Label(10, "bicyclist", 10, None, (0, 128, 192)),
        Label(11, "void", None, "scene", (0, 0, 0)),
        Label(12, "bonnet", None, "geometry", (0, 0, 0)),
    ),
)
