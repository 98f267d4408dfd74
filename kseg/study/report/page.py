"""study.json -> report.html, one page that loads nothing from outside, and the figures beside it as PNG and SVG.

Answers how a study looks to a reader; every number on the page is in study.json. Does not compute any.
"""

import collections
import json
import os

from kseg.report import page as pages
from kseg.study import folder as study_folder
from kseg.study import measures, results
from kseg.study.report import figures, tables
from tfrecords import files

FIGURES = "figures"


def write(study: dict, folder: str, pictures: dict | None = None) -> str:
    """Writes study.json (.xz beside an archive), figures/*.png and *.svg, and report.html; returns the page's path.

    Args:
      study: what summary.summarise returned.
      pictures: {title: (caption, PNG bytes)} shown before the tables; only of data that may be published.
    """
    os.makedirs(os.path.join(folder, FIGURES), exist_ok=True)
    shown = []
    for name, (title, caption, function) in figures.figures(study).items():
        wide, narrow = (pages.draw(function, study, "svg", narrow=narrow) for narrow in (False, True))
        for suffix, content in (
            (".svg", wide),
            ("_narrow.svg", narrow),
            (".png", pages.draw(function, study, "png")),
        ):
            files.write_whole(os.path.join(folder, FIGURES, name + suffix), content)
        shown.append(pages.figure(name, title, caption, "image/svg+xml", wide, narrow))
    for number, (title, (caption, content)) in enumerate((pictures or {}).items()):
        shown.append(pages.figure(f"pictures{number}", title, caption, "image/png", content))
    study_folder.save_summary(folder, to_text(study))
    path = os.path.join(folder, "report.html")
    results.write_text(path, page(study, shown))
    return path


def write_figures(study: dict, folder: str, names: list[str] | None) -> None:
    """Writes figures/*.svg alone: all, or those of these names.

    Raises:
      ValueError: at a name that no figure of the study has; nothing is written.
    """
    drawn = figures.figures(study)
    for name in names or ():
        if name not in drawn:
            raise ValueError(f"publish_figures: there is no figure {name!r}, expected some of {', '.join(drawn)}.")
    wanted = drawn if names is None else names
    os.makedirs(os.path.join(folder, FIGURES) if wanted else folder, exist_ok=True)
    for name in wanted:
        content = pages.draw(drawn[name][2], study, "svg")
        files.write_whole(os.path.join(folder, FIGURES, f"{name}.svg"), content)


def to_text(study: dict) -> str:
    """study.json's text: floats to 6 digits, one arm or contrast a line."""
    lines = []
    for key, value in _rounded(study).items():
        if isinstance(value, dict) and key == "arms":
            inner = ",\n".join(
                f"  {json.dumps(name)}: {json.dumps(arm, allow_nan=False)}" for name, arm in value.items()
            )
            lines.append(f" {json.dumps(key)}: {{\n{inner}\n }}")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            inner = ",\n".join(f"  {json.dumps(entry, allow_nan=False)}" for entry in value)
            lines.append(f" {json.dumps(key)}: [\n{inner}\n ]")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value, allow_nan=False)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def page(study: dict, shown: list[dict]) -> str:
    """report.html's text."""
    return pages.render(
        "page.html.j2", os.path.dirname(__file__),
        study=study, figures=shown, tables=tables.tables(study), cards=_cards(study), holm=_holm(study),
        not_worse=any("not_worse" in entry for entry in study["contrasts"]), identity=_identity(study),
    )  # fmt: skip


def _cards(study):
    cards = []
    for entry in study["contrasts"]:
        if not entry["primary"]:
            continue
        what = f"{measures.sides(entry, '−')}, {measures.measure_name(entry['measure'])}"
        unit, interval, lines = measures.unit(entry["measure"]), "", []
        if entry.get("estimate") is not None:
            lines.append(f"Difference {measures.signed(entry['estimate'])} {unit}, {_seeds(entry)}")
        if entry.get("low") is not None:
            interval = f"{measures.signed(entry['holm_low'])} to {measures.signed(entry['holm_high'])} {unit}"
            lines[0] += f"; 95 % interval {measures.signed(entry['low'])} to {measures.signed(entry['high'])}"
            level = f"{100 * entry['holm_level']:.1f} %"
            lines.append(f"The interval above: at Holm's level, {level}; Holm's p {_p(entry['holm_p'])}")
            of = "photos" if measures.OF_OBJECTS.fullmatch(entry["measure"]) else "test frames"
            blocks = "" if of == "photos" else f" (blocks of at most {study['block_frames']})"
            seeds, frames = (f"{100 * entry[key]:.2f}" for key in ("se_seeds", "se_frames"))
            lines.append(f"Standard errors, points: seeds {seeds}, {of} {frames}{blocks}")
            others = [
                f"{100 * value:.2f} with blocks of at most {block}"
                for block, value in entry.get("se_frames_by_block", {}).items()
            ]
            if others:  # photos are drawn one by one
                lines.append(f"Standard error of test frames, points, otherwise: {', '.join(others)}")
        cards.append(
            {
                "name": entry["name"],
                "verdict": tables.verdict(entry, entry.get("margin", study["margin"])),
                "interval": interval,
                "what": what,
                "lines": lines,
            }
        )
    return cards


def _holm(study):
    """Over which contrasts Holm's procedure goes, which judges each family of them apart."""
    sizes = collections.Counter(entry["primary"] for entry in study["contrasts"] if entry["primary"])
    if len(sizes) == 1:
        (count,) = sizes.values()
        return f"Holm over the {count} primary contrast{'s' if count > 1 else ''}"
    return f"Holm within each family: {', '.join(f'{count} of {name}' for name, count in sizes.items())}"


def _p(value):
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _seeds(entry):
    return f"{len(entry['seeds'])} seed{'s' if len(entry['seeds']) != 1 else ''}"


def _identity(study):
    identity = study["identity"]
    versions = ", ".join(f"{name} {version}" for name, version in identity["versions"].items())
    code, records = identity["code"], identity["records"]
    return [
        ("code (sha256)", code),
        ("records (sha256)", records),
        ("versions", versions),
        ("device", identity["device"]),
    ]


def _rounded(value):
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else value
