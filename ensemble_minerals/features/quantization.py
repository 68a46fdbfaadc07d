"""Networks in 8-bit integers: NNCF, an extra, finds the ranges of their layers on a few photos."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, Self

from ensemble_minerals.data.decoding import decoded
from ensemble_minerals.data.image_cache import decode_side
from ensemble_minerals.data.views import draw_views
from ensemble_minerals.errors import ConfigError, ImageError
from ensemble_minerals.features.engine import Pixels
from ensemble_minerals.system.digest import content_digest
from ensemble_minerals.system.runtime import DEFAULT_LIMITS, DecodeLimits

COMPARED = 8
"""Photos of a calibration that are not calibrated on: the quantized network is compared on them."""

_EXACT = ["Divide", "Multiply", "Power", "ReduceMean", "Sqrt", "Subtract"]
"""Operations that stay in float32: the input's normalization, and the means and deviations of the layers."""


@dataclass(frozen=True)
class Calibration:
    """Photos on which a network is quantized.

    Attributes:
        digest: Of their contents.
        photos: Their files; empty where they are not at hand, so that no network can be quantized anew.
        limits: Sizes of the photos that are decoded.
    """

    digest: str
    photos: tuple[Path, ...] = ()
    limits: DecodeLimits = DEFAULT_LIMITS

    @classmethod
    def of(cls, photos: Mapping[str, Path], limits: DecodeLimits) -> Self:
        """The calibration on photos, by digest of their contents; they count in the order of the digests."""
        ordered = sorted(photos)
        return cls(
            content_digest("\n".join(ordered).encode()), tuple(photos[each] for each in ordered), limits
        )

    def views(self, size: int) -> list[Pixels]:
        """The whole of each photo that can be read, as a square."""
        views = []
        for path in self.photos:
            try:
                with decoded(path, at_least=decode_side(size), limits=self.limits) as photo:
                    views += list(draw_views(photo.pixels, ["squash"], size))
            except ImageError:
                continue  # it is told where its features are computed
        return views


def check_installed() -> None:
    """Make sure that networks can be quantized.

    Raises:
        ConfigError: If OpenVINO or NNCF is not installed.
    """
    missing = [name for name in ("openvino", "nncf") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            [
                f"precision: int8 needs {' and '.join(missing)}; `pip install 'ensemble-minerals[int8]'`, "
                "or take another precision"
            ]
        )


def quantize(model: Any, views: Sequence[Pixels]) -> Any:
    """Quantize a converted network to 8-bit integers.

    Args:
        model: What `engine.convert` returned.
        views: Images like those that it will see.

    Returns:
        The quantized model, for the same engine.
    """
    nncf = _nncf()
    with redirect_stdout(StringIO()):  # its bars of progress
        return nncf.quantize(
            model.clone(),
            nncf.Dataset([view[None] for view in views]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(views),
            fast_bias_correction=False,  # the exact one takes twice as long, and the first layers need it
            ignored_scope=nncf.IgnoredScope(types=_EXACT, validate=False),
        )


def _nncf() -> Any:
    """NNCF without its telemetry, which it takes from the same package as OpenVINO."""
    if "nncf" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # None: not importable
    nncf = import_module("nncf")
    nncf.set_log_level(40)  # of Python's logging: errors
    return nncf
