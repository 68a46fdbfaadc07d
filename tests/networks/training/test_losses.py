import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from ensemble_minerals.config.networks import CrossEntropyLoss, FocalLoss, LogitAdjustedLoss
from ensemble_minerals.networks.training.losses import Mixer, SubproblemLoss, expand_targets, hard_targets

COUNTS = np.array([10, 30, 60])
TARGETS = torch.tensor([0, 2, 1, 2, 2])


@pytest.fixture
def logits():
    return 2 * torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


def loss_of(config, logits, targets=TARGETS, counts=COUNTS):
    return SubproblemLoss(config, [counts])(logits, expand_targets(targets[:, None], [len(counts)]))


def test_soft_targets_are_zero_for_rows_without_a_part():
    first, second = expand_targets(torch.tensor([[2, -1], [-1, 0], [0, 1]]), [3, 2])
    assert first.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert second.tolist() == [[0, 0], [1, 0], [0, 1]]


def test_soft_targets_are_split_by_subproblem_and_the_most_probable_outcome_is_the_hard_one():
    soft = torch.tensor([[0.2, 0.5, 0.3, 0.0, 1.0], [0, 0, 0, 1.0, 0.0]])
    first, second = expand_targets(soft, [3, 2])
    torch.testing.assert_close(first, soft[:, :3])
    torch.testing.assert_close(second, soft[:, 3:])
    assert hard_targets(soft, [3, 2]).tolist() == [[1, 1], [-1, 0]]
    codes = torch.tensor([[0, -1]])
    assert hard_targets(codes, [3, 2]) is codes


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_and_label_smoothing_equal_torchs(logits, smoothing):
    ours = loss_of(CrossEntropyLoss(label_smoothing=smoothing), logits)
    torch.testing.assert_close(ours, F.cross_entropy(logits, TARGETS, label_smoothing=smoothing))


def test_class_weights_are_the_inverse_of_the_rows(logits):
    weights = torch.tensor([100 / 30, 100 / 90, 100 / 180])
    each = F.cross_entropy(logits, TARGETS, reduction="none")
    ours = loss_of(CrossEntropyLoss(class_weight="balanced"), logits)
    torch.testing.assert_close(ours, (each * weights[TARGETS]).mean())
    smooth = loss_of(CrossEntropyLoss(class_weight="balanced", label_smoothing=0.2), logits)
    targets = F.one_hot(TARGETS, 3).float()
    torch.testing.assert_close(smooth, F.cross_entropy(logits, targets, weights, label_smoothing=0.2))


def test_logit_adjustment_adds_the_log_prior(logits):
    # Menon et al. 2021, equation 10: log(1 + sum over other classes of (prior' / prior)^tau exp(f' - f)).
    prior, tau = torch.tensor([0.1, 0.3, 0.6]), 1.5
    expected = torch.stack(
        [
            torch.log(sum((prior[k] / prior[y]) ** tau * torch.exp(row[k] - row[y]) for k in range(3)))
            for row, y in zip(logits, TARGETS.tolist(), strict=True)
        ]
    ).mean()
    torch.testing.assert_close(loss_of(LogitAdjustedLoss(tau=tau), logits), expected)


@pytest.mark.parametrize("weight", ["none", "balanced"])
def test_focal_without_gamma_is_cross_entropy(logits, weight):
    focal = loss_of(FocalLoss(gamma=0.0, class_weight=weight), logits)
    torch.testing.assert_close(focal, loss_of(CrossEntropyLoss(class_weight=weight), logits))


def test_focal_has_its_closed_form(logits):
    p = logits.softmax(1)[torch.arange(5), TARGETS]
    torch.testing.assert_close(loss_of(FocalLoss(gamma=2.0), logits), (-((1 - p) ** 2) * p.log()).mean())


def test_focal_slope_is_finite_where_the_network_is_certain():
    logits = torch.tensor([[17.0, 0.0, 0.0]], requires_grad=True)
    loss_of(FocalLoss(gamma=0.5), logits, torch.tensor([0])).backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    "config",
    [
        CrossEntropyLoss(label_smoothing=0.1),
        CrossEntropyLoss(class_weight="balanced"),
        FocalLoss(class_weight="balanced"),
        LogitAdjustedLoss(),
    ],
)
def test_log_odds_of_two_outcomes_equal_the_softmax_of_two_columns(config):
    counts, targets = np.array([20, 80]), torch.tensor([0, 1, 1, 0, 1])
    log_odds = torch.linspace(-3, 2, 5)[:, None]
    one = loss_of(config, log_odds, targets, counts)
    # The same subproblem among three outcomes, the third of which cannot happen.
    columns = torch.cat([torch.zeros(5, 1), log_odds], 1)
    prior, weight = torch.tensor([0.2, 0.8]), torch.tensor([100 / 40, 100 / 160])
    if isinstance(config, LogitAdjustedLoss):
        two = F.cross_entropy(columns + prior.log(), targets)
    elif isinstance(config, FocalLoss):
        p = columns.softmax(1)[torch.arange(5), targets]
        two = (weight[targets] * (1 - p) ** config.gamma * -p.log()).mean()
    else:
        weights = weight if config.class_weight == "balanced" else None
        two = F.cross_entropy(
            columns, F.one_hot(targets).float(), weights, label_smoothing=config.label_smoothing
        )
    torch.testing.assert_close(one, two)


