"""Writing a network as an ONNX file, after its probabilities in a runtime were compared with PyTorch's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
_TYPICALITY_TOLERANCE = 0.1
"""Largest allowed difference of a typicality, which moves in steps of one photo of the fit."""

TOLERANCE = 1e-4
"""Largest allowed difference of a probability between PyTorch and the runtime."""

PHOTOS = "photos"
PROBABILITIES, TYPICALITY = "probabilities", "typicality"
_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_EXAMPLE = (61, 83)
_COMPARED = ((61, 83, 1), (240, 320, 2), (701, 467, 1), (33, 120, 3))
"""Height, width and number of the photos of each comparison."""
_SEED = 0
_LARGEST = 2 << 30
"""Bytes of the largest possible ONNX file: its format counts in 31 bits."""


class ExportError(EnsembleMineralsError):
    """A network that cannot be exported to ONNX, or whose ONNX file gives other probabilities than PyTorch."""


@dataclass(frozen=True)
class Exported:
    """A written ONNX file and its comparison with PyTorch.

    Attributes:
        file: The file.
        megabytes: Its size.
        difference: Largest difference of a probability from PyTorch, on synthetic photos of several shapes.
        runtime: Name and version of the runtime it was compared in.
    """

    file: Path
    megabytes: float
    difference: float
    runtime: str


def require_packages() -> None:
    """Check that the packages for writing and running ONNX are installed.

    Raises:
        UserError: If a package is missing; the message says how to install it.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(f"writing ONNX needs {', '.join(missing)}: pip install 'ensemble-minerals[export]'")


def export_onnx(
    network: nn.Module, out: Path, *, metadata: Mapping[str, str], n_classes: int, min_side: int = 8
) -> Exported:
    """Write a network as one self-contained ONNX file.

    The file appears only after a runtime gave the same probabilities as PyTorch, for photos of several shapes and for
    several photos at once.

    Args:
        network: From photos, uint8 RGB of shape (n, height, width, 3), to probabilities (n, n_classes).
        out: The file.
        metadata: Metadata of the file, text by name.
        n_classes: Number of classes.
        min_side: Smallest side of a photo, in pixels, that the graph declares to accept.

    Raises:
        UserError: If a package is missing.
        ExportError: If the network cannot be exported, or has other probabilities in the runtime.
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
    """Largest difference of a probability between a network and its ONNX file.

    Args:
        network: The network in PyTorch.
        file: The ONNX file.
        n_classes: Number of classes.

    Returns:
        The difference; infinite if the runtime returns another shape or values that are not finite.

    Raises:
        ExportError: If the runtime cannot run the file.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as failures

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    largest = 0.0
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        for photos in _draw_photos():
            proba, *typicality = session.run(None, {PHOTOS: photos})
            with torch.inference_mode():
                found = network(torch.from_numpy(photos))
            expected, *own = [each.numpy() for each in (found if isinstance(found, tuple) else (found,))]
            for other, each in zip(typicality, own, strict=True):
                if not np.abs(other - each).max() <= _TYPICALITY_TOLERANCE:
                    return float("inf")
            if proba.shape != (len(photos), n_classes) or not np.isfinite(proba).all():
                return float("inf")
            largest = max(largest, float(np.abs(proba - expected).max()))
    except (
        failures.Fail,
        failures.InvalidArgument,
        failures.InvalidGraph,
        failures.NotImplemented,
        failures.RuntimeException,
    ) as error:
        raise ExportError(f"onnxruntime cannot run the exported graph: {_root_cause(error)}") from error
    return largest


def graph_answers(file: Path, photos: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
    """Probabilities that an ONNX file gives, (n_classes,) for each photo of (height, width, 3)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    for photo in photos:
        proba: NDArray[np.float32] = session.run([PROBABILITIES], {PHOTOS: photo[None]})[0][0]
        yield proba


def _draw_photos() -> list[NDArray[np.uint8]]:
    """Batches of color patches with a little grain, for which networks give different probabilities."""
    rng = np.random.default_rng(_SEED)
    batches = []
    for height, width, number in _COMPARED:
        cells = rng.integers(0, 256, (number, 7, 9, 3)).astype(np.float64)
        rows, columns = np.arange(height) * 7 // height, np.arange(width) * 9 // width
        photos = cells[:, rows][:, :, columns] + rng.normal(0, 12, (number, height, width, 3))
        batches.append(np.clip(photos, 0, 255).astype(np.uint8))
    return batches


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
            output_names=_outputs(network),
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise ExportError(f"this network has no ONNX form: {_root_cause(error)}") from error
    if program is None:
        raise ExportError("torch.onnx.export returned nothing, as only its older exporter does")
    model = program.model_proto
    _strip(model)
    onnx.helper.set_model_props(model, dict(sorted(metadata.items())))
    if model.ByteSize() >= _LARGEST:
        raise ExportError(
            f"the graph takes {model.ByteSize() / 1e9:.1f} GB, and one ONNX file holds 2 GB at most"
        )
    onnx.checker.check_model(model)
    onnx.save_model(model, str(file))


def _outputs(network: nn.Module) -> list[str]:
    """Names of the outputs of a network."""
    return [PROBABILITIES] if getattr(network, "rejection", None) is None else [PROBABILITIES, TYPICALITY]


def _strip(model: onnx.ModelProto) -> None:
    """Remove the exporter's notes: they contain paths of this machine, and differ from run to run."""
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


def _root_cause(error: BaseException) -> str:
    """First line of the error that was the first cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
