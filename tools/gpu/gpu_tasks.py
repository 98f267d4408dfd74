"""Which trainings tools/gpu_checks.py has done, at full and at tiny size, and in which processes. Carries nothing out.

A process is {"name", "setup", "tasks"}; what a task holds is gpu_child.py's to read.
"""

import dataclasses

RECIPES = ("cityscapes_unet", "cityscapes_lite0")
FORMATS = ("png", "jpeg")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much of everything.

    Attributes:
      scene, scenes: size in px and number of the street scenes that the laws train on.
      frame, frames: size and number of the frames of which the recipes take crops.
      crop, width, depth, batch: of the laws' network and steps.
      steps: of a run whose mean IoU is compared.
      law_steps: of the two runs whose weights are compared.
      speed_crop, speed_steps, warm_steps: of the recipes; the first steps are not timed.
      export_images: pictures that the export and Keras are both asked about.
    """

    scene: tuple = (128, 256)
    scenes: int = 300
    frame: tuple = (1024, 2048)
    frames: int = 64
    crop: tuple = (128, 256)
    width: int = 16
    depth: int = 4
    batch: int = 8
    steps: int = 400
    law_steps: int = 10
    speed_crop: tuple = (512, 1024)
    speed_steps: int = 120
    warm_steps: int = 20
    export_images: int = 8


TINY = Sizes(
    scene=(64, 128), scenes=16, frame=(64, 128), frames=16, crop=(32, 64), width=4, depth=1, batch=4, steps=4,
    law_steps=3, speed_crop=(64, 128), speed_steps=3, warm_steps=1, export_images=2,
)  # fmt: skip
# What makes the recipes tiny, beside the crop: the networks. Lite0 alone takes longer to trace than everything else.
_TINY_UNET = {"model.width": 4, "model.depth": 1}
_TINY_NETWORK = {
    "cityscapes_unet": _TINY_UNET,
    "cityscapes_lite0": _TINY_UNET
    | {"model.encoder": "none", "model.decoder_widths": (), "optimizer.encoder_rate": 1.0},
}
# How a process sets up its devices. A GPU that is split in two has halves of that size.
SETUP = {"split_gpu": False, "half_mebibytes": 6144, "virtual_cpus": 2}


def processes(sizes, records, folder, gpus, images_per_gpu):
    """All processes, in order.

    Args:
      sizes: Sizes.
      records: {"scenes" | "png" | "jpeg": folder of records}.
      folder: where the runs go.
      gpus: how many there are; 0 = everything tiny, on the CPU and in one process.
      images_per_gpu: of a step of a recipe.
    """
    base = _base(sizes, records["scenes"])
    law = base | {
        "optimizer.name": "sgd", "optimizer.learning_rate": 0.01, "model.activation": "silu",
        "data.calibration_fraction": 0.0, "train.total_steps": sizes.law_steps, "train.deterministic": False,
    }  # fmt: skip
    replicas = max(gpus, 2)
    several = {"train.distribution": "mirrored", "train.num_virtual_devices": 1 if gpus else 2}
    several["train.batch_size"] = law["train.batch_size"] = replicas * sizes.batch // 2
    float16 = base | {"train.precision": "mixed_float16", "optimizer.ema_decay": 0.9}
    half = max(sizes.steps // 2, 1)

    def train(name, settings, workdir="", **more):
        return {"name": name, "do": "train", "workdir": f"{folder}/{workdir or name}", "settings": settings} | more

    # What is deterministic comes last: at tiny size all share a process, and one cannot cease to be.
    out = [_process("xla", [train("xla", base | {"train.deterministic": False, "train.jit_compile": True})])]
    for recipe in RECIPES:
        for kind in FORMATS if gpus or recipe == RECIPES[0] else FORMATS[1:]:
            for where, extra in _places(
                gpus, images_per_gpu, with_xla=gpus and (recipe, kind) == ("cityscapes_unet", "jpeg")
            ):
                name = f"{recipe}_{kind}{where}"
                settings = _speed(sizes, records[kind]) | extra | ({} if gpus else _TINY_NETWORK[recipe])
                out.append(_process(name, [train(name, settings, recipe=recipe, warm_steps=sizes.warm_steps)]))
    out += [
        _process(
            "replicas",
            [
                train("several_replicas", law | several, tensor_float_32=False),
                train("one_replica", law, tensor_float_32=False),
            ],
            split_gpu=True,
        ),
        _process(
            "precision",
            [
                train("float32", base),
                train("mixed_bfloat16", base | {"train.precision": "mixed_bfloat16"}),
                train("mixed_float16", float16),
                train("stopped", float16, "resumed", stop_at=half),
            ],
        ),
        # A process of its own: what a process chooses for itself, such as kernels, must not decide a weight.
        _process("resume", [train("resumed", float16)]),
    ]
    export = {"name": "export", "do": "export", "workdir": f"{folder}/float32", "export_dir": f"{folder}/export"}
    out.append(_process("export", [export | {"images": sizes.export_images}]))
    if not gpus:
        return [_process("tiny, on the CPU", [task for process in out for task in process["tasks"]])]
    return out


def _process(name, tasks, **setup):
    return {"name": name, "setup": SETUP | setup, "tasks": tasks}


def _base(sizes, records_dir):
    return {
        "data.records_dir": records_dir, "data.crop_size": sizes.crop, "data.cache": True,
        "data.calibration_fraction": 0.2, "augment.scale_min": 0.75, "augment.scale_max": 1.5,
        "treatment.name": "background_class", "model.width": sizes.width, "model.depth": sizes.depth,
        "optimizer.learning_rate": 3e-3, "optimizer.warmup_steps": min(20, sizes.steps // 4),
        "train.total_steps": sizes.steps, "train.batch_size": sizes.batch, "train.distribution": "none",
        "train.deterministic": True, "train.checkpoint_every_steps": 1000, "log.pictures": 0,
    }  # fmt: skip


def _speed(sizes, records_dir):
    return {
        "data.records_dir": records_dir, "data.crop_size": sizes.speed_crop, "data.calibration_fraction": 0.0,
        "eval.every_steps": 0, "model.encoder_weights": "none", "optimizer.warmup_steps": 0,
        "train.total_steps": sizes.speed_steps, "log.every_steps": sizes.speed_steps,
    }  # fmt: skip


def _places(gpus, images_per_gpu, with_xla):
    """(ending of a name, settings) of each way in which a recipe is timed."""
    one = {"train.distribution": "none", "train.batch_size": images_per_gpu}
    yield "", one
    if with_xla:
        yield "_xla", one | {"train.jit_compile": True}
    if gpus > 1:
        yield "_all_gpus", {"train.distribution": "mirrored", "train.batch_size": gpus * images_per_gpu}
