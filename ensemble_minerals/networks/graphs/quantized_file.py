"""An ONNX file whose network computes in 8-bit integers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.networks.graphs.onnx_file import PHOTOS, PROBABILITIES

if TYPE_CHECKING:
    import onnx

_WEIGHTED = ("Conv", "MatMul", "Gemm")
_PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")
"""By this entry a graph says that it needs no folding of layers any more."""


def quantize_file(file: Path, out: Path, photos: Iterable[NDArray[np.uint8]]) -> None:
    """Write a graph once more, its layers of weights in int8, each channel of them with a scale of its own.

    What draws the views has no weights and stays as it is, and so does the last layer.

    Args:
        file: A graph that `export_onnx` wrote.
        out: The quantized graph, with the same metadata.
        photos: RGB, of shape (height, width, 3); their activations set the ranges of the integers.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_static

    model = onnx.load(str(file))
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, dict([_PREPARED]))
    quantize_static(
        model,
        out,
        _Calibration(photos),
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        nodes_to_quantize=_quantized(model.graph),
    )
    quantized = onnx.load(str(out))
    onnx.helper.set_model_props(quantized, metadata)
    onnx.save_model(quantized, str(out))


def _quantized(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes with weights on the way to the probabilities, all but the last."""
    weights = {tensor.name for tensor in graph.initializer}
    needed, names = {PROBABILITIES}, []
    for node in reversed(graph.node):  # which is in the order of computation
        if needed.isdisjoint(node.output):
            continue
        needed.update(node.input)
        if node.op_type in _WEIGHTED and weights.intersection(node.input):
            names.append(node.name)
    return names[1:]


class _Calibration:
    """Photos one at a time, as the quantizer asks for them."""

    def __init__(self, photos: Iterable[NDArray[np.uint8]]) -> None:
        self._photos = iter(photos)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The input of the next run of the graph; None after the last."""
        photo = next(self._photos, None)
        return None if photo is None else {PHOTOS: photo[None]}
