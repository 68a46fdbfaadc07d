from drawn.training_logs import record

from ensemble_minerals.evaluation.training_curves import summarize_training, training_rows


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
