from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ensemble_minerals.networks.models.multi_head import build_network
from ensemble_minerals.networks.models.transforms import EvalTransform, TrainTransform
from ensemble_minerals.networks.training.batches import ImageInputs, SubproblemRows
from ensemble_minerals.networks.training.linear_probe import set_heads_by_probe

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("batch_norm", [False, True])
def test_each_head_starts_at_the_solution_of_logistic_regression(photos, network_config, batch_norm):
    torch.manual_seed(0)
    config = network_config(head={"kind": "layers", "batch_norm": batch_norm, "init": "probe"})
    network, _ = build_network(config, (3, 2))
    inputs = ImageInputs(
        photos,
        TrainTransform(config.augment, network.size, "squash", 0),
        EvalTransform(["squash"], network.size, "squash"),
    )
    rows = np.arange(24)
    doubled = np.concatenate([rows, [0, 0, 3]])
    subproblems = [
        SubproblemRows(doubled, doubled % 3),
        SubproblemRows(rows[rows % 3 > 0], (rows % 3)[rows % 3 > 0] - 1),
    ]
    loss_shift = np.array([0.2, 0.0, -0.4, 1.0])
    set_heads_by_probe(network, inputs, subproblems, C=2.0, loss_shift=loss_shift, precision="float32")
    network.eval()
    with torch.no_grad():
        pooled = network.pool(torch.stack([inputs.validation_input(row) for row in range(36)]))
        logits = network.classify(pooled).numpy() + loss_shift
    X = pooled.double().numpy()
    for number, (each, columns) in enumerate(zip(subproblems, (slice(0, 3), slice(3, 4)), strict=True)):
        scaler = StandardScaler().fit(X[each.rows])
        solution = LogisticRegression(C=2.0, max_iter=1000).fit(scaler.transform(X[each.rows]), each.targets)
        expected = solution.decision_function(scaler.transform(X)).reshape(36, -1)
        np.testing.assert_allclose(logits[:, columns], expected, atol=0.02, err_msg=str(number))
