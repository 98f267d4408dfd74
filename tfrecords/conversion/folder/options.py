"""What a conversion of own data is asked."""

import dataclasses

# Of --label_format. ids, palette: pictures of ids, in which 255 is void, 0 and 255 or not; rgb: pictures in colour, of
# palettes, too; the others are files of annotations.
FORMATS = ("auto", "ids", "palette", "rgb", "coco", "labelme", "cvat", "yolo", "supervisely")


@dataclasses.dataclass(frozen=True)
class Options:
    """See kseg convert-folder --help."""

    images_dir: str = ""
    labels_dir: str = ""
    classes: str = ""
    label_format: str = "auto"
    image_suffix: str = ""
    label_suffix: str = ""
    val_fraction: float | None = None
    unlabelled: str = "error"
    uncovered: str = ""
    fixed_void: str = "auto"
    train_list: str = ""
    val_list: str = ""
    test_list: str = ""
    pairs: str = ""
    skip_damaged: bool = False

    @property
    def lists(self) -> dict[str, str]:
        """split -> file of names, of those that are given."""
        given = {"train": self.train_list, "val": self.val_list, "test": self.test_list}
        return {name: path for name, path in given.items() if path}
