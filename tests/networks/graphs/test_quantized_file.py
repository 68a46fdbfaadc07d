"""A graph in 8-bit integers answers almost as before, and only its layers of weights are touched."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from drawn.onnx_files import metadata_of

from ensemble_minerals.bundle.student import read_student
from ensemble_minerals.networks.graphs.onnx_file import export_onnx, graph_answers
from ensemble_minerals.networks.graphs.quantized_file import quantize_file

pytestmark = pytest.mark.usefixtures("one_thread")


def photos_of(seed):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (8, 8, 3), dtype=np.uint8).repeat(9, 0).repeat(11, 1) for _ in range(12)]


@pytest.fixture(scope="module")
def graphs(student, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    whole, small = folder / "float32.onnx", folder / "int8.onnx"
    export_onnx(read_student(student).graph(), whole, metadata={"a": "b"}, n_classes=3)
    quantize_file(whole, small, iter(photos_of(0)))
    return whole, small


def test_convolutions_are_int8_by_channel_and_views_and_the_last_layer_are_not(graphs):
    graph = onnx.load(graphs[1]).graph
    made_by = {name: node for node in graph.node for name in node.output}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        weights = made_by[node.input[1]]
        assert weights.op_type == "DequantizeLinear"
        quantized, scale = (tensors[name] for name in weights.input[:2])
        assert quantized.data_type == onnx.TensorProto.INT8
        assert list(scale.dims) == [quantized.dims[0]]
    others = [node for node in graph.node if node.op_type in ("MatMul", "Gemm")]
    assert others
    for node in others:
        assert all(made_by[name].op_type != "DequantizeLinear" for name in node.input if name in made_by)


def test_it_answers_almost_as_before(graphs):
    before, after = (np.array(list(graph_answers(file, photos_of(1)))) for file in graphs)
    assert 0 < np.abs(before - after).max() < 0.05
    assert metadata_of(graphs[1]) == {"a": "b"}
