"""What runs a frozen network: PyTorch anywhere, OpenVINO on processors, behind one small interface.

A network is converted once: traced with its pooled statistics inside and a fixed batch of one image, so that several
requests can run at once and an image's numbers never depend on other images. `engine_choice` says which engine runs a
network.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.system import cpu
from ensemble_minerals.system.digest import file_checksum
from ensemble_minerals.system.sealed import damaged, read_sealed, write_sealed

if TYPE_CHECKING:
    from ensemble_minerals.features.engine_agreement import Precision
    from ensemble_minerals.networks.models.taps import TappedNetwork

Name: TypeAlias = Literal["torch", "openvino"]
Pixels: TypeAlias = NDArray[np.uint8]

_GPU_BATCH = 64
_SUMS = ".sums"
_CONVERTER = "openvino.tools.ovc"


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
            computing: Any = None
            while batch := list(islice(remaining, self._batch)):
                pixels = torch.from_numpy(np.stack(batch))
                if self._device != "cpu":
                    pixels = pixels.pin_memory().to(self._device, non_blocking=True)
                # A GPU computes a batch while the views of the next one are drawn.
                before, computing = computing, (start, self._network(pixels).float())
                _copy(before, matrix)
                start += len(batch)
            _copy(computing, matrix)
        return matrix


def _copy(computed: tuple[int, Any] | None, matrix: NDArray[np.float32]) -> None:
    """Wait for the features of a batch, and put them into their rows."""
    if computed is not None:
        start, features = computed
        matrix[start : start + len(features)] = features.cpu().numpy()


class OpenVINOEngine:
    """OpenVINO on the CPU, one image a request, as many requests at once as are quickest."""

    def __init__(
        self, model: Any, precision: Precision, n_features: int, *, one_at_a_time: bool = False
    ) -> None:
        """Compile a model.

        Args:
            model: What `convert` returned, or the path of what `save` wrote.
            precision: Of the computation.
            n_features: Length of the vectors.
            one_at_a_time: Prefer one request, computed by all cores, to several at once. A model that was compiled
                before is ready in half the time then, and gives the same numbers.

        Raises:
            DamagedNetworkError: If what `save` wrote is not whole any more.
        """
        options = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": cpu.cores(),
            "ENABLE_CPU_PINNING": False,  # other programs, and our own decoding, need cores too
        }
        self._precision = precision
        if isinstance(model, Path):
            self._compiled = _compiled(
                model, _blob(model, precision), options, {"NUM_STREAMS": 1} if one_at_a_time else {}
            )
        else:
            self._compiled = _core().compile_model(model, "CPU", options)
        self._n_features = n_features
        # As many more requests wait as are computed: a core that is done goes on without waiting for Python.
        computed = self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._queue = _openvino().AsyncInferQueue(self._compiled, 2 * computed)
        self._queue.set_callback(_keep)
        self._inputs = [request.input_tensors[0].data for request in self._queue]
        self._lock = threading.Lock()

    def run(self, views: Iterable[Pixels], count: int) -> NDArray[np.float32]:
        """See `Engine.run`."""
        matrix = np.empty((count, self._n_features), np.float32)
        with self._lock:
            try:
                for row, view in enumerate(views):
                    self._inputs[self._queue.get_idle_request_id()][:] = view
                    self._queue.start_async(userdata=(matrix, row))
            finally:
                self._queue.wait_all()
        return matrix

    def keep(self, model: Path) -> None:
        """Keep the compiled form beside what `save` wrote, where later runs find it."""
        write_sealed(_blob(model, self._precision), self._compiled.export_model().getvalue())


def _blob(model: Path, precision: Precision) -> Path:
    return model.with_suffix(f".{precision}.blob")


def _compiled(model: Path, kept: Path, options: Mapping[str, Any], also: Mapping[str, Any]) -> Any:
    """Compile a saved model, or load what an earlier run compiled, in half the time and with the same numbers.

    Args:
        model: What `save` wrote.
        kept: Where the compiled form is kept; made if it is not there, or is damaged.
        options: Of the compilation.
        also: Options of what is loaded.
    """
    blob = read_sealed(kept)
    if blob is not None:
        with suppress(RuntimeError):  # OpenVINO refuses what it cannot use
            return _core().import_model(blob, "CPU", {**options, **also})
    if not (_is_whole(model) or _is_whole(model)):  # another process may have replaced it in between
        damaged(model)
        raise DamagedNetworkError(model)
    compiled = _core().compile_model(str(model), "CPU", options)
    write_sealed(kept, compiled.export_model().getvalue())
    return compiled


def _keep(request: Any, target: tuple[NDArray[np.float32], int]) -> None:
    matrix, row = target
    matrix[row] = request.get_output_tensor(0).data[0]


def installed() -> bool:
    """Whether OpenVINO is there, without importing it."""
    return find_spec("openvino") is not None


_TRACING = threading.Lock()


def convert(network: TappedNetwork, notes: list[str]) -> Any | None:
    """Trace a network into an OpenVINO model for one image; None, and a note that says why, where that fails."""
    import torch
    from torch.jit._trace import TracerWarning

    openvino = _openvino()
    shape = [1, network.size, network.size, 3]

    def forward(pixels: torch.Tensor) -> Any:  # a function is traced in a third of a module's time
        return network(pixels)

    try:
        # The filters of warnings belong to the process, and several networks are converted at once.
        with _TRACING, torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", FutureWarning)
            warnings.filterwarnings(
                "ignore", category=TracerWarning
            )  # shapes are constants: they are meant to be
            # torch has no types for trace
            traced: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
                forward, torch.zeros(shape, dtype=torch.uint8), check_trace=False
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


_ONE_AT_A_TIME = threading.RLock()


def _openvino() -> Any:
    """OpenVINO without its telemetry, which reports every import over the internet and costs 0.1 s.

    Its converter, another 0.05 s, is imported where something is converted, by whoever asks for `convert_model`.
    """
    with _ONE_AT_A_TIME:
        if "openvino" not in sys.modules:
            sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: not importable
            sys.modules[_CONVERTER] = None  # type: ignore[assignment]
            try:
                vars(import_module("openvino"))["__getattr__"] = _of_converter
            finally:
                del sys.modules[_CONVERTER]
            # The first array of a tensor makes OpenVINO look for NumPy. A second thread that needs one meanwhile
            # waits for that, and keeps the interpreter, which the first one needs: neither ever goes on.
            openvino = sys.modules["openvino"]
            openvino.Tensor(openvino.Type.f32, [1]).data.fill(0)
        return sys.modules["openvino"]


def _of_converter(name: str) -> Any:
    """What is not among OpenVINO's own names: `convert_model`, which it has from its converter."""
    if name != "convert_model":
        raise AttributeError(f"module 'openvino' has no attribute {name!r}")
    return import_module(_CONVERTER).convert_model


def _core() -> Any:
    """The only OpenVINO core of this process, whichever thread needs it first."""
    with _ONE_AT_A_TIME:
        return _made_core()


@cache
def _made_core() -> Any:
    return _openvino().Core()


def computes_bfloat16() -> bool:
    """Whether OpenVINO computes in bfloat16 on this processor."""
    return bool("BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def torch_device() -> str:
    """The device that PyTorch finds quickest: `cuda`, `mps` or `cpu`."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
