"""Results of many runs in one file come back as they were; a study rendered from it says what it said before."""

import json
import lzma
import pathlib
import runpy

import numpy as np
import pytest
import simulated_study

from kseg.study import archive, grid, packing, publish, results
from kseg.study import folder as study_folder
from kseg.study.report import figures

ROOT = pathlib.Path(__file__).parent.parent.parent


def silent(line):
    pass


def plain(value):
    """A JSON value with its arrays as (dtype, shape, numbers)."""
    if isinstance(value, dict) and "shape" in value:
        return value["dtype"], value["shape"], packing.unpack(value).tolist()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def made_up(random, run):
    """A result with arrays of many kinds at many places, and plain values beside them."""
    forced = random.poisson(40, (30, 4, 4)) * np.eye(4, dtype=int) + random.poisson(2, (30, 4, 4))
    moved = random.binomial(forced, 0.1)
    moved[..., -1] = -moved[..., :-1].sum(-1)  # what a decision takes from a row goes to its last column
    smooth = np.cumsum(random.integers(-3, 4, (30, 64)), axis=-1) + 60_000
    return {
        "id": f"run{run}",
        "number": 0.1 + run,
        "none": None,
        "dtype": "a word",
        "frames": {
            "ids": ["a", "b"],
            "forced": packing.pack(forced),
            "native": packing.pack(forced - moved),
            "same": packing.pack(forced),
            "scores": {"entropy": {"labelled": packing.pack(smooth), "void": packing.pack(smooth[:, : 8 + run])}},
            "absent": None,
        },
        "list": [packing.pack([-(2**63), 2**63 - 1, 0]), {"deep": packing.pack(np.zeros((3, 0), int))}, 3],
        "one": packing.pack(7),
    } | ({"sometimes": packing.pack([1, 2])} if run % 2 else {})


def header(path):
    return json.loads(lzma.decompress(path.read_bytes()).split(b"\n", 1)[0])


def test_any_results_come_back_as_they_were(tmp_path):
    random = np.random.default_rng(0)
    given = [made_up(random, run) for run in range(5)]
    before = json.dumps(given)
    archive.write(tmp_path / "runs.xz", given, {"failed": ["run9"]})
    assert json.dumps(given) == before
    found, notes = archive.read(tmp_path / "runs.xz")
    assert plain(found) == plain(given) and notes == {"failed": ["run9"]}
    # What was read can be written again, to the same bytes.
    archive.write(tmp_path / "again.xz", found, notes)
    assert (tmp_path / "again.xz").read_bytes() == (tmp_path / "runs.xz").read_bytes()
    # Every step of the docstring was used on these, so it was undone as well.
    groups = header(tmp_path / "runs.xz")["groups"]
    assert {step.split()[0] for group in groups for step in group["steps"]} == {
        *("less", "sums", "turned", "changes", "zigzag", "planes")
    }


def test_the_text_at_the_front_is_the_results_less_their_arrays(tmp_path):
    archive.write(tmp_path / "runs.xz", [{"id": "x", "counts": packing.pack([[1, 300]])}, {"id": "y"}])
    head, first, second, rest = lzma.decompress((tmp_path / "runs.xz").read_bytes()).split(b"\n", 3)
    assert json.loads(head)["results"] == 2
    counts = {"dtype": "uint16", "shape": [1, 2], "group": 0, "row": 0}
    assert json.loads(first) == {"id": "x", "counts": counts} and json.loads(second) == {"id": "y"}
    # 1, 300 - 1 = 299 -> zigzag 2, 598 = 2 * 256 + 86, or without "changes" 2, 600 = 2 * 256 + 88; low bytes first.
    assert rest in (bytes([2, 86, 0, 2]), bytes([2, 88, 0, 2]))


def test_an_array_takes_almost_nothing_where_another_one_says_the_same(tmp_path):
    counts = np.random.default_rng(1).integers(0, 60_000, (200, 5, 5))
    sizes = []
    for names in (["forced"], ["forced", "native", "calibrated"]):
        archive.write(tmp_path / "runs.xz", [{name: packing.pack(counts) for name in names}])
        sizes.append((tmp_path / "runs.xz").stat().st_size)
    assert sizes[1] < sizes[0] + 500


