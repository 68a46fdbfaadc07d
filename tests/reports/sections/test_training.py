"""The section on trained networks."""

from __future__ import annotations

import pytest
from drawn.training_logs import record

from ensemble_minerals.evaluation.training_curves import summarize_training
from ensemble_minerals.reports.sections.training import Training, draw_training


def test_the_heading_counts(logs):
    assert (
        Training(summarize_training(logs)).heading
        == "2 networks were trained, 7 epochs in 3.5 minutes of training"
    )


def test_the_figure_shows_every_network_their_mean_and_the_phases(logs):
    loss, accuracy = draw_training(summarize_training(logs)[0]).axes
    means = {line.get_label(): line.get_ydata() for line in loss.get_lines()}
    assert means["training"] == pytest.approx(
        [0.8, 0.45, 0.25]
    )  # the epoch that one network lacks is left out
    assert means["inner validation"] == pytest.approx([0.7, 0.45, 0.45])
    assert [line.get_xdata()[0] for line in loss.get_lines() if line.get_linestyle() == ":"] == [2.5]
    assert len(accuracy.get_lines()) == 2 * 2 + 2 + 1


def test_without_validation_rows_only_training_is_drawn():
    (member,) = summarize_training({"a": [[record(1, 1, 0.5, None), record(1, 2, 0.4, None)]]})
    labels = [line.get_label() for line in draw_training(member).axes[0].get_lines()]
    assert labels == ["training"]
