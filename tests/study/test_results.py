"""What a run leaves is whole and comparable, or it is refused and named."""

import json
import os

import numpy as np
import pytest
import simulated_study

from kseg.study import folder as study_folder
from kseg.study import grid, results, runner
from kseg.study import summary as findings


@pytest.mark.parametrize("values", [[], [0], [255, 0], [65536, 1], [-3, 40000], [2**40, 7]])
def test_packed_counts_come_back_as_they_were(values):
    array = np.array([values, values], np.int64)
    assert (results.unpack(json.loads(json.dumps(results.pack(array)))) == array).all()
    assert results.unpack(results.pack(array)).shape == array.shape


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "study.json"
    results.write_text(str(path), "good")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        results.write_text(str(path), "half")
    assert path.read_text() == "good" and list(tmp_path.iterdir()) == [path]


def test_results_that_differ_in_code_or_device_are_not_compared(smoke, tmp_path):
    runs = simulated_study.write(smoke, tmp_path)
    expected = {run.id: grid.settings(run.config) for run in runs}
    path = tmp_path / "runs" / runs[2].id / "result.json"
    result = results.load(path)
    result["identity"] = json.loads(json.dumps(result["identity"]))
    result["identity"]["code"], result["identity"]["versions"]["keras"] = "e" * 64, "3.15.0"
    results.save(path, result)
    with pytest.raises(ValueError) as error:
        findings.read(tmp_path, expected)
    for part in (runs[0].id, runs[2].id, "code (cccccccccccc / eeeeeeeeeeee)", "versions.keras (3.15.1 / 3.15.0)"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_a_seed_is_compared_on_one_device_and_another_seed_may_be_of_another(smoke, tmp_path):
    runs = simulated_study.write(smoke, tmp_path)
    expected = {run.id: grid.settings(run.config) for run in runs}

    def move(run, device):
        path = tmp_path / "runs" / run.id / "result.json"
        result = results.load(path)
        results.save(path, result | {"identity": result["identity"] | {"device": device}})

    assert [run.seed for run in runs] == [0, 0, 1, 1]
    move(runs[3], "CPU other")
    with pytest.raises(ValueError, match=rf"{runs[2].id} and runs/{runs[3].id} differ in device \(CPU made up / CPU"):
        findings.read(tmp_path, expected)
    move(runs[2], "CPU other")
    found = findings.read(tmp_path, expected)
    summary = findings.summarise(smoke, found, runs)
    assert summary["identity"]["device"] == "CPU made up and CPU other"
    assert summary["contrasts"][0]["seeds"] == [0, 1]


def test_a_result_of_other_settings_is_refused_and_the_keys_are_named(smoke, tmp_path):
    simulated_study.write(smoke, tmp_path)
    smoke.base.train.total_steps = 9
    expected = {run.id: grid.settings(run.config) for run in grid.expand(smoke)}
    with pytest.raises(ValueError, match=r"other settings than this study's \S+-s0: train.total_steps \(4 / 9\)"):
        findings.read(tmp_path, expected)


def test_a_damaged_result_is_named(smoke, tmp_path):
    runs = simulated_study.write(smoke, tmp_path)
    path = tmp_path / "runs" / runs[0].id / "result.json"
    whole = path.read_text()
    made = json.loads(whole)
    lacking = made | {"identity": {key: value for key, value in made["identity"].items() if key != "device"}}
    for broken, what in (
        ("", "expected a result of format 1"),
        (whole[:1000], "expected a result of format 1"),
        ("{}", "expected a result of format 1"),
        ("[]", "expected a result of format 1"),
        (whole.replace('"total_steps": 4', '"total_steps": 5'), "its settings are not those that"),
        (json.dumps(made | {"arm": "entropic"}), "its settings are not those that"),
        (json.dumps({key: value for key, value in made.items() if key != "evaluation"}), "it lacks evaluation.split, "),
        (json.dumps(lacking), "it lacks identity.device"),
    ):
        path.write_text(broken)
        with pytest.raises(ValueError, match=f"^{path}: {what}.*; remove it and run"):
            results.load(path)
        assert study_folder.state(runs[0], tmp_path) == "damaged"
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match="expected a result of format 1; remove it"):
        results.load(path)


def test_counts_that_cannot_be_unpacked_are_named(smoke, tmp_path):
    runs = simulated_study.write(smoke, tmp_path)
    path = tmp_path / "runs" / runs[1].id / "result.json"
    result = results.load(path)
    forced = result["evaluation"]["frames"]["forced"]
    for damage in (
        {"xz": "A" + forced["xz"][1:]},
        {"xz": forced["xz"][:-9]},
        {"shape": [1, *forced["shape"][1:]]},
        {"dtype": "x"},
    ):
        result["evaluation"]["frames"]["forced"] = forced | damage
        results.save(path, result)
        with pytest.raises(ValueError, match=f"^{path}: its counts 'forced' are damaged; remove it"):
            findings.read(tmp_path, {})


def test_a_result_in_another_runs_folder_is_refused(smoke, tmp_path):
    runs = simulated_study.write(smoke, tmp_path)
    one, other = (tmp_path / "runs" / run.id / "result.json" for run in runs[:2])
    other.write_text(one.read_text())
    with pytest.raises(ValueError, match=f"^{other}: it is the result of {runs[0].id}; move it to runs/{runs[0].id}/"):
        results.load_all(str(tmp_path))


def test_the_list_names_a_damaged_result_and_goes_on(smoke, tmp_path):
    runs = simulated_study.write(smoke, tmp_path)
    (tmp_path / "runs" / runs[1].id / "result.json").write_text("")
    (tmp_path / "runs" / runs[2].id / "result.json").unlink()
    (tmp_path / "runs" / runs[2].id / "result.json").mkdir()
    lines = []
    runner.show(smoke, str(tmp_path), say=lines.append)
    assert [line.split()[0] for line in lines] == ["finished", "damaged", "damaged", "finished", "smoke:"]
    assert "result.json: expected a result of format 1; remove it" in lines[1]
    assert lines[-1] == "smoke: 4 runs, 2 finished, 2 damaged"
