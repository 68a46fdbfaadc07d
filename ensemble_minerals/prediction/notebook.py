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


def photo_table(columns: Sequence[str], rows: Iterable[tuple[Path, Sequence[str]]]) -> str:
    """HTML of a table: thumbnail and name of each photo, and cells.

    Args:
        columns: Names of the cells.
        rows: Photos with their cells; one that is no file that can be read has no thumbnail.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", "photo", *columns))
    body = "".join(
        f"<tr><td>{_thumbnail(path)}</td>{''.join(f'<td>{escape(cell)}</td>' for cell in (str(path), *cells))}</tr>"
        for path, cells in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _thumbnail(path: Path) -> str:
    try:
        image = Image.fromarray(decode(path, at_least=_SIDE).pixels)
    except ImageError:
        return ""
    image.thumbnail((_SIDE, _SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return f"<img alt='' src='data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}'>"
