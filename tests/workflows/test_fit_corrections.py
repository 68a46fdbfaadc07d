"""A fit with people's corrections: applied by content, counted everywhere, and the photos stay as they were."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from drawn.manifests import read_manifest

import ensemble_minerals as em
from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.data.corrections import Decision, append_decisions
from ensemble_minerals.data.decoding import photo_digest
from ensemble_minerals.errors import DataError
from ensemble_minerals.workflows import ablate as workflow_ablate
from ensemble_minerals.workflows import tune as workflow_tune


def decision(photo, action, label="", **more):
    return Decision(photo_digest(photo), action, "Ann", datetime.now(UTC), label, path=str(photo), **more)


@pytest.fixture(scope="module")
def fitted(tiny, tmp_path_factory):
    home = tmp_path_factory.mktemp("corrected")
    pyrite, azurite = (sorted((tiny.photos / name).iterdir()) for name in ("pyrite", "azurite"))
    new = sorted(tiny.new.iterdir())
    decisions = [
        decision(pyrite[0], "relabel", "azurite"),
        decision(pyrite[1], "leave_out"),
        decision(azurite[0], "keep", "azurite"),
        decision(new[0], "add", "azurite"),
        decision(azurite[1], "same_object", other=photo_digest(azurite[2])),
        decision(azurite[3], "not_same_object", other=photo_digest(azurite[4])),
    ]
    append_decisions(home / "c.csv", decisions)
    before = {file: file.read_bytes() for file in tiny.photos.rglob("*.png")}
    result = tiny.fit(tiny.photos, home / "bundle", corrections=[home / "c.csv"])
    assert {file: file.read_bytes() for file in tiny.photos.rglob("*.png")} == before
    return result


def test_labels_and_photos_are_those_that_people_decided(fitted, tiny):
    manifest = read_manifest(fitted.bundle / "manifest.csv", tiny.photos)
    row = {path: number for number, path in enumerate(manifest.path.tolist())}
    assert manifest.label[row["pyrite/00.png"]] == "azurite"
    assert manifest.corrected[row["pyrite/00.png"]] == "pyrite"
    assert manifest.status[row["pyrite/01.png"]] == "excluded"
    assert np.sum(manifest.corrected != "") == 1
    assert manifest.row_group[row["azurite/01.png"]] == manifest.row_group[row["azurite/02.png"]]
    assert manifest.row_group[row["azurite/03.png"]] != manifest.row_group[row["azurite/04.png"]]
    answered = set(manifest.path[read_bundle(fitted.bundle).out_of_fold.row].tolist())
    assert str(sorted(tiny.new.iterdir())[0]) in answered
    assert "pyrite/01.png" not in answered


def test_they_are_counted_in_notes_index_and_card(fitted):
    said = "1 label changed, 1 photo left out, 1 photo added, 1 pair kept apart, "
    said += "1 pair kept together, 1 label confirmed"
    assert fitted.notes[0] == f"corrections: {said}"
    bundle = read_bundle(fitted.bundle)
    assert bundle.info["corrections"]["relabeled"] == 1
    assert bundle.info["corrections"]["by"] == {"Ann": 6}
    card = (fitted.bundle / "README.md").read_text(encoding="utf-8")
    assert f"People decided about labels before the fit (Ann 6): {said}." in card


class SeenError(Exception):
    """What would have been prepared."""


@pytest.mark.parametrize("module", [workflow_ablate, workflow_tune])
def test_ablate_and_tune_see_what_fit_sees(fitted, tiny, tmp_path, monkeypatch, module):
    def prepare(manifest, _config, _extractors, _runtime, pairs):
        raise SeenError(manifest, pairs)

    monkeypatch.setattr(module, "prepare", prepare)
    run = em.ablate if module is workflow_ablate else em.tune
    with pytest.raises(SeenError) as seen:
        run(
            tiny.photos, tmp_path / "out", tiny.config(), corrections=fitted.bundle.parent / "c.csv",
            cache_dir=tiny.cache, n_jobs=1,
        )  # fmt: skip
    manifest, pairs = seen.value.args
    assert manifest.digest == read_manifest(fitted.bundle / "manifest.csv", tiny.photos).digest
    assert (len(pairs.together), len(pairs.apart)) == (1, 1)


def test_inspect_sees_what_fit_sees(fitted, tiny):
    file = fitted.bundle.parent / "c.csv"
    found = em.inspect_data(tiny.photos, tiny.config(), corrections=file, cache_dir=tiny.cache, n_jobs=1)
    manifest = read_manifest(fitted.bundle / "manifest.csv", tiny.photos)
    assert found.manifest.digest == manifest.digest
    assert found.manifest.row_group.tolist() == manifest.row_group.tolist()
    assert found.classes["pyrite"]["usable"] == 10
    assert found.warnings[0].startswith("corrections: 1 label changed")


def test_without_corrections_the_index_has_none(tiny):
    assert "corrections" not in read_bundle(tiny.bundle).info


def test_python_takes_one_file_or_several(tiny, tmp_path):
    file = tmp_path / "c.csv"
    append_decisions(file, [decision(sorted((tiny.photos / "pyrite").iterdir())[0], "relabel", "quartz")])
    for given in (file, str(file), [file, str(file)]):
        with pytest.raises(DataError, match="no class of"):
            em.fit(tiny.photos, tmp_path / "out", tiny.config(), corrections=given, cache_dir=tiny.cache)
    with pytest.raises(DataError, match="cannot be opened"):
        em.fit(tiny.photos, tmp_path / "out", tiny.config(), corrections=tmp_path / "no.csv")


def test_the_report_says_what_they_changed(fitted, tmp_path):
    page = em.report(fitted.bundle, out=tmp_path / "report", heatmaps=False, cache_dir=False).html
    text = page.read_text(encoding="utf-8")
    assert "1 label changed, 1 photo left out" in text
    assert "by the corrected labels" in text
    assert (tmp_path / "report" / "tables" / "changed_labels.csv").is_file()
