"""Which runs a study has: expanded from its configuration, named, refused where it contradicts itself."""

import pytest
import simulated_study
from studies import load_config

from kseg import treatments
from kseg.study import grid, measures


@pytest.mark.parametrize(
    "name",
    [
        "study_camvid",
        "study_camvid_lite0",
        "study_cityscapes",
        "study_cityscapes256",
        "study_recipe",
        "study_smoke",
        "study_street_scenes",
    ],
)
def test_every_study_configuration_expands_to_runs_that_the_treatments_accept(name):
    configuration = load_config(name)
    runs = grid.expand(configuration)
    assert len({run.id for run in runs}) == len(runs)
    for run in runs:
        treatments.get(run.config.treatment, 11, run.config.loss)


def test_how_photos_are_seen_is_checked_before_the_first_run():
    study = load_config("study_cityscapes256")
    study.objects_seen.aspect = 0.0
    with pytest.raises(ValueError, match="objects_seen.aspect=0.0"):
        grid.expand(study)
    study.objects_seen = {"width": 256}
    with pytest.raises(ValueError, match="objects_seen.width=256: expected height or aspect"):
        grid.expand(study)


@pytest.mark.parametrize("part", ["rates", "tuning"])
def test_tuning_never_names_the_test_frames_and_every_choice_has_its_runs(part):
    tuning = load_config("study_camvid", part)
    assert tuning.test_split == ""
    listed = {run.arm for run in grid.expand(tuning)}
    for _, default, candidates, *_ in tuning.choices:
        assert default in [value for value, _ in candidates]
        assert {arm for _, arms in candidates for arm in arms} <= listed
    # The second call goes on where the first one was.
    before = {run.id for run in grid.expand(load_config("study_camvid", "rates"))}
    assert before <= {run.id for run in grid.expand(tuning)}


def test_runs_come_seed_by_seed_so_that_every_prefix_compares_whole_sets(camvid):
    runs = grid.expand(camvid)
    main = [run for run in runs if run.stage == "primary"]
    assert runs[: len(main)] == main and {run.arm for run in main[:3]} == {run.arm for run in main}
    core = [run for run in runs if run.stage == "core"]
    for stage in (main, core):
        seeds = [run.seed for run in stage]
        assert seeds == sorted(seeds)
    assert {run.arm for run in core if run.seed == 0} >= {run.arm for run in core}
    counts = {arm: sum(run.arm == arm for run in core) for arm in {run.arm for run in core}}
    assert sum(run.arm == "ignore-w8" for run in main) == 6
    assert (counts["hybrid-w8"], counts["ignore-w4"], counts["ignore-w16"]) == (3, 4, 2)
    assert sum("-seen_" in arm for arm in counts) == 9


def test_arms_of_a_contrast_differ_in_their_treatment_alone(camvid):
    runs = {(run.arm, run.seed): grid.settings(run.config) for run in grid.expand(camvid)}
    ours, theirs = runs["background_class-w8", 2], runs["ignore-w8", 2]
    differ = {(s, k) for s in ours for k in ours[s] if ours[s][k] != theirs[s][k]}
    assert differ <= {("treatment", "name"), ("treatment", "void_weight")}


def test_a_run_is_named_after_what_it_computes_not_after_where_it_runs(smoke):
    before = [run.id for run in grid.expand(smoke)]
    smoke.base.data.records_dir, smoke.base.data.cache = "/elsewhere", True
    assert [run.id for run in grid.expand(smoke)] == before
    smoke.base.train.total_steps += 1
    assert not set(before) & {run.id for run in grid.expand(smoke)}


def test_a_study_that_contradicts_itself_is_refused_in_one_line(smoke):
    smoke.arms.ignore.treatment.nmae = "ignore"
    with pytest.raises(ValueError, match="arm ignore: there is no key treatment.nmae"):
        grid.expand(smoke)
    del smoke.arms.ignore.treatment["nmae"]
    smoke.grid = [("all", ("ignore", "ignore"), (0,))]
    with pytest.raises(ValueError, match="ignore with seed 0 is in the grid twice"):
        grid.expand(smoke)
    smoke.grid = [("all", ("ignore",), (0,))]
    with pytest.raises(ValueError, match="contrast 'capacity' speaks of arm 'background_class', which has no run"):
        grid.expand(smoke)
    smoke.grid = [("all", ("ignroe",), (0,))]
    with pytest.raises(ValueError, match="the grid lists arm 'ignroe', expected one of background_class, ignore"):
        grid.expand(smoke)


