"""Finished runs -> study.json, figures and a page; and what a repository keeps of them."""

import os

from kseg.study import folder as study_folder
from kseg.study import grid, measures, results


def render(study, workdir: str, say=print) -> dict:
    """Writes study.json, report.html and figures/ from the finished runs in a folder; returns study.json's content."""
    from kseg.study import summary as findings  # SciPy and matplotlib take their time, and runs do without

    runs = grid.expand(study)
    study_folder.check(workdir, "--workdir")
    found = findings.read(workdir, grid.settings_of(runs))
    return _write(study, findings.summarise(study, found, runs, workdir), found, workdir, say)


def collect(study, workdir: str, into: str, say=print) -> dict:
    """Copies every finished run's result.json (and pictures) to `into`/runs/<id>/, and renders there.

    Of a run that failed, failed.txt comes along: the page lists it.

    Raises:
      ValueError, OSError: with `into` as it was, where anything there or here is damaged or does not compare.
    """
    from kseg.study import summary as findings

    runs = grid.expand(study)
    study_folder.check(workdir, "--workdir")
    study_folder.check(into, "--collect")
    ours = findings.read(workdir, grid.settings_of(runs))
    theirs = results.load_all(into)
    try:
        results.check_comparable(ours + theirs, grid.settings_of(runs))
    except ValueError as error:
        raise ValueError(f"{error} Nothing was copied to {into}.") from error
    together = {result["id"]: result for result in theirs + ours}
    found = [together[run.id] for run in runs if run.id in together]
    summary = findings.summarise(study, found, runs, workdir, into)
    names = ("result.json", study_folder.PICTURES) if study.publish_pictures else ("result.json",)
    study_folder.copy_runs([result["id"] for result in ours], names, workdir, into)
    study_folder.copy_runs(summary["runs"]["failed"], ("failed.txt",), workdir, into)
    return _write(study, summary, found, into, say)


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
    from kseg.study.report import page

    path = page.write(summary, folder, _pictures(study, found, folder))
    say(f"{path}: {len(found)} of {summary['runs']['planned']} runs")
    for entry in summary["contrasts"]:
        if entry["primary"]:
            say(f"  {entry['name']}: {measures.sides(entry)}, {entry['measure']}: {entry['verdict']}")
    return summary


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