def test_binary_cross_entropy_is_torchs():
    log_odds, targets = torch.linspace(-3, 2, 5)[:, None], torch.tensor([0, 1, 1, 0, 1])
    ours = loss_of(CrossEntropyLoss(), log_odds, targets, np.array([5, 5]))
    torch.testing.assert_close(ours, F.binary_cross_entropy_with_logits(log_odds[:, 0], targets.float()))


def test_subproblems_add_up_and_rows_without_a_part_do_not_count(logits):
    both = torch.cat([logits, logits[:, :1]], 1)
    targets = torch.tensor([[0, -1], [2, 1], [-1, 0], [1, -1], [-1, -1]])
    loss = SubproblemLoss(CrossEntropyLoss(), [COUNTS, np.array([50, 50])])
    expected = F.cross_entropy(logits[[0, 1, 3]], targets[[0, 1, 3], 0])
    expected = expected + F.binary_cross_entropy_with_logits(logits[[1, 2], 0], torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(loss(both, expand_targets(targets, [3, 2])), expected)


def test_a_subproblem_without_rows_in_the_batch_costs_nothing(logits):
    logits.requires_grad_()
    loss = loss_of(CrossEntropyLoss(), logits, torch.full((5,), -1))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_an_outcome_without_rows_keeps_the_loss_finite(logits):
    for config in (CrossEntropyLoss(class_weight="balanced"), LogitAdjustedLoss()):
        assert torch.isfinite(loss_of(config, logits, counts=np.array([0, 3, 4])))


@pytest.mark.parametrize("config", [CrossEntropyLoss(class_weight="balanced"), LogitAdjustedLoss(tau=1.0)])
@pytest.mark.parametrize("counts", [[15, 35, 50], [25, 75]])
def test_the_prior_shift_leads_back_to_the_rows_own_frequencies(config, counts):
    # Of photos that all look alike the best answer, after the shift, is how often each outcome occurs.
    counts = np.array(counts)
    loss = SubproblemLoss(config, [counts])
    learned = torch.zeros(1, len(loss.prior_shift()), requires_grad=True)
    targets = expand_targets(
        torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))[:, None], [len(counts)]
    )
    optimizer = torch.optim.LBFGS([learned], lr=1.0, max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = loss(learned.expand(100, -1), targets)
        value.backward()
        return value

    optimizer.step(closure)
    answer = (learned + loss.prior_shift()).detach()
    p = answer.softmax(1)[0] if len(counts) > 2 else torch.stack([-answer, answer]).sigmoid().flatten()
    torch.testing.assert_close(p, torch.tensor(counts / 100).float(), atol=1e-3, rtol=0)


def test_the_loss_brings_nothing_into_the_state_of_a_network():
    assert SubproblemLoss(CrossEntropyLoss(class_weight="balanced"), [COUNTS]).state_dict() == {}


@pytest.fixture
def batch():
    images = torch.rand(4, 3, 16, 20, generator=torch.Generator().manual_seed(1))
    return images, expand_targets(torch.tensor([[0, 1], [2, -1], [1, 0], [2, 1]]), [3, 2])


def generators(n=12):
    return [torch.Generator().manual_seed(seed) for seed in range(n)]


def test_mixup_is_linear(batch):
    images, targets = batch
    shares = set()
    for generator in generators():
        mixed, soft = Mixer(0.4, 0.0)(images, targets, generator)
        share = float(soft[0][0, 0])  # row 0 is of outcome 0, the row before it (the last) of outcome 2
        shares.add(share)
        torch.testing.assert_close(mixed, share * images + (1 - share) * images.roll(1, 0))
        for before, after in zip(targets, soft, strict=True):
            torch.testing.assert_close(after, share * before + (1 - share) * before.roll(1, 0))
    assert len(shares) == 12


def test_the_share_of_cutmix_is_the_share_of_the_area(batch):
    images, targets = batch
    n_cut = 0
    for generator in generators():
        mixed, soft = Mixer(0.0, 1.0)(images, targets, generator)
        own = (mixed == images).all(1)
        assert (own | (mixed == images.roll(1, 0)).all(1)).all()
        torch.testing.assert_close(own.float().mean((1, 2)), soft[0][0, 0].expand(4))
        n_cut += int(not own.all())
    assert n_cut > 6


def test_with_both_each_batch_draws_one(batch):
    images, targets = batch
    cut = [
        bool(((mixed == images) | (mixed == images.roll(1, 0))).all())
        for mixed, _ in (Mixer(1.0, 1.0)(images, targets, generator) for generator in generators(20))
    ]
    assert 3 < sum(cut) < 17


def test_mixing_depends_on_the_generator_alone_and_leaves_the_batch_as_it_is(batch):
    images, targets = batch
    before, state = images.clone(), torch.get_rng_state()
    first, again = (Mixer(1.0, 1.0)(images, targets, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)
    same, own = Mixer(0.0, 0.0)(images, targets, torch.Generator())
    assert same is images
    assert all(torch.equal(one, other) for one, other in zip(own, targets, strict=True))


def test_mixed_targets_cost_the_mixture_of_costs(batch, logits):
    targets = expand_targets(torch.tensor([[0], [2], [1], [2], [0]]), [3])[0]
    loss = SubproblemLoss(CrossEntropyLoss(label_smoothing=0.1), [COUNTS])
    mixed = loss(logits, [0.3 * targets + 0.7 * targets.roll(1, 0)])
    torch.testing.assert_close(
        mixed, 0.3 * loss(logits, [targets]) + 0.7 * loss(logits, [targets.roll(1, 0)])
    )