A_GROUP = {"title": "Dice", "caption": "What of it.", "contrasts": (), "arms": ()}


def contrast(measure="forced_miou", arm="background_class"):
    return [("capacity", arm, "ignore", measure, True)]


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("contrasts", contrast("forced_miuo"), "contrast 'capacity' is of 'forced_miuo', expected forced_miou, native"),
        ("contrasts", contrast("auroc_sky_off_edge"), "is of 'auroc_sky_off_edge', expected"),
        ("contrasts", contrast("leak_scene"), "is of 'leak_scene', expected"),
        ("contrasts", [("capacity", "ignore")], r"contrasts: expected \(name, arm, reference, measure, primary\), got"),
        ("headline", ("ignroe",), "headline speaks of arm 'ignroe', which has no run"),
        ("folds", {"ignroe": ("car", "fence")}, "folds speaks of arm 'ignroe', which has no run"),
        ("folds", {"ignore": "car"}, "folds: expected two groups of ignore, got 'car'"),
        ("by_width", ("capcity",), "by_width names 'capcity', which is no contrast"),
        (
            "groups",
            {"dice": A_GROUP | {"contrasts": ("capcity",)}},
            "groups.dice names 'capcity', which is no contrast",
        ),
        ("groups", {"dice": A_GROUP | {"arms": ("ignroe",)}}, "groups.dice speaks of arm 'ignroe', which has no run"),
        (
            "groups",
            {"dice": {"title": "Dice"}},
            "groups.dice: expected a name of letters and title, caption, contrasts",
        ),
        ("choices", [("rate", 1.0, [(1.0, ("ignroe",))], "forced_miou", "")], "'rate' speaks of arm 'ignroe'"),
        ("choices", [("rate", 2.0, [(1.0, ("ignore",))], "forced_miou", "")], "its default 2.0 is no candidate"),
        ("choices", [("rate", 1.0, [(1.0, ("ignore",))], "auroc_sky", "")], "there is no measure 'auroc_sky'"),
        ("choices", [("rate", 1.0, [(1.0, ("ignore",))], "leak_all", "miou")], "there is no measure 'miou'"),
        ("sequence_pattern", "(", r"sequence_pattern='\(': expected a regular expression \(missing"),
        ("block_frames", 0, "block_frames=0: expected at least 1"),
        ("draws", 1, "draws=1: expected at least 2"),
        ("margin", -1.0, "margin=-1.0: expected a share above 0"),
        ("margin", float("nan"), "margin=nan: expected"),
        ("margin", float("inf"), "margin=inf: expected"),
        ("arms", {"ignore": {"model": {"width": "eight"}}, "background_class": {}}, "arm ignore: model.width: "),
    ],
)
def test_what_only_the_page_would_use_is_refused_before_any_run(smoke, key, value, message):
    smoke[key] = value
    with pytest.raises(ValueError, match=f"study smoke[:,].*{message}") as error:
        grid.expand(smoke)
    assert "\n" not in str(error.value)


def test_a_configuration_of_one_training_run_is_no_study():
    with pytest.raises(ValueError, match=r"--config is not of a study, it lacks 16 keys \(name, "):
        grid.expand(load_config("camvid_unet"))


def test_every_measure_of_a_result_is_known_by_its_name(camvid):
    for run in grid.expand(camvid)[::20]:
        for name in measures.measures(simulated_study.result(camvid, run, simulated_study.FRAMES[:10])):
            assert measures.is_measure(name), name


def test_shares_of_a_job_array_are_the_whole_without_overlap(camvid):
    runs = grid.expand(camvid)
    parts = [grid.share(runs, f"{k}/4") for k in range(4)]
    assert sorted(run.id for part in parts for run in part) == sorted(run.id for run in runs)
    assert grid.share(runs, "") == runs
    for wrong in ("4/4", "1", "-1/3", "a/b"):
        with pytest.raises(ValueError, match="expected k/n"):
            grid.share(runs, wrong)
