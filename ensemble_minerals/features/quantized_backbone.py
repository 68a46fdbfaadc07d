"""A frozen pretrained network in 8-bit integers as a feature extractor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ensemble_minerals.data.views import PILLOW_TRANSFORM
from ensemble_minerals.features.backbone import BackboneExtractor
from ensemble_minerals.features.engine_choice import Choice, choose_int8
from ensemble_minerals.features.extractor import JSON
from ensemble_minerals.features.quantization import Calibration

if TYPE_CHECKING:
    from pathlib import Path

    from ensemble_minerals.networks.models.taps import TappedNetwork


class QuantizedBackbone(BackboneExtractor):
    """A backbone that was quantized on some photos; in float32, with a note, where that fails.

    Args:
        exact: The backbone in float32.
        calibration: The photos.
    """

    def __init__(self, exact: BackboneExtractor, calibration: Calibration) -> None:
        self.__setstate__(exact.__getstate__())
        self._precision = "float32"
        self._calibration = calibration

    def _choose(self, network: TappedNetwork) -> Choice:
        return choose_int8(network, self._calibration)

    def _load(self) -> tuple[TappedNetwork, dict[str, JSON]]:
        network, metadata = super()._load()
        return network, {**metadata, "calibration": self._calibration.digest}

    def _request(self, cache_dir: Path) -> dict[str, JSON]:
        # Left out where views are drawn as they were in earlier versions.
        drawn = {} if self._transform == PILLOW_TRANSFORM else {"transform": self._transform}
        return {**super()._request(cache_dir), "calibration": self._calibration.digest, **drawn}
