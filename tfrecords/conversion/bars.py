"""How far a conversion is, on stderr: a bar at a terminal, a plain line now and then elsewhere."""

import sys

import tqdm

_LINE_EVERY_S = 10
_LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s, {remaining} left"


class _Lines:
    """A file for tqdm that makes a line of each state: no carriage return gets into a log."""

    def write(self, text):
        line = text.replace("\r", "").strip()
        if line:
            print(line, file=sys.stderr, flush=True)

    def flush(self):
        sys.stderr.flush()


def bar(title: str, total: int, unit: str, shown: bool) -> tqdm.tqdm:
    """A bar to `update`, as a context; where not `shown`, one that says nothing."""
    options = {"total": total, "desc": title, "unit": unit, "disable": not shown}
    if shown and not sys.stderr.isatty():
        # The last state is said at the end whatever the interval; nothing is said of what is over before.
        options |= {"file": _Lines(), "bar_format": _LINE, "mininterval": _LINE_EVERY_S, "delay": 1, "ascii": True}
    return tqdm.tqdm(**options)
