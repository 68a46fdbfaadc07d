import pytest

from ensemble_minerals.evaluation.training_curves import finding, training_rows, training_section
from ensemble_minerals.reports.training_figure import draw_training


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
    (section,) = training_section(logs)
    assert [best["epoch"] for best in section["best"]] == [2, 3]
    assert (section["networks"], section["epochs"], section["seconds"]) == (2, 7, 210.0)


def test_networks_that_watched_no_rows_have_no_best_epoch():
    (section,) = training_section({"a": [[record(1, 1, 0.5, None)]]})
    assert section["best"] == [None]


def test_the_finding_counts(logs):
    assert finding(training_section(logs)) == "2 networks were trained, 7 epochs in 3.5 minutes of training"


def test_every_epoch_is_a_row(logs):
    rows = list(training_rows(training_section(logs)))
    assert len(rows) == 7
    assert rows[3] | {"member": "lite0-flat", "network": 1, "epoch": 1} == rows[3]


def test_the_figure_shows_every_network_their_mean_and_the_phases(logs):
    loss, accuracy = draw_training(training_section(logs)[0]).axes
    means = {line.get_label(): line.get_ydata() for line in loss.get_lines()}
    assert means["training"] == pytest.approx(
        [0.8, 0.45, 0.25]
    )  # the epoch that one network lacks is left out
    assert means["inner validation"] == pytest.approx([0.7, 0.45, 0.45])
    assert [line.get_xdata()[0] for line in loss.get_lines() if line.get_linestyle() == ":"] == [2.5]
    assert len(accuracy.get_lines()) == 2 * 2 + 2 + 1


def test_where_nothing_was_watched_only_training_is_drawn():
    (section,) = training_section({"a": [[record(1, 1, 0.5, None), record(1, 2, 0.4, None)]]})
    labels = [line.get_label() for line in draw_training(section).axes[0].get_lines()]
    assert labels == ["training"]
