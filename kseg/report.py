"""study.json -> report.html: one page that loads nothing from outside, and the figures beside it as PNG and SVG.

Answers how a study looks to a reader; every number on the page is in study.json. Does not compute any.
"""

import base64
import json
import os

import jinja2

from kseg import figures, results

_NONE = "–"
_KIND_MEASURES = (
    ("AUROC", "auroc"),
    ("AP", "average_precision"),
    ("AP at 1 %", "average_precision_at_1_percent"),
    ("FPR95", "fpr95"),
)
_HEADLINE_MEASURES = (
    ("forced mIoU", "forced_miou"),
    ("native mIoU", "native_miou"),
    ("calibrated mIoU", "calibrated_miou"),
    ("mIoU with void as a class", "miou_with_background"),
    ("labelled lost, native", "abstain_rate"),
    ("labelled lost, calibrated", "calibrated_abstain_rate"),
    ("scene leak, native", "leak_scene"),
    ("scene leak, calibrated", "calibrated_leak_scene"),
    ("AUROC scene off-edge", "auroc_scene_off_edge"),
    ("AUROC unseen off-edge", "auroc_unseen_off_edge"),
)


def write(study: dict, folder: str, pictures: dict | None = None) -> str:
    """Writes study.json, figures/*.png and *.svg, and report.html; returns the page's path.

    Args:
      study: what findings.summarise returned.
      pictures: {title: (caption, PNG bytes)} shown before the tables; only of data that may be published.
    """
    os.makedirs(os.path.join(folder, "figures"), exist_ok=True)
    shown = []
    for name, (title, caption, function) in figures.figures(study).items():
        wide, narrow = (figures.render(function, study, "svg", narrow=narrow) for narrow in (False, True))
        for suffix, content in (
            (".svg", wide),
            ("_narrow.svg", narrow),
            (".png", figures.render(function, study, "png")),
        ):
            with open(os.path.join(folder, "figures", name + suffix), "wb") as file:
                file.write(content)
        shown.append(_figure(name, title, caption, "image/svg+xml", wide, narrow))
    for number, (title, (caption, content)) in enumerate((pictures or {}).items()):
        shown.append(_figure(f"pictures{number}", title, caption, "image/png", content, content))
    results.write_text(os.path.join(folder, "study.json"), to_text(study))
    path = os.path.join(folder, "report.html")
    results.write_text(path, page(study, shown))
    return path


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
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(__file__)), autoescape=True, undefined=jinja2.StrictUndefined
    )
    tables = [table for make in _TABLES if (table := make(study))["rows"]]
    return environment.get_template("report.html.j2").render(
        study=study, figures=shown, tables=tables, cards=_cards(study), identity=_identity(study)
    )


def _cards(study):
    cards = []
    for entry in study["contrasts"]:
        if not entry["primary"]:
            continue
        what = f"{entry['arm']} − {entry['reference']}, {_measure(entry['measure'])}"
        lines = []
        if entry.get("estimate") is not None:
            lines.append(f"{_signed(entry['estimate'])} points, {_seeds(entry)}")
        if entry.get("low") is not None:
            lines.append(
                f"95 % interval {_signed(entry['low'])} to {_signed(entry['high'])}; at Holm's level "
                f"({100 * entry['holm_level']:.1f} %) {_signed(entry['holm_low'])} to {_signed(entry['holm_high'])}"
            )
            lines.append(
                f"standard errors: seeds {100 * entry['se_seeds']:.2f}, test frames {100 * entry['se_frames']:.2f}; "
                f"Holm's p {entry['holm_p']:.3f}"
            )
        cards.append({"name": entry["name"], "verdict": entry["verdict"], "what": what, "lines": lines})
    return cards


