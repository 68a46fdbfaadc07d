"""A table of photos with thumbnails, as a notebook shows it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from ensemble_minerals.data.decoding import decode
from ensemble_minerals.errors import ImageError

_SIDE = 96


KEPT_BYTES = 100 << 20
"""Of photos in memory that are kept for their thumbnails."""


def kept_contents(photos: Iterable[tuple[Path, Path | bytes]]) -> dict[Path, bytes]:
    """The photos in memory, by path, as many from the first on as fit into `KEPT_BYTES`."""
    kept: dict[Path, bytes] = {}
    n_bytes = 0
    for path, photo in photos:
        if isinstance(photo, bytes):
            n_bytes += len(photo)
            if n_bytes > KEPT_BYTES:
                break
            kept[path] = photo
    return kept


def photo_table(columns: Sequence[str], rows: Iterable[tuple[Path, bytes | None, Sequence[str]]]) -> str:
    """HTML of a table: thumbnail and name of each photo, and cells.

    Args:
        columns: Names of the cells.
        rows: Photos, their contents where they are in memory, and their cells; one that cannot be read has no
            thumbnail.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", "photo", *columns))
    body = "".join(
        f"<tr><td>{_thumbnail(path if content is None else content)}</td>"
        f"{''.join(f'<td>{escape(cell)}</td>' for cell in (str(path), *cells))}</tr>"
        for path, content, cells in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _thumbnail(photo: Path | bytes) -> str:
    try:
        image = Image.fromarray(decode(photo, at_least=_SIDE).pixels)
    except ImageError:
        return ""
    image.thumbnail((_SIDE, _SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return f"<img alt='' src='data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}'>"
