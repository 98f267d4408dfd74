"""The second study's replication, on Cityscapes at 256x256: does the bonnet belong into the class? (docs/plan.md)

The data: 1,141 frames of `train` (eight cities) and 250 of `val` of Cityscapes' fine set, each squeezed from 1024x2048
to 256x256, with labels read back from published colour pictures. 254 marks the pixels whose label that leaves in
doubt, and counts nowhere. The source is the copy of the set that pix2pix trains on, photo and colour label side by
side as JPEG; no command here decodes it. D is in Cityscapes' layout, with leftImg8bit/ and, of these labels, gtCore/.

Command: pip install '.[pretrained]'
         kseg convert-folder --images_dir=D/leftImg8bit --labels_dir=D/gtCore --image_suffix=_leftImg8bit \
             --label_suffix=_gtFine_labelIds --classes=configs/cityscapes256.csv --records_dir=R
         python tools/study.py --config=configs/study_cityscapes256.py --workdir=W --config.base.data.records_dir=R \
             --config.objects.road_anomaly=A --config.objects.road_anomaly21=B
A and B are RoadAnomaly and RoadAnomaly21, as kseg/study/objects.py wants them.
Hardware: two CPU cores, 6 GB.
Time: not yet measured.
Result: not yet measured.
"""

import ml_collections

from kseg import config as kseg_config

ARMS = ("ignore", "background_class", "hybrid", "inverted_dice")
BY_KIND = tuple(
    f"caught_at_0.05_{kind}{edge}" for kind in ("all", "geometry", "dropped", "scene") for edge in ("", "_off_edge")
)


def get_config() -> ml_collections.ConfigDict:
    """The study; its keys are those of kseg/study/grid.py."""
    study = ml_collections.ConfigDict()
    study.name = "cityscapes256"
    study.title = "Cityscapes at 256x256, 19 classes, EfficientNet-Lite0"
    study.base = _base()
    study.test_split = "val"
    study.sequence_pattern = r"^([a-z]+)"  # the city
    study.block_frames, study.frames_per_unit = 10, 5
    study.draws, study.margin = 2000, 0.01
    study.publish_pictures, study.publish_figures = False, ()
    study.arms = ml_collections.ConfigDict()
    for name in ARMS:
        study.arms[name] = {"treatment": {"name": name, "void_weight": 1.0}}
    study.arms.inverted_dice["loss"] = {"main_weight": 1.0}  # cross entropy beside it, as on CamVid
    study.grid = [("replication", ARMS, (0, 1, 2, 3))]
    study.choices = []
    study.folds = ml_collections.ConfigDict()
    study.by_width = ()
    study.headline = ARMS
    study.objects = ml_collections.ConfigDict({"road_anomaly": "", "road_anomaly21": ""})
    # As the frames of training: of this height, squeezed to half their width.
    study.objects_seen = ml_collections.ConfigDict({"height": 256, "aspect": 0.5})
    miou, caught, photos = "forced_miou", "caught_at_0.05_movable", "objects_average_precision_road_anomaly"
    study.not_worse = ("accuracy",)  # as on CamVid, so that the margin is one of accuracy and judges no void
    # (name, arm, reference, measure, primary); none is primary: it repeats what CamVid's contrasts ask.
    study.contrasts = [
        ("1a accuracy, extra class", "background_class", "ignore", miou, False),
        ("2 void, extra class", "background_class", "ignore", caught, False),
        ("3 void, inverted Dice", "inverted_dice", "background_class", caught, False),
        ("4 never seen", "background_class", "ignore", photos, False),
        ("bonnet as 255, accuracy", "hybrid", "background_class", miou, False),
        ("bonnet as 255, void", "hybrid", "background_class", caught, False),
        ("bonnet as 255, never seen", "hybrid", "background_class", photos, False),
    ]
    study.contrasts += [("bonnet as 255, by kind", "hybrid", "background_class", kind, False) for kind in BY_KIND]
    for arm in ARMS[1:]:
        for measure in (miou, caught, photos, "objects_average_precision_road_anomaly21", *BY_KIND):
            study.contrasts.append(("against ignore", arm, "ignore", measure, False))
    # By its own score. The other two have a void output, and `ignore` has none to compare it with.
    study.contrasts.append(("against ignore", "inverted_dice", "ignore", f"{photos}@max_logit", False))
    return study


def _base():
    """The recipe of configs/study_camvid_lite0.py, for frames of 256x256 and six passes over about 1,000 of them."""
    config = kseg_config.default()
    config.data.crop_size = (256, 256)
    config.data.calibration_fraction = 0.15  # whole cities
    config.data.eval_split = "val"
    config.data.cache = True
    config.augment.scale_min, config.augment.scale_max = 0.6, 1.6
    config.model.encoder, config.model.encoder_weights = "efficientnet_lite0", "imagenet"
    config.model.decoder_widths = (64, 48, 32, 24)
    config.loss.class_weights = "inverse_sqrt"
    config.loss.dice_weight = 1.0
    config.optimizer.learning_rate = 2e-3
    config.optimizer.encoder_rate = 0.5
    config.optimizer.warmup_steps = 40
    config.optimizer.ema_decay = 0.99
    config.train.total_steps = 750
    config.train.batch_size = 8
    config.train.distribution = "none"
    config.train.early_stopping_evals = 0
    config.train.checkpoint_every_steps = 100
    config.train.keep_checkpoints = 1
    config.eval.every_steps = 750
    config.log.every_steps = 20
    config.log.pictures = 0
    return config