def _contrasts(study):
    columns = ["contrast", "arm", "reference", "measure", "seeds", "points", "low", "high", "SE seeds", "SE frames"]
    columns += ["df", "p", "verdict"]
    rows = []
    for entry in study["contrasts"]:
        cells = [
            _word(entry["name"]),
            _word(entry["arm"]),
            _word(entry["reference"]),
            _word(_measure(entry["measure"])),
        ]
        cells.append(_number(len(entry["seeds"]), "{:d}"))
        for key in ("estimate", "low", "high"):
            cells.append(_number(entry.get(key), "{:+.2f}", 100))
        cells += [_number(entry.get(key), "{:.2f}", 100) for key in ("se_seeds", "se_frames")]
        cells += [_number(entry.get("degrees_of_freedom"), "{:.1f}"), _number(entry.get("p"), "{:.3f}")]
        rows.append({"cells": [*cells, _word(entry["verdict"])], "primary": entry["primary"]})
    note = (
        "Arm minus reference, 95 % intervals, p not adjusted. Marked rows are primary; their verdicts use Holm's level."
    )
    return _table("contrasts", "Contrasts", note, columns, rows, ("contrast", "arm", "reference", "measure", "verdict"))


def _treatments(study):
    names = [(head, key) for head, key in _HEADLINE_MEASURES if any(key in a["measures"] for a in _headline(study))]
    rows = [
        [_word(arm["treatment"]), _number(len(arm["seeds"]), "{:d}")]
        + [_spread(arm["measures"].get(key)) for _, key in names]
        for arm in _headline(study)
    ]
    note = "Mean ± standard deviation over seeds, in %. Calibrated: abstains where the score passes a threshold that "
    note += "held-out training frames set for 5 % of labelled pixels lost. Leak: void pixels claimed as a class."
    columns = ["treatment", "seeds", *(head for head, _ in names)]
    return _table("treatments", "Treatments", note, columns, [{"cells": row} for row in rows], ("treatment",))


def _void(study):
    rows = []
    for name, arm in study["arms"].items():
        for kind in ("all", "scene", "dropped", "geometry", "unseen"):
            for edge, where in (("", "all"), ("_off_edge", "off-edge")):
                values = [arm["measures"].get(f"{measure}_{kind}{edge}") for _, measure in _KIND_MEASURES]
                if values[0] is not None:
                    cells = [_word(name), _word(arm["primary_score"]), _word(kind), _word(where)]
                    cells += [_spread(value) for value in values]
                    rows.append({"cells": [*cells, _spread(arm["measures"].get(f"leak_{kind}{edge}"))]})
    columns = ["arm", "score", "void", "pixels", *(head for head, _ in _KIND_MEASURES), "leak"]
    note = (
        "Primary score, mean ± standard deviation over seeds, in %. Positives are that kind of void alone. AP depends "
    )
    note += "on how much void there is; at 1 % it is brought to the same prevalence."
    return _table("void", "Finding void, by kind", note, columns, rows, ("arm", "score", "void", "pixels"))


def _scores(study):
    rows = []
    for name, arm in study["arms"].items():
        for kind, scores in arm["scores"].items():
            for score, value in scores.items():
                mark = "primary" if score == arm["primary_score"] else ""
                cells = [_word(name), _word(kind), _word(score), _word(mark), _number(value, "{:.1f}", 100)]
                rows.append({"cells": cells})
    note = "AUROC off the edges of every score that a head offers without further training, mean over seeds, in %."
    columns = ["arm", "void", "score", "", "AUROC"]
    return _table("scores", "Every void score", note, columns, rows, ("arm", "void", "score", ""))


def _sequences(study):
    rows = []
    measures = ("forced_miou", "native_miou", "auroc_scene_off_edge")
    for name, arm in study["arms"].items():
        for sequence, values in arm["sequences"].items():
            cells = [_word(name), _word(sequence), *(_spread(values.get(measure)) for measure in measures)]
            rows.append({"cells": cells})
    columns = ["arm", "sequence", *(_measure(measure) for measure in measures)]
    return _table("sequences", "By sequence", "In %, mean ± standard deviation.", columns, rows, ("arm", "sequence"))


