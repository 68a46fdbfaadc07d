from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.data.same_object.pairs import SameObjectPair
from ensemble_minerals.data.too_few_groups import check_groups, too_few_groups
from ensemble_minerals.errors import DataError


def manifest_of(labels, row_group, **columns) -> Manifest:
    n = len(labels)
    text = [""] * n
    filled = {
        "image_id": text, "path": [f"{label}/{row}.jpg" for row, label in enumerate(labels)], "label": list(labels),
        "given_group": text, "split": text, "row_group": row_group, "fold": [-1] * n, "status": ["ok"] * n,
        "reason": text, "width": [9] * n, "height": [9] * n, "format": text, "mode": text, "pixel_hash": text,
        "phash": [0] * n, "phash_mirrored": [0] * n,
    }  # fmt: skip
    return Manifest(root=Path("photos"), **{**filled, **columns})


PAIRS = (
    SameObjectPair(0, 1, "same_picture"),
    SameObjectPair(1, 2, "same_object"),
    SameObjectPair(4, 5, "same_picture"),
)


def test_what_merged_the_photos_of_a_class_is_told():
    manifest = manifest_of("aaaabbb", [0, 0, 0, 1, 2, 2, 3])
    rows = np.arange(7)
    assert too_few_groups(manifest, rows, PAIRS, 2) == {}
    with pytest.raises(DataError) as caught:
        check_groups(manifest, rows, PAIRS, 3, "3 folds")
    message = str(caught.value)
    assert message.startswith("3 folds need at least 3 row groups of every class")
    assert (
        "class 'a' has 2, of 4 photos, 3 of them merged with others by 2 pairs (same picture 1, same object 1); "
        "the largest group holds 3 (a/0.jpg, a/1.jpg, a/2.jpg)"
    ) in message
    assert "class 'b' has 2, of 3 photos, 2 of them merged with others by 1 pair (same picture 1)" in message
    for key in ("--set folds.n_splits=2", "inspect --out", "duplicates.pairs", "duplicates.near=false"):
        assert key in message


def test_where_nothing_was_merged_no_key_of_duplicates_is_named():
    manifest = manifest_of("abb", [0, 1, 2])
    with pytest.raises(DataError, match="class 'a' has 1, of 1 photo, none merged") as caught:
        check_groups(manifest, np.arange(3), (), 2, "2 folds")
    assert "duplicates" not in str(caught.value)
    assert "n_splits" not in str(caught.value)


def test_only_the_rows_that_are_divided_count():
    manifest = manifest_of("aaabb", [0, 1, 1, 2, 3], status=["ok", "ok", "ok", "ok", "duplicate"])
    assert list(too_few_groups(manifest, np.array([0, 1, 2, 3]), (), 2)) == ["b"]
    assert "besides 1 copy" in too_few_groups(manifest, np.array([0, 1, 2, 3]), (), 2)["b"]


def test_groups_that_the_user_gave_are_named():
    manifest = manifest_of("aab", [0, 0, 1], given_group=["x", "x", ""])
    assert (
        "merged with others by the column group; the largest"
        in too_few_groups(manifest, np.arange(3), (), 2)["a"]
    )
