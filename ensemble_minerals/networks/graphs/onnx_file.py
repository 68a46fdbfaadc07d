"""Writing a network as ONNX, and comparing what a runtime makes of it with PyTorch before the file is let out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ensemble_minerals.errors import EnsembleMineralsError, UserError
from ensemble_minerals.system.atomic import atomic_file

if TYPE_CHECKING:
    import onnx

OPSET = 18
TOLERANCE = 1e-4
"""Largest difference of a probability between PyTorch and the runtime."""

PHOTOS = "photos"
PROBABILITIES = "probabilities"
_NEEDED = ("onnx", "onnxruntime", "onnxscript")
_EXAMPLE = (61, 83)
_CHECKED = ((61, 83, 1), (240, 320, 2), (701, 467, 1), (33, 120, 3))
"""Height, width and number of the photos that are compared."""
_SEED = 0
_LARGEST = 2 << 30
"""Bytes of the largest file of this kind: its format counts in 31 bits."""


class ExportError(EnsembleMineralsError):
    """A network that has no ONNX form, or whose ONNX form answers something else than PyTorch does."""


@dataclass(frozen=True)
class Exported:
    """What was written and how it compared.

    Attributes:
        file: The graph.
        megabytes: Its size.
        difference: Largest difference of a probability from PyTorch, on drawn photos of several shapes.
        runtime: Name and version of what it was compared in.
    """

    file: Path
    megabytes: float
    difference: float
    runtime: str


def require_packages() -> None:
    """Make sure that ONNX can be written and run here, before any work.

    Raises:
        UserError: If a package is missing; names the line that installs it.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(f"writing ONNX needs {', '.join(missing)}: pip install 'ensemble-minerals[export]'")


def export_onnx(
    network: nn.Module, out: Path, *, metadata: Mapping[str, str], n_classes: int, min_side: int = 8
) -> Exported:
    """Write a network as one ONNX file that stands alone.

    The file appears only after a runtime gave the same probabilities as PyTorch, for photos of several shapes
    and for several at once.

    Args:
        network: From photos, uint8 RGB of shape (n, height, width, 3), to probabilities (n, n_classes).
        out: The file.
        metadata: What is kept beside the graph as its metadata, text by name.
        n_classes: Number of columns.
        min_side: Fewest pixels of a side that the graph states to take.

    Raises:
        UserError: If a package is missing.
        ExportError: If the network cannot be exported, or answers otherwise in the runtime.
    """
    require_packages()
    with atomic_file(out) as draft:
        _write(network, draft, metadata, min_side)
        difference = compare(network, draft, n_classes)
        if not difference <= TOLERANCE:
            raise ExportError(
                f"the exported graph differs from PyTorch by {difference:.2g} in a probability (at most "
                f"{TOLERANCE:g} is allowed), so {out} was not written; choose another --student, or report this "
                "with the versions of torch and onnxruntime"
            )
        megabytes = draft.stat().st_size / 1e6
    import onnxruntime

    return Exported(out, megabytes, difference, f"onnxruntime {onnxruntime.__version__}")


def compare(network: nn.Module, file: Path, n_classes: int) -> float:
    """Largest difference of a probability between a network and a graph; infinite if a shape or value is wrong.

    Raises:
        ExportError: If the runtime cannot run the graph.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as failures

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    largest = 0.0
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        for photos in _drawn():
            (answer,) = session.run([PROBABILITIES], {PHOTOS: photos})
            with torch.inference_mode():
                expected = network(torch.from_numpy(photos)).numpy()
            if answer.shape != (len(photos), n_classes) or not np.isfinite(answer).all():
                return float("inf")
            largest = max(largest, float(np.abs(answer - expected).max()))
    except (
        failures.Fail,
        failures.InvalidArgument,
        failures.InvalidGraph,
        failures.NotImplemented,
        failures.RuntimeException,
    ) as error:
        raise ExportError(f"onnxruntime cannot run the exported graph: {_first_line(error)}") from error
    return largest


def read_metadata_of(file: Path) -> dict[str, str]:
    """The metadata of an ONNX file."""
    import onnx

    model = onnx.load(str(file), load_external_data=False)
    return {entry.key: entry.value for entry in model.metadata_props}


def _drawn() -> list[NDArray[np.uint8]]:
    """Smooth color patches with a little grain: what networks answer differently to."""
    rng = np.random.default_rng(_SEED)
    found = []
    for height, width, number in _CHECKED:
        cells = rng.integers(0, 256, (number, 7, 9, 3)).astype(np.float64)
        rows, columns = np.arange(height) * 7 // height, np.arange(width) * 9 // width
        photos = cells[:, rows][:, :, columns] + rng.normal(0, 12, (number, height, width, 3))
        found.append(np.clip(photos, 0, 255).astype(np.uint8))
    return found


def _write(network: nn.Module, file: Path, metadata: Mapping[str, str], min_side: int) -> None:
    import onnx

    example = torch.zeros((2, *_EXAMPLE, 3), dtype=torch.uint8)
    sides = torch.export.Dim("height", min=min_side), torch.export.Dim("width", min=min_side)
    shapes = ({0: torch.export.Dim("n", min=1), 1: sides[0], 2: sides[1]},)
    try:
        program = torch.onnx.export(
            network.eval(),
            (example,),
            input_names=[PHOTOS],
            output_names=[PROBABILITIES],
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise ExportError(f"this network has no ONNX form: {_first_line(error)}") from error
    if program is None:
        raise ExportError("torch.onnx.export gave nothing back; it does so only in its older form")
    model = program.model_proto
    _strip(model)
    onnx.helper.set_model_props(model, dict(sorted(metadata.items())))
    if model.ByteSize() >= _LARGEST:
        raise ExportError(
            f"the graph takes {model.ByteSize() / 1e9:.1f} GB, and one ONNX file holds 2 GB at most"
        )
    onnx.checker.check_model(model)
    onnx.save_model(model, str(file))


def _strip(model: onnx.ModelProto) -> None:
    """Take out the exporter's notes: they hold places on the disk of this machine, and differ from run to run."""
    graph = model.graph
    for part in (
        model,
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.value_info,
        *graph.initializer,
    ):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")
    for function in model.functions:
        for part in (function, *function.node):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")


def _first_line(error: BaseException) -> str:
    """What was at the bottom of it, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
