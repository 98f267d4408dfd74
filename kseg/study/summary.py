"""What the results of a study say: results in, one JSON object out, from which every figure and page is made.

Answers what each arm measured, seed by seed, and which values the held-out frames chose; contrasts between arms are
kseg/study/contrasts.py's. Does not run anything and draws nothing. The object is study.json.
"""

import collections
import os

import numpy as np

from kseg import iou
from kseg.study import contrasts, levels, measures, results

FORMAT = 1


def read(folder: str, expected: dict[str, dict]) -> list[dict]:
    """All results in a folder that belong to the study, in the order of `expected` (settings by run id).

    Raises:
      ValueError: where they may not be compared (`results.check_comparable`).
      FileNotFoundError: where there is none.
    """
    found = results.load_all(folder)
    if not found:
        raise FileNotFoundError(f"{folder}: no finished run (runs/<id>/result.json or runs.xz); run the study first.")
    order = {run: place for place, run in enumerate(expected)}
    found.sort(key=lambda result: (order.get(result["id"], len(order)), result["id"]))
    results.check_comparable(found, expected)
    return found


def summarise(study, found: list[dict], planned: list, *folders: str) -> dict:
    """study.json's content.

    Args:
      study: the study configuration.
      found: results, comparable.
      planned: grid.Run of every run (only id, stage, arm, seed are read).
      folders: where runs/<id>/failed.txt or an archive's notes would be.
    """
    by_arm = collections.defaultdict(dict)
    for result in found:
        by_arm[result["arm"]][result["seed"]] = result
    noted = [results.notes(folder) for folder in folders]
    frames = contrasts.Frames(study, found, [entry for notes in noted for entry in notes.get("frame_errors", [])])
    done = {result["id"] for result in found}
    known = {run for notes in noted for run in notes.get("failed", [])}
    failed = [run.id for run in planned if run.id not in done and (run.id in known or _failed(run.id, folders))]
    return {
        "format": FORMAT,
        "name": study.name,
        "title": study.title,
        "identity": found[0]["identity"] | {"device": " and ".join(sorted({r["identity"]["device"] for r in found}))},
        "margin": study.margin,
        "block_frames": study.block_frames,
        "draws": study.draws,
        "frame_degrees_of_freedom": frames.freedom,
        "split": found[0]["evaluation"]["split"],
        "frames": found[0]["evaluation"]["report"]["images"],
        **({"frames_per_unit": study.frames_per_unit} if study.get("frames_per_unit", 1) > 1 else {}),
        "sequences": {name: int(count) for name, count in collections.Counter(frames.sequences.tolist()).items()},
        "classes": max((result["classes"] for result in found), key=len),
        "runs": {
            "planned": len(planned),
            "done": len(done),
            "by_stage": _by_stage(planned, done),
            "missing": [run.id for run in planned if run.id not in done and run.id not in failed],
            "failed": failed,
        },
        "arms": {
            arm: {"headline": arm in study.headline, "fold": list(study.folds.get(arm, ()))}
            | _arm([by_seed[seed] for seed in sorted(by_seed)], frames)
            for arm, by_seed in by_arm.items()
        },
        "by_width": list(study.by_width),
        "groups": {
            name: {"title": group.title, "caption": group.caption} for name, group in study.get("groups", {}).items()
        },
        "contrasts": contrasts.judge(study, by_arm, frames),
        "choices": _choices(study, by_arm),
    }


def _failed(run_id, folders):
    return any(os.path.exists(os.path.join(folder, "runs", run_id, "failed.txt")) for folder in folders)


def _by_stage(planned, done):
    stages = {}
    for run in planned:
        stage = stages.setdefault(run.stage, {"planned": 0, "done": 0})
        stage["planned"] += 1
        stage["done"] += run.id in done
    return stages


def _arm(found, frames):
    """One arm: settings, measures over seeds, curves, where its void goes."""
    first = found[0]
    table = {}
    every = [measures.measures(result) for result in found]
    for name in every[0]:
        values = [entry.get(name) for entry in every]
        if all(value is not None for value in values):
            table[name] = _spread(values)
    evaluations = [result["evaluation"] for result in found]
    sequences = {}
    for sequence in dict.fromkeys(frames.sequences.tolist()):
        weights = (frames.sequences == sequence).astype(float)
        for measure in ("forced_miou", "native_miou", "auroc_scene_off_edge"):
            values = [frames.value(result, measure, weights) for result in found]
            if all(value is not None and np.isfinite(value) for value in values):
                sequences.setdefault(sequence, {})[measure] = _spread(values)
    settings = first["settings"]
    heights = [levels.of_run(result, frames) for result in found]
    return {
        "treatment": settings["treatment"]["name"],
        "settings": {
            "void_weight": settings["treatment"]["void_weight"],
            "learning_rate": settings["optimizer"]["learning_rate"],
            "total_steps": settings["train"]["total_steps"],
            "width": settings["model"]["width"],
            "seen_void_ids": settings["data"]["seen_void_ids"],
            "unseen_void_ids": settings["data"]["unseen_void_ids"],
        },
        "stage": first["stage"],
        "seeds": [result["seed"] for result in found],
        "primary_score": first["primary_score"],
        "parameters": first["parameters"],
        "flops": first["flops"],
        "minutes": _spread([result["seconds"] / 60 for result in found]),
        "measures": table,
        "sequences": sequences,
        "scores": _scores(evaluations),
        "per_class_iou": _mean_of([evaluation["report"]["per_class_iou"] for evaluation in evaluations]),
        "per_class_iou_forced": _mean_of([_forced_iou(result, frames) for result in found]),
        "claimed_as": {
            kind: _mean_of(
                [measures.void_block(evaluation["report"], kind)["claimed_as"] for evaluation in evaluations]
            )
            for kind in evaluations[0]["kinds"]
            if measures.void_block(evaluations[0]["report"], kind)["pixels"]
        },
        "curve": _curve(evaluations),
        "training": _training([result["training"] for result in found]),
    } | ({"levels": _levels(heights)} if heights[0] else {})


