"""Several workdirs -> one page: the same images scored by each run, side by side, with differences to the first."""

import os

import numpy as np

from kseg import errors
from kseg.evaluation import pixel_counts
from kseg.report import page, run_figures, run_page, run_tables
from kseg.report import run as runs
from tfrecords import files

_LOSSES = "Losses of different treatments or loss settings do not compare."
_ABSTENTION = (
    "All void of all images. While the threshold on a run's primary score falls, more void is caught (up) and more "
    "labelled pixels are lost (right, logarithmic). Diamonds: calibrated thresholds. Circles: the treatments' own "
    "decision rules, where they ever abstain. Dotted: drawing lots."
)
_PICTURES = "The images on which mean IoU differs most between runs. Magenta stripes: void; grey: nothing is said."


def write(folders, path, split=None, pictures=3) -> tuple[str, str]:
    """Writes a page that compares runs.

    Args:
      folders: two workdirs or more; differences are to the first.
      path: of the page.
      split: what all of them were evaluated on; None = the most telling one that all have.
      pictures: how many images to show; 0 = none, and TensorFlow is not loaded.

    Returns:
      (split, why it has no pictures or "").

    Raises:
      ValueError: in one line, if a folder holds no run, a run lacks the evaluation, or they are of other images.
    """
    read = _named([runs.read(folder) for folder in folders])
    split = split or _common(read)
    evaluations = [run.evaluation(split) for run in read]
    check_comparable(read, evaluations, split)
    sheets, problem = [], ""
    if pictures:
        try:
            with errors.explained(read[0].config, "the page", run_page.LIGHTER):
                sheets = _sheets(read, evaluations, pictures)
        except (ValueError, OSError) as error:
            problem = errors.one_line(error)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    files.write_whole(path, render(read, evaluations, split, sheets, problem).encode())
    return split, problem


def check_comparable(read, evaluations, split):
    """Raises ValueError, in one line, where evaluations are not of the same images and classes as the first one."""
    first, reference = read[0], evaluations[0]
    for run, evaluation in zip(read[1:], evaluations[1:]):
        both = f"{first.folder} and {run.folder}"
        if list(evaluation.report["per_class_iou"]) != list(reference.report["per_class_iou"]):
            raise ValueError(f"{both} have other classes; runs are compared on the same ones.")
        ours, theirs = (set(map(str, each.arrays["image_ids"])) for each in (reference, evaluation))
        if ours != theirs:
            raise ValueError(
                f"{both} were evaluated on other images of {split} ({len(ours)} and {len(theirs)}, of which "
                f"{len(ours & theirs)} are the same); evaluate both on the same records."
            )
        ours, theirs = _labelled(reference), _labelled(evaluation)
        differ = [name for name, counts in ours.items() if np.any(counts != theirs[name])]
        if differ:
            raise ValueError(
                f"{both} were evaluated on other labels of the same images ({len(differ)} of {len(ours)}, {differ[0]} "
                "among them); evaluate both on the same records."
            )


def _labelled(evaluation):
    """{image id: pixels of each class by the labels, void last}: what is equal where the labels are."""
    pixels = evaluation.arrays["confusion_native"].sum(-1)
    return dict(zip(map(str, evaluation.arrays["image_ids"]), pixels))


def render(read, evaluations, split, sheets, problem="") -> str:
    """The page's text; arguments as in run_page.render, a list for each run."""
    reports = [(run.name, evaluation.report) for run, evaluation in zip(read, evaluations)]
    figures = []
    if run_figures.curves(read):
        caption = f"{run_page.curves_caption(read)} {_LOSSES}"
        figures.append(page.chart("curves", "Training", caption, run_figures.curves, read))
    lines, points = [], []
    for run, evaluation in zip(read, evaluations):
        curve = evaluation.curve(pixel_counts.REPORTED_KINDS)
        if curve:
            points += [(name, len(lines), *point) for name, point in evaluation.operating_points().items()]
            lines.append((run.name, *curve))
    if lines:
        content = (lines, points)
        figures.append(page.chart("abstention", "Abstaining", _ABSTENTION, run_figures.abstention, content))
    figures += [
        page.figure(f"pictures{place}", title, caption, "image/jpeg", content)
        for place, (title, caption, content) in enumerate(sheets)
    ]
    tables = [run_tables.measures(reports), run_tables.classes(reports)]
    tables.append(run_tables.settings((["setting", *(run.name for run in read)], differing_settings(read))))
    confusions = [(run.name, run_tables.confusion(report)) for run, (_, report) in zip(read, reports)]
    return page.render(
        "compare.html.j2", runs=read, split=split, images=reports[0][1]["images"], figures=figures, tables=tables,
        confusions=confusions, problem=problem, one_each=[run.config.train.seed for run in read],
    )  # fmt: skip


def differing_settings(read):
    """[(key, value of each run ...)] of the settings that are not the same in all."""
    changed = {key for run in read for key, *_ in run.changed_settings()}
    flat = [runs.defaults.flatten(run.config) for run in read]
    rows = [(key, *(settings[key] for settings in flat)) for key in flat[0] if key in changed]
    return [row for row in rows if any(value != row[1] for value in row[2:])]


def _common(read):
    shared = [split for split in read[0].splits if all(split in run.splits for run in read)]
    if shared:
        return shared[0]
    split = read[0].config.data.eval_split
    lacking = next((run for run in read if split not in run.splits), read[0])
    if split in lacking.outdated:
        lacking.evaluation(split)  # says so
    raise ValueError(
        f"no split was evaluated by all of these runs; kseg evaluate --workdir={lacking.folder} --split={split} is one "
        "that lacks."
    )


def _named(read):
    """The runs with names that differ: their folders' own, or their paths where two are alike."""
    names = [run.name for run in read]
    if len(set(names)) == len(names):
        return read
    return [runs.dataclasses.replace(run, name=run.folder) for run in read]


def _sheets(read, evaluations, count):
    from kseg import pictures
    from kseg.report import examples

    first = list(map(str, evaluations[0].arrays["image_ids"]))
    values = []
    for evaluation in evaluations:
        places = {str(name): place for place, name in enumerate(evaluation.arrays["image_ids"])}
        values.append(examples.image_iou(evaluation)[[places[name] for name in first]])
    spread = np.nan_to_num(np.ptp(np.array(values), axis=0), nan=-1.0)
    chosen = [first[place] for place in np.argsort(-spread, kind="stable")[:count]]
    maps, images, truths = {}, [], []
    for run, evaluation in zip(read, evaluations):
        opened = examples.open_run(run.folder, evaluation.report)
        shown = examples.predictions(run, opened, evaluation, chosen)
        images, truths = ([shown[name][place] for name in chosen] for place in (0, 1))
        maps[run.name] = [shown[name][2] for name in chosen]
    sheet = pictures.comparison(images, truths, maps, read[0].table, cell_width=300)
    return [("Where they differ most", _PICTURES, examples.jpeg(sheet))]