@pytest.mark.parametrize("damage", ["short", "long", "text", "flipped", "empty", "format", "group"])
def test_a_damaged_archive_is_named_in_one_line(tmp_path, damage):
    path = tmp_path / "runs.xz"
    archive.write(path, [made_up(np.random.default_rng(0), 0)])
    data = bytearray(path.read_bytes())
    inside = lzma.decompress(data)
    data[len(data) // 2] ^= 1
    path.write_bytes(
        {
            "short": lzma.compress(inside[:-1]),
            "long": lzma.compress(inside + b"x"),
            "text": b"no archive",
            "flipped": bytes(data),
            "empty": b"",
            "format": lzma.compress(inside.replace(b'"format": 1', b'"format": 2', 1)),
            "group": lzma.compress(inside.replace(b'"row": 0', b'"row": 7', 1)),
        }[damage]
    )
    with pytest.raises(ValueError, match=f"^{path}: expected an archive of results of format 1, whole; [^\n]*$"):
        archive.read(path)


# A study's folder.


@pytest.fixture
def study(monkeypatch):
    monkeypatch.setattr(figures, "figures", lambda made: {})  # the page's figures have tests of their own
    study = runpy.run_path(str(ROOT / "configs/study_smoke.py"))["get_config"]()
    study.contrasts = [
        ("capacity", "background_class", "ignore", "forced_miou", True),
        ("rejection", "background_class", "ignore", "auroc_scene_off_edge", False),
    ]
    study.draws = 50
    return study


def write(study, folder, only=lambda run: True):
    simulated_study.write(study, folder, only, simulated_study.FRAMES[::6])


def collect(study, folder, **options):
    publish.collect(study, str(folder / "w"), str(folder / "docs"), say=silent, **options)
    return lzma.decompress((folder / "docs/study.json.xz").read_bytes())


def rendered(study, folder):
    return json.loads(json.dumps(publish.render(study, str(folder), say=silent)))


@pytest.mark.parametrize("frames_of", ["", "none", "background_class"])
def test_what_is_rendered_from_an_archive_is_what_the_runs_said(study, tmp_path, frames_of):
    write(study, tmp_path / "w")
    said = rendered(study, tmp_path / "w")
    collect(study, tmp_path, frames_of=frames_of)
    assert rendered(study, tmp_path / "docs") == said
    assert said["contrasts"][0]["se_frames_by_block"]["40"] > 0  # something to lose
    summed = {result["arm"] for result in results.load_all(tmp_path / "docs") if results.are_summed(result)}
    assert summed == {"": set(), "none": {"ignore", "background_class"}, "background_class": {"ignore"}}[frames_of]


def test_a_contrast_that_nobody_resampled_before_its_frames_were_summed_has_no_interval(study, tmp_path):
    write(study, tmp_path / "w")
    collect(study, tmp_path, frames_of="none")
    study.contrasts += [("new", "background_class", "ignore", "native_miou", False)]
    *_, new = rendered(study, tmp_path / "docs")["contrasts"]
    assert new["verdict"] == "not measured: counts of single frames are not kept" and "estimate" not in new
    study.block_frames = 7  # what was noted is of other blocks
    assert {entry["verdict"] for entry in rendered(study, tmp_path / "docs")["contrasts"]} == {new["verdict"]}


def test_runs_come_into_an_archive_in_any_number_of_steps(study, tmp_path):
    write(study, tmp_path / "w")
    at_once = collect(study, tmp_path)
    parts = tmp_path / "parts"
    for seed in (1, 0):
        write(study, parts / str(seed) / "w", only=lambda run, seed=seed: run.seed == seed)
        publish.collect(study, str(parts / str(seed) / "w"), str(parts / "docs"), say=silent)
    assert lzma.decompress((parts / "docs/study.json.xz").read_bytes()) == at_once
    assert plain(archive.read(parts / "docs/runs.xz")[0]) == plain(archive.read(tmp_path / "docs/runs.xz")[0])


def test_a_study_goes_on_elsewhere_from_its_archive(study, tmp_path):
    write(study, tmp_path / "w", lambda run: run.seed == 0)
    collect(study, tmp_path)
    ids = results.unarchive(str(tmp_path / "docs"), str(tmp_path / "there"))
    ours, theirs = (results.load_all(str(tmp_path / name)) for name in ("w", "there"))
    assert plain(ours) == plain(theirs) and sorted(ids) == [result["id"] for result in ours]
    listed = {run.id: study_folder.state(run, str(tmp_path / "there")) for run in grid.expand(study)}
    assert {name for name, word in listed.items() if word == "finished"} == set(ids)
    assert not results.unarchive(str(tmp_path / "docs"), str(tmp_path / "there"))  # what is there stays
    collect(study, tmp_path, frames_of="none")
    (tmp_path / "summed").mkdir()
    with pytest.raises(ValueError, match="frames summed"):
        results.unarchive(str(tmp_path / "docs"), str(tmp_path / "summed"))
    assert not list((tmp_path / "summed").iterdir())
    with pytest.raises(FileNotFoundError, match="no such archive"):
        results.unarchive(str(tmp_path), str(tmp_path / "summed"))


def test_results_of_single_files_join_the_archive_and_the_old_summary_goes(study, tmp_path):
    write(study, tmp_path / "w", only=lambda run: run.seed == 1)
    write(study, tmp_path / "docs", only=lambda run: run.seed == 0)
    publish.render(study, str(tmp_path / "docs"), say=silent)
    said = []
    publish.collect(study, str(tmp_path / "w"), str(tmp_path / "docs"), say=said.append)
    assert len(archive.read(tmp_path / "docs/runs.xz")[0]) == len(grid.expand(study)) == 4
    assert not (tmp_path / "docs/study.json").exists() and "may be removed" in said[1]


def test_two_summaries_are_refused(tmp_path):
    study_folder.save_summary(tmp_path, "{}")
    (tmp_path / "study.json.xz").write_bytes(lzma.compress(b"{}"))
    with pytest.raises(ValueError, match=r"study.json and study.json.xz: expected one of them"):
        study_folder.load_summary(tmp_path)


def test_a_figure_that_is_not_drawn_cannot_be_published(study, tmp_path):
    write(study, tmp_path / "w")
    study.publish_figures = ("void_cuaght",)
    with pytest.raises(ValueError, match="publish_figures: there is no figure 'void_cuaght'"):
        collect(study, tmp_path)
    assert not (tmp_path / "docs").exists()


def test_where_no_figure_is_wanted_no_folder_of_figures_is_made(study, tmp_path):
    write(study, tmp_path / "w")
    study.publish_figures = ()
    collect(study, tmp_path)
    assert {path.name for path in (tmp_path / "docs").iterdir()} == {"runs.xz", "study.json.xz"}


def test_the_studies_in_docs_are_small():
    ours = [path for path in (ROOT / "docs/study").rglob("*") if path.is_file() and path.name != "report.html"]
    kept = [path for path in ours if path.suffix != ".png" and not path.stem.endswith("_narrow")]  # as git has it
    assert sum(path.stat().st_size for path in kept) < 6e6
