from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ensemble_minerals.config.students import student_config
from ensemble_minerals.data.subproblem import n_logits
from ensemble_minerals.data.views import draw_views
from ensemble_minerals.networks.graphs.ensemble import ExtractorGraph, LogitsGraph
from ensemble_minerals.networks.graphs.student import complete, student_graph
from ensemble_minerals.networks.inference import NetworkPredictor
from ensemble_minerals.networks.models.multi_head import build_network
from ensemble_minerals.networks.models.state import NetworkState
from ensemble_minerals.networks.models.taps import TappedNetwork
from ensemble_minerals.networks.models.weights import load_network

pytestmark = pytest.mark.usefixtures("one_thread")

VIEWS = ("squash", "detail_flip")


def photo_of(height, width):
    cells = np.random.default_rng([height, width]).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.array(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC))


def batch(photo):
    return torch.from_numpy(photo)[None]


def states_of(n_outcomes, *, changed=(), resize="squash", size=32, pooling="avg"):
    """Two trained networks, so to speak: new heads, and layers moved whose names begin as `changed`."""
    overrides = [
        f"head.pooling={pooling}",
        "head.init=random",
        f"views=[{', '.join(VIEWS)}]",
        f"resize={resize}",
    ]
    config = student_config("test_efficientnet", weights="random", size=size, overrides=overrides)
    states = []
    for seed in range(2):
        torch.manual_seed(seed)
        network, loaded = build_network(config, n_outcomes)
        start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name.startswith(tuple(changed)):
                    parameter.add_(0.1 * torch.randn_like(parameter))
        columns = sum(n_logits(count) for count in n_outcomes)
        states.append(
            NetworkState.of(
                network,
                network.state_dict(),
                start=start,
                config=config,
                loaded=loaded,
                subproblems=[(str(number), count) for number, count in enumerate(n_outcomes)],
                shift=np.arange(columns) / 10 + seed,
                precision="float32",
            )
        )
    return states


@pytest.mark.parametrize("changed", [(), ("body.blocks.4", "body.conv_head"), ("body.",)])
@pytest.mark.parametrize(("resize", "pooling"), [("squash", "avg"), ("pad", "avg"), ("squash", "taps")])
def test_logits_are_those_of_the_predictor(changed, resize, pooling):
    states = states_of((3, 2), changed=changed, resize=resize, pooling=pooling)
    predictor = NetworkPredictor(states, "random")
    assert (predictor.shared is None) == (changed == ("body.",))
    photo = photo_of(44, 37)
    actual = LogitsGraph(predictor, side=32).eval()(batch(photo)).detach().numpy()
    expected = predictor.logits([photo]).mean(axis=1)
    assert actual.shape == (1, 8)
    np.testing.assert_allclose(actual, expected, atol=0.02)  # Pillow rounds to gray levels
    assert np.abs(expected[:, :4] - expected[:, 4:]).max() > 0.1


@pytest.mark.parametrize("pooling", ["mean", "concat"])
def test_features_are_those_of_the_tapped_network_on_drawn_views(pooling):
    network = TappedNetwork(load_network("test_efficientnet", "random", size=32), [1, 2], covariances=4)
    photo = photo_of(50, 40)
    drawn = torch.from_numpy(np.stack(list(draw_views(photo, VIEWS, 32))))
    expected = network(drawn).flatten()[None] if pooling == "concat" else network(drawn).mean(0, keepdim=True)
    actual = ExtractorGraph(network, VIEWS, pooling)(batch(photo))
    torch.testing.assert_close(actual, expected, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_a_student_is_its_network_with_shift_and_temperature(n_classes):
    state = complete(states_of((n_classes,))[0], "random")
    photo = photo_of(44, 37)
    graph = student_graph(state, 2.0)
    logits = LogitsGraph(NetworkPredictor([state], "random"), side=32).eval()(batch(photo))
    if n_classes == 2:
        logits = torch.cat([torch.zeros_like(logits), logits], 1)
    torch.testing.assert_close(graph.log_odds(batch(photo)), logits)
    torch.testing.assert_close(graph(batch(photo)), torch.softmax(logits / 2.0, 1))
    np.testing.assert_allclose(graph.answer(photo), logits[0].detach().numpy(), atol=1e-6)


def test_a_complete_state_needs_no_weights():
    state = states_of((3,))[0]
    whole = complete(state, "random")
    network = whole.build("hub")  # would be looked for in vain
    assert {name for name in network.state_dict() if "num_batches" not in name} == set(whole.tensors)
