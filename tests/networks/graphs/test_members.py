from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from ensemble_minerals.data.subproblem import n_logits
from ensemble_minerals.ensemble.combination import Combination
from ensemble_minerals.ensemble.fitted import FittedEnsemble
from ensemble_minerals.exporting.ensemble_spec import ensemble_spec
from ensemble_minerals.log_space import LOG_FLOOR
from ensemble_minerals.members.fitted import FittedMember
from ensemble_minerals.members.predictor import AveragedPredictor, DenseSpecialist, MemberPredictor
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.networks.graphs.members import FittedEnsembleGraph
from ensemble_minerals.taxonomy import Taxonomy

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = ("a", "b", "c", "d", "e")
NESTED = Taxonomy.from_tree(CLASSES, {"x": {"y": ["a", "d"], "z": ["c", "e"]}})
OTHER = Taxonomy.from_tree(CLASSES, {"pair": ["b", "e"]})
WIDTHS = {"first": 6, "second": 4}
RNG = np.random.default_rng(0)


def specialist(n_in, n_out, hidden=()):
    widths = [n_in, *hidden, n_out]
    return DenseSpecialist(
        tuple(
            (RNG.normal(size=pair).astype(np.float32), RNG.normal(size=pair[1]).astype(np.float32))
            for pair in pairwise(widths)
        )
    )


def fold(n_in, taxonomy, *, one_vs_rest=False, hidden=()):
    if one_vs_rest:
        specialists = tuple(specialist(n_in, 1, hidden) for _ in CLASSES)
    else:
        counts = [len(node.branches) for node in taxonomy.nodes]
        specialists = tuple(specialist(n_in, n_logits(count), hidden) for count in counts)
    return MemberPredictor(taxonomy, one_vs_rest, (specialists,))


FLAT = Taxonomy.flat(CLASSES)
MEMBERS = (
    FittedMember("flat", ("first",), AveragedPredictor.average([fold(6, FLAT), fold(6, FLAT)])),
    FittedMember("specialists", ("second",), AveragedPredictor.average([fold(4, FLAT, one_vs_rest=True)])),
    FittedMember("deep", ("first", "second"), AveragedPredictor.average([fold(10, FLAT, hidden=(7, 3))] * 2)),
    FittedMember(
        "trees", ("second",), AveragedPredictor.average([fold(4, NESTED), fold(4, OTHER), fold(4, NESTED)])
    ),
)
N = len(MEMBERS)
COMBINATIONS = (
    Combination("mean", np.array([0.1, 0.4, 0.3, 0.2]), np.zeros(5)),
    Combination("calibrated", np.array([0.5, 1.5, 1.0, 0.9]), np.zeros(5)),
    Combination("product", np.array([0.5, 0.2, 0.6, 0.1]), np.zeros(5)),
    Combination("linear", RNG.normal(size=(N * 5, 5)) / 5, RNG.normal(size=5)),
)


@pytest.mark.parametrize("combination", COMBINATIONS, ids=lambda one: one.kind)
def test_torch_answers_what_the_fitted_ensemble_answers(combination):
    fitted_ensemble = FittedEnsemble(MEMBERS, combination, 1.7)
    # Wide rows: some members are so sure that the floor counts.
    blocks = {name: (RNG.normal(size=(20, width)) * 3).astype(np.float32) for name, width in WIDTHS.items()}
    expected = np.exp(fitted_ensemble.combine(fitted_ensemble.member_log_proba(RowData(blocks))))
    graph = FittedEnsembleGraph(ensemble_spec(fitted_ensemble, CLASSES))
    rows = {name: torch.from_numpy(block) for name, block in blocks.items()}
    np.testing.assert_allclose(graph(rows).numpy(), expected, atol=2e-5)
    exact = FittedEnsembleGraph(ensemble_spec(fitted_ensemble, CLASSES), exact=True)
    double = exact({name: row.double() for name, row in rows.items()})
    np.testing.assert_allclose(double.numpy(), expected, atol=1e-6)


def test_the_floor_keeps_one_member_from_forbidding_a_class():
    fitted_ensemble = FittedEnsemble(MEMBERS[:1], Combination("product", np.ones(1), np.zeros(5)), 1.0)
    answer = FittedEnsembleGraph(ensemble_spec(fitted_ensemble, CLASSES))(
        {"first": torch.full((1, 6), 500.0)}
    )
    assert answer.min() > LOG_FLOOR / 2
