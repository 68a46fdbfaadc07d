import numpy as np

from ensemble_minerals.reports.drawing import matrix


def test_a_matrix_of_many_classes_stays_small_and_prints_no_numbers():
    sides = {}
    for n in (10, 90):
        figure = matrix(
            np.full((n, n), 50.0), [f"class {k}" for k in range(n)], "answer", "label", top=100, form="{:.0f}"
        )
        sides[n] = figure.get_figwidth()
        assert len(figure.axes[0].texts) == (n * n if n == 10 else 0)
    assert sides[90] < 4 * sides[10]
