"""The question of this project on two cores, in minutes.

  kseg demo --output_dir=build/demo

Makes street scenes, converts them to records, and trains the same UNet twice: void ignored, and void as an extra class.
Evaluates and exports both, and checks the exports through TensorFlow's C++ session. Then prints a table and the paths
of a picture and of both exports. Every step is a command that it shows; what is finished is not done again.
"""

import json
import os
import subprocess
import sys
import time

import tqdm
from absl import flags

import kseg
from tfrecords import files

_OUTPUT_DIR = flags.DEFINE_string("output_dir", "build/demo", "Where everything goes.")
_STEPS = flags.DEFINE_integer("steps", 300, "Training steps of each of the two models.", lower_bound=1)
_SCENES = flags.DEFINE_integer("scenes", 240, "Training scenes.", lower_bound=8)

_ARMS = ("ignore", "background_class")


def main(argv):
    if len(argv) > 1:
        sys.exit(f"error: {argv[1]!r} is not a flag; see --help.")
    started = time.monotonic()
    folder = os.path.relpath(_OUTPUT_DIR.value)
    try:
        files.check_folder(folder, "--output_dir")
    except ValueError as error:
        sys.exit(f"error: {error}")
    part = {name: os.path.join(folder, name) for name in ("scenes", "records", *_ARMS)}
    exports = {arm: os.path.join(folder, f"export_{arm}") for arm in _ARMS}

    tool("make_street_scenes", output_dir=part["scenes"], num_train=_SCENES.value, num_val=60, height=128, width=256)
    tool("convert_cityscapes", cityscapes_dir=part["scenes"], records_dir=part["records"], splits="train,val")
    for arm in _ARMS:
        tool(
            "train",
            False,
            config="street_scenes_unet",
            workdir=part[arm],
            **{
                "config.data.records_dir": part["records"],
                "config.treatment.name": arm,
                "config.train.total_steps": _STEPS.value,
            },
        )
        tool("evaluate", False, workdir=part[arm], split="val")
        if os.path.isdir(os.path.join(exports[arm], "1")):
            tqdm.tqdm.write(f"{exports[arm]}/1 is there already")
        else:
            tool("export", workdir=part[arm], export_dir=exports[arm])

    kseg.load_tensorflow_quietly()
    rows, picture = results(part, exports, os.path.join(folder, "comparison.png"))
    print(f"\n{table(rows)}\n")
    print(f"picture   {picture}")
    for arm in _ARMS:
        print(f"export    {os.path.join(exports[arm], '1')} (checked through TensorFlow's C++ session)")
    print(f"time      {(time.monotonic() - started) / 60:.1f} minutes")


def tool(name, show=True, **arguments):
    """Runs a command with these flags and shows it; ends the demo if it fails."""
    command = [name.replace("_", "-"), *(f"--{key}={value}" for key, value in arguments.items())]
    print("$ " + " ".join(["kseg", *command]), flush=True)
    done = subprocess.run([sys.executable, "-m", "kseg", *command], stdout=None if show else subprocess.DEVNULL)
    if done.returncode:
        sys.exit(done.returncode)


def results(part, exports, path):
    """(rows of the table, path of the picture) from the two finished runs."""

    import tfrecords
    from kseg import pictures
    from kseg.data import input_pipeline
    from kseg.evaluation import evaluate
    from kseg.runs import finished
    from kseg.serving import cpp_session

    reports, runs = {}, {arm: finished.load_run(part[arm]) for arm in _ARMS}
    manifest = tfrecords.info(part["records"])
    for arm in _ARMS:
        with open(os.path.join(part[arm], "eval_val.json")) as file:
            reports[arm] = json.load(file)
    # The third row: the model that never abstains, made to lose as many labelled pixels as the one that does.
    run = runs["ignore"]
    share = reports["background_class"]["abstain_rate"]
    measured = evaluate.evaluate(run.model, run.treatment, manifest, run.config, "val", progress=False)
    threshold, _ = measured.threshold_for(share)
    made_to = evaluate.evaluate(
        run.model, run.treatment, manifest, run.config, "val", threshold=threshold, progress=False
    ).to_json()["calibrated"]
    rows = [
        row("ignore: never abstains", reports["ignore"]),
        row("background_class: as trained", reports["background_class"]),
        row("ignore: abstains as often", made_to),
    ]

    # The picture shows what the exports answer, and that Keras answers the same.
    sessions = {arm: cpp_session.CppSession(os.path.join(exports[arm], "1")) for arm in _ARMS}
    images, truths, outlines, maps = [], [], [], {arm: [] for arm in _ARMS}
    for example in input_pipeline.eval_dataset(manifest, "val", with_most_void(manifest)):
        image, ids = example["image"].numpy(), example["ids"].numpy()
        images.append(image)
        truths.append(manifest.table.encoding("background")[ids])
        outlines.append(object_void(manifest.table)[ids])
        for arm in _ARMS:
            maps[arm].append(sessions[arm].run("tensor", image=image[None])["mask"][0])
            keras_map = runs[arm].treatment.native(runs[arm].model(image[None], training=False))[0].numpy()
            if (maps[arm][-1] != keras_map).any():
                print(f"{arm}: {(maps[arm][-1] != keras_map).sum()} pixels differ between the export and Keras (ties)")
    titles = {"ignore": "void ignored in training", "background_class": "void as an extra class"}
    drawn = pictures.comparison(images, truths, {titles[arm]: maps[arm] for arm in _ARMS}, manifest.table, outlines)
    pictures.save_png(path, drawn)
    return rows, path


def row(name, block):
    """One line of the table: name and six figures in percent."""
    void = block["void"]
    kinds = [void["geometry"], *(void[kind] for kind in ("scene", "dropped"))]
    pixels = [kind["pixels"] for kind in kinds]
    score = block.get("primary_score") or block["score"]
    leak = [kind["leak"] for kind in kinds]
    auroc = [kind["scores"][score]["auroc"] for kind in kinds]

    def rest(values):
        # Scene and dropped void together. AUROC with the same negatives is the pixel-weighted mean too.
        return (values[1] * pixels[1] + values[2] * pixels[2]) / (pixels[1] + pixels[2])

    return name, block["mean_iou"], block["abstain_rate"], leak[0], rest(leak), auroc[0], rest(auroc)


def table(rows):
    """The rows as text; percent."""
    lines = [
        f"{'':30}{'mean':>8}{'labelled':>11}{'void claimed as a class':>28}{'void AUROC':>24}",
        f"{'':30}{'IoU':>8}{'px lost':>11}{'geometry':>16}{'the rest':>12}{'geometry':>14}{'the rest':>10}",
    ]
    widths = (8, 11, 16, 12, 14, 10)
    for name, *values in rows:
        lines.append(f"{name:30}" + "".join(f"{f'{100 * v:.1f} %':>{w}}" for v, w in zip(values, widths)))
    return "\n".join(lines)


def object_void(table):
    """bool[256]: ids of void that is a thing in the scene, not the camera's geometry."""
    import numpy as np

    chosen = np.zeros(256, bool)
    chosen[[label.id for label in table.void_labels if label.kind in ("scene", "dropped")]] = True
    return chosen


def with_most_void(manifest, images=4):
    """Positions of the val scenes with the most void that is a thing."""
    import numpy as np

    from kseg.data import input_pipeline

    chosen = object_void(manifest.table)
    shares = [chosen[e["ids"].numpy()].mean() for e in input_pipeline.eval_dataset(manifest, "val")]
    return np.sort(np.argsort(shares)[::-1][:images])
