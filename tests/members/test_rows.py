from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.members import rows
from ensemble_minerals.members.rows import RowData, Rows, parts


def test_rows_of_matrices_side_by_side(monkeypatch):
    left, right = np.arange(20.0).reshape(10, 2), np.arange(10.0).reshape(10, 1)
    chosen = np.array([7, 0, 3, 3, 9])
    some = Rows([left, right], chosen)
    expected = np.concatenate([left, right], axis=1)[chosen]
    assert (len(some), some.n_columns) == (5, 3)
    np.testing.assert_array_equal(some.whole(), expected)
    assert len(list(some.parts())) == 1
    monkeypatch.setattr(rows, "MANY", 3)
    monkeypatch.setattr(rows, "PART", 2)
    found = list(some.parts())
    assert [len(part) for part in found] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(found), expected)


def test_no_rows_are_one_empty_part():
    (part,) = Rows([np.zeros((4, 3))], np.array([], dtype=np.intp)).parts()
    assert part.shape == (0, 3)


def test_parts_cover_everything_once():
    n = 2 * rows.MANY + 5
    seen = np.concatenate([np.arange(n)[part] for part in parts(n)])
    np.testing.assert_array_equal(seen, np.arange(n))
    assert max(part.stop - part.start for part in parts(n)) <= rows.PART


def test_named_matrices_stand_side_by_side_in_the_order_asked_for():
    color, texture = np.arange(6.0).reshape(3, 2), np.ones((3, 1))
    data = RowData({"color": color, "texture": texture})
    np.testing.assert_array_equal(data.side_by_side(["texture", "color"]), np.hstack([texture, color]))
    assert data.side_by_side(["color"]) is color


def test_some_rows_keep_features_and_photos():
    data = RowData({"color": np.arange(6.0).reshape(3, 2)}, np.array([9, 4, 7]))
    for chosen in (np.array([0, 2]), np.array([True, False, True])):
        part = data.take(chosen)
        assert part.photos().tolist() == [9, 7]
        assert part.matrices["color"].tolist() == [[0.0, 1.0], [4.0, 5.0]]


def test_rows_without_photos_say_so():
    with pytest.raises(ValueError, match="these rows come without"):
        RowData({}).photos()
