"""What a GPU must show: the project's laws, and speed and memory of its Cityscapes recipes, on this machine's GPUs.

  python tools/gpu_checks.py [--folder=F]     writes docs/gpu.json and the measured section of docs/scale.md
  python tools/gpu_checks.py --tiny           the same program at tiny sizes on the CPU: that it works, nothing else

Trains on made street scenes: one replica against several (one GPU is split in two); mixed precisions and XLA to the
mean IoU of float32; a run that is stopped and started again in another process; configs/cityscapes_unet.py and
cityscapes_lite0.py at 512x1024 from PNG and JPEG records; exports on the GPU. Every training is a process of its own.
Prints one line a figure. Exit status 0 where everything was measured and every goal holds. About ten minutes on a
data-centre GPU; nothing else should run meanwhile.
"""

import json
import operator
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl import app, flags

_TINY = flags.DEFINE_bool("tiny", False, "Tiny sizes on the CPU; writes nothing but --json_file.")
_FOLDER = flags.DEFINE_string("folder", "", "Where scenes, records and runs go; default: a temporary folder.")
_JSON_FILE = flags.DEFINE_string("json_file", "", "Where the figures go; default: docs/gpu.json, with --tiny nowhere.")

ROOT = pathlib.Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools" / "gpu")]

import gpu_page  # noqa: E402
import gpu_tasks  # noqa: E402

_COMPARE = {"<=": operator.le, ">=": operator.ge}
_APART = 0.03  # of mean IoU, 0 to 1, by which precisions may differ: about what two seeds do at this length
_CHILD = ROOT / "tools" / "gpu" / "gpu_child.py"


def main(argv):
    if len(argv) > 1:
        sys.exit(f"error: unknown argument {argv[1]}; see --help.")
    if _TINY.value:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        with tempfile.TemporaryDirectory() as temporary:
            folder = os.path.abspath(_FOLDER.value or temporary)
            os.makedirs(folder, exist_ok=True)
            if os.path.exists(os.path.join(folder, "runs")):
                sys.exit(f"error: {folder} has runs already, which would be gone on with; give another --folder.")
            measured = measure(folder, _TINY.value)
        _save(measured)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        sys.exit("interrupted: nothing was written")
    missed = [name for name, entry in measured["figures"].items() if entry["holds"] is False]
    if missed:
        sys.exit(f"error: {len(missed)} of {len(measured['figures'])} figures do not hold: {', '.join(missed)}.")


def measure(folder, tiny):
    """docs/gpu.json's content.

    Raises:
      ValueError: without a GPU, unless tiny.
      RuntimeError: if scenes or records cannot be made, or a process ends before its first task.
    """
    device = _run({"name": "device", "setup": gpu_tasks.SETUP, "tasks": []}, folder)["device"] if not tiny else {}
    if not tiny and not device["gpus"]:
        raise ValueError(
            "TensorFlow sees no GPU on this machine, so there is nothing to measure; --tiny runs the same program at "
            "tiny sizes on the CPU."
        )
    sizes = gpu_tasks.TINY if tiny else gpu_tasks.Sizes()
    gpus = device.get("gpus", 0)
    images = 2 if tiny else gpu_page.images_that_fit(_mebibytes())
    results = {}
    for process in gpu_tasks.processes(sizes, _records(sizes, folder), f"{folder}/runs", gpus, images):
        found = _run(process, folder)
        results |= found["tasks"]
        device = device or found["device"]
    figures = {}
    for name, entry in judge(results, f"{folder}/runs", tiny).items():
        figures[name] = entry | {"holds": holds(entry)}
        print(line(name, figures[name]), flush=True)
    return {"format": 1, "tiny": tiny, "device": device, "images_per_gpu": images, "figures": figures}


def judge(results, runs, tiny):
    """{figure: {"value", "goal", "unit", "note"}} of what the tasks returned, and of the weights that they left."""

    def figure(value, goal="", unit="", note="", *tasks):
        errors = [results.get(task, {"error": "not run"}).get("error") for task in tasks]
        broken = next((text for text in errors if text), "")
        return {"value": None if broken else value(), "goal": goal, "unit": unit, "note": broken or note}

    def of(task, key):
        return results[task][key]

    def apart(task):
        return abs(of(task, "mean_iou") - of("float32", "mean_iou"))

    miou = "of mean IoU"
    figures = {
        "replica_law": figure(
            lambda: largest_difference(f"{runs}/several_replicas", f"{runs}/one_replica"), "<= 0.0001", "relative",
            "weights of several replicas and of one; float32, not TF32", "several_replicas", "one_replica",
        ),
        "miou_float32": figure(lambda: of("float32", "mean_iou"), "" if tiny else ">= 0.1", "", "", "float32"),
        **{
            f"miou_{name}_apart": figure(lambda name=name: apart(name), f"<= {_APART}", miou, "", "float32", name)
            for name in ("mixed_bfloat16", "mixed_float16", "xla")
        },
        "resume_arrays_that_differ": figure(
            lambda: arrays_that_differ(f"{runs}/resumed", f"{runs}/mixed_float16"), "<= 0", "",
            "weights, averages and optimizer, bit by bit", "mixed_float16", "stopped", "resumed",
        ),
        "resume_was_stopped": figure(
            lambda: float(of("stopped", "outcome") == "preempted"), ">= 1", "", "", "stopped"
        ),
    }  # fmt: skip
    recipes = {
        task: found for task, found in results.items() if task.startswith("cityscapes_") and not task.endswith("_xla")
    }
    for task in recipes:
        figures[f"images_per_s_{task}"] = figure(lambda task=task: of(task, "images_per_s"), "", "images/s", "", task)
    for recipe in gpu_tasks.RECIPES:
        jpeg = f"{recipe}_jpeg"
        figures[f"peak_gib_{recipe}"] = figure(
            lambda jpeg=jpeg: of(jpeg, "peak_bytes") and of(jpeg, "peak_bytes") / 2**30, "", "GiB", "", jpeg
        )
    unet = "cityscapes_unet_jpeg"
    if not tiny:
        figures["xla_speed"] = figure(
            lambda: of(f"{unet}_xla", "images_per_s") / of(unet, "images_per_s"), "", "ratio", unet, unet, f"{unet}_xla"
        )
    figures["export_pixels_equal"] = figure(
        lambda: of("export", "pixels_equal"), ">= 0.999", "share", "the export and Keras", "export"
    )
    figures["export_images_per_s"] = figure(lambda: of("export", "images_per_s"), "", "images/s", "", "export")
    return figures


