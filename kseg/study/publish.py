"""Finished runs -> study.json, figures and a page; and what a repository keeps of them."""

import os
import textwrap

from kseg.study import archive, grid, measures, results
from kseg.study import folder as study_folder
from tfrecords import files


def render(study, workdir: str, say=print) -> dict:
    """Writes study.json, report.html and figures/ from the finished runs in a folder; returns study.json's content."""
    from kseg.study import summary as findings  # SciPy and matplotlib take their time, and runs do without

    runs = grid.expand(study)
    files.check_folder(workdir, "--workdir")
    found = findings.read(workdir, grid.settings_of(runs))
    return _write(study, findings.summarise(study, found, runs, workdir), found, workdir, say)


def collect(study, workdir: str, into: str, frames_of: str = "", say=print) -> dict:
    """Archives every finished run's result in `into`/runs.xz, with study.json.xz and figures/*.svg beside it.

    What `into` has already, in runs.xz or as runs/<id>/result.json, stays in the archive; so do the names of runs that
    failed. The study's configuration may name the figures that are wanted (`publish_figures`; else all).

    Args:
      frames_of: arms whose runs keep the counts of each frame, with commas; "primary" for those of primary contrasts,
        "none". Counts of other arms are summed over each sequence, and what resampling gave is noted. "" keeps all.

    Raises:
      ValueError, OSError: with `into` as it was, where anything there or here is damaged or does not compare.
    """
    from kseg.study import contrasts
    from kseg.study import summary as findings
    from kseg.study.report import page

    runs = grid.expand(study)
    kept = _arms(study, frames_of, {run.arm for run in runs})
    study_folder.check(workdir, "--workdir")
    files.check_folder(into, "--collect")
    ours = findings.read(workdir, grid.settings_of(runs))
    theirs = results.load_all(into)
    try:
        results.check_comparable(ours + theirs, grid.settings_of(runs))
    except ValueError as error:
        raise ValueError(f"{error} Nothing was written to {into}.") from error
    together = {result["id"]: result for result in theirs + ours}
    found = [together[run.id] for run in runs if run.id in together]
    summary = findings.summarise(study, found, runs, workdir, into)
    archived = [result if result["arm"] in kept else _summed(study, result) for result in found]
    notes = {"failed": summary["runs"]["failed"]}
    if any(map(results.are_summed, archived)):
        notes["frame_errors"] = contrasts.noted(summary)
    page.write_figures(summary, into, study.get("publish_figures"))
    archive.write(os.path.join(into, archive.FILE), archived, notes)
    study_folder.save_summary(into, page.to_text(summary))
    whole = sum(not results.are_summed(result) for result in archived)
    say(f"{os.path.join(into, archive.FILE)}: {len(found)} of {len(runs)} runs, {whole} of them frame by frame")
    if results.find(into):
        say(f"{os.path.join(into, 'runs')} is in the archive now and may be removed.")
    _say_verdicts(summary, say)
    return summary


def _arms(study, frames_of, listed):
    """The arms that keep their frames."""
    if frames_of in ("", "none"):
        return listed if not frames_of else set()
    if frames_of == "primary":
        sides = [side for _, *pair, _, primary in study.contrasts if primary for side in pair]
        return {arm for side in sides for arm in ([side] if isinstance(side, str) else side)}
    arms = set(frames_of.split(","))
    if arms - listed:
        raise ValueError(
            f"--frames_of={frames_of}: there is no arm {min(arms - listed)!r}; expected primary, none or some of "
            f"{','.join(sorted(listed))}."
        )
    return arms


def _summed(study, result):
    if results.are_summed(result):
        return result
    ids = result["evaluation"]["frames"]["ids"]
    return results.sequence_sums(result, [grid.sequence(name, study.sequence_pattern) for name in ids])


def show_choices(summary: dict, say=print) -> None:
    """Prints what the held-out frames chose."""
    for choice in summary["choices"]:
        say(f"{choice['name']}: {choice['chosen']:g}" if "chosen" in choice else f"{choice['name']}: not complete")
        for row in choice["candidates"]:
            values = [
                f"{name} {100 * row[name]:.2f}" for name in (choice["criterion"], choice["guard"]) if row.get(name)
            ]
            say(f"  {row['value']:g}: {', '.join(values) or 'not complete'}")


def _write(study, summary, found, folder, say):
    from kseg.study import in_words
    from kseg.study.report import page

    if study.get("in_words"):
        summary["in_words"] = in_words.paragraph(summary)
    path = page.write(summary, folder, _pictures(study, found, folder))
    say(f"{path}: {len(found)} of {summary['runs']['planned']} runs")
    _say_verdicts(summary, say)
    return summary


def _say_verdicts(summary, say):
    for entry in summary["contrasts"]:
        if entry["primary"]:
            say(f"  {entry['name']}: {measures.sides(entry)}, {entry['measure']}: {entry['verdict']}")
    if "in_words" in summary:
        say("\n" + textwrap.fill(summary["in_words"], 100))


def _pictures(study, found, workdir):
    """The sheets of report/picture_sheets.py, of the first seed of each headline arm, where they may be shown."""
    from kseg.study.report import picture_sheets

    if not study.publish_pictures:
        return {}
    paths = {}
    for result in found:
        path = os.path.join(workdir, "runs", result["id"], study_folder.PICTURES)
        if result["arm"] in study.headline and os.path.exists(path):
            paths.setdefault(result["arm"], path)
    return picture_sheets.sheets(list(paths.values()))
