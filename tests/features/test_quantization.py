from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ensemble_minerals.errors import ConfigError
from ensemble_minerals.features import quantization
from ensemble_minerals.features.engine import OpenVINOEngine, TorchEngine, convert
from ensemble_minerals.features.engine_agreement import agreement
from ensemble_minerals.features.quantization import Calibration, check_installed, quantize
from ensemble_minerals.networks.models.taps import TappedNetwork
from ensemble_minerals.networks.models.weights import load_network
from ensemble_minerals.system.runtime import DEFAULT_LIMITS

pytestmark = pytest.mark.usefixtures("one_thread")

with_nncf = pytest.mark.skipif(find_spec("nncf") is None, reason="NNCF, of the extra int8, is not installed")


@pytest.fixture
def photos(tmp_path: Path) -> dict[str, Path]:
    rng = np.random.default_rng(0)
    for number in range(24):
        ground = rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)
        Image.fromarray(ground).resize((80, 70), Image.Resampling.BICUBIC).save(tmp_path / f"{number}.png")
    return {path.name: path for path in tmp_path.iterdir()}


def test_a_calibration_is_its_photos_in_any_order(photos: dict[str, Path]) -> None:
    one = Calibration.of(photos, DEFAULT_LIMITS)
    assert one == Calibration.of(dict(reversed(photos.items())), DEFAULT_LIMITS)
    fewer = dict(list(photos.items())[:-1])
    assert Calibration.of(fewer, DEFAULT_LIMITS).digest != one.digest


def test_photos_are_seen_whole_and_unreadable_ones_left_out(photos: dict[str, Path]) -> None:
    next(iter(photos.values())).write_text("no photo")
    views = Calibration.of(photos, DEFAULT_LIMITS).views(32)
    assert {view.shape for view in views} == {(32, 32, 3)}
    assert len(views) == len(photos) - 1


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda name: None if name == "nncf" else name)
    with pytest.raises(ConfigError, match=r"int8 needs nncf; `pip install 'ensemble-minerals\[int8\]'`"):
        check_installed()


@with_nncf
def test_a_quantized_network_is_another_that_agrees(photos: dict[str, Path], capsys) -> None:
    network = TappedNetwork(load_network("test_efficientnet", "random", size=64))
    views = Calibration.of(photos, DEFAULT_LIMITS).views(64)
    model = convert(network, [])
    quantized = quantize(model, views)
    assert capsys.readouterr().out == ""
    exact = TorchEngine(network, "float32").run(views, len(views))
    found, unchanged = (
        OpenVINOEngine(each, precision, network.n_features).run(views, len(views))
        for each, precision in ((quantized, "int8"), (model, "float32"))
    )
    np.testing.assert_allclose(unchanged, exact, rtol=1e-3, atol=1e-4)
    assert not np.allclose(found, exact, rtol=1e-3, atol=1e-4)
    assert min(agreement(exact, found, network.layers).values()) > 0.7


@with_nncf
def test_nothing_is_reported_over_the_internet(tmp_path: Path) -> None:
    script = (
        "from ensemble_minerals.features import quantization; quantization._nncf()\n"
        "from nncf.telemetry.wrapper import telemetry; print(type(telemetry).__name__)"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    for variable in ("CI", "TF_BUILD", "JENKINS_URL", *(each for each in environment if "PYTEST" in each)):
        environment.pop(variable, None)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.split()[-1] != "NNCFTelemetry"
    assert not list(tmp_path.rglob("*telemetry*"))
    assert not (tmp_path / "intel").exists()
