from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ensemble_minerals.errors import ConfigError
from ensemble_minerals.features import engine as engines
from ensemble_minerals.features.engine import Choice, Engine, OpenVINOEngine, TorchEngine, choose, convert
from ensemble_minerals.features.engine_agreement import probes
from ensemble_minerals.networks.models.taps import TappedNetwork
from ensemble_minerals.networks.models.weights import load_network

SIZE = 64


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def network() -> TappedNetwork:
    return TappedNetwork(load_network("test_efficientnet", "random", size=SIZE))


@pytest.fixture(scope="module")
def model(network: TappedNetwork) -> Any:
    notes: list[str] = []
    converted = convert(network, notes)
    assert notes == []
    return converted


@pytest.fixture(scope="module", params=["torch", "openvino"])
def engine(request: pytest.FixtureRequest, network: TappedNetwork, model: Any) -> Engine:
    if request.param == "torch":
        return TorchEngine(network, "float32")
    return OpenVINOEngine(model, "float32", network.n_features)


def test_vectors_are_the_networks(engine: Engine, network: TappedNetwork) -> None:
    images = probes(SIZE)
    with torch.inference_mode():
        expected = network(torch.from_numpy(np.stack(images))).numpy()
    np.testing.assert_allclose(engine.run(images, len(images)), expected, rtol=1e-3, atol=1e-4)


def test_a_picture_does_not_see_its_neighbors(engine: Engine) -> None:
    images = probes(SIZE)
    together = engine.run(images, len(images))
    alone = np.concatenate([engine.run([image], 1) for image in images])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(engine.run(images[::-1], len(images)), together[::-1])


def test_no_pictures_give_no_vectors(engine: Engine, network: TappedNetwork) -> None:
    assert engine.run([], 0).shape == (0, network.n_features)


def test_threads_may_share_an_engine(engine: Engine) -> None:
    images = probes(SIZE)
    expected = [engine.run([image] * 3, 3) for image in images]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda image: engine.run([image] * 3, 3), images))
    np.testing.assert_array_equal(np.stack(found), np.stack(expected))


def test_a_failing_picture_leaves_the_engine_usable(engine: Engine) -> None:
    images = probes(SIZE)
    before = engine.run(images, len(images))

    def torn() -> Iterator[NDArray[np.uint8]]:
        yield from images[:3]
        raise ValueError("torn")

    with pytest.raises(ValueError, match="torn"):
        engine.run(torn(), 4)
    np.testing.assert_array_equal(engine.run(images, len(images)), before)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_openvino_agrees_with_torch_for_every_kind(name: str) -> None:
    choice = choose(TappedNetwork(load_network(name, "random", size=SIZE)), "openvino", "float32")
    assert (choice.name, choice.precision, choice.note) == ("openvino", "float32", "")
    assert min(choice.agreement.values()) > 0.9999


def test_openvino_is_usual_on_a_processor(network: TappedNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_torch_device", lambda: "cpu")
    monkeypatch.setattr(engines.cpu, "has_fast_bfloat16", lambda: False)
    choice = choose(network)
    assert (choice.name, choice.precision, choice.device) == ("openvino", "float32", "cpu")
    assert set(choice.agreement) == set(network.layers)


def test_torch_serves_where_openvino_is_absent(
    network: TappedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "installed", lambda: False)
    assert choose(network, "auto", "float32").name == "torch"
    with pytest.raises(ConfigError, match="openvino is not installed"):
        choose(network, "openvino")


def drift(monkeypatch: pytest.MonkeyPatch, columns: slice, precision: str | None = None) -> None:
    """Let OpenVINO compute something else in some columns."""
    build, run = OpenVINOEngine.__init__, OpenVINOEngine.run
    built: dict[int, str] = {}

    def remember(self: OpenVINOEngine, model: Any, precision: Any, n_features: int) -> None:
        built[id(self)] = precision
        build(self, model, precision, n_features)

    def shuffled(self: OpenVINOEngine, views: Any, count: int) -> NDArray[np.float32]:
        matrix = run(self, views, count)
        if precision in {None, built[id(self)]}:
            matrix[:, columns] = matrix[::-1, columns]
        return matrix

    monkeypatch.setattr(OpenVINOEngine, "__init__", remember)
    monkeypatch.setattr(OpenVINOEngine, "run", shuffled)


def test_a_drift_falls_back_to_torch_and_says_why(
    network: TappedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    drift(monkeypatch, network.layers["stage3"])
    choice = choose(network, "openvino", "float32")
    assert (choice.name, choice.precision, choice.model) == ("torch", "float32", None)
    assert "openvino in float32 does not agree with torch in float32 (stage3: " in choice.note
    assert choice.engine.run(probes(SIZE), 8).shape == (8, network.n_features)


def test_a_drift_of_bfloat16_alone_falls_back_to_float32(
    network: TappedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_computes_bfloat16", lambda: True)
    drift(monkeypatch, network.layers["final"], "bfloat16")
    choice = choose(network, "openvino", "bfloat16")
    assert (choice.name, choice.precision) == ("openvino", "float32")
    assert "openvino in bfloat16 does not agree" in choice.note


def test_a_processor_without_bfloat16_says_so(
    network: TappedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_computes_bfloat16", lambda: False)
    choice = choose(network, "openvino", "bfloat16")
    assert (choice.precision, choice.note) == ("float32", "this processor has no bfloat16")


class Untraceable(TappedNetwork):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if torch.jit.is_tracing():
            raise KeyError("not to be traced")
        return super().forward(pixels)


def test_a_network_openvino_cannot_take_runs_in_torch() -> None:
    choice: Choice = choose(
        Untraceable(load_network("test_resnet", "random", size=SIZE)), "openvino", "float32"
    )
    assert choice.name == "torch"
    assert "cannot convert this network (KeyError: 'not to be traced')" in choice.note


def test_a_saved_network_runs_the_same(tmp_path: Path, network: TappedNetwork, model: Any) -> None:
    engines.save(model, tmp_path / "network.xml")
    read = OpenVINOEngine(tmp_path / "network.xml", "float32", network.n_features)
    kept = OpenVINOEngine(model, "float32", network.n_features)
    np.testing.assert_allclose(read.run(probes(SIZE), 8), kept.run(probes(SIZE), 8), rtol=1e-4, atol=1e-5)


def test_nothing_is_reported_over_the_internet(tmp_path: Path) -> None:
    script = "from ensemble_minerals.features import engine; engine._core"
    environment = {**os.environ, "HOME": str(tmp_path)}
    for variable in ("CI", "TF_BUILD", "JENKINS_URL"):
        environment.pop(variable, None)
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []
