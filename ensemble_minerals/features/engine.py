"""What runs a frozen network: PyTorch anywhere, OpenVINO on processors, behind one small interface.

A network is converted once: traced with its pooled statistics inside and a fixed batch of one image, so that several
requests can run at once and an image's numbers never depend on other images. An engine is accepted only if it agrees
with PyTorch in float32 on a few images drawn by code; otherwise the next best one is taken and the reason is noted.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.errors import ConfigError
from ensemble_minerals.features.engine_agreement import BOUNDS, Precision, agreement, probes
from ensemble_minerals.system import cpu
from ensemble_minerals.system.digest import file_checksum
from ensemble_minerals.system.sealed import damaged, read_sealed, write_sealed

if TYPE_CHECKING:
    from ensemble_minerals.networks.models.taps import TappedNetwork

Name: TypeAlias = Literal["torch", "openvino"]
Pixels: TypeAlias = NDArray[np.uint8]

_GPU_BATCH = 64
_SUMS = ".sums"


class Engine(Protocol):
    """Runs one network."""

    def run(self, views: Iterable[Pixels], count: int) -> NDArray[np.float32]:
        """Turn images into vectors.

        Args:
            views: Images of shape (size, size, 3), drawn while earlier ones are computed.
            count: Number of images.

        Returns:
            Matrix of shape (count, n_features).
        """
        ...


class DamagedNetworkError(Exception):
    """A converted network on disk is not what was written."""


class TorchEngine:
    """PyTorch in inference mode, channels last, on a GPU where there is one.

    On a CPU images are computed one at a time, so that their numbers do not depend on other images.
    """

    def __init__(self, network: TappedNetwork, precision: Precision, device: str = "cpu") -> None:
        import torch

        self._n_features = network.n_features
        self._network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack the pair
        self._precision = precision
        self._device = device
        self._batch = 1 if device == "cpu" else _GPU_BATCH

    def run(self, views: Iterable[Pixels], count: int) -> NDArray[np.float32]:
        """See `Engine.run`."""
        import torch

        if torch.get_num_threads() > cpu.cores():  # a number of this thread's own
            torch.set_num_threads(cpu.cores())
        matrix = np.empty((count, self._n_features), np.float32)
        remaining, start = iter(views), 0
        half = self._precision == "bfloat16"
        with torch.inference_mode(), torch.autocast(self._device, torch.bfloat16, enabled=half):
            while batch := list(islice(remaining, self._batch)):
                pixels = torch.from_numpy(np.stack(batch)).to(self._device)
                matrix[start : start + len(batch)] = self._network(pixels).float().cpu().numpy()
                start += len(batch)
        return matrix


class OpenVINOEngine:
    """OpenVINO on the CPU, one image a request, as many requests at once as are quickest."""

    def __init__(self, model: Any, precision: Precision, n_features: int) -> None:
        """Compile a model.

        Args:
            model: What `convert` returned, or the path of what `save` wrote.
            precision: Of the computation.
            n_features: Length of the vectors.

        Raises:
            DamagedNetworkError: If what `save` wrote is not whole any more.
        """
        options = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": cpu.cores(),
            "ENABLE_CPU_PINNING": False,  # other programs, and our own decoding, need cores too
        }
        if isinstance(model, Path):
            compiled = _compiled(model, model.with_suffix(f".{precision}.blob"), options)
        else:
            compiled = _core().compile_model(model, "CPU", options)
        self._n_features = n_features
        self._queue = _openvino().AsyncInferQueue(compiled)
        self._queue.set_callback(_keep)
        self._lock = threading.Lock()

    def run(self, views: Iterable[Pixels], count: int) -> NDArray[np.float32]:
        """See `Engine.run`."""
        matrix = np.empty((count, self._n_features), np.float32)
        with self._lock:
            try:
                for row, view in enumerate(views):
                    self._queue.start_async({0: view[None]}, (matrix, row))
            finally:
                self._queue.wait_all()
        return matrix


def _compiled(model: Path, kept: Path, options: Mapping[str, Any]) -> Any:
    """Compile a saved model, or load what an earlier run compiled, in half the time and with the same numbers.

    Args:
        model: What `save` wrote.
        kept: Where the compiled form is kept; made if it is not there, or is damaged.
        options: Of the compilation.
    """
    blob = read_sealed(kept)
    if blob is not None:
        with suppress(RuntimeError):  # OpenVINO refuses what it cannot use
            return _core().import_model(blob, "CPU", options)
    if not (_is_whole(model) or _is_whole(model)):  # another process may have replaced it in between
        damaged(model)
        raise DamagedNetworkError(model)
    compiled = _core().compile_model(str(model), "CPU", options)
    write_sealed(kept, compiled.export_model().getvalue())
    return compiled


def _keep(request: Any, target: tuple[NDArray[np.float32], int]) -> None:
    matrix, row = target
    matrix[row] = request.get_output_tensor(0).data[0]


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
    """

    engine: Engine
    name: Name
    precision: Precision
    device: str
    note: str = ""
    agreement: Mapping[str, float] = field(default_factory=dict)
    model: Any = None


def choose(
    network: TappedNetwork,
    engine: Literal["auto", "torch", "openvino"] = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
) -> Choice:
    """Take the quickest engine that agrees with PyTorch in float32.

    Args:
        network: The tapped network, on the processor.
        engine: `auto` takes a GPU if PyTorch finds one, else OpenVINO where it is installed.
        precision: `auto` takes bfloat16 where the CPU or the GPU is quick at it.

    Raises:
        ConfigError: OpenVINO is configured and not installed.
    """
    if engine == "openvino" and not installed():
        raise ConfigError(
            ["engine: openvino is not installed; `pip install openvino`, or take engine: torch"]
        )
    device = _torch_device()
    if engine == "auto":
        engine = "openvino" if device == "cpu" and installed() else "torch"
    device = "cpu" if engine == "openvino" else device
    if precision == "auto":
        precision = "bfloat16" if _quick_at_bfloat16(device) else "float32"
    notes: list[str] = []
    if engine == "openvino" and precision == "bfloat16" and not _computes_bfloat16():
        notes.append("this processor has no bfloat16")
        precision = "float32"
    reference = TorchEngine(network, "float32")
    if (engine, precision, device) == ("torch", "float32", "cpu"):
        return Choice(reference, "torch", "float32", "cpu")
    images = probes(network.size)
    expected = reference.run(images, len(images))
    model = convert(network, notes) if engine == "openvino" else None
    for name, each in _candidates(engine if engine == "torch" or model is not None else "torch", precision):
        if name == "torch" and each == "float32" and device == "cpu":
            return Choice(reference, name, each, device, "; ".join(notes))
        candidate: Engine = (
            OpenVINOEngine(model, each, network.n_features)
            if name == "openvino"
            else TorchEngine(network, each, device)
        )
        agreed = agreement(expected, candidate.run(images, len(images)), network.layers)
        worst = min(agreed, key=lambda layer: agreed[layer])
        if agreed[worst] >= BOUNDS[each]:
            kept = model if name == "openvino" else None
            return Choice(candidate, name, each, device, "; ".join(notes), agreed, kept)
        notes.append(
            f"{name} in {each} does not agree with torch in float32 "
            f"({worst}: {agreed[worst]:.3f}, at least {BOUNDS[each]} is required)"
        )
    return Choice(TorchEngine(network, "float32"), "torch", "float32", "cpu", "; ".join(notes))


def _candidates(engine: Name, precision: Precision) -> list[tuple[Name, Precision]]:
    wanted: list[tuple[Name, Precision]] = [(engine, precision), (engine, "float32"), ("torch", "float32")]
    return list(dict.fromkeys(wanted))


def installed() -> bool:
    """Whether OpenVINO is there, without importing it."""
    return find_spec("openvino") is not None


def convert(network: TappedNetwork, notes: list[str]) -> Any | None:
    """Trace a network into an OpenVINO model for one image; None, and a note that says why, where that fails."""
    import torch
    from torch.jit._trace import TracerWarning

    openvino = _openvino()
    shape = [1, network.size, network.size, 3]
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", FutureWarning)
            warnings.filterwarnings(
                "ignore", category=TracerWarning
            )  # shapes are constants: they are meant to be
            # torch has no types for trace
            traced: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
                network, torch.zeros(shape, dtype=torch.uint8), check_trace=False
            )
            model = openvino.convert_model(traced, input=shape)
    except Exception as error:  # whatever a foreign network makes the tracer raise, PyTorch can still run it
        reason = (str(error).splitlines() or [""])[0]
        notes.append(f"OpenVINO cannot convert this network ({type(error).__name__}: {reason})")
        return None
    passes = import_module("openvino.passes")
    manager = passes.Manager()
    manager.register_pass(passes.ConstantFolding())  # with the shapes known, most of their arithmetic goes
    manager.run_passes(model)
    return model


def save(model: Any, path: Path) -> None:
    """Write a converted model as `path` (.xml), with its values (.bin) in full precision and checksums beside it."""
    _openvino().save_model(model, str(path), compress_to_fp16=False)
    write_sealed(path.with_suffix(_SUMS), _sums(path))


def _is_whole(model: Path) -> bool:
    try:
        return read_sealed(model.with_suffix(_SUMS)) == _sums(model)
    except OSError:
        return False


def _sums(model: Path) -> bytes:
    """Checksums of the two files of a model."""
    return repr([file_checksum(model.with_suffix(suffix)) for suffix in (".xml", ".bin")]).encode()


def _openvino() -> Any:
    """OpenVINO without its telemetry, which reports every import over the internet and costs 0.1 s."""
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: not importable
    return import_module("openvino")


_ONE_AT_A_TIME = threading.Lock()


def _core() -> Any:
    """The only OpenVINO core of this process, whichever thread needs it first."""
    with _ONE_AT_A_TIME:
        return _made_core()


@cache
def _made_core() -> Any:
    return _openvino().Core()


def _computes_bfloat16() -> bool:
    return bool("BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _torch_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _quick_at_bfloat16(device: str) -> bool:
    if device == "cuda":
        import torch

        return bool(torch.cuda.is_bf16_supported())
    return device == "cpu" and cpu.has_fast_bfloat16()
