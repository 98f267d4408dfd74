"""Fills the numbers of docs/answer.md from study.json files, so that page and measurements cannot disagree.

A number on the page stands between two comments that Markdown does not show:

    <!--camvid/contrasts/capacity/estimate signed-->+0.4<!--/-->

First the study (docs/study/<name>/study.json or study.json.xz beside the page), then keys into it; an entry of a list
is named by its "key". Then how it is written. What a study does not have (yet) is written "not yet measured". So is all
of a study that has not been made. But where the page has a number, its study must be there. Does not measure.
"""

import functools
import json
import os
import re
import statistics

import numpy as np

from kseg.evaluation import pixel_counts
from kseg.study import folder as study_folder
from kseg.study import measures, results

NOT_YET = "not yet measured"
_CHART = re.compile(r"\]\(study/(\w+)\.svg\)")
_SPOT = re.compile(r"(<!--([a-z0-9_]+)/([^>]*?) (\w+)-->)(.*?)(<!--/-->)", re.DOTALL)


def fill_page(path: str, check: bool = False, say=print) -> None:
    """Fills a page in place, and draws the charts study/NAME.svg that it shows and study/NAME.json describes.

    Raises:
      FileNotFoundError: where there is no such page.
      ValueError: with `check`, where the page or a chart does not say what the files say; else as `fill`. The page is
        as it was.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path}: no such page; expected a Markdown file like docs/answer.md.")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    folder = os.path.join(os.path.dirname(path), "study")
    filled = fill(text, folder)
    for name in _CHART.findall(text):
        if os.path.exists(os.path.join(folder, f"{name}.json")):
            _draw(folder, name, check, say)
    if filled == text:
        say(f"{path}: agrees with the studies")
        return
    if check:
        stale = [
            f"{ours[2]}/{ours[3]}"
            for ours, now in zip(_SPOT.finditer(text), _SPOT.finditer(filled))
            if ours[5] != now[5]
        ]
        raise ValueError(
            f"{path} does not agree with the studies at {', '.join(stale[:3])} ({len(stale)} in all); run "
            f"kseg study --answer={path}"
        )
    results.write_text(path, filled)
    say(f"{path}: filled")


def fill(text: str, studies_dir: str) -> str:
    """The page's text with every number as the studies in `studies_dir` have it.

    Raises:
      ValueError: at a study that is damaged, or missing though the page has numbers of it. At a spot that says no known
        way of writing, or one that does not suit its value.
    """
    studies = {}
    for name in dict.fromkeys(match[2] for match in _SPOT.finditer(text)):
        file = os.path.join(studies_dir, name, study_folder.SUMMARY)
        studies[name] = study_folder.load_summary(os.path.dirname(file))
        written = sum(match[5].strip() != NOT_YET for match in _SPOT.finditer(text) if match[2] == name)
        if studies[name] is None and written:
            raise ValueError(
                f"{file} or {study_folder.SUMMARY}.xz is missing, and {written} places of the page hold what it said; "
                f"put it there, or write {NOT_YET!r} at each of them."
            )

    def spot(match):
        opening, name, path, form, closing = match[1], match[2], match[3], match[4], match[6]
        if form not in _FORMS:
            raise ValueError(f"<!--{name}/{path} {form}-->: expected one of {', '.join(_FORMS)} at the end.")
        value = look_up(studies[name], path)
        # A table is rows of its own; its note must not be mistaken for one.
        line = "\n" if form == "table" else ""
        try:
            shown = f"{line}{NOT_YET}{line}" if value is None else _FORMS[form](value)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise ValueError(f"<!--{name}/{path} {form}-->: the value there cannot be written as {form}.") from error
        return f"{opening}{shown}{closing}"

    return _SPOT.sub(spot, text)


def look_up(study, path: str):
    """The value at "arms/ignore-w8/measures/forced_miou/mean"; None where there is none."""
    value = study
    for key in path.split("/"):
        if isinstance(value, list):
            value = next((entry for entry in value if isinstance(entry, dict) and entry.get("key") == key), None)
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


def _draw(folder, name, check, say):
    from kseg.study.report import page_chart  # matplotlib takes its time

    path = os.path.join(folder, f"{name}.svg")
    described = os.path.join(folder, f"{name}.json")
    try:
        with open(described, encoding="utf-8") as file:
            chart = json.load(file)
        names = page_chart.studies_of(chart)
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{described}: it describes no chart as kseg/study/report/page_chart.py says ({error}); mend it."
        ) from error
    studies = {study: study_folder.load_summary(os.path.join(folder, study)) for study in names}
    if None in studies.values():
        raise ValueError(f"{path} needs {' and '.join(studies)} beside it, and study.json in each.")
    try:
        page_chart.points(chart, studies)
    except ValueError as error:
        raise ValueError(f"{described}: {error}") from error
    if page_chart.is_current(chart, studies, path):
        return
    if check:
        raise ValueError(f"{path} does not agree with the studies; run the command without --check.")
    page_chart.write(chart, studies, path)
    say(f"{path}: drawn")


def _percent(value):
    return f"{100 * value:.1f}"


def _mean_sd(measure):
    spread = "" if measure["sd"] is None else f" ± {100 * measure['sd']:.1f}"
    return f"{100 * measure['mean']:.1f}{spread}"


def _interval(entry):
    if entry.get("low") is None:
        return NOT_YET if entry.get("estimate") is None else f"{measures.signed(entry['estimate'])} (one seed)"
    return f"{measures.signed(entry['estimate'])} ({measures.signed(entry['low'])} to {measures.signed(entry['high'])})"


def _holm(entry):
    """The interval at Holm's level, which a primary verdict goes by, and that level."""
    low, high = (measures.signed(entry[key]) for key in ("holm_low", "holm_high"))
    return f"{low} to {high} ({100 * entry['holm_level']:.1f} %)"


