"""Members in torch answer what they answer in numpy, and their gradients point where answers move."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from ensemble_minerals.ensemble.combination import Combination
from ensemble_minerals.ensemble.fitted import Committee, CommitteeMember
from ensemble_minerals.exporting.plan import plan_committee
from ensemble_minerals.members.predictor import DenseNet, FoldScorer, Scorer
from ensemble_minerals.members.serialization import scorer_to_arrays
from ensemble_minerals.networks.attribution.ensemble_log_odds import CommitteeOdds, log_odds
from ensemble_minerals.networks.graphs.fitted_ensemble import CommitteeGraph, PlannedMember, ScorerGraph
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
    return DenseNet(
        tuple(
            (rng.normal(size=(i, o)).astype(np.float32), rng.normal(size=o).astype(np.float32))
            for i, o in pairwise(sizes)
        )
    )


def drawn_scorer(rng, kind, *, n_in=6, hidden=(), folds=2):
    one_vs_rest = kind == "one_vs_rest"
    tree = Taxonomy.from_tree(CLASSES, TREES["flat" if one_vs_rest else kind])
    widths = [1] * len(CLASSES)
    if not one_vs_rest:
        widths = [1 if len(node.branches) == 2 else len(node.branches) for node in tree.nodes]
    nets = tuple(tuple(drawn_net(rng, n_in, width, hidden) for width in widths) for _ in range(folds))
    return Scorer(tree, one_vs_rest, nets)


def in_torch(*scorers, weights=(1.0, 1.0)):
    member = FoldScorer(scorers, weights[: len(scorers)])
    return ScorerGraph(PlannedMember(("net",), *scorer_to_arrays(member)), CLASSES).double()


@pytest.mark.parametrize("hidden", [(), (5,)], ids=["linear", "mlp"])
@pytest.mark.parametrize("kind", ["flat", "one_vs_rest", "groups", "nested"])
def test_a_member_answers_as_in_numpy(kind, hidden):
    rng = np.random.default_rng(1)
    scorer = drawn_scorer(rng, kind, hidden=hidden)
    x = rng.normal(size=(7, 6)).astype(np.float32)
    found = in_torch(scorer)(torch.from_numpy(x).double())
    np.testing.assert_allclose(found.numpy(), scorer.log_proba(x), atol=1e-9)


def test_trees_are_averaged_by_their_weights():
    rng = np.random.default_rng(2)
    scorers = [drawn_scorer(rng, kind) for kind in ("groups", "nested")]
    whole = FoldScorer(tuple(scorers), (3.0, 1.0))
    x = rng.normal(size=(5, 6))
    found = in_torch(*scorers, weights=(3.0, 1.0))(torch.from_numpy(x))
    np.testing.assert_allclose(found.numpy(), whole.log_proba(x), atol=1e-9)
    plain = in_torch(*scorers)(torch.from_numpy(x))
    assert np.abs(found.numpy() - plain.numpy()).max() > 1e-3


def drawn_committee(rng, kind):
    members = (
        CommitteeMember("own", ("net",), FoldScorer((drawn_scorer(rng, "groups"),), (1.0,))),
        CommitteeMember("both", ("other", "net"), FoldScorer((drawn_scorer(rng, "flat", n_in=9),), (1.0,))),
        CommitteeMember("else", ("other",), FoldScorer((drawn_scorer(rng, "one_vs_rest", n_in=3),), (1.0,))),
    )
    shape = (12, 4) if kind == "linear" else (3,)
    weight = np.abs(rng.normal(size=shape)) * 0.4
    bias = rng.normal(size=4) if kind == "linear" else np.zeros(4)
    return Committee(members, Combination(kind, weight, bias), 1.7)


def torch_committee(committee, rows, floor=0.0, **options):
    plan = replace(plan_committee(committee, CLASSES), floor=floor)
    return CommitteeOdds(CommitteeGraph(plan, exact=True), source="net", rows=rows, **options)


@pytest.mark.parametrize("kind", ["mean", "product", "linear"])
def test_a_committee_answers_as_in_numpy(kind):
    rng = np.random.default_rng(3)
    committee = drawn_committee(rng, kind)
    views, other = 0.3 * rng.normal(size=(4, 6)), 0.3 * rng.normal(size=3)
    odds = torch_committee(committee, {"other": other}, floor=1e-6)
    members = committee.member_log_proba({"net": views.mean(0)[None], "other": other[None]})
    expected = np.exp(committee.combine(members))
    np.testing.assert_allclose(odds.votes(torch.from_numpy(views)).numpy(), members, atol=1e-9)
    found = odds(torch.from_numpy(views)).numpy()
    np.testing.assert_allclose(found, np.log(expected) - np.log1p(-expected), atol=1e-8)
    alone = np.exp(members[:, 1])
    np.testing.assert_allclose(
        odds(torch.from_numpy(views), member=1).numpy(), np.log(alone) - np.log1p(-alone), atol=1e-8
    )


def test_views_may_stand_side_by_side():
    rng = np.random.default_rng(4)
    scorer = drawn_scorer(rng, "flat", n_in=12)
    views = rng.normal(size=(2, 6))
    member = CommitteeMember("own", ("net",), FoldScorer((scorer,), (1.0,)))
    committee = Committee((member,), Combination("mean", np.ones(1), np.zeros(4)), 1.0)
    odds = torch_committee(committee, {}, side_by_side=True)
    expected = scorer.log_proba(views.reshape(1, -1))
    np.testing.assert_allclose(odds.votes(torch.from_numpy(views))[:, 0].numpy(), expected, atol=1e-9)


def test_a_sure_answer_still_has_a_gradient():
    rng = np.random.default_rng(5)
    committee = drawn_committee(rng, "product")
    views = torch.from_numpy(30 * rng.normal(size=(1, 6))).requires_grad_()
    odds = torch_committee(committee, {"other": np.zeros(3)}, floor=1e-6)
    votes = odds.votes(views)
    assert float(votes.detach()[0, 0].min()) == pytest.approx(np.log(1e-6))  # clipped
    target = int(votes.detach()[0, 0].argmax())
    (gradient,) = torch.autograd.grad(odds(views)[0, target], views)
    assert float(gradient.abs().max()) > 0.1


def test_log_odds_do_not_saturate():
    log_proba = torch.log_softmax(torch.tensor([[60.0, 0.0, 1.0]], dtype=torch.float64), 1)
    np.testing.assert_allclose(log_odds(log_proba)[0, 0], 60 - np.log(1 + np.e), rtol=1e-12)
    np.testing.assert_allclose(
        log_odds(torch.tensor([[0.25, 0.75]]).log())[0], [-np.log(3), np.log(3)], rtol=1e-6
    )
