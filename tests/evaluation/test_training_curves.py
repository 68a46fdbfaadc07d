import pytest

from ensemble_minerals.evaluation.training_curves import summarize_training, training_rows


def record(phase, epoch, train, validation):
    return {
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


@pytest.fixture
def logs():
    first = [record(1, 1, 0.9, 0.8), record(1, 2, 0.5, 0.4), record(2, 3, 0.3, 0.6)]
    second = [record(1, 1, 0.7, 0.6), record(1, 2, 0.4, 0.5), record(2, 3, 0.2, 0.3), record(2, 4, 0.1, 0.4)]
    return {"lite0-flat": [first, second]}


def test_the_best_epoch_of_each_network_is_that_of_the_lowest_validation_loss(logs):
    (member,) = summarize_training(logs)
    assert [best.epoch for best in member.best] == [2, 3]
    assert (member.networks, member.epochs, member.seconds) == (2, 7, 210.0)


def test_networks_without_validation_rows_have_no_best_epoch():
    (member,) = summarize_training({"a": [[record(1, 1, 0.5, None)]]})
    assert member.best == (None,)


def test_every_epoch_is_a_row(logs):
    rows = list(training_rows(summarize_training(logs)))
    assert len(rows) == 7
    assert rows[3] | {"member": "lite0-flat", "network": 1, "epoch": 1} == rows[3]
