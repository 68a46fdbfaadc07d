import numpy as np
import pytest
import torch

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.ensemble.combination import centered as centered_in_numpy
from ensemble_minerals.ensemble.rejection import TIE
from ensemble_minerals.ensemble.rejection_fit import fit_rejection
from ensemble_minerals.networks.graphs.rejection import RejectionGraph, centered


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    y = np.arange(80) % 4
    rows = (4 * np.eye(4, 10)[y] + rng.normal(size=(80, 10))).astype(np.float32)
    matrices = {"one": rows[:, :6], "two": rows[:, 6:]}
    known = FoldInputs(y, np.arange(80) // 2 * 2, np.arange(80) // 8 % 4, np.array(list("abcd")))
    return matrices, fit_rejection(matrices, known, refuse=0.05).rejection


def test_torch_finds_the_typicality_of_numpy(fitted):
    matrices, rejection = fitted
    new = {name: matrix * np.float32(1.3) + np.float32(0.2) for name, matrix in matrices.items()}
    graph = RejectionGraph(rejection.features, rejection.arrays(), tie=TIE)
    for rows in (matrices, new):
        found = graph({name: torch.tensor(matrix) for name, matrix in rows.items()}).numpy()
        np.testing.assert_allclose(found, rejection.typicality(rows), atol=1e-6)


def test_answers_are_centered_as_in_numpy():
    log_proba = np.random.default_rng(0).normal(size=(3, 2, 4))
    np.testing.assert_allclose(centered(torch.tensor(log_proba)).numpy(), centered_in_numpy(log_proba))
