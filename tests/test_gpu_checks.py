"""tools/gpu_checks.py: what it concludes, what it writes into the page, and, tiny and on the CPU, that it works."""

import json
import os
import pathlib
import subprocess
import sys

import gpu_checks
import gpu_page
import gpu_tasks
import numpy as np
import pytest

ROOT = pathlib.Path(gpu_checks.ROOT)


def checkpoint(runs, name, **arrays):
    folder = runs / name / "checkpoints"
    folder.mkdir(parents=True)
    np.savez(folder / "step-00000001.npz", **{key.replace("_", "/"): value for key, value in arrays.items()})
    np.savez(folder / "step-00000003.npz", **{key.replace("_", "/"): value for key, value in arrays.items()})


@pytest.fixture
def runs(tmp_path):
    """Checkpoints of two equal pairs."""
    for name in ("one_replica", "several_replicas", "resumed", "mixed_float16"):
        checkpoint(tmp_path, name, model_0=np.array([1.0, -4.0], np.float32), optimizer_0=np.array([7]))
    return tmp_path


@pytest.fixture
def results():
    """What the tasks return where all is well."""
    trained = {"outcome": "finished", "images_per_s": 40.0, "peak_bytes": 3 * 2**30, "mean_iou": 0.30}
    names = ("several_replicas", "one_replica", "float32", "mixed_bfloat16", "mixed_float16", "resumed", "xla")
    names += tuple(f"{recipe}_{kind}" for recipe in gpu_tasks.RECIPES for kind in gpu_tasks.FORMATS)
    found = {name: dict(trained) for name in (*names, "cityscapes_unet_jpeg_xla")}
    found["stopped"] = trained | {"outcome": "preempted"}
    return found | {"export": {"pixels_equal": 1.0, "images_per_s": 90.0}}


def judged(results, runs, tiny=False):
    return {
        name: entry | {"holds": gpu_checks.holds(entry)}
        for name, entry in gpu_checks.judge(results, str(runs), tiny).items()
    }


def missed(figures):
    return [name for name, entry in figures.items() if entry["holds"] is False]


def test_where_all_is_well_every_goal_holds(results, runs):
    figures = judged(results, runs)
    assert not missed(figures)
    assert figures["peak_gib_cityscapes_unet"]["value"] == 3 and figures["xla_speed"]["value"] == 1


def test_every_law_can_be_missed(results, runs):
    def change(name, **values):
        return results | {name: results[name] | values}

    assert missed(judged(change("mixed_float16", mean_iou=0.26), runs)) == ["miou_mixed_float16_apart"]
    assert missed(judged(change("xla", mean_iou=0.34), runs)) == ["miou_xla_apart"]
    assert missed(judged(change("export", pixels_equal=0.99), runs)) == ["export_pixels_equal"]
    assert missed(judged(change("stopped", outcome="finished"), runs)) == ["resume_was_stopped"]
    everything_low = {name: found | {"mean_iou": 0.05} for name, found in results.items()}
    assert missed(judged(everything_low, runs)) == ["miou_float32"]
    assert not missed(judged(everything_low, runs, tiny=True))


def test_weights_are_compared_array_by_array_and_resumed_ones_bit_by_bit(tmp_path):
    checkpoint(tmp_path, "a", model_0=np.float32([1, -4]), model_1=np.float32([0.01]), optimizer_0=np.array([7]))
    checkpoint(tmp_path, "b", model_0=np.float32([1, -4.5]), model_1=np.float32([0.02]), optimizer_0=np.array([8]))
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    assert gpu_checks.largest_difference(a, b) == pytest.approx(0.5)  # 0.01 / 0.02, not 0.5 / 4.5; no optimizer
    assert gpu_checks.arrays_that_differ(a, b) == 3 and gpu_checks.arrays_that_differ(a, a) == 0
    checkpoint(tmp_path, "c", model_0=np.float32([1, -4]), optimizer_0=np.array([7]))
    assert gpu_checks.arrays_that_differ(a, str(tmp_path / "c")) == 1  # it lacks one
    checkpoint(tmp_path, "zero", model_0=np.float32([0.0]))
    checkpoint(tmp_path, "minus_zero", model_0=np.float32([-0.0]))
    assert gpu_checks.arrays_that_differ(str(tmp_path / "zero"), str(tmp_path / "minus_zero")) == 1


def test_a_task_that_failed_is_a_figure_that_does_not_hold_and_says_why(results, runs):
    results["xla"] = {"error": "InternalError: no kernel"}
    del results["cityscapes_unet_jpeg"]
    figures = judged(results, runs)
    assert missed(figures) == ["miou_xla_apart", "peak_gib_cityscapes_unet", "xla_speed"]
    assert figures["miou_xla_apart"]["note"] == "InternalError: no kernel"
    assert "not measured" in gpu_checks.line("xla_speed", figures["xla_speed"])


def test_what_a_cpu_cannot_tell_is_no_failure(results, runs):
    for found in results.values():
        found["peak_bytes"] = None
    figures = judged(results, runs)
    assert figures["peak_gib_cityscapes_unet"]["value"] is None and not missed(figures)


