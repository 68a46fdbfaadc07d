"""Self-contained HTML pages: one file with its style, script and images, without any address outside of it."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ensemble_minerals.data.decoding import decoded
from ensemble_minerals.errors import ImageError
from ensemble_minerals.reports import wording
from ensemble_minerals.system.atomic import atomic_file, user_errors
from ensemble_minerals.system.foreign_text import visible
from ensemble_minerals.system.runtime import DEFAULT_LIMITS, DecodeLimits

if TYPE_CHECKING:
    from jinja2 import Environment

_AT_ONCE = 128  # thumbnails held in memory before they are written
_QUALITY = 82


def write_page(file: Path, template: str, **context: Any) -> Path:
    """Render a template of this package; the file appears whole or not at all.

    Args:
        file: Where the page goes; its folder is made if need be.
        template: Name of a file in ``reports/templates``.
        context: What the template names. Iterators are drawn from as the page is written, so that images
            need not be in memory together.

    Raises:
        UserError: If the file cannot be written.
    """
    stream = _environment().get_template(template).stream(**context)
    stream.enable_buffering(50)
    # A file name that is no UTF-8 has stray bytes, which no page can hold.
    with (
        user_errors(file),
        atomic_file(file) as draft,
        draft.open("w", encoding="utf-8", errors="replace", newline="\n") as handle,
    ):
        handle.writelines(stream)
    return file


def thumbnails(
    files: Sequence[Path | None],
    *,
    side: int,
    n_threads: int = 1,
    limits: DecodeLimits = DEFAULT_LIMITS,
) -> Iterator[str]:
    """Thumbnails as ``data:`` addresses, in the order of the files.

    Args:
        files: Photos; None for one that is known to be unreadable.
        side: Pixels of the longer side, at most.
        n_threads: Threads that decode.
        limits: Sizes of the photos that are decoded.

    Yields:
        An address for each file; empty where the photo cannot be read.
    """

    def draw(file: Path | None) -> str:
        return "" if file is None else thumbnail(file, side=side, limits=limits)

    with ThreadPoolExecutor(n_threads, thread_name_prefix="thumbnails") as pool:
        for start in range(0, len(files), _AT_ONCE):
            yield from pool.map(draw, files[start : start + _AT_ONCE])


def thumbnail(file: Path, *, side: int, limits: DecodeLimits = DEFAULT_LIMITS) -> str:
    """A thumbnail as a ``data:`` address; empty if the photo cannot be read (any more)."""
    try:
        with decoded(file, at_least=side, limits=limits) as photo:
            image = Image.fromarray(photo.pixels)
            image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    except ImageError:
        return ""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ensemble_minerals.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters |= {"percent": percent, "count": wording.count}
    environment.tests["known"] = wording.is_known
    environment.globals |= {"show": wording.show, "span": wording.span, "listed": wording.listed}
    return environment


def _visible(value: object) -> object:
    return visible(value) if type(value) is str else value


def percent(share: float) -> str:
    r"""A share as printed: one decimal, 100 % only if it is exactly that, and no line break before the sign.

    >>> percent(0.9999) == "99.9\N{NO-BREAK SPACE}%"
    True
    """
    return f"{min(100 * share, 100.0 if share >= 1 else 99.9):.1f}\N{NO-BREAK SPACE}%"