def _by_stage(stages):
    return ", ".join(f"{name} {count['done']} of {count['planned']}" for name, count in stages.items())


def _contrasts(entries):
    """A Markdown table of the contrasts that have runs, primary ones first and marked; the others are counted below."""
    from kseg.study import contrasts  # SciPy takes its time

    lines = ["", "| contrast | measure | seeds | points (95 % interval) | verdict |", "|---|---|---|---|---|"]
    measured = [entry for entry in entries if entry["seeds"]]
    for entry in sorted(measured, key=lambda entry: not entry["primary"]):
        mark = "**" if entry["primary"] else ""
        names = f"{mark}{measures.sides(entry, '−')}{mark}"
        seeds, measure = str(len(entry["seeds"])), measures.measure_name(entry["measure"])
        # Runs without the number it asks for will not have it later either; the verdict says why.
        interval = "–" if entry.get("estimate") is None else _interval(entry)
        cells = [names, measure, seeds, interval, f"{mark}{entry['verdict']}{mark}"]
        lines.append(f"| {' | '.join(cells)} |")
    # Not those that would repeat a primary one as long as there are no further seeds.
    waiting = sum(not entry["seeds"] and entry["verdict"] != contrasts.REPEATS for entry in entries)
    if waiting:
        lines += ["", f"{waiting} further contrasts of the plan have no runs yet."]
    return "\n".join([*lines, ""])


def _values(entry):
    """The differences seed by seed."""
    return ", ".join(measures.signed(value) for value in entry.get("values", ())) or NOT_YET


def _median(entry):
    return measures.signed(statistics.median(entry["values"]))


def _caught(kind, share, curve):
    """Void of a kind caught where this share of the correctly labelled pixels is lost, from an arm's curve."""
    return _percent(float(np.interp(share, curve["lost"], curve["kinds"][kind]["mean"])))


_FORMS = {
    "signed": measures.signed,
    "percent": _percent,
    "mean_sd": _mean_sd,
    "interval": _interval,
    "holm": _holm,
    "values": _values,
    **{
        f"{kind}_at_{share}": functools.partial(_caught, kind, share / 100)
        for kind in ("all", *pixel_counts.REPORTED_KINDS)
        for share in (1, 5)
    },
    "median": _median,
    "stages": _by_stage,
    "table": _contrasts,
    "count": lambda value: str(value if isinstance(value, int) else len(value)),
    "text": str,
}
