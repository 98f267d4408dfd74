"""Exceptions of any library in one line of text."""

# Of ml_collections, before what it says.
_FAILED_BEFORE = "Configuration is not available because of an earlier failure to load: "


def one_line(error: BaseException) -> str:
    """All that an exception says, in one line, or its type's name; of a traceback in it the last line alone."""
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    # What a KeyError shows is quoted, ends of lines and all.
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    head, traceback, rest = text.partition("Traceback (most recent call last):")
    last = rest.strip().splitlines()[-1:] if traceback else []
    line = " ".join(" ".join([head, *last]).split())
    return line.removeprefix(_FAILED_BEFORE) or type(error).__name__
