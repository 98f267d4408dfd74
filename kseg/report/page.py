"""A template and its content -> one HTML page that loads nothing from outside; a chart -> its bytes.

base.html.j2 has what all pages look like: style, figures, tables that sort. A page's own template extends it.
"""

import base64
import io
import os

import jinja2
import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg

from kseg.report import charts


def render(template, folder=None, **content) -> str:
    """The page's text.

    Args:
      template: a file name.
      folder: where it is; None = here.
      **content: what the template asks for; a name that it lacks is an error.
    """
    here = os.path.dirname(__file__)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder or here, here]), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(template).render(**content)


def draw(function, content, kind: str, narrow: bool = False) -> bytes:
    """A figure's bytes, kind "png" or "svg"; the same content gives the same bytes.

    Args:
      function: f(content, narrow) -> matplotlib Figure.
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context(charts.RC):
        figure = function(content, narrow)
        FigureCanvasAgg(figure)
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        # A narrow one is as wide as it was laid out, so that its text comes out at the size it was given.
        box = {} if narrow else {"bbox_inches": "tight", "pad_inches": 0.08}
        figure.savefig(buffer, format=kind, dpi=160, metadata=metadata, **box)
    return buffer.getvalue()


def figure(name, title, caption, kind, wide, narrow=b""):
    """A figure for the template: its pictures, bytes of media type `kind`, as links that hold them.

    `narrow` is the one for a telephone; without it, `wide` is a sheet of pictures that scrolls.
    """
    links = [f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}" for content in (wide, narrow)]
    sheet = not narrow
    return {"name": name, "title": title, "caption": caption, "wide": links[0], "narrow": links[1], "sheet": sheet}


def chart(name, title, caption, function, content):
    """`figure` of a chart, as SVG in both widths."""
    wide, narrow = (draw(function, content, "svg", narrow) for narrow in (False, True))
    return figure(name, title, caption, "image/svg+xml", wide, narrow)
