from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ensemble_minerals.errors import WeightsError
from ensemble_minerals.features import engine_choice
from ensemble_minerals.features.backbone import BackboneExtractor
from ensemble_minerals.features.quantization import Calibration
from ensemble_minerals.features.quantized_backbone import QuantizedBackbone
from ensemble_minerals.system.runtime import DEFAULT_LIMITS

pytestmark = pytest.mark.usefixtures("one_thread", "as_it_is")


@pytest.fixture
def as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """NNCF in name only: a quantized network is a copy."""
    monkeypatch.setattr(engine_choice, "check_installed", lambda: None)
    monkeypatch.setattr(engine_choice, "quantize", lambda model, views: model.clone())


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(12):
        pixels = rng.integers(0, 256, (70, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return {path.name: path for path in folder.iterdir()}


def exact(cache_dir: Path | None = None) -> BackboneExtractor:
    settings: dict[str, Any] = {"size": 64, "precision": "float32", "views": ["squash"]}
    return BackboneExtractor("net", "test_resnet", "random", cache_dir=cache_dir, **settings)


def test_its_features_are_its_own(tmp_path: Path, photos: dict[str, Path]) -> None:
    calibration = Calibration.of(photos, DEFAULT_LIMITS)
    quantized = QuantizedBackbone(exact(tmp_path), calibration)
    assert not quantized.is_known
    assert (quantized.metadata["precision"], quantized.metadata["calibration"]) == (
        "int8",
        calibration.digest,
    )
    assert quantized.fingerprint != exact(tmp_path).fingerprint
    pixels = np.zeros((64, 64, 3), np.uint8)
    assert quantized.extract([pixels]).shape == (1, 1, exact(tmp_path).n_features)
    fewer = Calibration.of(dict(list(photos.items())[1:]), DEFAULT_LIMITS)
    assert QuantizedBackbone(exact(tmp_path), fewer).fingerprint != quantized.fingerprint


def test_a_network_in_the_cache_needs_no_photos(tmp_path: Path, photos: dict[str, Path]) -> None:
    calibration = Calibration.of(photos, DEFAULT_LIMITS)
    made = QuantizedBackbone(exact(tmp_path), calibration)
    pixels = np.full((64, 64, 3), 99, np.uint8)
    expected = made.extract([pixels])
    later = QuantizedBackbone(exact(tmp_path), Calibration(calibration.digest))
    assert later.is_known
    np.testing.assert_array_equal(later.extract([pixels]), expected)
    assert not QuantizedBackbone(exact(tmp_path), Calibration("0" * 32)).is_known


def test_a_damaged_network_without_photos_is_not_another_one(tmp_path: Path, photos: dict[str, Path]) -> None:
    calibration = Calibration.of(photos, DEFAULT_LIMITS)
    assert QuantizedBackbone(exact(tmp_path), calibration).metadata
    (weights,) = (tmp_path / "networks").glob("*/network.bin")
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    next(weights.parent.glob("*.blob")).unlink()  # what was compiled from it
    later = QuantizedBackbone(exact(tmp_path), Calibration(calibration.digest))
    with pytest.raises(WeightsError, match="run again to compute in float32"):
        later.extract([np.zeros((64, 64, 3), np.uint8)])


def test_too_few_photos_leave_it_in_float32(photos: dict[str, Path]) -> None:
    few = Calibration.of(dict(list(photos.items())[:8]), DEFAULT_LIMITS)
    assert QuantizedBackbone(exact(), few).metadata["precision"] == "float32"


def test_one_that_does_not_agree_stays_in_float32(
    photos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_choice, "BOUNDS", {"float32": 0.999, "int8": 1.1})
    metadata = QuantizedBackbone(exact(), Calibration.of(photos, DEFAULT_LIMITS)).metadata
    assert metadata["precision"] == "float32"
    assert "openvino in int8 does not agree" in str(metadata["engine_note"])
