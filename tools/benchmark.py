"""Speed and memory as ratios, each measured against a peer or a limit in the same run.

  python tools/benchmark.py NAME... [--json_file=F]     (NAME: one of tools/benchmarks/, or all)

Prints one line a figure: value, goal and whether it holds. F gets {NAME: {figure: {value, goal, holds, ...}}}. Nothing
else should run meanwhile. Exit status 0 when everything was measured, whether or not goals hold.
"""

import importlib
import json
import operator
import os
import pathlib
import platform
import sys

from absl import app, flags

_JSON_FILE = flags.DEFINE_string("json_file", "", "Where to write the figures as JSON.")

_FOLDER = pathlib.Path(__file__).parent / "benchmarks"
_COMPARE = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}


def main(argv):
    known = sorted(path.stem for path in _FOLDER.glob("*.py") if not path.stem.startswith("_"))
    names = known if argv[1:] == ["all"] else argv[1:]
    if not names or set(names) - set(known):
        wrong = ", ".join(sorted(set(names) - set(known)))
        sys.exit(
            f"error: {'no benchmark ' + wrong if wrong else 'name a benchmark'}; there are: {', '.join(known)}, all."
        )
    sys.path[:0] = [str(_FOLDER), str(_FOLDER.parent.parent)]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    measured = {}
    for name in names:
        print(f"\n{name}", flush=True)
        measured[name] = importlib.import_module(name).run()
        for figure, entry in measured[name].items():
            entry["holds"] = holds(entry["value"], entry.get("goal", ""))
            print(line(figure, entry), flush=True)
    if _JSON_FILE.value:
        with open(_JSON_FILE.value, "w") as file:
            json.dump(measured, file, indent=1)
            file.write("\n")


def holds(value, goal):
    """Whether a goal such as "<= 1.3" holds; None without a goal or a value."""
    if not goal or value is None:
        return None
    sign, limit = goal.split()[:2]
    return bool(_COMPARE[sign](value, float(limit)))


def line(figure, entry):
    """One figure as text."""
    value = "not measured" if entry["value"] is None else f"{entry['value']:.4g} {entry.get('unit', '')}".strip()
    goal = f"goal {entry['goal']}" if entry.get("goal") else ""
    verdict = {True: "holds", False: "DOES NOT HOLD", None: ""}[entry["holds"]]
    return f"  {figure:44}{value:>16}  {goal:14}{verdict:14}{entry.get('note', '')}".rstrip()


if __name__ == "__main__":
    app.run(main)
