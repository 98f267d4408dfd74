"""How far a long piece of work is, for the person who waits: a bar at a terminal, a plain line now and then elsewhere.

Plain lines end with a newline and hold no carriage return, so that a log file reads like a text. Everything goes to
stderr.
"""

import collections
import os
import sys
import time

import tqdm

# What a caller may ask for: a bar where stderr is a terminal and lines elsewhere, lines everywhere, nothing.
AUTO, LINES, NONE = True, "lines", False

_BAR_EVERY_S = 0.5
_LINE_EVERY_S, _LINE_AFTER_S = 10, 300
_FIRST_LINES = (1, 2, 5, 10, 20)
_SPEED_OVER = 50  # calls of `advance`


class Progress:
    """Shows how much of a whole is done, how fast it goes and how long it will take.

    Args:
      name: str, what is under way.
      total: int, all there is to do.
      unit: str, one of it; the plural adds an s.
      start: int, what was done before this object was made.
      style: AUTO, LINES or NONE.
      speed: (str, number): what speed is told in and how many of it make a unit; None = the unit itself.
    """

    def __init__(self, name, total, unit, start=0, style=AUTO, speed=None):
        self._name, self._total, self._unit, self._start = name, total, unit, start
        self._speed_unit, self._per_unit = speed or (unit, 1)
        self._done, self._seconds = start, collections.deque(maxlen=_SPEED_OVER)
        self._since, self._shown_at, self._shown, self._first = time.monotonic(), -float("inf"), start, True
        self._lines = style == LINES or (style == AUTO and not sys.stderr.isatty())
        self._bar = None
        if style == AUTO and not self._lines:
            self._bar = tqdm.tqdm(
                total=total, initial=start, desc=name, file=sys.stderr, ncols=_columns(), mininterval=0,
                bar_format="{desc} {percentage:3.0f} % |{bar}| {n_fmt}/{total_fmt} " + unit + "s{postfix}",
            )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._bar is not None:
            self._bar.close()

    def is_due(self, done) -> bool:
        """Whether `show` is worth its while once `done` is reached; what it would tell may cost something to get."""
        if self._bar is None and not self._lines:
            return False
        count, waited = done - self._start, time.monotonic() - self._shown_at
        if done >= self._total:
            return True
        if self._bar is not None:
            return count <= _FIRST_LINES[2] or waited >= _BAR_EVERY_S
        if count in _FIRST_LINES or waited >= _LINE_AFTER_S:
            return True
        return waited >= _LINE_EVERY_S and done - self._shown >= self._total / 100

    def advance(self, done) -> None:
        """Takes note that `done` of the whole are done now."""
        now = time.monotonic()
        if self._first:
            self._first = False  # it was compiled, or files were opened
        else:
            self._seconds.append((now - self._since, done - self._done))
        self._since, self._done = now, done

    def show(self, *texts) -> None:
        """Shows how far it is, with what else there is to tell."""
        texts = ", ".join([*texts, *self._speed()])
        self._shown_at, self._shown = time.monotonic(), self._done
        if self._bar is not None:
            self._bar.n, self._bar.ncols = self._done, _columns()
            self._bar.set_postfix_str(texts)
        elif self._lines:
            self._print(f"{self._name}: {self._unit} {self._done} of {self._total}" + (f", {texts}" if texts else ""))

    def say(self, text) -> None:
        """A line of its own."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        elif self._lines:
            self._print(text)

    def skip(self) -> None:
        """The time since the last `advance` went into something else and tells nothing of the speed."""
        self._since = time.monotonic()

    def _speed(self):
        seconds, done = (sum(column) for column in zip(*self._seconds)) if self._seconds else (0, 0)
        if not seconds or not done:
            return []
        speed = done * self._per_unit / seconds
        told = [f"{speed:.3g} {self._speed_unit}s/s"]
        if self._done < self._total:
            told.append(f"{duration((self._total - self._done) * seconds / done)} left")
        return told

    @staticmethod
    def _print(text):
        print(text, file=sys.stderr, flush=True)


def _columns():
    """The terminal's width; 80 where it does not say, as within some containers."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80


def duration(seconds) -> str:
    """A time as a person says it: 12 s, 5 min, 3 h 20 min, 2 d 4 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
