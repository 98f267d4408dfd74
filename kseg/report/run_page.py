"""A workdir -> report.html: what a run scored, how it got there, what it looks like, and what to type next."""

import os
import shlex

from kseg import errors
from kseg.evaluation import pixel_counts
from kseg.report import page, run_figures, run_tables
from kseg.report import run as runs
from tfrecords import files

FILE = "report.html"
LIGHTER = "evaluate in tiles (kseg evaluate --tile=512x512) and draw the page of that, or draw none (--pictures=0)"
_LOSS = "Loss: mean of the logged steps, smoothed over 5 of them."
_MIOU = (
    "The mIoU is that of the treatment's own decision rule over the labelled pixels of the held-out training images."
)
_ABSTENTION = (
    "While the threshold on {score} falls, more void is caught (up) and more labelled pixels are lost (right, "
    "logarithmic), right or wrong ones. All images pooled. Diamond: the calibrated threshold{threshold}. Circle: the "
    "treatment's own decision rule, where it ever abstains. Dotted: drawing lots. In use by evaluate, predict and "
    "export: {use} (config.treatment.abstain)."
)


def write(folder, split=None, opened=None, pictures=2) -> tuple[str, str]:
    """Writes report.html into a workdir.

    Args:
      folder: the workdir.
      split: which evaluation to show in full; None = the most telling one there is.
      opened: examples.Opened; None = opened where pictures are wanted, which loads TensorFlow.
      pictures: how many best and how many worst pictures; 0 = none.

    Returns:
      (path of the page, why it has no pictures or "").

    Raises:
      ValueError: in one line, if the folder holds no run, or not this evaluation.
    """
    run = runs.read(folder)
    split = split or next(iter(run.splits), None)
    evaluation = run.evaluation(split) if split else None
    sheets, problem = [], ""
    if evaluation and pictures:
        try:
            from kseg.report import examples

            with errors.explained(run.config, folder, LIGHTER):
                if opened is None or evaluation.report.get("checkpoint", "model") != "model":
                    opened = examples.open_run(folder, evaluation.report)
                sheets = examples.sheets(run, evaluation, opened, pictures)
        except (ValueError, OSError) as error:
            problem = errors.one_line(error)
    path = os.path.join(folder, FILE)
    files.write_whole(path, render(run, split, evaluation, sheets, problem).encode())
    return path, problem


def render(run, split, evaluation, sheets, problem="") -> str:
    """The page's text.

    Args:
      run: run.Run.
      split, evaluation: what is shown in full, or None.
      sheets: [(title, caption, JPEG bytes)].
      problem: why there are no pictures.
    """
    figures, tables = [], []
    if run_figures.curves([run]):
        figures.append(page.chart("curves", "Training", curves_caption([run]), run_figures.curves, [run]))
    confusion = None
    if evaluation:
        report = evaluation.report
        tables += [run_tables.measures([("", report)]), run_tables.classes([("", report)])]
        confusion = run_tables.confusion(report)
        lines = curves_by_kind(evaluation)
        if lines:
            caption = abstention_caption(run, evaluation)
            content = lines, [(name, 0, *point) for name, point in evaluation.operating_points().items()]
            figures.append(page.chart("abstention", "Abstaining", caption, run_figures.abstention, content))
            tables.append(run_tables.void(report))
    figures += [
        page.figure(f"pictures{place}", title, caption, "image/jpeg", content)
        for place, (title, caption, content) in enumerate(sheets)
    ]
    changed = run.changed_settings()
    tables.append(run_tables.settings((["setting", "here", "default"], changed)))
    return page.render(
        "run.html.j2", run=run, split=split, cards=cards(evaluation), figures=figures, tables=tables,
        confusion=confusion, others=[name for name in run.splits if name != split], commands=commands(run, evaluation),
        problem=problem, steps=run.lines[-1]["step"] if run.lines else 0,
        images=evaluation.report["images"] if evaluation else 0,
    )  # fmt: skip


def curves_caption(shown):
    """What the curves of these runs are; their mIoU is drawn where it was evaluated on the way."""
    several = [series for series in (run.series("eval_mean_iou") for run in shown) if series and len(series[0]) > 1]
    return f"{_LOSS} {_MIOU}" if several else _LOSS


def curves_by_kind(evaluation):
    """[(name, lost, caught)] of all void first, then of its kinds, where there is more than one."""
    kinds = {kind: evaluation.curve([kind]) for kind in pixel_counts.REPORTED_KINDS}
    kinds = {kind: curve for kind, curve in kinds.items() if curve}
    everything = evaluation.curve(pixel_counts.REPORTED_KINDS)
    if everything is None:
        return []
    return [("all void", *everything)] + ([(k, *curve) for k, curve in kinds.items()] if len(kinds) > 1 else [])


def abstention_caption(run, evaluation):
    """What the marks of the chart are, and which threshold is in use."""
    chosen = evaluation.threshold
    threshold = f", {chosen['threshold']:.4g}" if chosen else " (there is none)"
    calibrated = run.config.treatment.abstain == "calibrated"
    return _ABSTENTION.format(
        score=evaluation.report["primary_score"], threshold=threshold,
        use="the calibrated threshold" if calibrated else "the treatment's own decision rule",
    )  # fmt: skip


def cards(evaluation):
    """[(what, number, words)] for the top of the page."""
    if evaluation is None:
        return []
    made = []
    for name, block in run_tables.blocks(evaluation.report).items():
        values = [run_tables.measure(block, key) for key in ("mean_iou", "void_caught", "abstain_rate")]
        shown = ["–" if value is None else f"{100 * value:.1f} %" for value in values]
        made.append(
            (f"{name} decision", f"{shown[0]} mIoU", f"{shown[1]} of void caught, {shown[2]} of labelled pixels lost")
        )
    chosen = evaluation.report.get("calibration")
    if chosen:
        caught = "–" if chosen["void_caught"] is None else f"{100 * chosen['void_caught']:.1f} %"
        lost = f"{100 * chosen['realised']:.1f} % of labelled pixels lost"
        words = f"where {chosen['score']} is above {chosen['threshold']:.4g}, {lost}"
        made.append(("abstaining at the calibrated threshold", f"{caught} of void caught", words))
    return made


def commands(run, evaluation):
    """[(what for, command)] to go on with."""
    folder, total = shlex.quote(run.folder), run.config.train.total_steps
    wanted = evaluation.report["split"] if evaluation else runs.HELD_OUT
    wanted = run.config.data.eval_split if wanted == runs.HELD_OUT else wanted
    longer = [("train it longer", f"the command that trained it, with --config.train.total_steps={2 * total}")]
    if run.lines and run.lines[-1]["step"] < total:  # such a run is not extended
        ended = os.path.exists(os.path.join(run.folder, "model.keras"))
        longer = [] if ended else [("train it to its end", "the command that trained it, once more")]
    return [
        ("score it", f"kseg evaluate --workdir={folder} --split={wanted}"),
        ("draw this page again", f"kseg report --workdir={folder}"),
        ("serve it", f"kseg export --workdir={folder} --export_dir={folder}/export"),
        ("look at predictions", f"kseg predict --model={folder} --output_dir=masks IMAGE ..."),
        ("hold it against another run", f"kseg compare {folder} OTHER_WORKDIR"),
        *longer,
        ("start a run from its weights", f"kseg train --workdir=NEW --init_from={folder} ..."),
    ]
