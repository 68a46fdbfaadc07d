"""Turns an SVG file into an element of a page: without addresses, with unique ids, in the page's colors and font."""

from __future__ import annotations

import re
from collections.abc import Mapping

_DROPPED = re.compile(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>|<!--.*?-->", re.DOTALL)
_NAMESPACES = re.compile(r'\s(?:xmlns(?::\w+)?|version)="[^"]*"')  # HTML needs none; they look like addresses
_SIZE = re.compile(r'width="([\d.]+)pt" height="[\d.]+pt"')
_FONTS = re.compile(r"\s*font-family:[^;\"]*;?")


def inline_svg(text: str, name: str, variables: Mapping[str, str]) -> str:
    """Turn an SVG file of matplotlib into an element for HTML.

    Args:
        text: The file.
        name: Put before every id in it, so that several fit in one page.
        variables: Colors as written in the file, and the CSS variable that takes the place of each.

    Returns:
        The ``svg`` element; text stays text.
    """
    text = _DROPPED.sub("", text[text.index("<svg") :])
    head, body = text.split(">", 1)
    head = _SIZE.sub(
        r'style="width: \1pt; min-width: calc(.78 * \1pt)" aria-hidden="true"', _NAMESPACES.sub("", head)
    )
    body = re.sub(r'<g id="[^"]*"', "<g", body).replace("xlink:href", "href")
    body = re.sub(r'(href="#|\sid="|url\(#)', rf"\g<1>{name}-", body)
    body = _FONTS.sub("", body)
    body = re.sub(r"\s*\n\s*", " ", body)
    for color, variable in variables.items():
        body = body.replace(color, f"var({variable})")
    return f"{head}>{body.strip()}"
