"""Corrections applied: by content, copies included, and told where they match nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ensemble_minerals.data.correcting import correct
from ensemble_minerals.data.corrections import Corrections, Decision
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.errors import DataError

A, B, C, D = ("abcd"[i] * 32 for i in range(4))
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def decided(photo, action, label="", who="Ann", **more):
    return Decision(photo, action, who, NOON, label, **more)


def corrected(rows, *decisions):
    """Rows are (digest, pixels, label)."""
    digests, pixels, labels = zip(*rows, strict=True)
    n = len(rows)
    columns = {name: [""] * n for name in ("given_group", "split", "reason", "format", "mode")}
    columns |= {name: [0] * n for name in ("row_group", "fold", "width", "height", "phash", "phash_mirrored")}
    columns |= {"image_id": digests, "pixel_hash": pixels, "label": labels, "status": ["ok"] * n}
    photos = Manifest(root=Path("photos"), path=[f"{row}.png" for row in range(n)], **columns)
    return correct(photos, Corrections().followed_by(decisions))


ROWS = [(A, "1", "quartz"), (B, "2", "pyrite"), (A, "1", "pyrite"), (C, "1", "quartz"), (D, "3", "quartz")]


def test_a_label_holds_for_all_photos_of_the_same_content():
    found = corrected(ROWS, decided(A, "relabel", "pyrite"))
    assert found.manifest.label.tolist() == ["pyrite", "pyrite", "pyrite", "pyrite", "quartz"]
    assert found.manifest.corrected.tolist() == ["quartz", "", "", "quartz", ""]
    assert found.counts["relabeled"] == 2
    assert found.notes == ("corrections: 2 labels changed",)


def test_a_copy_of_equal_pixels_keeps_a_decision_of_its_own():
    found = corrected(ROWS, decided(A, "relabel", "pyrite"), decided(C, "keep", "quartz"))
    assert found.manifest.label.tolist()[3] == "quartz"
    assert found.counts["kept"] == 1


def test_a_kept_label_settles_what_another_folder_says_of_the_same_photo():
    found = corrected(ROWS, decided(A, "keep", "quartz"))
    assert found.manifest.label.tolist()[2] == "quartz"
    assert (found.counts["relabeled"], found.counts["kept"]) == (1, 0)


def test_what_is_left_out_says_who_left_it_out_and_when():
    found = corrected(ROWS, decided(A, "leave_out"))
    assert found.manifest.status.tolist() == ["excluded", "ok", "excluded", "excluded", "ok"]
    assert found.manifest.reason[0] == "left out by Ann on 2026-01-31 (corrections)"


def test_pairs_are_those_of_all_copies():
    found = corrected(ROWS, decided(A, "not_same_object", other=B), decided(B, "same_object", other=D))
    assert found.pairs.apart == {(0, 1), (1, 2), (1, 3)}
    assert found.pairs.together == {(1, 4)}
    assert (found.counts["apart"], found.counts["together"]) == (1, 1)


def test_corrections_that_match_no_photo_are_told():
    found = corrected(ROWS, decided("e" * 32, "relabel", "quartz", path="old/x.png"))
    assert found.counts["unmatched"] == 1
    assert "1 correction matches no photo of" in found.notes[1]
    assert "old/x.png" in found.notes[1]
    assert corrected(ROWS, decided("e" * 32, "leave_out")).counts["unmatched"] == 0


def test_a_label_that_is_no_class_is_told_with_the_nearest():
    with pytest.raises(DataError, match=r"'quarz' \(did you mean 'quartz'\?\), which Ann gave"):
        corrected(ROWS, decided(A, "relabel", "quarz"))


def test_another_photo_under_the_path_of_an_added_one_is_not_learned_from():
    rows = [(A, "1", "quartz"), (B, "2", "pyrite"), (D, "3", "quartz")]
    found = corrected(rows, decided(C, "add", "quartz", path="2.png"))
    assert found.manifest.status.tolist() == ["ok", "ok", "excluded"]
    assert found.counts["added"] == 0
    assert found.counts["unmatched"] == 1
