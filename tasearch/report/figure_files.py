"""A figure as the content of a file: an image, a page of HTML, or plotly's JSON."""

from __future__ import annotations

import gzip
import importlib.util
from string import Template

import plotly.graph_objects as go

from tasearch.errors import TasearchError
from tasearch.report.html import asset, escape

PLOTLY = "plotly-basic.min.js.gz"  # https://www.npmjs.com/package/plotly.js-basic-dist-min, MIT
IMAGES = (".png", ".svg")  # drawn by a browser
WIDTH = 900  # pixels
SCALES = {".png": 2, ".svg": 1}
EXTRA = "pip install 'tasearch[images]'"
_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>$title</title>
<style>body { margin: 0; background: $paper; }</style>
<script>$plotly</script>
</head>
<body>
$figure
</body>
</html>
""")


def check_images(ending: str) -> None:
    """Refuse the ending of an image where kaleido is not installed.

    Args:
        ending: The ending of a file, such as ".png".

    Raises:
        TasearchError: kaleido is missing; the message says how to get it.
    """
    if ending in IMAGES and importlib.util.find_spec("kaleido") is None:
        raise TasearchError(
            f"{ending} needs kaleido, which is not installed: {EXTRA} installs it; "
            f".html and .json need nothing"
        )


def figure_bytes(figure: go.Figure, ending: str, title: str) -> bytes:
    """The content of a figure's file.

    Args:
        figure: The figure.
        ending: The ending of the file: ".png", ".svg", ".html" or ".json".
        title: Title of the page of HTML.

    Raises:
        TasearchError: An image needs kaleido and a browser, and one of them is missing.
    """
    if ending in IMAGES:
        return _image(figure, ending)
    text = str(figure.to_json()) if ending == ".json" else _page(figure, title)
    return text.encode()


def _page(figure: go.Figure, title: str) -> str:
    """One page that needs no network; plotly's own `write_html` takes no script from outside."""
    inner = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        config={"responsive": True, "displaylogo": False},
        div_id="figure",
        default_height=f"{figure.layout.height}px",
    )
    return _PAGE.substitute(
        title=escape(title),
        paper=figure.layout.paper_bgcolor,
        plotly=gzip.decompress(asset(PLOTLY)).decode(),
        figure=inner,
    )


def _image(figure: go.Figure, ending: str) -> bytes:
    check_images(ending)
    import kaleido
    from kaleido import errors

    options = {
        "format": ending[1:],
        "width": WIDTH,
        "height": figure.layout.height,
        "scale": SCALES[ending],
    }
    try:  # plotly's `write_image` does the same, but loads MathJax from the network
        image = kaleido.calc_fig_sync(figure.to_dict(), options, kopts={"mathjax": False})
    except errors.ChromeNotFoundError:
        raise TasearchError(
            f"{ending} needs Chrome or Chromium, and there is none: install one, or let "
            f"plotly_get_chrome do it; .html and .json need none"
        ) from None
    except (errors.BrowserFailedError, errors.BrowserClosedError):
        raise TasearchError(
            f"{ending} needs Chrome or Chromium, and the one that was found does not start: name "
            f"another in the environment variable BROWSER_PATH, or let plotly_get_chrome install "
            f"one; .html and .json need none"
        ) from None
    return bytes(image)
