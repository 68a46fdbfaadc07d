"""The graph of a bundle: which members it holds, and that it answers like the bundle."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.ensemble.combination import Combination
from ensemble_minerals.errors import BundleError, UserError
from ensemble_minerals.exporting.ensemble_graph import ensemble_graph
from ensemble_minerals.prediction.predictor import Predictor
from ensemble_minerals.system.progress import Silent

pytestmark = pytest.mark.usefixtures("one_thread")


def pixels_of(path):
    return np.array(Image.open(path).convert("RGB"))[None]


def weighing(bundle, weights):
    """The same bundle with other weights of its members."""
    combination = Combination("product", np.array(weights), np.zeros(len(bundle.classes)))
    return dataclasses.replace(
        bundle, fitted_ensemble=dataclasses.replace(bundle.fitted_ensemble, combination=combination)
    )


@pytest.mark.parametrize("kind", ["mean", "product", "linear"])
def test_members_without_weight_are_left_out_and_their_networks_with_them(network_bundle, tiny, kind):
    bundle, notes = read_bundle(network_bundle), []
    weight = np.array([0.0, 1.3, 0.0])
    if kind == "linear":
        weight = np.kron(weight[:, None], np.arange(9).reshape(3, 3) / 9)
    fitted_ensemble = dataclasses.replace(
        bundle.fitted_ensemble, combination=Combination(kind, weight, np.ones(3))
    )
    bundle = dataclasses.replace(bundle, fitted_ensemble=fitted_ensemble, rejection=None)

    class Noting(Silent):
        note = staticmethod(notes.append)

    graph = ensemble_graph(bundle, Noting())
    assert notes == ["2 of 3 members have no weight and are left out of the graph"]
    assert len(graph._extractors) == 1
    predictions = Predictor(bundle, tiny.cache, 1).predict([tiny.new])
    photos = [torch.from_numpy(pixels_of(path)) for path in predictions.paths]
    answers = torch.cat([graph(photo) for photo in photos]).numpy()
    np.testing.assert_allclose(
        answers, predictions.proba / predictions.proba.sum(1, keepdims=True), atol=0.02
    )


def test_a_descriptor_without_weight_is_no_obstacle(network_bundle, tiny, tmp_path):
    bundle = read_bundle(network_bundle)
    members = list(bundle.fitted_ensemble.members)
    members[1] = dataclasses.replace(members[1], features=("descriptor",))
    changed = dataclasses.replace(
        bundle, fitted_ensemble=dataclasses.replace(bundle.fitted_ensemble, members=tuple(members))
    )
    ensemble_graph(weighing(changed, [1.0, 0.0, 0.5]))
    with pytest.raises(UserError, match=r"weight 0\.25"):
        ensemble_graph(weighing(changed, [1.0, 0.25, 0.5]))


def test_other_weights_than_those_of_the_fit_are_refused(network_bundle):
    bundle = read_bundle(network_bundle)
    metadata = {**bundle.extractors["one"]["facts"], "weights": "f" * 32}
    changed = dataclasses.replace(bundle, extractors={**bundle.extractors, "one": {"facts": metadata}})
    with pytest.raises(BundleError, match="'one' is not what the bundle was fitted with: weights is"):
        ensemble_graph(weighing(changed, [1.0, 0.0, 0.0]))
