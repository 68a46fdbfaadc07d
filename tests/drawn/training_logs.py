"""Records of the epochs of two networks, for the tests of training curves."""

from __future__ import annotations

import pytest

from ensemble_minerals.networks.training.epoch_log import Epoch


def record(phase, epoch, train, validation):
    values = {
        "phase": phase,
        "epoch": epoch,
        "train_loss": train,
        "train_accuracy": 1 - train,
        "train_macro_f1": 0.5,
        "validation_loss": validation,
        "validation_accuracy": None if validation is None else 1 - validation,
        "validation_macro_f1": None,
        "lr": 0.1,
        "seconds": 30.0,
    }
    return Epoch(**values)


@pytest.fixture
def logs():
    first = [record(1, 1, 0.9, 0.8), record(1, 2, 0.5, 0.4), record(2, 3, 0.3, 0.6)]
    second = [record(1, 1, 0.7, 0.6), record(1, 2, 0.4, 0.5), record(2, 3, 0.2, 0.3), record(2, 4, 0.1, 0.4)]
    return {"lite0-flat": [first, second]}