def _levels(heights):
    """Levels over seeds, of those that every seed has."""
    return {
        name: _spread([level[name] for level in heights])
        for name in heights[0]
        if all(name in level for level in heights)
    }


def _forced_iou(result, frames):
    """IoU by class of the forced decision, pooled over frames: {name: float | None}."""
    values = iou.per_class_iou(frames.array(result, "forced").sum(0))
    return {name: float(value) if np.isfinite(value) else None for name, value in zip(result["classes"], values)}


def _spread(values):
    values = [float(value) for value in values]
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "sd": deviation, "values": values}


def _mean_of(tables):
    """Mean of {name: float | None} over seeds; None where every seed lacks it."""
    out = {}
    for name in tables[0]:
        values = [table[name] for table in tables if table[name] is not None]
        out[name] = float(np.mean(values)) if values else None
    return out


def _scores(evaluations):
    """{kind: {score: mean AUROC off the edges}} of every score of the head, the primary one among them."""
    out = {}
    for kind in evaluations[0]["kinds"]:
        blocks = [measures.void_block(evaluation["report"], kind, "_off_edge") for evaluation in evaluations]
        if all(block and block["pixels"] for block in blocks):
            out[kind] = {
                score: float(np.mean([block["scores"][score]["auroc"] for block in blocks]))
                for score in blocks[0]["scores"]
            }
    return out


def _curve(evaluations):
    """Void caught against correct labelled pixels lost: mean, lowest and highest seed, and the native points."""
    curve = {"lost": evaluations[0]["caught"]["lost"], "kinds": {}, "native": {}}
    for kind in evaluations[0]["caught"]["kinds"]:
        lines = np.array([evaluation["caught"]["kinds"][kind] for evaluation in evaluations], float)
        curve["kinds"][kind] = {
            "mean": lines.mean(0).round(5).tolist(),
            "low": lines.min(0).round(5).tolist(),
            "high": lines.max(0).round(5).tolist(),
        }
        points = [evaluation["native_point"] for evaluation in evaluations]
        if all(point["lost"] for point in points):  # a treatment that never abstains has no point
            curve["native"][kind] = {
                "lost": float(np.mean([point["lost"] for point in points])),
                "caught": float(np.mean([point["caught"][kind] for point in points])),
            }
    return curve


def _training(logs):
    """Mean over seeds of what the runs logged: {"step": [...], "loss": [...], ...} per kind of line."""
    out = {}
    for name in ("loss", "mean_iou"):
        lines = [{step: value for step, value in log.get(name, [])} for log in logs]
        steps = sorted(set.intersection(*(set(line) for line in lines))) if lines else []
        if steps:
            out[name] = [[step, float(np.mean([line[step] for line in lines]))] for step in steps]
    return out


def _choices(study, by_arm):
    """Values chosen on held-out frames: the best mean criterion, the default unless beaten by more than 0.5 points.

    With a guard measure, values whose guard is more than 1 point below the best one's are no candidates.
    """
    out = []
    for name, default, candidates, criterion, guard in study.choices:
        rows = []
        for value, arms in candidates:
            runs = [result for arm in arms for result in by_arm.get(arm, {}).values()]
            complete = all(by_arm.get(arm) for arm in arms)
            row = {"value": value, "complete": complete}
            for measure in filter(None, (criterion, guard)):
                row[measure] = _mean_measure(runs, measure, name) if complete else None
            rows.append(row)
        entry = {"name": name, "default": default, "criterion": criterion, "guard": guard, "candidates": rows}
        if all(row["complete"] for row in rows):
            eligible = rows
            if guard:
                eligible = [row for row in rows if row[guard] >= max(other[guard] for other in rows) - 0.01]
            best = max(eligible, key=lambda row: row[criterion])
            own = next((row for row in eligible if row["value"] == default), None)
            entry["chosen"] = default if own and best[criterion] <= own[criterion] + 0.005 else best["value"]
        out.append(entry)
    return out


def _mean_measure(runs, measure, choice):
    values = [measures.measures(result).get(measure) for result in runs]
    for result, value in zip(runs, values):
        if value is None:
            raise ValueError(f"choice {choice!r}: runs/{result['id']} has no {measure}, its data no such void.")
    return float(np.mean(values))
