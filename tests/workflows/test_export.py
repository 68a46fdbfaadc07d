from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest
from drawn.onnx_files import metadata_of
from PIL import Image

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.errors import BundleError, UserError
from ensemble_minerals.prediction.predictor import Predictor
from ensemble_minerals.prediction.student import load_student
from ensemble_minerals.system.digest import file_digest
from ensemble_minerals.workflows.export import export

pytestmark = pytest.mark.usefixtures("one_thread")


def pixels_of(path):
    return np.array(Image.open(path).convert("RGB"))[None]


def answers_of(file, photos, output="probabilities"):
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run([output], {"photos": pixels_of(path)})[0] for path in photos])


def test_a_bundle_of_networks_is_one_graph(network_bundle, tiny, tmp_path):
    result = export(network_bundle, tmp_path / "ensemble.onnx")
    predictions = Predictor(read_bundle(network_bundle), tiny.cache, 1).predict([tiny.new])
    answers = answers_of(result.file, predictions.paths)
    # Pillow rounds to gray levels where the graph does not.
    np.testing.assert_allclose(answers, predictions.proba, atol=0.02)
    typicality = answers_of(result.file, predictions.paths, "typicality")
    np.testing.assert_allclose(typicality, predictions.typicality, atol=0.1)  # a step is one photo of 36
    assert float(metadata_of(result.file)["refuse"]) == 0.05
    assert result.difference < 1e-4
    assert result.files == 24
    assert 0 < result.difference_on_files < 0.02
    metadata = metadata_of(result.file)
    assert metadata == result.metadata
    assert json.loads(metadata["classes"]) == ["azurite", "malachite", "pyrite"]
    assert float(metadata["temperature"]) == read_bundle(network_bundle).fitted_ensemble.temperature
    assert metadata["source_digest"] == file_digest(network_bundle / "bundle.json")
    sources = json.loads(metadata["sources"])
    assert all(
        len(source["weights"]) == 32 and source["preprocessing"]["mean"] for source in sources.values()
    )


def test_a_student_is_one_graph(student, tiny, tmp_path):
    out = tmp_path / "student.onnx"
    out.write_bytes(b"before")
    with pytest.raises(UserError, match=r"exists; .*--overwrite"):
        export(student, out)
    assert out.read_bytes() == b"before"
    result = export(student, out, overwrite=True)
    predictions = load_student(student, 1).predict([tiny.new])
    np.testing.assert_allclose(answers_of(result.file, predictions.paths), predictions.proba, atol=1e-4)
    metadata = metadata_of(result.file)
    assert metadata["kind"] == "student"
    assert metadata["source_digest"] == file_digest(student / "student.json")
    assert json.loads(metadata["teacher"])["members"] == ["one", "two"]


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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("graph.pb", r"must end in \.onnx"),
        ("folder.onnx", "is a folder"),
        ("file/graph.onnx", "nothing can be saved"),
    ],
)
def test_a_place_that_does_not_do_is_found_before_the_work(tmp_path, name, message):
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=message):
        export(tmp_path / "no student", tmp_path / name)


def test_what_is_neither_bundle_nor_student_is_refused(tmp_path):
    with pytest.raises(BundleError, match="no bundle"):
        export(tmp_path / "nowhere", tmp_path / "graph.onnx")
