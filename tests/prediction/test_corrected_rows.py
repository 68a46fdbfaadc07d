"""Corrections that came after a fit: its answers by other labels, and nothing that a model had seen is scored."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest

import ensemble_minerals as em
from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.data.corrections import Corrections, Decision, append_decisions
from ensemble_minerals.distillation.data import read_distillation_data
from ensemble_minerals.errors import DataError
from ensemble_minerals.prediction.corrected_rows import correct_rows


@pytest.fixture(scope="module")
def bundle(tiny):
    return read_bundle(tiny.bundle)


def rows_of(bundle, label):
    """Rows of a class, with those of each fold together."""
    known = bundle.out_of_fold
    mine = known.known.y == bundle.classes.index(label)
    return known.row[mine][np.argsort(known.known.folds[mine], kind="stable")].tolist()


def decide(bundle, row, action, label="", other=None):
    manifest = bundle.manifest(bundle.photo_root)
    second = "" if other is None else str(manifest.image_id[other])
    path = str(manifest.path[row])
    return Decision(str(manifest.image_id[row]), action, "Ann", datetime.now(UTC), label, second, path)


def corrected(bundle, *decisions):
    return correct_rows(bundle, bundle.photo_root, Corrections(decisions))


def test_labels_change_and_photos_are_left_out_while_answers_stay(bundle):
    first, second, *_ = rows_of(bundle, "pyrite")
    new = Decision("0" * 32, "add", "Ann", datetime.now(UTC), "pyrite", path="/elsewhere/a.png")
    found = corrected(
        bundle, decide(bundle, first, "relabel", "azurite"), decide(bundle, second, "leave_out"), new
    )
    before = bundle.out_of_fold
    assert second not in found.answers.row
    assert len(found.answers) == len(before) - 1
    position = found.answers.row.tolist().index(first)
    assert found.answers.known.names[found.answers.known.y[position]] == "azurite"
    assert found.manifest.corrected[first] == "pyrite"
    np.testing.assert_array_equal(found.answers.proba, before.proba[found.kept])
    np.testing.assert_array_equal(found.answers.known.folds, before.known.folds[found.kept])
    assert found.notes == (
        "corrections: 1 label changed, 1 photo left out",
        "1 photo that corrections add took no part in the fit",
    )


def test_photos_of_one_object_in_two_folds_are_not_scored(bundle):
    rows = rows_of(bundle, "pyrite")
    apart, same = (rows[0], rows[-1]), (rows[1], rows[2])
    fold = bundle.manifest(bundle.photo_root).fold
    assert fold[apart[0]] != fold[apart[1]]
    assert fold[same[0]] == fold[same[1]]
    pairs = [decide(bundle, one, "same_object", other=other) for one, other in (apart, same)]
    found = corrected(bundle, *pairs)
    assert not set(apart) & set(found.answers.row.tolist())
    assert set(same) <= set(found.answers.row.tolist())
    assert found.notes[1].startswith("1 pair of photos that show one object by corrections lay in different")


def test_a_label_that_returns_to_the_first_one_is_no_change(bundle):
    row = rows_of(bundle, "pyrite")[0]
    there = corrected(bundle, decide(bundle, row, "relabel", "azurite")).manifest
    assert there.corrected[row] == "pyrite"
    from ensemble_minerals.data.correcting import correct

    back = correct(there, Corrections((decide(bundle, row, "relabel", "pyrite"),))).manifest
    assert (back.label[row], back.corrected[row]) == ("pyrite", "")


def test_what_no_fit_of_this_kind_could_have_is_refused(bundle):
    rows = rows_of(bundle, "pyrite")
    with pytest.raises(DataError, match=r"'pyrites' \(did you mean 'pyrite'"):
        corrected(bundle, decide(bundle, rows[0], "relabel", "pyrites"))
    with pytest.raises(DataError, match="leave no photo of pyrite"):
        corrected(bundle, *(decide(bundle, row, "leave_out") for row in rows))


def test_report_and_student_see_the_labels_of_now(bundle, tiny, tmp_path):
    rows, file = rows_of(bundle, "pyrite"), tmp_path / "c.csv"
    append_decisions(
        file, [decide(bundle, rows[0], "relabel", "azurite"), decide(bundle, rows[1], "leave_out")]
    )
    result = em.report(
        tiny.bundle, out=tmp_path / "report", corrections=file, heatmaps=False, random_split=True,
        cache_dir=tiny.cache, n_jobs=1,
    )  # fmt: skip
    said = json.loads(result.json.read_text(encoding="utf-8"))
    assert said["corrections"]["counts"]["relabeled"] == 1
    assert said["header"]["rows"] == len(bundle.out_of_fold) - 1
    page = result.html.read_text(encoding="utf-8")
    assert "After the fit, people decided" in page
    assert "which did not know of the corrections" in page
    data = read_distillation_data(bundle, corrections=Corrections((decide(bundle, rows[1], "leave_out"),)))
    assert len(data.files) == len(data.teacher) == len(bundle.out_of_fold) - 1
    assert data.manifest.status[rows[1]] == "excluded"


def test_a_labeled_folder_is_scored_by_corrected_labels(tiny, tmp_path):
    folder = tmp_path / "others"
    for seed in range(4):
        for color, name in enumerate(("azurite", "malachite")):
            tiny.draw_photo(folder / name / f"{seed}.png", color, 900 + seed)
    from ensemble_minerals.data.decoding import photo_digest

    wrong, file = folder / "azurite" / "0.png", tmp_path / "c.csv"
    append_decisions(
        file, [Decision(photo_digest(wrong), "relabel", "Ann", datetime.now(UTC), "pyrite", path=str(wrong))]
    )
    result = em.report(
        tiny.bundle, data=folder, out=tmp_path / "report", corrections=[file], heatmaps=False,
        random_split=False, cache_dir=tiny.cache, n_jobs=1,
    )  # fmt: skip
    said = json.loads(result.json.read_text(encoding="utf-8"))
    assert said["corrections"]["changed"][0]["before"] == "azurite"
    assert said["corrections"]["changed"][0]["after"] == "pyrite"
