from __future__ import annotations

import dataclasses
import json

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.ensemble.combination import Combination
from ensemble_minerals.errors import BundleError, UserError
from ensemble_minerals.networks.graphs import onnx_file
from ensemble_minerals.networks.graphs.onnx_file import read_metadata_of
from ensemble_minerals.prediction.predictor import Predictor
from ensemble_minerals.prediction.student import load_student
from ensemble_minerals.system.digest import file_digest
from ensemble_minerals.workflows import export as exporting
from ensemble_minerals.workflows.export import ensemble_graph, export

pytestmark = pytest.mark.usefixtures("one_thread")

BACKBONES = [
    {"name": "one", "model": "test_resnet", "weights": "random", "size": 32, "views": ["squash", "center_flip"]},
    {"name": "two", "model": "test_efficientnet", "weights": "random", "size": 32, "pooling": "concat",
     "views": ["detail", "squash"]},
]  # fmt: skip
MEMBERS = [
    {"features": ["one"], "strategy": "flat"},
    {"features": ["two"], "strategy": "one_vs_rest", "sampler": "random"},
    {"features": ["one", "two"], "strategy": "hierarchical",
     "head": {"kind": "mlp", "hidden": [8], "max_epochs": 5}},
]  # fmt: skip


@pytest.fixture(scope="module")
def networks(tiny, tmp_path_factory):
    """A bundle whose members all stand on networks."""
    out = tmp_path_factory.mktemp("networks") / "bundle"
    config = tiny.config(
        backbones=BACKBONES,
        members=MEMBERS,
        engine="torch",
        precision="float32",
        taxonomy={"g": ["azurite", "pyrite"]},
        duplicates={"near": False},
    )
    tiny.fit(tiny.photos, out, config)
    return out


def pixels_of(path):
    return np.array(Image.open(path).convert("RGB"))[None]


def answers_of(file, photos):
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["probabilities"], {"photos": pixels_of(path)})[0] for path in photos])


def weighing(bundle, weights):
    """The same bundle with other weights of its members."""
    combination = Combination("product", np.array(weights), np.zeros(len(bundle.classes)))
    return dataclasses.replace(
        bundle, fitted_ensemble=dataclasses.replace(bundle.fitted_ensemble, combination=combination)
    )


def test_a_bundle_of_networks_is_one_graph(networks, tiny, tmp_path):
    result = export(networks, tmp_path / "ensemble.onnx")
    predictions = Predictor(read_bundle(networks), tiny.cache, 1).predict([tiny.new])
    found = answers_of(result.file, predictions.paths)
    # Pillow rounds to gray levels where the graph does not.
    np.testing.assert_allclose(found, predictions.proba, atol=0.02)
    assert result.difference < 1e-4
    metadata = read_metadata_of(result.file)
    assert metadata == result.metadata
    assert json.loads(metadata["classes"]) == ["azurite", "malachite", "pyrite"]
    assert float(metadata["temperature"]) == read_bundle(networks).fitted_ensemble.temperature
    assert metadata["source_digest"] == file_digest(networks / "bundle.json")
    sources = json.loads(metadata["sources"])
    assert all(
        len(source["weights"]) == 32 and source["preprocessing"]["mean"] for source in sources.values()
    )


def test_a_student_is_one_graph(student, tiny, tmp_path):
    result = export(student, tmp_path / "student.onnx")
    predictions = load_student(student, 1).predict([tiny.new])
    np.testing.assert_allclose(answers_of(result.file, predictions.paths), predictions.proba, atol=1e-4)
    metadata = read_metadata_of(result.file)
    assert metadata["kind"] == "student"
    assert metadata["source_digest"] == file_digest(student / "student.json")
    assert json.loads(metadata["teacher"])["members"] == ["one", "two"]
    with pytest.raises(UserError, match=r"exists; .*--overwrite"):
        export(student, result.file)


