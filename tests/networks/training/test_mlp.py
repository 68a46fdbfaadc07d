from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ensemble_minerals.errors import FitError
from ensemble_minerals.networks.training import mlp
from ensemble_minerals.networks.training.mlp import MLP, Settings, WeightedRows

SETTINGS = Settings(
    hidden=(8,),
    dropout=0.2,
    learning_rate=1e-2,
    weight_decay=1e-3,
    label_smoothing=0.0,
    batch_size=16,
    max_epochs=5,
    patience=5,
    noise=0.0,
)


def rows(n=49, d=3, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2, n)
    X = (rng.normal(size=(n, d)) + 2 * codes[:, None]).astype(np.float32)
    return WeightedRows(X, codes, np.ones(n))


def train(training=None, validation=None, settings=SETTINGS, seed=0):
    return mlp.train(
        training or rows(),
        validation,
        n_classes=2,
        validation_shift=np.zeros(2),
        settings=settings,
        seed=seed,
    )


def lived_in_network(sizes, seed=0):
    """A network whose scales, offsets and statistics are not those of a fresh one."""
    generator = torch.Generator().manual_seed(seed)
    network = MLP(sizes, generator)
    with torch.no_grad():
        for part in network.parameters:
            part.add_(torch.randn(part.shape, generator=generator), alpha=0.5)
    network.update_statistics(3 + 2 * torch.randn((200, sizes[0]), generator=generator))
    return network


@pytest.mark.parametrize("sizes", [(6, 5, 3), (6, 7, 4, 2), (6, 3)])
def test_folded_layers_equal_torch_modules_in_eval_mode(sizes):
    network = lived_in_network(sizes)
    *hidden, weight, bias = (part.detach() for part in network.parameters)
    modules: list[nn.Module] = []
    for layer, (mean, variance) in enumerate(network.statistics):
        linear = nn.Linear(sizes[layer], sizes[layer + 1], bias=False)
        norm = nn.BatchNorm1d(sizes[layer + 1])
        with torch.no_grad():
            linear.weight.copy_(hidden[3 * layer].T)
            norm.weight.copy_(hidden[3 * layer + 1])
            norm.bias.copy_(hidden[3 * layer + 2])
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
        modules += [linear, norm, nn.ReLU(), nn.Dropout(0.5)]
    last = nn.Linear(sizes[-2], sizes[-1])
    with torch.no_grad():
        last.weight.copy_(weight.T)
        last.bias.copy_(bias)
    X = torch.randn((30, sizes[0]), generator=torch.Generator().manual_seed(1))
    expected = nn.Sequential(*modules, last).eval()(X).detach().numpy()

    values = X.numpy()
    *before, (weight, bias) = network.fold()
    for w, b in before:
        values = np.maximum(values @ w + b, 0)

    np.testing.assert_allclose(values @ weight + bias, expected, atol=1e-5)
    np.testing.assert_allclose(network.logits(X).detach().numpy(), expected, atol=1e-5)


def test_training_mode_normalizes_by_the_batch_and_drops_units():
    network = lived_in_network((6, 400, 3))
    X = torch.randn((64, 6), generator=torch.Generator().manual_seed(2))
    generator = torch.Generator().manual_seed(3)
    plain = network.logits(X, dropout=0.0, generator=generator)
    network.update_statistics(X)
    torch.testing.assert_close(plain, network.logits(X), atol=1e-4, rtol=1e-4)
    dropped = network.logits(X, dropout=0.5, generator=generator)
    assert (dropped - plain).abs().mean() > 0.1


def test_weights_decay_and_biases_do_not():
    network = MLP((3, 4, 2), torch.Generator().manual_seed(0))
    settings = replace(SETTINGS, hidden=(4,), learning_rate=0.1, weight_decay=0.5)
    training = mlp._Training(network, rows(), None, np.zeros(2), settings, torch.Generator())
    before = [part.detach().clone() for part in network.parameters]
    for part in network.parameters:
        part.grad = torch.zeros_like(part)
    training.optimizer.step()
    for part, old in zip(network.parameters, before, strict=True):
        torch.testing.assert_close(part, old * (0.95 if part.ndim == 2 else 1.0))


def test_best_epoch_is_kept():
    validation = rows(30, seed=1)
    result = train(validation=validation, settings=replace(SETTINGS, max_epochs=60, patience=4))
    losses = result.validation_losses
    assert result.best_epoch == 1 + int(np.argmin(losses))
    assert result.n_epochs == len(losses)
    assert result.n_epochs in (60, result.best_epoch + 4)
    (w1, b1), (w2, b2) = result.layers
    logits = np.maximum(validation.X @ w1 + b1, 0) @ w2 + b2
    log_proba = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    np.testing.assert_allclose(
        -log_proba[np.arange(30), validation.codes].mean(), min(losses), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("held", [None, rows(60, seed=1)])
def test_statistics_are_those_of_the_trained_rows(held):
    far = 40.0  # from where the statistics of a new network lie
    training, validation = (replace(part, X=part.X + far) if part else None for part in (rows(), held))
    result = train(training, validation, settings=replace(SETTINGS, max_epochs=30))
    (w1, b1), (w2, b2) = result.layers
    new = rows(200, seed=2)
    logits = np.maximum((new.X + far) @ w1 + b1, 0) @ w2 + b2
    assert (logits.argmax(axis=1) == new.codes).mean() > 0.9


def test_without_validation_every_epoch_is_run():
    result = train()
    assert (result.n_epochs, result.best_epoch, result.validation_losses) == (5, 5, ())


def test_batches_never_hold_a_single_row():
    for n in (2, 3, 17, 33):  # one more than a multiple of the batch size among them
        assert train(rows(n)).n_epochs == 5
    assert train(rows(7), settings=replace(SETTINGS, batch_size=2)).n_epochs == 5


@pytest.mark.parametrize("change", [{"noise": 0.5}, {"label_smoothing": 0.2}, {"dropout": 0.0}])
def test_settings_reach_the_training(change):
    assert not np.array_equal(train().layers[0][0], train(settings=replace(SETTINGS, **change)).layers[0][0])


def test_diverging_loss_names_epoch_and_learning_rate():
    with pytest.raises(FitError, match=r"epoch 1: the loss is nan with learning_rate=1e\+30"):
        train(settings=replace(SETTINGS, learning_rate=1e30))
    with pytest.raises(FitError, match=r"epoch \d: .* learning_rate=1e\+06"):
        train(settings=replace(SETTINGS, learning_rate=1e6, hidden=()))


def test_torch_state_is_left_alone():
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        state = torch.get_rng_state()
        train()
        with pytest.raises(FitError):
            train(settings=replace(SETTINGS, learning_rate=1e30))
        assert torch.get_num_threads() == 3
        assert torch.equal(torch.get_rng_state(), state)
    finally:
        torch.set_num_threads(threads)
