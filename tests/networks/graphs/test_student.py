"""A student as one module answers as its network does, and its file is checked before it is believed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn.states import state

from ensemble_minerals.errors import BundleError
from ensemble_minerals.networks.graphs.student import complete, read_student_graph, student_graph
from ensemble_minerals.networks.inference import NetworkPredictor
from ensemble_minerals.system.held_file import HeldFile

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def photo():
    cells = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return cells.repeat(4, 0).repeat(4, 1)  # of the network's size: nothing is resampled


@pytest.fixture
def trained(network_config):
    return state(network_config(views=("squash", "squash_flip")), ("heads.", "body.blocks.4"), seed=1)


def test_log_odds_are_the_mean_logits_of_the_network_and_probabilities_are_tempered(trained, photo):
    graph = student_graph(trained, temperature=2.0)
    expected = NetworkPredictor([trained], "random").logits([photo])[0].mean(0)
    np.testing.assert_allclose(graph.answer(photo), expected, atol=1e-4)
    proba = graph(torch.from_numpy(photo)[None])
    torch.testing.assert_close(
        proba[0], torch.softmax(torch.tensor(expected).float() / 2.0, 0), atol=1e-4, rtol=0
    )


def test_two_classes_have_the_log_odds_of_the_second(network_config, photo):
    two = state(network_config(), ("heads.",), seed=1, n_outcomes=(2,))
    log_odds = student_graph(two, temperature=1.0).answer(photo)
    assert log_odds.shape == (2,)
    assert log_odds[0] == 0.0
    np.testing.assert_allclose(
        log_odds[1], NetworkPredictor([two], "random").logits([photo])[0, 0, 0], atol=1e-4
    )


def test_a_complete_state_needs_no_starting_weights(trained, photo, tmp_path):
    assert not trained.complete
    whole = complete(trained, "random")
    assert whole.complete
    whole.save(tmp_path / "student.safetensors")
    graph = read_student_graph(HeldFile.open(tmp_path / "student.safetensors"), temperature=1.0)
    np.testing.assert_array_equal(graph.answer(photo), student_graph(trained, 1.0).answer(photo))


def test_files_that_are_no_such_student_are_refused(trained, tmp_path):
    trained.save(tmp_path / "part.safetensors")
    with pytest.raises(BundleError, match="lacks tensors of its network"):
        read_student_graph(HeldFile.open(tmp_path / "part.safetensors"), temperature=1.0)
