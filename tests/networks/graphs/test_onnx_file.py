from __future__ import annotations

import json
import shutil
from importlib import util

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from drawn.onnx_files import metadata_of
from torch import nn

from ensemble_minerals.errors import UserError
from ensemble_minerals.networks.graphs import onnx_file
from ensemble_minerals.networks.graphs.ensemble import ExtractorGraph
from ensemble_minerals.networks.graphs.onnx_file import ExportError, export_onnx
from ensemble_minerals.networks.graphs.photo_views import PhotoViews
from ensemble_minerals.networks.models.taps import TappedNetwork
from ensemble_minerals.networks.models.weights import load_network

pytestmark = pytest.mark.usefixtures("one_thread")

METADATA = {"classes": json.dumps(["Glimmer", "Quarz"]), "temperature": "1.25"}


class Toy(nn.Module):
    """Views, one layer, softmax: enough to be a network from photos to probabilities."""

    def __init__(self, views=("detail_flip",)):
        super().__init__()
        self.views = PhotoViews(views, 8, 8)
        self.layer = nn.Linear(8 * 8 * 3, 2)

    def forward(self, photos):
        return torch.softmax(self.layer(self.views(photos).flatten(2) / 255).mean(1), 1)


@pytest.fixture(scope="module")
def toy():
    torch.manual_seed(0)
    return Toy().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def exported(toy, tmp_path_factory):
    out = tmp_path_factory.mktemp("onnx") / "deep" / "toy.onnx"
    return export_onnx(toy, out, metadata=METADATA, n_classes=2)


def photos_of(*shape):
    return np.random.default_rng(shape).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 9, 77), (3, 40, 30), (2, 300, 220)])
def test_onnxruntime_answers_what_torch_answers_for_photos_of_any_size(toy, exported, shape):
    session = onnxruntime.InferenceSession(exported.file, providers=["CPUExecutionProvider"])
    photos = photos_of(*shape)
    (answer,) = session.run(None, {"photos": photos})
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, toy(torch.from_numpy(photos)).numpy(), atol=1e-5)
    np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-5)
    assert exported.difference < 1e-5


def test_the_file_states_what_it_takes_and_gives(exported):
    model = onnx.load(exported.file)
    assert [entry.name for entry in model.graph.input] == ["photos"]
    assert [entry.name for entry in model.graph.output] == ["probabilities"]
    sides = model.graph.input[0].type.tensor_type.shape.dim
    assert [bool(side.dim_param) for side in sides] == [True, True, True, False]
    assert metadata_of(exported.file) == METADATA
    assert exported.megabytes == exported.file.stat().st_size / 1e6
    assert [path.name for path in exported.file.parent.iterdir()] == ["toy.onnx"]


def test_the_file_names_no_place_of_this_machine(exported):
    content = exported.file.read_bytes()
    for place in (b"site-packages", b".py", b"/tests/", b"stack_trace"):
        assert place not in content


def test_the_same_network_gives_the_same_file(toy, exported, tmp_path):
    again = export_onnx(toy, tmp_path / "again.onnx", metadata=METADATA, n_classes=2)
    assert again.file.read_bytes() == exported.file.read_bytes()


def test_a_graph_that_answers_otherwise_is_no_file(toy, exported, tmp_path, monkeypatch):
    torch.manual_seed(1)
    other = Toy().eval().requires_grad_(False)
    monkeypatch.setattr(onnx_file, "_write", lambda _network, file, *_: shutil.copyfile(exported.file, file))
    with pytest.raises(ExportError, match=r"differs from PyTorch by .* was not written"):
        export_onnx(other, tmp_path / "toy.onnx", metadata=METADATA, n_classes=2)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_check_leaves_the_file_that_stood_there(toy, tmp_path, monkeypatch):
    out = tmp_path / "toy.onnx"
    out.write_bytes(b"before")
    monkeypatch.setattr(onnx_file, "_write", lambda _network, file, *_: file.write_bytes(b"after"))
    monkeypatch.setattr(onnx_file, "compare", lambda *_: float("nan"))
    with pytest.raises(ExportError):
        export_onnx(toy, out, metadata=METADATA, n_classes=2)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("toy.onnx", b"before")]


def test_a_wrong_number_of_classes_is_found(toy, exported):
    assert onnx_file.compare(toy, exported.file, 2) < 1e-5
    assert onnx_file.compare(toy, exported.file, 3) == float("inf")


def test_a_graph_for_one_batch_size_only_is_found(tmp_path):
    class Fixed(Toy):
        def forward(self, photos):
            return super().forward(photos) + torch.zeros(len(photos), 2)

    with pytest.raises(ExportError, match=r"onnxruntime cannot run|no ONNX form"):
        export_onnx(Fixed().eval(), tmp_path / "toy.onnx", metadata=METADATA, n_classes=2)
    assert list(tmp_path.iterdir()) == []


def test_a_network_without_a_graph_is_an_error(tmp_path):
    class Branching(Toy):
        def forward(self, photos):
            return super().forward(photos) if photos.float().mean() > 3 else super().forward(photos) * 1.0

    with pytest.raises(ExportError, match="no ONNX form"):
        export_onnx(Branching().eval(), tmp_path / "toy.onnx", metadata=METADATA, n_classes=2)


def test_missing_packages_are_named_with_the_line_that_installs_them(toy, tmp_path, monkeypatch):
    find = util.find_spec
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    with pytest.raises(UserError, match=r"needs onnxscript: pip install 'ensemble-minerals\[export\]'"):
        export_onnx(toy, tmp_path / "toy.onnx", metadata=METADATA, n_classes=2)


def test_transformers_have_a_graph(tmp_path):
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            loaded = load_network("test_vit", "random", size=32)
            self.extractor = ExtractorGraph(TappedNetwork(loaded, [0]), ("squash",), "mean")

        def forward(self, photos):
            return torch.softmax(self.extractor(photos)[:, :4], 1)

    made = export_onnx(Head().eval(), tmp_path / "net.onnx", metadata={}, n_classes=4)
    assert made.difference < 1e-5