def test_several_gpus_are_all_used_and_one_is_split_for_the_replica_law():
    records = dict.fromkeys(("scenes", "png", "jpeg"), "R")
    for gpus, batch in ((1, 8), (4, 16)):
        found = {p["name"]: p for p in gpu_tasks.processes(gpu_tasks.Sizes(), records, "F", gpus, 16)}
        assert found["replicas"]["setup"]["split_gpu"]
        assert {task["settings"]["train.batch_size"] for task in found["replicas"]["tasks"]} == {batch}
        everywhere = found.get("cityscapes_unet_png_all_gpus")
        assert (everywhere is None) == (gpus == 1)
        if everywhere:
            assert everywhere["tasks"][0]["settings"]["train.batch_size"] == 64
        # Stopped in one process, gone on with in another.
        assert [task["name"] for task in found["resume"]["tasks"]] == ["resumed"]
        assert found["precision"]["tasks"][-1]["workdir"] == found["resume"]["tasks"][0]["workdir"]


def test_computed_figures_are_those_of_the_page():
    # docs/scale.md: 45 and 106 images/s; 38, 10 and 5 GiB; 16 images on 80 GB, 4 on 16 GB.
    assert gpu_page.computed_images_per_s("NVIDIA A100-SXM4-80GB", "cityscapes_unet") == pytest.approx(45, abs=1)
    assert gpu_page.computed_images_per_s("NVIDIA H100 80GB HBM3", "cityscapes_unet") == pytest.approx(106, abs=1.5)
    assert gpu_page.computed_images_per_s("GeForce", "cityscapes_unet") is None
    assert [round(gpu_page.computed_gib("cityscapes_unet", n)) for n in (16, 4, 2)] == [38, 10, 5]
    assert [gpu_page.images_that_fit(n * 1024) for n in (80, 24, 16, 1)] == [16, 8, 4, 1]


def test_the_page_gets_its_table_and_keeps_the_rest(results, runs):
    page = (ROOT / "docs/scale.md").read_text()
    device = {"name": "NVIDIA H100", "gpus": 1, "versions": {"tensorflow": "2.21.0"}, "cores": 16}
    figures = judged(results | {"xla": {"error": "no kernel"}}, runs)
    measured = {"device": device, "images_per_gpu": 16, "figures": figures}
    filled = gpu_page.fill(page, measured)
    assert "| `cityscapes_unet.py`, JPEG records, images/s | 40 | 107, without input |" in filled
    assert "| `cityscapes_unet.py`, 16 images, peak GiB | 3 | 38.4 |" in filled
    assert "| miou xla apart | not measured (no kernel) | <= 0.03 | **does not hold** |" in filled
    assert filled.endswith(page.partition(gpu_page.END)[2]) and "is computed, not measured" not in filled
    assert gpu_page.fill(filled, None) == gpu_page.fill(page, None)
    with pytest.raises(ValueError, match="the page lacks the lines"):
        gpu_page.fill("# Something else\n", measured)


def test_the_page_in_the_repository_says_what_was_measured():
    page, path = (ROOT / "docs/scale.md").read_text(), ROOT / "docs/gpu.json"
    measured = json.loads(path.read_text()) if path.exists() else None
    assert gpu_page.fill(page, measured) == page
    assert measured or "**Everything about GPUs on this page is computed, not measured.**" in page


def run(*arguments):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(ROOT / "tools/gpu_checks.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_without_a_gpu_it_says_so_in_one_line_and_writes_nothing():
    before = (ROOT / "docs/scale.md").read_bytes()
    done = run()
    assert done.returncode == 1
    assert done.stderr.startswith("error: TensorFlow sees no GPU on this machine") and done.stderr.count("\n") == 1
    assert "--tiny" in done.stderr and (ROOT / "docs/scale.md").read_bytes() == before


def test_a_folder_with_runs_is_refused(tmp_path):
    (tmp_path / "runs").mkdir()
    done = run("--tiny", f"--folder={tmp_path}")
    assert done.returncode == 1 and done.stderr.startswith(f"error: {tmp_path} has runs already")


@pytest.mark.timeout(1800)  # under a minute of two free cores
def test_the_program_works_at_tiny_sizes_on_the_cpu(tmp_path):
    page = (ROOT / "docs/scale.md").read_bytes()
    done = run("--tiny", f"--json_file={tmp_path / 'gpu.json'}")
    assert done.returncode == 0, done.stdout + done.stderr
    measured = json.loads((tmp_path / "gpu.json").read_text())
    assert measured["tiny"] and measured["device"]["gpus"] == 0
    figures = measured["figures"]
    laws = {name for name, entry in figures.items() if entry["holds"]}
    assert laws == {
        "replica_law", "miou_mixed_bfloat16_apart", "miou_mixed_float16_apart", "miou_xla_apart",
        "resume_arrays_that_differ", "resume_was_stopped", "export_pixels_equal",
    }  # fmt: skip
    nothing = {name for name, entry in figures.items() if entry["value"] is None}
    assert nothing == {"peak_gib_cityscapes_unet", "peak_gib_cityscapes_lite0"}  # of a GPU alone
    assert figures["replica_law"]["value"] > 0  # two trainings, not one compared with itself
    assert (ROOT / "docs/scale.md").read_bytes() == page and not (ROOT / "docs/gpu.json").exists()