@pytest.mark.parametrize("kind", ["mean", "product", "linear"])
def test_members_without_weight_are_left_out_and_their_networks_with_them(networks, tiny, kind):
    bundle, notes = read_bundle(networks), []
    weight = np.array([0.0, 1.3, 0.0])
    if kind == "linear":
        weight = np.kron(weight[:, None], np.arange(9).reshape(3, 3) / 9)
    fitted_ensemble = dataclasses.replace(
        bundle.fitted_ensemble, combination=Combination(kind, weight, np.ones(3))
    )
    bundle = dataclasses.replace(bundle, fitted_ensemble=fitted_ensemble)

    class Heard(exporting.Silent):
        note = staticmethod(notes.append)

    graph = ensemble_graph(bundle, Heard())
    assert notes == ["2 of 3 members have no weight and are left out of the graph"]
    assert len(graph._extractors) == 1
    predictions = Predictor(bundle, tiny.cache, 1).predict([tiny.new])
    photos = [torch.from_numpy(pixels_of(path)) for path in predictions.paths]
    found = torch.cat([graph(photo) for photo in photos]).numpy()
    np.testing.assert_allclose(found, predictions.proba / predictions.proba.sum(1, keepdims=True), atol=0.02)


def test_a_descriptor_has_no_graph_and_the_ways_out_are_named(tiny, tmp_path):
    out = tmp_path / "ensemble.onnx"
    with pytest.raises(UserError) as raised:
        export(tiny.bundle, out)
    bundle = read_bundle(tiny.bundle)
    message = str(raised.value)
    weights = np.abs(bundle.fitted_ensemble.combination.weight).reshape(3, -1).max(axis=1)
    for member, weight in zip(bundle.fitted_ensemble.members, weights, strict=True):
        assert (f"{member.name} (weight {weight:.3g})" in message) == (weight > 0)
    assert f"ensemble-minerals distill {tiny.bundle}" in message
    assert "--set 'members=" in message
    assert raised.value.exit_code == 2
    assert not out.exists()


def test_a_descriptor_without_weight_is_no_obstacle(networks, tiny, tmp_path):
    bundle = read_bundle(networks)
    members = list(bundle.fitted_ensemble.members)
    members[1] = dataclasses.replace(members[1], features=("descriptor",))
    changed = dataclasses.replace(
        bundle, fitted_ensemble=dataclasses.replace(bundle.fitted_ensemble, members=tuple(members))
    )
    ensemble_graph(weighing(changed, [1.0, 0.0, 0.5]))
    with pytest.raises(UserError, match=r"weight 0\.25"):
        ensemble_graph(weighing(changed, [1.0, 0.25, 0.5]))


def test_other_weights_than_those_of_the_fit_are_refused(networks):
    bundle = read_bundle(networks)
    metadata = {**bundle.extractors["one"]["facts"], "weights": "f" * 32}
    changed = dataclasses.replace(bundle, extractors={**bundle.extractors, "one": {"facts": metadata}})
    with pytest.raises(BundleError, match="'one' is not what the bundle was fitted with: weights is"):
        ensemble_graph(weighing(changed, [1.0, 0.0, 0.0]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("graph.pb", r"must end in \.onnx"),
        ("folder.onnx", "is a folder"),
        ("file/graph.onnx", "nothing can be saved"),
    ],
)
def test_a_place_that_does_not_do_is_found_before_the_work(student, tmp_path, monkeypatch, name, message):
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(exporting, "read_student", lambda _: pytest.fail("worked before it looked"))
    with pytest.raises(UserError, match=message):
        export(student, tmp_path / name)


def test_a_file_is_replaced_when_that_is_asked_for(student, tmp_path, monkeypatch):
    out = tmp_path / "graph.onnx"
    out.write_bytes(b"before")
    monkeypatch.setattr(onnx_file, "compare", lambda *_: 0.0)
    monkeypatch.setattr(onnx_file, "_write", lambda _network, file, *_: file.write_bytes(b"after"))
    with pytest.raises(UserError, match="exists"):
        export(student, out)
    assert out.read_bytes() == b"before"
    export(student, out, overwrite=True)
    assert out.read_bytes() == b"after"


def test_what_is_neither_bundle_nor_student_is_refused(tmp_path):
    with pytest.raises(BundleError, match="no bundle"):
        export(tmp_path / "nowhere", tmp_path / "graph.onnx")
