from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ensemble_minerals.errors import FitError
from ensemble_minerals.networks.training.callbacks import (
    DivergenceCheck,
    EpochEnd,
    LastEpochs,
    PhaseEnded,
    copy_like,
    copy_tensors,
)


def test_copies_do_not_change_with_the_module():
    layer = nn.Linear(2, 3)
    before = layer.weight.detach().clone()
    copies = copy_tensors(layer, ["weight"])
    with torch.no_grad():
        layer.weight.add_(1.0)
    assert copies.keys() == {"weight"}
    assert torch.equal(copies["weight"], before)


def test_a_copy_has_the_values_of_one_tensor_and_the_memory_format_of_another():
    template = torch.zeros(1, 2, 3, 4).contiguous(memory_format=torch.channels_last)
    copy = copy_like(torch.arange(24.0).view(1, 2, 3, 4), template)
    assert torch.equal(copy, torch.arange(24.0).view(1, 2, 3, 4))
    assert copy.is_contiguous(memory_format=torch.channels_last)


def test_only_the_last_epochs_are_averaged_and_only_the_named_tensors():
    layer, last = nn.Linear(1, 1), LastEpochs(2, ["weight"])
    net = SimpleNamespace(evaluated_module=lambda: layer)
    for value in (100.0, 1.0, 3.0):
        with torch.no_grad():
            layer.weight.fill_(value)
            layer.bias.fill_(value)
        last.on_epoch_end(net)
    last.average_into(layer)
    assert layer.weight.item() == 2.0
    assert layer.bias.item() == 3.0


@pytest.mark.parametrize("over", [False, True])
def test_progress_is_written_before_patience_ends_a_phase(over):
    written = []
    callback = EpochEnd(SimpleNamespace(over_=over), lambda net, over: written.append((net, over)))
    if over:
        with pytest.raises(PhaseEnded):
            callback.on_epoch_end("net")
    else:
        callback.on_epoch_end("net")
    assert written == [("net", over)]


def net_with(**scores):
    return SimpleNamespace(history=[scores], epoch=4)


def test_a_loss_may_rise_but_not_explode():
    check = DivergenceCheck("lite", phase=2, rate=0.5, chance_loss=1.1)
    check.on_batch_end(net_with(), training=True, loss=torch.tensor(2.0))
    check.on_batch_end(net_with(), training=False, loss=torch.tensor(float("nan")))
    check.on_epoch_end(net_with(train_loss=199.0, valid_loss=5.0))
    with pytest.raises(FitError, match=r"'lite' diverged in phase 2, epoch 4: the loss is 201 with lr=0\.5"):
        check.on_epoch_end(net_with(train_loss=201.0))
    with pytest.raises(FitError, match="on the inner validation rows is nan"):
        check.on_epoch_end(net_with(train_loss=1.0, valid_loss=float("nan")))
    with pytest.raises(FitError, match="the loss is inf"):
        check.on_batch_end(net_with(), training=True, loss=torch.tensor(float("inf")))
