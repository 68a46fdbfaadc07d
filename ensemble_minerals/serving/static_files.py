"""The pages: files of the package, each at an address of its own."""

from __future__ import annotations

from functools import partial
from importlib import resources

from fastapi import FastAPI
from starlette.responses import Response

_HTML, _SCRIPT = "text/html; charset=utf-8", "text/javascript; charset=utf-8"

PREDICTING = {
    "/": ("index.html", _HTML),
    "/page.js": ("page.js", _SCRIPT),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/docs": ("docs.html", _HTML),
    "/docs.js": ("docs.js", _SCRIPT),
}
"""Files of the page that predicts, and of the one that describes the interface, with their types, by address."""

REVIEWING = {
    "/review": ("review.html", _HTML),
    "/review.js": ("review.js", _SCRIPT),
    "/review.css": ("review.css", "text/css; charset=utf-8"),
}
"""Files of the page where labels are reviewed."""


def add_files(app: FastAPI, files: dict[str, tuple[str, str]]) -> None:
    """Let an application give out files of the package."""
    for address, file in files.items():
        app.add_api_route(address, partial(_give, *file), include_in_schema=False)


async def _give(name: str, media_type: str) -> Response:
    file = resources.files("ensemble_minerals.serving") / "page" / name
    return Response(file.read_bytes(), media_type=media_type)