def _classes(study):
    arms = [arm for arm in _headline(study)]
    names = list(arms[0]["per_class_iou"]) if arms else []
    rows = [
        [_word(arm["treatment"]), *(_number(arm["per_class_iou"].get(name), "{:.1f}", 100) for name in names)]
        for arm in arms
    ]
    note = "IoU by the treatment's own decision rule, mean over seeds, in %; an abstention is a miss."
    return _table("classes", "By class", note, ["treatment", *names], [{"cells": row} for row in rows], ("treatment",))


def _runs(study):
    rows = []
    for name, arm in study["arms"].items():
        settings = arm["settings"]
        cells = [_word(name), _word(arm["stage"]), _word(", ".join(map(str, arm["seeds"])))]
        cells += [_number(settings[key], "{:g}") for key in ("learning_rate", "void_weight", "total_steps")]
        cells += [_number(arm["parameters"], "{:,d}"), _number(arm["flops"], "{:.2f}", 1e-9)]
        rows.append({"cells": [*cells, _number(arm["minutes"]["mean"], "{:.1f}")]})
    columns = [
        "arm",
        "stage",
        "seeds",
        "learning rate",
        "void weight",
        "steps",
        "parameters",
        "GFLOP an image",
        "minutes",
    ]
    return _table("runs", "Runs", "", columns, rows, ("arm", "stage", "seeds"))


def _choices(study):
    rows = []
    for choice in study["choices"]:
        for row in choice["candidates"]:
            chosen = "chosen" if choice.get("chosen") == row["value"] else ""
            guard = row.get(choice["guard"]) if choice["guard"] else None
            cells = [_word(choice["name"]), _number(row["value"], "{:g}"), _word(_measure(choice["criterion"]))]
            cells += [
                _number(row.get(choice["criterion"]), "{:.2f}", 100),
                _number(guard, "{:.2f}", 100),
                _word(chosen),
            ]
            rows.append({"cells": cells})
    note = "On held-out training frames. The default stays unless another value is better by more than 0.5 points."
    columns = ["choice", "value", "criterion", "%", "forced mIoU (guard)", ""]
    return _table("choices", "Choices", note, columns, rows, ("choice", "criterion", ""))


_TABLES = (_contrasts, _treatments, _void, _scores, _sequences, _classes, _choices, _runs)


def _table(name, title, note, columns, rows, text):
    columns = [{"name": column, "text": column in text} for column in columns]
    return {
        "name": name,
        "title": title,
        "note": note,
        "columns": columns,
        "rows": [{"primary": False} | r for r in rows],
    }


def _word(text):
    return {"show": text, "sort": None, "text": True}


def _number(value, pattern, scale=1):
    if value is None:
        return {"show": _NONE, "sort": None, "text": False}
    value = value * scale if scale != 1 else value
    return {"show": pattern.format(value).replace("-", "−"), "sort": repr(value), "text": False}


def _spread(measure):
    if measure is None:
        return _number(None, "")
    cell = _number(measure["mean"], "{:.1f}", 100)
    if measure["sd"] is not None:
        cell["show"] += f" ± {100 * measure['sd']:.1f}"
    return cell


def _measure(name):
    return name.replace("_miou", " mIoU").replace("auroc", "AUROC").replace("_off_edge", ", off-edge").replace("_", " ")


def _signed(value):
    return f"{100 * value:+.1f}".replace("-", "−")


def _seeds(entry):
    return f"{len(entry['seeds'])} seed{'s' if len(entry['seeds']) != 1 else ''}"


def _headline(study):
    return [arm for arm in study["arms"].values() if arm["headline"]]


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


def _figure(name, title, caption, kind, wide, narrow):
    links = [f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}" for content in (wide, narrow)]
    return {"name": name, "title": title, "caption": caption, "wide": links[0], "narrow": links[1]}


def _rounded(value):
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else value
