from __future__ import annotations

import math

import pytest
import torch
from skorch import NeuralNet
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from ensemble_minerals.config.networks import PhaseConfig
from ensemble_minerals.networks.training.schedules import optimizer_of, rate_factor, schedulers

N = 40


def rates(phase, n=N):
    factor = rate_factor(phase, n)
    return [factor(step) for step in range(n)]


@pytest.mark.parametrize("warmup", [0.1, 0.25, 0.5])
def test_one_cycle_is_that_of_torch(warmup):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = OneCycleLR(optimizer, max_lr=1.0, total_steps=N, pct_start=warmup, cycle_momentum=False)
    expected = []
    for _ in range(N):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(expected) < N:
            scheduler.step()
    assert rates(PhaseConfig(schedule="one_cycle", warmup=warmup)) == pytest.approx(expected)


def test_cosine_rises_then_falls_to_nothing():
    factors = rates(PhaseConfig(schedule="cosine", warmup=0.25))
    assert factors[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert factors[10:] == pytest.approx([0.5 * (1 + math.cos(math.pi * step / 30)) for step in range(30)])


def test_without_warmup_the_rate_starts_at_its_top():
    for schedule in ("cosine", "one_cycle"):
        factors = rates(PhaseConfig(schedule=schedule, warmup=0.0))
        assert factors[0] == pytest.approx(1.0)
        assert sorted(factors, reverse=True) == factors


def test_decay_is_that_of_keras():
    assert rates(PhaseConfig(lr_decay=0.1), 4) == pytest.approx([1, 1 / 1.1, 1 / 1.2, 1 / 1.3])


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", "AdamW"), ("adam", "Adam"), ("rmsprop", "RMSprop"), ("sgd", "SGD")]
)
def test_optimizers_take_their_momentum(name, kind):
    made, settings = optimizer_of(PhaseConfig(optimizer=name, momentum=0.7, alpha=0.9))
    assert made.__name__ == kind
    own = {"rmsprop": {"momentum": 0.7, "alpha": 0.9}, "sgd": {"momentum": 0.7}}
    assert settings == own.get(name, {})


class _Stepping:
    """The part of a net that schedulers use."""

    def __init__(self, lr):
        self.optimizer_ = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
        self.history = NeuralNet(torch.nn.Linear, torch.nn.MSELoss).initialize_history().history_
        self.stepped = True

    @property
    def lr(self):
        return self.optimizer_.param_groups[0]["lr"]


def test_a_plateau_halves_the_rate_and_decay_goes_on():
    phase = PhaseConfig(schedule="plateau", patience=2, lr_decay=0.5)
    callbacks = [each.initialize() for each in schedulers(phase, 99, "valid_loss", lower_is_better=True)]
    assert callbacks[-1].policy_ is ReduceLROnPlateau
    net = _Stepping(1.0)
    for each in callbacks:
        each.on_train_begin(net)
    seen = []
    for loss in (1.0, 1.0, 1.0, 1.0):
        net.history.new_epoch()
        net.history.record("valid_loss", loss)
        net.optimizer_.step()
        for each in callbacks:
            each.on_batch_end(net, training=True)
        for each in callbacks:
            each.on_epoch_end(net)
        seen.append(net.lr)
    # Patience of one epoch: halved after the second epoch that is no better.
    assert seen == pytest.approx([1 / 1.5, 1 / 2, 0.5 / 2.5, 0.5 / 3])


def test_the_rate_waits_for_the_step_of_summed_gradients():
    phase = PhaseConfig(lr_decay=1.0)
    (callback,) = schedulers(phase, 99, "valid_loss", lower_is_better=True)
    net = _Stepping(1.0)
    callback.initialize().on_train_begin(net)
    net.stepped = False
    callback.on_batch_end(net, training=True)
    assert net.lr == 1.0
    net.stepped = True
    net.optimizer_.step()
    net.history.new_epoch()
    net.history.new_batch()
    callback.on_batch_end(net, training=True)
    assert net.lr == 0.5
