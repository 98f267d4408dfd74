"""tools/benchmarks/kernels.py: shares are of the best matmul of any setting, and a child prints what is read."""

import importlib.util
import json
import pathlib
import subprocess
import sys
import types

import pytest

PATH = pathlib.Path(__file__).parent.parent / "tools" / "benchmarks" / "kernels.py"


@pytest.fixture
def kernels():
    spec = importlib.util.spec_from_file_location("kernels", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_shares_are_of_the_best_matmul_of_any_setting_and_round(kernels, monkeypatch):
    rounds = iter(range(100))

    def child(command, env, **_):
        slow = env["TF_ENABLE_ONEDNN_OPTS"] == "0"
        # The first process of all is the one with the fastest matmul; a later round has the fastest steps.
        matmul = 200e9 if next(rounds) == 0 else 100e9
        speeds = {"width16": 30e9 if slow else 120e9, "width32": 10e9 + next(rounds), "matmul": matmul}
        return subprocess.CompletedProcess(command, 0, json.dumps(speeds))

    monkeypatch.setattr(subprocess, "run", child)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    figures = kernels.run()
    assert figures["peak"]["value"] == 200
    assert figures["width16_share_of_peak_onednn"]["value"] == pytest.approx(0.6)
    assert figures["width16_share_of_peak_no_onednn"]["value"] == pytest.approx(0.15)
    assert figures["width16_share_of_peak_no_onednn"]["note"] == "TF_ENABLE_ONEDNN_OPTS=0"
    assert [name for name, entry in figures.items() if entry["goal"]] == [
        "width16_share_of_peak_onednn", "width32_share_of_peak_onednn",
    ]  # fmt: skip


def test_a_setting_that_fails_has_no_share_and_says_why_and_where_all_fail_it_ends_in_one_line(kernels, monkeypatch):
    broken = {"mixed_bfloat16"}

    def child(command, env, **_):
        if broken & {env.get("KSEG_BENCHMARK_PRECISION"), "all"}:
            return subprocess.CompletedProcess(command, 1, "", "Traceback\nno such kernel\n\t [[node]]\n")
        return subprocess.CompletedProcess(command, 0, json.dumps({"width16": 1e9, "width32": 1e9, "matmul": 2e9}), "")

    monkeypatch.setattr(subprocess, "run", child)
    monkeypatch.delenv("KSEG_BENCHMARK_PRECISION", raising=False)
    figures = kernels.run()
    assert figures["width16_share_of_peak_onednn"]["value"] == 0.5
    failed = figures["width32_share_of_peak_bfloat16"]
    assert (failed["value"], failed["note"]) == (None, "fails: no such kernel")
    broken.add("all")
    with pytest.raises(SystemExit, match="^error: kernels: no setting could be measured; .* fails: no such kernel$"):
        kernels.run()


def test_a_child_prints_the_speeds_that_are_read(kernels, monkeypatch, capsys):
    def step(width, precision):
        assert precision == "mixed_bfloat16"
        return (lambda: None), 1e9 * width

    monkeypatch.setitem(sys.modules, "train", types.SimpleNamespace(_step=step, _matmul=lambda: ((lambda: None), 1e9)))
    monkeypatch.setenv("KSEG_BENCHMARK_PRECISION", "mixed_bfloat16")
    kernels._print_speeds()
    assert json.loads(capsys.readouterr().out).keys() == {"width16", "width32", "matmul"}
