"""Tables of a page as data: which cells there are, how numbers are written and sorted. Knows no HTML.

A table is {name, title, note, columns: [{name, text}], rows: [{cells: [{show, sort, text}], primary}]}; `sort` is the
number behind a cell, None for words.
"""

NONE = "–"


def table(name, title, note, columns, rows, text):
    """A table.

    Args:
      name: its anchor on the page.   title, note: words above it.
      columns: heads.
      rows: dicts with `cells` and, where the row is marked, `primary`.
      text: which columns hold words.
    """
    columns = [{"name": column, "text": column in text} for column in columns]
    return {
        "name": name,
        "title": title,
        "note": note,
        "columns": columns,
        "rows": [{"primary": False} | row for row in rows],
    }


def word(text):
    """A cell of words."""
    return {"show": text, "sort": None, "text": True}


def number(value, pattern, scale=1):
    """A cell of `scale` times a number, with a real minus; None is a dash that stays at the end of every order."""
    if value is None:
        return {"show": NONE, "sort": None, "text": False}
    value = value * scale if scale != 1 else value
    return {"show": pattern.format(value).replace("-", "−"), "sort": repr(value), "text": False}