def largest_difference(one, other):
    """Over the weights of two runs' last checkpoints: max |a - b| / max |b|, each array by itself."""
    ours, theirs = _arrays(one), _arrays(other)
    weights = [name for name in theirs if name.startswith("model/") and theirs[name].dtype.kind == "f"]
    return max(
        float(np.abs(ours[name] - theirs[name]).max() / max(np.abs(theirs[name]).max(), 1e-3)) for name in weights
    )


def arrays_that_differ(one, other):
    """How many arrays of two runs' last checkpoints are not equal bit for bit; those that one lacks count."""
    ours, theirs = _arrays(one), _arrays(other)
    same = [name for name in ours.keys() & theirs.keys() if ours[name].tobytes() == theirs[name].tobytes()]
    return len(ours.keys() | theirs.keys()) - len(same)


def holds(entry):
    """Whether a goal such as "<= 1.3" holds: False where it was not measured; None without a goal, measured or not
    measurable here (the GPU memory of a CPU)."""
    if entry["value"] is None:
        return False if entry["goal"] or entry["note"] else None
    if not entry["goal"]:
        return None
    sign, limit = entry["goal"].split()
    return bool(_COMPARE[sign](entry["value"], float(limit)))


def line(name, entry):
    """One figure as text."""
    value = "not measured" if entry["value"] is None else f"{entry['value']:.4g} {entry['unit']}".strip()
    goal = f"goal {entry['goal']}" if entry["goal"] else ""
    verdict = {True: "holds", False: "DOES NOT HOLD", None: ""}[entry["holds"]]
    return f"  {name:44}{value:>16}  {goal:16}{verdict:14}{entry['note']}".rstrip()


def _arrays(workdir):
    paths = sorted(pathlib.Path(workdir, "checkpoints").glob("step-*.npz"))
    if not paths:
        raise RuntimeError(f"{workdir} has no checkpoint.")
    with np.load(paths[-1]) as archive:
        return {name: archive[name] for name in archive.files}


def _records(sizes, folder):
    """{"scenes" | "png" | "jpeg": folder of records} of made street scenes."""
    records = {}
    for name, (height, width), count in (
        ("scenes", sizes.scene, sizes.scenes),
        ("frames", sizes.frame, sizes.frames),
    ):
        made = f"{folder}/made_{name}"
        size = (f"--height={height}", f"--width={width}", f"--num_train={count}", "--num_val=2")
        _tool("make_street_scenes", f"--output_dir={made}", *size)
        for kind in ("png",) if name == "scenes" else gpu_tasks.FORMATS:
            target = records[name if name == "scenes" else kind] = f"{folder}/records_{name}_{kind}"
            _tool(
                "convert_cityscapes", f"--cityscapes_dir={made}", f"--records_dir={target}", "--splits=train",
                f"--image_format={kind}",
            )  # fmt: skip
    return records


def _tool(name, *arguments):
    done = subprocess.run([sys.executable, ROOT / "tools" / f"{name}.py", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"tools/{name}.py: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")


def _run(process, folder):
    """Runs a process to its end: {"device", "tasks"}. One that is gone early leaves its last tasks as errors."""
    tasks, results = f"{folder}/tasks.json", f"{folder}/results.json"
    pathlib.Path(results).unlink(missing_ok=True)
    with open(tasks, "w", encoding="utf-8") as file:
        json.dump(process, file)
    begin = time.monotonic()
    done = subprocess.run([sys.executable, _CHILD, tasks, results], capture_output=True, text=True)
    last = (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
    if not os.path.exists(results):
        raise RuntimeError(f"the process for {process['name']} ended with status {done.returncode}: {last}")
    with open(results, encoding="utf-8") as file:
        found = json.load(file)
    for task in process["tasks"]:
        found["tasks"].setdefault(task["name"], {"error": f"the process ended, status {done.returncode}: {last}"})
    print(f"{process['name']}: {time.monotonic() - begin:.0f} s", flush=True)
    return found


def _mebibytes():
    """Memory of the smallest GPU, as its driver's own program says; 16 GiB where that is missing."""
    try:
        command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
        return min(map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()))
    except (OSError, ValueError, subprocess.CalledProcessError):
        return 16 * 1024


def _save(measured):
    text = json.dumps(measured, indent=1) + "\n"
    if measured["tiny"]:
        if _JSON_FILE.value:
            pathlib.Path(_JSON_FILE.value).write_text(text, encoding="utf-8")
        return
    page = ROOT / "docs" / "scale.md"
    filled = gpu_page.fill(page.read_text(encoding="utf-8"), measured)
    target = pathlib.Path(_JSON_FILE.value or ROOT / "docs" / "gpu.json")
    target.write_text(text, encoding="utf-8")
    page.write_text(filled, encoding="utf-8")
    print(f"{target}, {page}")


if __name__ == "__main__":
    app.run(main)
