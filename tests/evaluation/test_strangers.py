import numpy as np
import pytest

from ensemble_minerals.evaluation.intervals import GroupBootstrap
from ensemble_minerals.evaluation.strangers import stranger_figures


def test_figures_of_a_rejection():
    typicality = np.linspace(0.01, 1.0, 100)
    found = stranger_figures(
        typicality, 0.05, {"a": 0.9, "b": 0.7}, ("chairs", np.full(20, 0.02)), GroupBootstrap(np.arange(100))
    )
    assert found.refused.estimate == pytest.approx(0.05)
    assert found.refused.low < 0.05 < found.refused.high
    assert found.mean_auroc == pytest.approx(0.8)
    assert (found.given.name, found.given.n, found.given.refused.estimate) == ("chairs", 20, 1.0)
    assert found.given.auroc == pytest.approx(0.985)  # one row is stranger, one as strange


def test_none_refused_and_no_classes_left_out():
    found = stranger_figures(np.ones(10), 0.05, {}, None, GroupBootstrap(np.arange(10)))
    assert found.refused.estimate == 0
    assert 0 < found.refused.high < 0.5
    assert np.isnan(found.mean_auroc)
    assert found.given is None
