from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ensemble_minerals.errors import ConfigError
from ensemble_minerals.features import engine_choice
from ensemble_minerals.features.engine import Engine, OpenVINOEngine
from ensemble_minerals.features.engine_agreement import Precision, probes
from ensemble_minerals.features.engine_choice import Choice, Measure, choose, milliseconds_a_pass
from ensemble_minerals.networks.models.taps import TappedNetwork
from ensemble_minerals.networks.models.weights import load_network

SIZE = 64


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def network() -> TappedNetwork:
    return TappedNetwork(load_network("test_efficientnet", "random", size=SIZE))


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_openvino_agrees_with_torch_for_every_kind(name: str) -> None:
    choice = choose(TappedNetwork(load_network(name, "random", size=SIZE)), "openvino", "float32")
    assert (choice.name, choice.precision, choice.note) == ("openvino", "float32", "")
    assert min(choice.agreement.values()) > 0.9999


def test_openvino_is_usual_on_a_processor(network: TappedNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_choice, "torch_device", lambda: "cpu")
    monkeypatch.setattr(engine_choice, "computes_bfloat16", lambda: False)
    choice = choose(network)
    assert (choice.name, choice.precision, choice.device) == ("openvino", "float32", "cpu")
    assert set(choice.agreement) == set(network.layers)


def test_torch_serves_where_openvino_is_absent(
    network: TappedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_choice, "installed", lambda: False)
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
    monkeypatch.setattr(engine_choice, "computes_bfloat16", lambda: True)
    drift(monkeypatch, network.layers["final"], "bfloat16")
    choice = choose(network, "openvino", "bfloat16")
    assert (choice.name, choice.precision) == ("openvino", "float32")
    assert "openvino in bfloat16 does not agree" in choice.note


def test_a_processor_without_bfloat16_says_so(
    network: TappedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_choice, "computes_bfloat16", lambda: False)
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


def timed(bfloat16: float, seen: list[set[str]] | None = None) -> Measure:
    """A measurement in which float32 takes 2 ms."""

    def measure(engines: Mapping[Precision, Engine], images: Sequence[Any]) -> Mapping[Precision, float]:
        if seen is not None:
            seen.append(set(engines))
        return {"float32": 2.0, "bfloat16": bfloat16}

    return measure


@pytest.fixture
def with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that has bfloat16, as OpenVINO says, whatever this one has."""
    monkeypatch.setattr(engine_choice, "torch_device", lambda: "cpu")
    monkeypatch.setattr(engine_choice, "computes_bfloat16", lambda: True)
    build = OpenVINOEngine.__init__
    monkeypatch.setattr(
        OpenVINOEngine,
        "__init__",
        lambda self, model, _, n_features: build(self, model, "float32", n_features),
    )


@pytest.mark.usefixtures("with_bfloat16")
@pytest.mark.parametrize(("milliseconds", "taken"), [(1.0, "bfloat16"), (1.9, "float32"), (3.0, "float32")])
def test_auto_takes_what_was_measured_to_be_quicker(
    network: TappedNetwork, milliseconds: float, taken: str
) -> None:
    seen: list[set[str]] = []
    choice = choose(network, measure=timed(milliseconds, seen))
    assert (choice.name, choice.precision, choice.note, choice.reason) == ("openvino", taken, "", "")
    assert choice.milliseconds == {"float32": 2.0, "bfloat16": milliseconds}
    assert seen == [{"float32", "bfloat16"}]


@pytest.mark.usefixtures("with_bfloat16")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_that_was_asked_for_is_not_measured(network: TappedNetwork, precision: Precision) -> None:
    seen: list[set[str]] = []
    assert choose(network, "auto", precision, timed(1.0, seen)).precision == precision
    assert seen == []


def test_bfloat16_that_does_not_agree_is_not_measured(
    network: TappedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_choice, "torch_device", lambda: "cpu")
    monkeypatch.setattr(engine_choice, "computes_bfloat16", lambda: True)
    drift(monkeypatch, network.layers["final"], "bfloat16")
    seen: list[set[str]] = []
    choice = choose(network, measure=timed(1.0, seen))
    assert (choice.name, choice.precision, choice.note, seen) == ("openvino", "float32", "", [])
    assert choice.reason.startswith("openvino in bfloat16 does not agree with torch in float32 (final")


def test_engines_are_timed_in_turns() -> None:
    order: list[str] = []

    class Fake:
        def __init__(self, name: str) -> None:
            self.name = name

        def run(self, views: Any, count: int) -> NDArray[np.float32]:
            order.append(self.name)
            return np.zeros((count, 1), np.float32)

    clock = iter(range(0, 10**6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_choice.time, "perf_counter", lambda: next(clock))
        patch.setattr(engine_choice.time, "process_time", lambda: next(clock))
        taken = milliseconds_a_pass({"float32": Fake("a"), "bfloat16": Fake("b")}, [np.zeros(1)] * 4)
    assert order == ["a", "b"] * (len(order) // 2)
    assert taken == {"float32": 250, "bfloat16": 250}


def test_a_few_rounds_are_enough_where_one_precision_takes_much_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, waited, runs = [0.0], [0.0], []

    class Timed:
        def __init__(self, seconds: float) -> None:
            self.seconds = seconds

        def run(self, views, count: int) -> np.ndarray:
            runs.append(self.seconds)
            now[0] += self.seconds
            waited[0] += 0.1  # for a core
            return np.zeros((count, 1), np.float32)

    monkeypatch.setattr(engine_choice.time, "process_time", lambda: now[0])
    monkeypatch.setattr(engine_choice.time, "perf_counter", lambda: now[0] + waited[0])
    taken = milliseconds_a_pass({"float32": Timed(0.002), "bfloat16": Timed(0.003)}, [np.zeros(1)] * 2)
    assert taken == pytest.approx({"float32": 1.0, "bfloat16": 1.5})
    assert len(runs) == 2 * 2
    milliseconds_a_pass({"float32": Timed(0.002), "bfloat16": Timed(0.0022)}, [np.zeros(1)] * 2)
    assert len(runs) > 2 * 2 + 2 * 2
