"""What is collected from a study's folder, and rendered."""

import lzma
import pathlib

import pytest
import simulated_study

from kseg.study import grid, publish, results, runner
from kseg.study.report import figures


def test_collecting_archives_results_alone_and_renders_the_same(smoke, stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "figures", lambda made: {})  # the page's figures have tests of their own
    runner.carry_out(smoke, str(tmp_path / "w"), say=lambda line: None)
    ours = publish.render(smoke, str(tmp_path / "w"), say=lambda line: None)
    theirs = publish.collect(smoke, str(tmp_path / "w"), str(tmp_path / "docs"), say=lambda line: None)
    assert ours == theirs
    packed = (tmp_path / "docs/study.json.xz").read_bytes()
    assert (tmp_path / "w/study.json").read_bytes() == lzma.decompress(packed)
    assert {path.name for path in (tmp_path / "docs").iterdir()} == {"runs.xz", "study.json.xz"}
    assert publish.render(smoke, str(tmp_path / "docs"), say=lambda line: None) == ours
    assert (tmp_path / "docs/study.json.xz").read_bytes() == packed


def test_a_run_that_failed_is_listed_where_the_others_are_collected(smoke, stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "figures", lambda made: {})
    first, *others = grid.expand(smoke)
    stand_in("if request['arm'] == 'ignore' and request['seed'] == 0: sys.exit(1)")
    runner.carry_out(smoke, str(tmp_path / "w"), say=lambda line: None)
    summary = publish.collect(smoke, str(tmp_path / "w"), str(tmp_path / "docs"), say=lambda line: None)
    assert summary["runs"]["failed"] == [first.id] and summary["runs"]["missing"] == []
    assert publish.render(smoke, str(tmp_path / "docs"), say=lambda line: None) == summary
    stand_in("pass")
    runner.carry_out(smoke, str(tmp_path / "w"), say=lambda line: None)
    assert (
        publish.collect(smoke, str(tmp_path / "w"), str(tmp_path / "docs"), say=lambda line: None)["runs"]["failed"]
        == []
    )


def tree(folder):
    return {str(path): path.read_bytes() for path in pathlib.Path(folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize("damage", ["foreign", "code", "device", "truncated", "target", "frames"])
def test_what_cannot_be_collected_leaves_the_folder_as_it_was(smoke, tmp_path, damage):
    simulated_study.write(smoke, tmp_path / "docs", only=lambda run: run.seed == 0)
    for name in ("study.json", "report.html"):
        (tmp_path / "docs" / name).write_text("good")
    if damage == "foreign":
        smoke.base.train.total_steps = 9
    frames = simulated_study.FRAMES[:-1] if damage == "frames" else simulated_study.FRAMES
    simulated_study.write(smoke, tmp_path / "w", only=lambda run: run.seed or damage != "frames", frames=frames)
    path = tmp_path / ("docs" if damage == "target" else "w") / "runs" / grid.expand(smoke)[0].id / "result.json"
    if damage in ("code", "device"):
        result = results.load(path)
        results.save(path, result | {"identity": result["identity"] | {damage: "e" * 64}})
    elif damage in ("truncated", "target"):
        path.write_text(path.read_text()[:-500])
    before = tree(tmp_path / "docs")
    message = {
        "foreign": r"has other settings .*total_steps \(4 / 9\).* Nothing was written to",
        "code": "differ in code",
        "device": "differ in device",
        "frames": "was evaluated on other frames",
    }.get(damage, f"^{path}: expected a result")
    with pytest.raises(ValueError, match=message):
        publish.collect(smoke, str(tmp_path / "w"), str(tmp_path / "docs"), say=lambda line: None)
    assert tree(tmp_path / "docs") == before
