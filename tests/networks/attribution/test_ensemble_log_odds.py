"""Members in torch answer what they answer in numpy, and their gradients point where answers move."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from ensemble_minerals.data.subproblem import n_logits
from ensemble_minerals.ensemble.combination import Combination
from ensemble_minerals.ensemble.fitted import FittedEnsemble
from ensemble_minerals.exporting.ensemble_spec import ensemble_spec
from ensemble_minerals.members.fitted import FittedMember
from ensemble_minerals.members.predictor import AveragedPredictor, DenseSpecialist, MemberPredictor
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.members.serialization import predictor_to_arrays
from ensemble_minerals.networks.attribution.ensemble_log_odds import EnsembleLogOdds, log_odds
from ensemble_minerals.networks.graphs.members import FittedEnsembleGraph, MemberGraph, MemberSpec
from ensemble_minerals.taxonomy import Taxonomy

CLASSES = ("a", "b", "c", "d")
TREES = {
    "flat": {},
    "groups": {"ab": ["a", "b"], "cd": ["c", "d"]},
    "nested": {"abc": {"ab": ["a", "b"], "c": ["c"]}, "d": ["d"]},
}

pytestmark = pytest.mark.usefixtures("one_thread")


def drawn_net(rng, n_in, n_out, hidden=()):
    sizes = [n_in, *hidden, n_out]
    return DenseSpecialist(
        tuple(
            (rng.normal(size=(i, o)).astype(np.float32), rng.normal(size=o).astype(np.float32))
            for i, o in pairwise(sizes)
        )
    )


def drawn_predictor(rng, kind, *, n_in=6, hidden=(), folds=2):
    one_vs_rest = kind == "one_vs_rest"
    tree = Taxonomy.from_tree(CLASSES, TREES["flat" if one_vs_rest else kind])
    widths = [1] * len(CLASSES)
    if not one_vs_rest:
        widths = [n_logits(len(node.branches)) for node in tree.nodes]
    nets = tuple(tuple(drawn_net(rng, n_in, width, hidden) for width in widths) for _ in range(folds))
    return MemberPredictor(tree, one_vs_rest, nets)


def in_torch(*predictors, weights=(1.0, 1.0)):
    member = AveragedPredictor(predictors, weights[: len(predictors)])
    return MemberGraph(MemberSpec(("net",), *predictor_to_arrays(member)), CLASSES).double()


@pytest.mark.parametrize("hidden", [(), (5,)], ids=["linear", "mlp"])
@pytest.mark.parametrize("kind", ["flat", "one_vs_rest", "groups", "nested"])
def test_a_member_answers_as_in_numpy(kind, hidden):
    rng = np.random.default_rng(1)
    predictor = drawn_predictor(rng, kind, hidden=hidden)
    x = rng.normal(size=(7, 6)).astype(np.float32)
    actual = in_torch(predictor)(torch.from_numpy(x).double())
    np.testing.assert_allclose(actual.numpy(), predictor.log_proba(x), atol=1e-9)


def test_trees_are_averaged_by_their_weights():
    rng = np.random.default_rng(2)
    predictors = [drawn_predictor(rng, kind) for kind in ("groups", "nested")]
    whole = AveragedPredictor(tuple(predictors), (3.0, 1.0))
    x = rng.normal(size=(5, 6))
    actual = in_torch(*predictors, weights=(3.0, 1.0))(torch.from_numpy(x))
    np.testing.assert_allclose(actual.numpy(), whole.log_proba(x), atol=1e-9)
    plain = in_torch(*predictors)(torch.from_numpy(x))
    assert np.abs(actual.numpy() - plain.numpy()).max() > 1e-3


def drawn_ensemble(rng, kind):
    members = (
        FittedMember("own", ("net",), AveragedPredictor((drawn_predictor(rng, "groups"),), (1.0,))),
        FittedMember(
            "both", ("other", "net"), AveragedPredictor((drawn_predictor(rng, "flat", n_in=9),), (1.0,))
        ),
        FittedMember(
            "else", ("other",), AveragedPredictor((drawn_predictor(rng, "one_vs_rest", n_in=3),), (1.0,))
        ),
    )
    shape = (12, 4) if kind == "linear" else (3,)
    weight = np.abs(rng.normal(size=shape)) * 0.4
    bias = rng.normal(size=4) if kind == "linear" else np.zeros(4)
    return FittedEnsemble(members, Combination(kind, weight, bias), 1.7)


def torch_ensemble(fitted_ensemble, rows, floor=0.0, **options):
    plan = replace(ensemble_spec(fitted_ensemble, CLASSES), floor=floor)
    return EnsembleLogOdds(FittedEnsembleGraph(plan, exact=True), extractor="net", rows=rows, **options)


@pytest.mark.parametrize("kind", ["mean", "product", "linear"])
def test_a_fitted_ensemble_answers_as_in_numpy(kind):
    rng = np.random.default_rng(3)
    fitted_ensemble = drawn_ensemble(rng, kind)
    views, other = 0.3 * rng.normal(size=(4, 6)), 0.3 * rng.normal(size=3)
    odds = torch_ensemble(fitted_ensemble, {"other": other}, floor=1e-6)
    members = fitted_ensemble.member_log_proba(RowData({"net": views.mean(0)[None], "other": other[None]}))
    expected = np.exp(fitted_ensemble.combine(members))
    np.testing.assert_allclose(odds.members_log_proba(torch.from_numpy(views)).numpy(), members, atol=1e-9)
    actual = odds(torch.from_numpy(views)).numpy()
    np.testing.assert_allclose(actual, np.log(expected) - np.log1p(-expected), atol=1e-8)
    alone = np.exp(members[:, 1])
    np.testing.assert_allclose(
        odds(torch.from_numpy(views), member=1).numpy(), np.log(alone) - np.log1p(-alone), atol=1e-8
    )


def test_views_may_stand_side_by_side():
    rng = np.random.default_rng(4)
    predictor = drawn_predictor(rng, "flat", n_in=12)
    views = rng.normal(size=(2, 6))
    member = FittedMember("own", ("net",), AveragedPredictor((predictor,), (1.0,)))
    fitted_ensemble = FittedEnsemble((member,), Combination("mean", np.ones(1), np.zeros(4)), 1.0)
    odds = torch_ensemble(fitted_ensemble, {}, side_by_side=True)
    expected = predictor.log_proba(views.reshape(1, -1))
    np.testing.assert_allclose(
        odds.members_log_proba(torch.from_numpy(views))[:, 0].numpy(), expected, atol=1e-9
    )


def test_a_sure_answer_still_has_a_gradient():
    rng = np.random.default_rng(5)
    fitted_ensemble = drawn_ensemble(rng, "product")
    views = torch.from_numpy(30 * rng.normal(size=(1, 6))).requires_grad_()
    odds = torch_ensemble(fitted_ensemble, {"other": np.zeros(3)}, floor=1e-6)
    members = odds.members_log_proba(views)
    assert float(members.detach()[0, 0].min()) == pytest.approx(np.log(1e-6))  # clipped
    target = int(members.detach()[0, 0].argmax())
    (gradient,) = torch.autograd.grad(odds(views)[0, target], views)
    assert float(gradient.abs().max()) > 0.1


def test_log_odds_do_not_saturate():
    log_proba = torch.log_softmax(torch.tensor([[60.0, 0.0, 1.0]], dtype=torch.float64), 1)
    np.testing.assert_allclose(log_odds(log_proba)[0, 0], 60 - np.log(1 + np.e), rtol=1e-12)
    np.testing.assert_allclose(
        log_odds(torch.tensor([[0.25, 0.75]]).log())[0], [-np.log(3), np.log(3)], rtol=1e-6
    )
