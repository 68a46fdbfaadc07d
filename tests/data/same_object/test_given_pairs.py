"""The user's pairs: how they are read, and that they win."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ensemble_minerals.data.same_object.given_pairs import GivenPairs, read_given_pairs
from ensemble_minerals.data.same_object.groups import group_rows
from ensemble_minerals.data.same_object.pairs import SameObjectPair
from ensemble_minerals.errors import DataError

PHOTOS = SimpleNamespace(
    root="photos",
    path=np.array(["a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4\\.jpg"]),
    image_id=np.array(["d1", "d2", "d3", "d4"]),
)


def read(tmp_path, text: str) -> GivenPairs:
    file = tmp_path / "pairs.csv"
    file.write_text(text, encoding="utf-8")
    return read_given_pairs(file, PHOTOS)


def test_photos_are_named_by_path_or_digest_and_other_columns_do_not_matter(tmp_path):
    text = "sep=;\nsame;grade;First;second\nyes;copy;b/3.jpg;d1\nNo;;a\\2.jpg;a/1.jpg\n;;;\n"
    assert read(tmp_path, text) == GivenPairs(frozenset({(0, 2)}), frozenset({(0, 1)}))


def test_a_backslash_may_be_part_of_a_name(tmp_path):
    assert read(tmp_path, "first,second,same\nb/4\\.jpg,d1,yes\n") == GivenPairs(frozenset({(0, 3)}))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("first,second\na/1.jpg,a/2.jpg\n", "lacks same"),
        ("first,second,same\na/1.jpg,a/9.jpg,yes\n", r"row 2 of .* names 'a/9.jpg', which is no photo"),
        ("first,second,same\na/1.jpg,a/2.jpg,maybe\n", "same='maybe'; it must be yes or no"),
        ("first,second,same\nd1,d2,yes\na/2.jpg,a/1.jpg,no\n", "row 3 of .* contradicts"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path, text, words):
    with pytest.raises(DataError, match=words):
        read(tmp_path, text)


def test_pairs_of_a_part_of_the_rows():
    given = GivenPairs(frozenset({(0, 2)}), frozenset({(2, 5), (0, 5)}))
    assert given.among({2: 0, 5: 1}) == GivenPairs(frozenset(), frozenset({(0, 1)}))


def report(pixels, pairs, **given):
    return group_rows(
        list(pixels),
        list("abababab")[: len(pixels)],
        [SameObjectPair(*pair) for pair in pairs],
        given=GivenPairs(**{name: frozenset(value) for name, value in given.items()}),
    )


def test_pairs_apart_break_what_was_found_and_are_no_conflict():
    found = report("pqr", [(0, 1, "same_picture")], apart=[(0, 1)])
    assert found.row_group.tolist() == [0, 1, 2]
    assert found.pairs == ()
    assert found.conflicts.size == 0


def test_a_chain_is_broken_at_its_weakest_pair():
    chain = [(0, 1, "same_object"), (1, 2, "same_picture")]
    assert report("pqr", chain, apart=[(0, 2)]).row_group.tolist() == [0, 1, 1]


def test_pairs_together_are_one_group_and_no_conflict():
    found = report("pqr", [], together=[(0, 1)])
    assert found.row_group.tolist() == [0, 0, 1]
    assert [pair.grade for pair in found.pairs] == ["given"]
    assert found.conflicts.size == 0
    stronger = report("pqr", [(0, 2, "same_object")], together=[(0, 2)])
    assert [pair.grade for pair in stronger.pairs] == ["same_object"]


def test_copies_given_together_are_copies_once():
    found = report("pqp", [], together=[(0, 2), (1, 1)])
    assert [(pair.first, pair.second, pair.grade) for pair in found.pairs] == [(0, 2, "copy")]


def test_contradictions_are_told():
    with pytest.raises(DataError, match="equal pixels"):
        report("pp", [], apart=[(0, 1)])
    with pytest.raises(DataError, match="decide for one"):
        report("pqr", [], together=[(0, 1), (1, 2)], apart=[(0, 2)])
