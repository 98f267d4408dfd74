"""Every choice a run can make: its key, its default, its unit, and why the default is what it is.

A file in configs/ calls `default()`, assigns what differs and returns the result. Every key has a typed default, so
that `--config.KEY=VALUE` works for each of them; "not used" is 0, "" or (), never None.
"""

import ml_collections


def default() -> ml_collections.ConfigDict:
    """A full configuration; everything but `data.records_dir` has a usable value."""
    config = ml_collections.ConfigDict()

    config.data = data = ml_collections.ConfigDict()
    data.records_dir = ""  # folder written by kseg convert-folder, convert-cityscapes, ...
    data.train_split = "train"
    data.eval_split = "val"
    data.crop_size = (256, 512)  # px, height and width of a training crop
    # Share of the training images held out to choose the abstention threshold (and the learning rate, in the study):
    # the last part of each sequence as one block, whole cities where there are many. Never trained on; 0 = none.
    data.calibration_fraction = 0.1
    # Ids that are void in training and at evaluation although the label table has them as classes.
    data.seen_void_ids = ()
    # Ids never trained on (255 under every treatment) and void at evaluation.
    data.unseen_void_ids = ()
    data.num_parallel_calls = 0  # decoding threads; 0 lets tf.data choose
    data.cache = False  # keep the encoded records in memory: for sets that fit

    config.augment = augment = ml_collections.ConfigDict()
    augment.scale_min = 0.5  # random scale, log-uniform between the two; the field's 0.5 to 2
    augment.scale_max = 2.0
    augment.flip = True
    augment.rotate_degrees = 0.0  # uniform in +-; 0 is off
    augment.brightness = 0.125  # added, as a share of the full range, uniform in +-
    augment.contrast = 0.25  # factor, uniform in 1 +-
    augment.saturation = 0.25
    augment.hue = 0.02  # turn of the colour circle, uniform in +-
    augment.cat_max_ratio = 1.0  # a crop that one class fills beyond this share is drawn again; 1 is off, 0.75 usual
    augment.cutmix_probability = 0.0
    augment.copy_paste_probability = 0.0
    augment.addons = ()  # names of tfa.image ops (extra `addons`), e.g. ("rotate", "gaussian_blur")

    config.treatment = treatment = ml_collections.ConfigDict()
    treatment.name = "ignore"  # an entry of kseg/treatments.py
    treatment.encoding = ""  # override the treatment's own: ignore | background | hybrid
    treatment.void_weight = 1.0  # v in (sum labelled + v sum void) / (N labelled + v N void)
    treatment.stop_gradient = False  # void_head only: the void head does not reach the trunk
    treatment.abstain = "native"  # native | calibrated: the operating point of evaluate, predict and export
    treatment.abstain_rate = 0.05  # calibrated: nominal share of labelled pixels lost

    config.model = model = ml_collections.ConfigDict()
    model.width = 32  # channels of the first level; each level below has twice as many
    model.depth = 4  # number of times the resolution is halved
    # none = from scratch; efficientnet_lite0|1|2 | resnet50 | efficientnetv2b0 | efficientnetv2s | convnext_tiny
    model.encoder = "none"
    model.encoder_weights = "none"  # none | imagenet | a path to weights
    model.freeze_encoder = False
    model.freeze_encoder_norm = False  # its batch normalisation alone: statistics, scales and offsets stay as loaded
    # Channels of the decoder's levels, from the coarsest: one for each level up to which it decodes, the finest of
    # which gives the logits. () = from width, all levels.
    model.decoder_widths = ()
    # Convolutions of each of these levels, from the coarsest; () = two each.
    model.decoder_convs = ()
    model.decoder_block = "conv"  # conv: 3x3 convolutions | separable: depthwise 3x3, then 1x1
    # Sides of windows, in positions of the coarsest features, whose means are seen beside each feature: (3, 7, 15).
    model.pyramid_pooling = ()
    model.norm = "batch"  # batch (synchronized over replicas) | group | none
    model.upsample = "bilinear"  # bilinear | transpose
    model.activation = "relu"
    model.dropout = 0.0  # before the logits
    # A .keras file, or the workdir of a finished run, whose weights are loaded before the first step, by layer name
    # where shapes fit.
    model.init_from = ""

    # Weights of the loss terms; -1 = the treatment's own default, tabled in kseg/treatments.py.
    config.loss = loss = ml_collections.ConfigDict()
    loss.main_weight = -1.0  # the treatment's own main term (cross entropy, binary cross entropy, ...)
    loss.dice_weight = -1.0
    loss.inverted_dice_weight = -1.0
    loss.class_weights = "none"  # none | inverse_sqrt | median_frequency, from the manifest's pixel counts
    loss.label_smoothing = 0.0
    loss.focal_gamma = 0.0
    loss.top_k = 1.0  # share of each image's valid pixels kept, hardest first (OHEM); 1 is all
    loss.tversky_alpha = 0.5  # weight of false positives in the Dice terms; 0.5 and 0.5 is Dice
    loss.tversky_beta = 0.5  # weight of false negatives
    loss.dice_per_image = False

    config.optimizer = optimizer = ml_collections.ConfigDict()
    optimizer.name = "adamw"  # adamw | sgd | lamb
    optimizer.learning_rate = 1e-3  # peak
    optimizer.encoder_rate = 1.0  # factor on the learning rate, and so on the decay, of the encoder's variables
    optimizer.schedule = "cosine"  # cosine | poly | constant
    optimizer.poly_power = 0.9
    optimizer.warmup_steps = 0
    optimizer.weight_decay = 1e-4  # not on biases and normalisation parameters
    optimizer.momentum = 0.9  # sgd
    optimizer.clip_norm = 0.0  # global norm, after the all-reduce; 0 is off
    optimizer.ema_decay = 0.0  # 0 is off; 0.999 usual

    config.train = train = ml_collections.ConfigDict()
    train.total_steps = 1000
    train.batch_size = 8  # global, over all replicas
    train.accumulation_steps = 1  # a global batch is processed in this many parts
    train.seed = 0
    train.precision = "float32"  # float32 | mixed_bfloat16 | mixed_float16
    train.distribution = "mirrored"  # mirrored | multi_worker | none
    train.num_virtual_devices = 1  # splits the CPU into this many devices where there is no GPU
    train.deterministic = False  # op determinism: runs repeat bit by bit, somewhat slower on a GPU
    train.jit_compile = False  # XLA; slower on CPUs
    train.remat = False  # recompute activations in the backward pass: less memory, about a third more time
    train.checkpoint_every_steps = 200
    train.keep_checkpoints = 2
    train.early_stopping_evals = 0  # stop after this many evaluations without a better mean_iou; 0 is off

    config.eval = evaluation = ml_collections.ConfigDict()
    evaluation.every_steps = 0  # on the calibration images during training; 0 = only at the end
    evaluation.batch_size = 4  # over all replicas
    # best.keras is chosen by the mean IoU of the classes that have so many labelled pixels in the held-out images.
    evaluation.best_min_pixels = 1000
    # (0, 0): the network sees each image at its own size. Otherwise px, height and width it is resized to first; the
    # logits are interpolated to the image's size before anything is decided or scored.
    evaluation.input_size = (0, 0)
    # (0, 0): an image is seen whole. Otherwise px, height and width of the tiles it is cut into where it is larger, as
    # `kseg predict --tile` does; needs input_size = (0, 0).
    evaluation.tile_size = (0, 0)
    evaluation.tile_overlap = 256  # px that neighbouring tiles share
    # Views whose probabilities are averaged beside the image itself: flip and scales, e.g. "flip,0.75,1.25".
    evaluation.average = ""

    config.log = log = ml_collections.ConfigDict()
    log.every_steps = 50
    # Dotted names of functions f(config, workdir) -> a Keras callback, as ("my_callbacks.tracker",): docs/tracking.md.
    log.callbacks = ()
    log.pictures = 4  # calibration images drawn into TensorBoard at each evaluation
    return config


# So that this file is a configuration itself, the one that a command without --config takes.
get_config = default


def set_key(config, key, value):
    """Sets a dotted key, lists as tuples; keys that this version does not know are left out."""
    *parents, last = key.split(".")
    for parent in parents:
        if parent not in config:
            return
        config = config[parent]
    if last in config:
        config[last] = tuple(value) if isinstance(value, list) else value


def flatten(nested, prefix=""):
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    flat = {}
    for key, value in nested.items():
        if isinstance(value, (dict, ml_collections.ConfigDict)):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
