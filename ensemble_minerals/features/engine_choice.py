"""Which engine runs a frozen network, in which precision: what agrees with PyTorch in float32 and is quickest."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.errors import ConfigError
from ensemble_minerals.features.engine import (
    Engine,
    Name,
    OpenVINOEngine,
    Pixels,
    TorchEngine,
    computes_bfloat16,
    convert,
    installed,
    torch_device,
)
from ensemble_minerals.features.engine_agreement import BOUNDS, Precision, agreement, probes
from ensemble_minerals.features.quantization import COMPARED, Calibration, check_installed, quantize
from ensemble_minerals.system import cpu

if TYPE_CHECKING:
    from ensemble_minerals.networks.models.taps import TappedNetwork

Wanted: TypeAlias = Literal["auto", "float32", "bfloat16"]
Measure: TypeAlias = Callable[[Mapping[Precision, Engine], Sequence[Pixels]], Mapping[Precision, float]]
"""How long a pass takes in each precision, see `milliseconds_a_pass`."""

WORTH = 0.9
"""Share of the time in float32 that a pass in bfloat16 may take, at most: less gain is not worth the rounding."""

_SECONDS = 1.0
_ROUNDS = 2
_CLEAR = 1.2
_ONE_AT_A_TIME = Lock()


class Families(Protocol):
    """How long a pass takes in each precision on this machine, by architecture family."""

    def read(self, family: str) -> Mapping[Precision, float]:
        """Milliseconds by precision; empty where no network of the family was measured."""
        ...

    def keep(self, family: str, milliseconds: Mapping[Precision, float]) -> None:
        """Keep what was measured for a network of the family."""
        ...


@dataclass(frozen=True)
class Choice:
    """The engine that will run a network, and why.

    Attributes:
        engine: Ready to run.
        name: What it is.
        precision: Of the computation.
        device: `cpu`, `cuda` or `mps`.
        note: Why it is not the one that was configured or is usual; empty where it is.
        agreement: Agreement with PyTorch in float32 by layer; empty where it is that.
        model: The converted model, to be saved; None for PyTorch.
        milliseconds: Of a pass in each precision, where both were timed.
        reason: Why `auto` did not time bfloat16; empty where it did, or where the processor has none.
    """

    engine: Engine
    name: Name
    precision: Precision
    device: str
    note: str = ""
    agreement: Mapping[str, float] = field(default_factory=dict)
    model: Any = None
    milliseconds: Mapping[Precision, float] = field(default_factory=dict)
    reason: str = ""


def choose(
    network: TappedNetwork,
    engine: Literal["auto", "torch", "openvino"] = "auto",
    precision: Wanted = "auto",
    measure: Measure | None = None,
    families: Families | None = None,
) -> Choice:
    """Take the quickest engine that agrees with PyTorch in float32.

    Args:
        network: The tapped network, on the processor.
        engine: `auto` takes a GPU if PyTorch finds one, else OpenVINO where it is installed.
        precision: `auto` takes bfloat16 on a GPU that has it, and on a processor where it was measured to be quicker.
        measure: Times a pass in both precisions; `milliseconds_a_pass` if None.
        families: What was measured before. Where bfloat16 was much slower for a network, it is not tried for others
            of its architecture family.

    Raises:
        ConfigError: OpenVINO is configured and not installed.
    """
    if engine == "openvino" and not installed():
        raise ConfigError(
            ["engine: openvino is not installed; `pip install openvino`, or take engine: torch"]
        )
    device = torch_device()
    if engine == "auto":
        engine = "openvino" if device == "cpu" and installed() else "torch"
    trial = _Trial(network, engine, "cpu" if engine == "openvino" else device)
    if precision == "float32":
        return trial.exact()
    if not trial.has_bfloat16(asked=precision == "bfloat16"):
        note = "this processor has no bfloat16" if precision == "bfloat16" else ""
        return trial.exact(note)
    if precision == "bfloat16" or trial.device != "cpu":
        half = trial.attempt("bfloat16")
        if not isinstance(half, str):
            return half
        return trial.exact(half) if precision == "bfloat16" else replace(trial.exact(), reason=half)
    with _ONE_AT_A_TIME:  # several networks are opened at once: the first is measured, and others go by it
        slower = _slower(network, families)
        if not slower:
            return _quicker(trial, milliseconds_a_pass if measure is None else measure, families)
    return replace(trial.exact(), reason=slower)


def _slower(network: TappedNetwork, families: Families | None) -> str:
    """Why bfloat16 need not be tried, or nothing."""
    family = _family(network)
    taken = {} if families is None else families.read(family)
    if not taken or taken["bfloat16"] < _CLEAR * taken["float32"]:
        return ""
    times = taken["bfloat16"] / taken["float32"]
    return f"bfloat16 took {times:.1f} times as long for another {family} on this machine"


def _family(network: TappedNetwork) -> str:
    return type(network.network).__name__


def _quicker(trial: _Trial, measure: Measure, families: Families | None) -> Choice:
    """Float32, or bfloat16 where that agrees and is measured to be quicker."""
    half = trial.attempt("bfloat16")
    if isinstance(half, str):
        return replace(trial.exact(), reason=half)
    exact = trial.exact()
    taken = measure({"float32": exact.engine, "bfloat16": half.engine}, trial.images)
    if families is not None:
        families.keep(_family(trial.network), taken)
    quicker = half if taken["bfloat16"] <= WORTH * taken["float32"] else exact
    return replace(quicker, milliseconds=taken)


def choose_int8(network: TappedNetwork, calibration: Calibration) -> Choice:
    """OpenVINO in 8-bit integers, or in float32 with a note where that fails or does not agree.

    Args:
        network: The tapped network, on the processor.
        calibration: Photos on which it is quantized; the last few are compared on instead.

    Raises:
        ConfigError: OpenVINO or NNCF is not installed.
    """
    check_installed()
    views = calibration.views(network.size)
    if len(views) <= COMPARED:
        return choose(network, "openvino", "float32")
    trial = _Trial(network, "openvino", "cpu", views[-COMPARED:])
    if trial.engine == "torch":
        return trial.exact()
    converted, trial.model = trial.model, quantize(trial.model, views[:-COMPARED])
    reduced = trial.attempt("int8")
    if not isinstance(reduced, str):
        return reduced
    trial.model = converted
    return trial.exact(reduced)


def milliseconds_a_pass(
    engines: Mapping[Precision, Engine], images: Sequence[Pixels]
) -> Mapping[Precision, float]:
    """Processor's time of engines, in turns; the quickest round counts, so that other work disturbs little.

    Other programs may hold the cores, which makes a pass wait for long and compute little longer. Two rounds are
    enough where one engine takes much longer than another; else it takes about a second.

    Args:
        engines: By precision; each has computed something before, since the first pass asks for memory.
        images: Passed in every round.
    """
    quickest = dict.fromkeys(engines, np.inf)
    began, rounds = time.perf_counter(), 0
    while rounds < _ROUNDS or (
        time.perf_counter() - began < _SECONDS and max(quickest.values()) < _CLEAR * min(quickest.values())
    ):
        for name, engine in engines.items():
            started = time.process_time()
            engine.run(images, len(images))
            quickest[name] = min(quickest[name], 1000 * (time.process_time() - started) / len(images))
        rounds += 1
    return quickest


class _Trial:
    """A network that is tried on an engine, beside PyTorch in float32."""

    def __init__(
        self, network: TappedNetwork, engine: Name, device: str, images: list[Pixels] | None = None
    ) -> None:
        self.network, self.device = network, device
        self.images = probes(network.size) if images is None else images
        self._notes: list[str] = []
        self.model = convert(network, self._notes) if engine == "openvino" else None
        self.engine: Name = engine if self.model is not None else "torch"

    @cached_property
    def _expected(self) -> NDArray[np.float32]:
        """Vectors of the images by PyTorch in float32, on the processor."""
        return TorchEngine(self.network, "float32").run(self.images, len(self.images))

    def has_bfloat16(self, *, asked: bool) -> bool:
        """Whether bfloat16 can be computed; if it was not asked for, whether it may be quick."""
        if self.device == "cuda":
            import torch

            return asked or torch.cuda.is_bf16_supported()
        if self.engine == "openvino":
            return computes_bfloat16()
        return asked or (self.device == "cpu" and cpu.has_fast_bfloat16())

    def exact(self, note: str = "") -> Choice:
        """The engine in float32, or PyTorch on the processor where it does not agree."""
        notes = [note] if note else []
        attempted = self.attempt("float32")
        if isinstance(attempted, str):
            notes.append(attempted)
            attempted = Choice(TorchEngine(self.network, "float32"), "torch", "float32", "cpu")
        return replace(attempted, note="; ".join([*self._notes, *notes]))

    def attempt(self, precision: Precision) -> Choice | str:
        """The engine in a precision, or why it will not do."""
        if (self.engine, precision, self.device) == ("torch", "float32", "cpu"):
            return Choice(TorchEngine(self.network, "float32"), "torch", "float32", "cpu")
        expected = self._expected  # before the network goes to another device
        engine: Engine = (
            OpenVINOEngine(self.model, precision, self.network.n_features)
            if self.engine == "openvino"
            else TorchEngine(self.network, precision, self.device)
        )
        agreed = agreement(expected, engine.run(self.images, len(self.images)), self.network.layers)
        worst = min(agreed, key=lambda layer: agreed[layer])
        if agreed[worst] < BOUNDS[precision]:
            return (
                f"{self.engine} in {precision} does not agree with torch in float32 "
                f"({worst}: {agreed[worst]:.3f}, at least {BOUNDS[precision]} is required)"
            )
        return Choice(engine, self.engine, precision, self.device, "; ".join(self._notes), agreed, self.model)
