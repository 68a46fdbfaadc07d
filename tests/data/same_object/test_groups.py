"""Row groups, copies and conflicts, from pairs that belong together."""

from __future__ import annotations

import numpy as np

from ensemble_minerals.data.same_object.groups import SameObjectReport, group_rows
from ensemble_minerals.data.same_object.pairs import SameObjectPair


def grouped(pixels, pairs=(), labels=None, **columns) -> SameObjectReport:
    """A report; pixels are letters, pairs (first, second, grade)."""
    return group_rows(
        list(pixels), labels or ["a"] * len(pixels), [SameObjectPair(*pair) for pair in pairs], **columns
    )


def linked(report: SameObjectReport) -> list[tuple[int, int, str]]:
    return [(pair.first, pair.second, pair.grade) for pair in report.pairs]


def test_nothing_in_common():
    report = grouped("pqrs")
    assert report.row_group.tolist() == [0, 1, 2, 3]
    assert (report.n_groups, report.n_pairs, report.pairs) == (4, 0, ())
    assert report.copies.size == report.conflicts.size == 0


def test_no_rows():
    report = grouped("")
    assert (report.n_groups, report.row_group.shape) == (0, (0,))


def test_exact_copies_stay_with_the_first_row():
    report = grouped("pqprp")
    assert report.row_group.tolist() == [0, 1, 0, 2, 0]
    assert report.copies.tolist() == [2, 4]
    assert report.conflicts.tolist() == []
    assert linked(report) == [(0, 2, "copy"), (0, 4, "copy")]


def test_exact_copies_are_set_aside_whatever_their_given_groups():
    report = grouped("ppq", given_groups=["one", "two", ""])
    assert report.copies.tolist() == [1]
    assert report.row_group.tolist() == [0, 0, 1]


def test_the_same_pixels_under_two_labels_are_all_conflicts():
    report = grouped("pqppq", labels=list("aaaba"))
    assert report.conflicts.tolist() == [0, 2, 3]
    assert report.copies.tolist() == [4]
    assert report.row_group.tolist() == [0, 1, 0, 0, 1]


def test_chains_become_one_group_and_numbers_follow_appearance():
    report = grouped("pqrstu", [(3, 5, "same_object"), (1, 3, "same_picture")])
    assert report.row_group.tolist() == [0, 1, 2, 1, 3, 1]
    assert linked(report) == [(1, 3, "same_picture"), (3, 5, "same_object")]


def test_given_groups_are_merged_in():
    report = grouped("pqrstu", [(0, 5, "same_object")], given_groups=["", "x", "", "x", "y", "y"])
    assert report.row_group.tolist() == [0, 1, 2, 1, 0, 0]


def test_only_the_same_picture_under_two_labels_is_a_conflict():
    report = grouped("pqrs", [(0, 1, "same_picture"), (2, 3, "same_object")], labels=list("abab"))
    assert report.conflicts.tolist() == [0, 1]
    assert report.row_group.tolist() == [0, 0, 1, 1]


def test_copies_of_a_disputed_photo_are_conflicts_too():
    report = grouped("pqprs", [(0, 4, "same_picture")], labels=list("aaaab"))
    assert report.conflicts.tolist() == [0, 2, 4]
    assert report.copies.size == 0


def test_rows_aside_are_grouped_but_make_no_copies_and_no_conflicts():
    aside = np.array([True, False, False, True, False])
    report = grouped("ppprq", [(3, 4, "same_picture")], labels=list("baabb"), aside=aside)
    assert report.row_group.tolist() == [0, 0, 0, 1, 1]
    assert report.copies.tolist() == [2]
    assert report.conflicts.tolist() == []
    assert linked(report) == [(0, 1, "copy"), (0, 2, "copy"), (3, 4, "same_picture")]


def test_a_report_of_some_rows_in_the_numbers_of_the_whole_table():
    report = grouped("pqp", labels=list("aaa")).at(np.array([1, 4, 5]), 7)
    assert report.row_group.tolist() == [-1, 0, -1, -1, 1, 0, -1]
    assert report.copies.tolist() == [5]
    assert linked(report) == [(1, 5, "copy")]
