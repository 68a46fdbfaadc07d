import numpy as np

from ensemble_minerals.reports.matched_points import MOST_POINTS, draw, fitted


def test_points_lie_where_they_are_in_either_photo():
    first, second = fitted(600, 500), fitted(100, 400)
    assert (first, second) == ((120.0, 100.0), (25.0, 100.0))
    drawing = draw(first, second, np.array([[0, 0, 1, 1], [0.5, 0.5, 0, 0.5]], np.float32))
    assert drawing.places == ((0.0, 0.0), (126.0, 0.0))
    assert drawing.lines == "M0.0 0.0L151.0 100.0M60.0 50.0L126.0 50.0"
    assert drawing.dots == "M0.0 0.0h0M151.0 100.0h0M60.0 50.0h0M126.0 50.0h0"


def test_a_bounded_number_of_points_is_drawn():
    drawing = draw((9.0, 9.0), (9.0, 9.0), np.zeros((1000, 4), np.float32))
    assert drawing.lines.count("M") == MOST_POINTS
    assert draw((9.0, 9.0), (9.0, 9.0), np.zeros((0, 4), np.float32)).lines == ""
