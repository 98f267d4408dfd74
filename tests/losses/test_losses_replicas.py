"""N replicas take the step that one device takes, whatever lies on which replica: losses, clipping, loss scaling.

Each number of replicas runs in a process of its own (tests/helpers/replica_cases.py); void shares per image go from 0
to 1.
"""

import itertools
import pathlib
import subprocess
import sys

import numpy as np
import pytest

CHILD = pathlib.Path(__file__).parents[1] / "helpers" / "replica_cases.py"
TOLERANCE = 1e-5  # of the largest weight, after ten steps of SGD

LOSSES = (
    "ce", "ce_options", "ce_top_k", "one_vs_all", "entropic", "void_logit",
    "dice", "dice_per_image", "tversky", "inverted_dice", "ce_dice",
)  # fmt: skip
TREATMENTS = tuple(
    f"treatment={name}"
    for name in (
        "ignore", "background_class", "hybrid", "inverted_dice", "inverted_dice_softmax", "one_vs_all", "entropic",
        "void_head",
    )
)  # fmt: skip

LOOPS = [*(f"loop:{name}" for name in LOSSES), "loop:ce_dice:clip", "loop:dice:group:clip"]
OVERFLOWS = [f"{loop}:ce_dice:clip:overflow={bad}" for loop, bad in (("fit", 1), ("loop", 0), ("loop", 1))]
OVERFLOWS += [f"loop:ce_dice:late:overflow={bad}" for bad in (0, 1)]
SCALED = ["loop:ce:scaled", "fit:ce:scaled"]
CASES = {
    1: [*LOOPS, "fit:ce_dice:clip", "loop:ce:group", "loop:ce_top_k:group", "loop:stock"],
    2: ["fit:ce", "fit:ce_dice:clip", "loop:ce_dice_compiled:clip", "accumulate:ce_top_k:group", *SCALED, *OVERFLOWS],
    4: [*LOOPS, "loop:stock", "accumulate:dice:group:clip", "accumulate:ce:group"],
}


def run(folder, cases, seconds=500) -> dict:
    """{replicas: {case/key: array}}; the children run side by side."""
    children = {
        replicas: subprocess.Popen(
            [sys.executable, CHILD, str(replicas), folder / f"{replicas}.npz", *names],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for replicas, names in cases.items()
    }
    try:
        for replicas, child in children.items():
            errors = child.communicate(timeout=seconds)[1]
            assert child.returncode == 0, f"{replicas} replicas: {errors[-3000:]}"
    finally:
        for child in children.values():
            child.kill()
    return {replicas: np.load(folder / f"{replicas}.npz") for replicas in cases}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return run(tmp_path_factory.mktemp("replicas"), CASES)


def difference(a, b) -> float:
    assert np.isfinite(a).all() and np.isfinite(b).all()
    return np.abs(a - b).max() / np.abs(a).max()


@pytest.mark.parametrize("case", LOOPS)
def test_four_replicas_with_unequal_void_end_at_the_weights_and_the_loss_of_one_device(results, case):
    one, four = results[1], results[4]
    assert difference(one[f"{case}/weights"], four[f"{case}/weights"]) <= TOLERANCE
    np.testing.assert_allclose(one[f"{case}/loss"], four[f"{case}/loss"], rtol=1e-6)


@pytest.mark.parametrize(("replicas", "case"), [(1, "ce_dice:clip"), (2, "ce_dice:clip"), (2, "ce")])
def test_keras_fit_takes_the_steps_and_logs_the_loss_of_a_plain_loop_on_one_device(results, replicas, case):
    loop, fit = results[1], results[replicas]
    assert difference(loop[f"loop:{case}/weights"], fit[f"fit:{case}/weights"]) <= TOLERANCE
    np.testing.assert_allclose(fit[f"fit:{case}/loss"], loop[f"loop:{case}/loss"], rtol=1e-6)


def test_a_loss_compiled_by_xla_trains_two_replicas_like_one_that_is_not(results):
    weights = results[2]["loop:ce_dice_compiled:clip/weights"]
    assert difference(results[1]["loop:ce_dice:clip/weights"], weights) <= TOLERANCE


def test_clipping_by_global_norm_changes_every_one_of_these_steps(results):
    assert difference(results[1]["loop:ce_dice/weights"], results[1]["loop:ce_dice:clip/weights"]) > 0.1


def test_a_mean_of_replica_means_misses_by_far(results):
    """What the law is about, and that these data show it: Keras' own masked cross entropy."""
    assert difference(results[1]["loop:stock/weights"], results[4]["loop:stock/weights"]) > 0.01


@pytest.mark.parametrize(
    ("replicas", "case"),
    [(4, "ce:group"), (2, "ce_top_k:group"), (4, "dice:group:clip")],
)
def test_accumulation_over_parts_and_replicas_takes_the_whole_batchs_step(results, replicas, case):
    whole = results[1][f"loop:{case}/weights"]
    parts = results[replicas][f"accumulate:{case}/weights"]
    assert difference(whole, parts) <= TOLERANCE


@pytest.mark.parametrize("case", SCALED)
def test_a_scaled_loss_takes_the_same_steps(results, case):
    assert difference(results[1]["loop:ce/weights"], results[2][f"{case}/weights"]) <= TOLERANCE


@pytest.mark.parametrize("case", OVERFLOWS)
def test_an_overflow_on_any_one_replica_leaves_all_weights_and_halves_every_scale(results, case):
    two = results[2]
    np.testing.assert_array_equal(two[f"{case}/weights"], two[f"{case}/before"])
    np.testing.assert_array_equal(two[f"{case}/scales"], [0.5, 0.5])


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_every_loss_and_treatment_under_both_loops_with_and_without_clipping(tmp_path):
    cases = [
        f"{loop}:{name}{clip}"
        for loop, name, clip in itertools.product(("fit", "loop"), LOSSES + TREATMENTS, ("", ":clip"))
    ]
    results = run(tmp_path, {replicas: cases for replicas in (1, 2, 4)}, seconds=2900)
    worst = {
        (case, n): difference(results[1][f"{case}/weights"], results[n][f"{case}/weights"])
        for case in cases
        for n in (2, 4)
    }
    assert max(worst.values()) <= TOLERANCE, {key: value for key, value in worst.items() if value > TOLERANCE}
