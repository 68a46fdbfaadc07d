"""Measures of a photo that are not about minerals: light, color, sharpness, background, size."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ensemble_minerals.data.decoding import decoded
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.errors import ImageError
from ensemble_minerals.system.runtime import DecodeLimits, Runtime

SIDE = 192
"""Photos are resized to this shorter side before they are measured, so that sharpness means the same for all."""

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
_EDGE = 0.03  # change of luminance from pixel to pixel; on photos of specimens, soft shadows stay below it
_BORDER = 0.1  # of the shorter side

Measures = Mapping[str, NDArray[Any]]
"""By name (n,) values: floats, NaN where not measured; ``format`` is text, empty where not known."""

_FROM_PIXELS = ("brightness", "saturation", "sharpness", "background")


@dataclass(frozen=True, eq=False)
class PhotoMeasures:
    """What was measured of photos.

    Attributes:
        values: By name.
        unmeasured: Why the photos themselves could not be opened, so that only what the manifest says is known;
            None where they could.
    """

    values: Measures
    unmeasured: str | None


def measure_photos(
    manifest: Manifest,
    rows: NDArray[np.intp],
    limits: DecodeLimits,
    runtime: Runtime,
    located: Mapping[int, Path] | None = None,
) -> PhotoMeasures:
    """Measure photos, from the manifest and from the photos where they are at hand.

    Args:
        manifest: Of the photos.
        rows: (n,) the rows to measure.
        limits: Sizes of the photos that are decoded.
        runtime: Threads and progress.
        located: Files of the rows that are at hand; by default all are where the manifest says.
    """
    progress = runtime.progress.stage("Looking at photos")
    width, height = (side[rows].astype(np.float64) for side in (manifest.width, manifest.height))
    known = (width > 0) & (height > 0)
    values: dict[str, NDArray[Any]] = {
        "resolution": np.where(known, np.minimum(width, height), np.nan),
        "aspect": np.divide(width, height, out=np.full(len(rows), np.nan), where=known),
        "format": manifest.format[rows],
    }
    files = [manifest.file(row) if located is None else located.get(row) for row in rows.tolist()]
    if not any(file is not None and file.is_file() for file in files):
        return PhotoMeasures(
            values, f"The photos are no longer at {manifest.root}; --photos says where they are now."
        )
    measured: list[Mapping[str, float]] = []
    with ThreadPoolExecutor(runtime.n_jobs, thread_name_prefix="measure") as pool:
        for photo in pool.map(partial(_measure_file, limits=limits), files):
            measured.append(photo)
            progress(len(measured), len(files))
    seen = {name: np.array([photo.get(name, np.nan) for photo in measured]) for name in _FROM_PIXELS}
    return PhotoMeasures(seen | values, None)


def _measure_file(file: Path | None, limits: DecodeLimits) -> dict[str, float]:
    if file is None:
        return {}
    try:
        with decoded(file, at_least=SIDE, limits=limits) as photo:
            return measure(photo.pixels)
    except ImageError:  # moved or damaged since the fit: the slices count it as not measured
        return {}


def measure(pixels: NDArray[np.uint8]) -> dict[str, float]:
    """Measure light, color, sharpness and background of a photo.

    Args:
        pixels: (H, W, 3) RGB.

    Returns:
        ``brightness`` and ``saturation`` (means, 0..1), ``sharpness`` (standard deviation of the Laplacian of the
        luminance at a shorter side of `SIDE`), ``background`` (share of the border's pixels on an edge, 0..1).
    """
    height, width = pixels.shape[:2]
    scale = SIDE / min(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    filter_ = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    rgb = np.asarray(Image.fromarray(pixels).resize(size, filter_), dtype=np.float32) / 255
    luminance = rgb @ _LUMINANCE
    red, green, blue = np.moveaxis(rgb, 2, 0)
    strongest = np.maximum(np.maximum(red, green), blue)
    weakest = np.minimum(np.minimum(red, green), blue)
    saturation = (strongest - weakest) / np.maximum(strongest, 1 / 255)
    middle = luminance[1:-1, 1:-1]
    around = luminance[:-2, 1:-1] + luminance[2:, 1:-1] + luminance[1:-1, :-2] + luminance[1:-1, 2:]
    down, across = np.gradient(luminance)
    edge = np.hypot(down, across) > _EDGE
    border = np.ones(edge.shape, dtype=bool)
    reach = round(_BORDER * SIDE)
    border[reach:-reach, reach:-reach] = False
    return {
        "brightness": float(luminance.mean()),
        "saturation": float(saturation.mean()),
        "sharpness": float((4 * middle - around).std()),
        "background": float(edge[border].mean()),
    }
