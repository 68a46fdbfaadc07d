"""A bundle and photos: the same answer whatever else is asked, and no input without a row."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.ensemble.combination import Combination
from ensemble_minerals.ensemble.rejection import ANSWERS
from ensemble_minerals.errors import BundleError, UserError, WeightsError
from ensemble_minerals.features.descriptor import extractor
from ensemble_minerals.prediction import photo_predictor
from ensemble_minerals.prediction.predictor import Predictor, load


@pytest.fixture(scope="module")
def predictor(tiny):
    return load(tiny.bundle)


# -- answers ------------------------------------------------------------------------------------------------


def test_answers_are_distributions_and_mostly_right(tiny, predictor):
    found = predictor.predict([tiny.new])
    assert found.paths == tuple(sorted(tiny.new.iterdir()))
    assert found.reasons == ("",) * 6
    assert found.classes == ("azurite", "malachite", "pyrite")
    every = {"descriptor-flat", "descriptor-one_vs_rest", "descriptor-hierarchical"}
    assert {*found.members, *found.not_asked} == every
    assert found.member_proba.shape == (6, len(found.members), 3)
    np.testing.assert_allclose(found.proba.sum(axis=1), 1)
    np.testing.assert_allclose(found.member_proba.sum(axis=2), 1, atol=1e-5)
    right = [path.name.startswith(found.top(row)[0][0]) for row, path in enumerate(found.paths)]
    assert sum(right) >= 4
    np.testing.assert_array_equal(predictor.predict_proba([tiny.new]), found.proba)


def test_sets_hold_the_answer_grow_with_the_level_and_cover(tiny, predictor):
    wide, certain = (predictor.predict([tiny.photos], sets=level) for level in (0.9, 0.99))
    assert predictor.predict([tiny.new]).sets is None
    assert (wide.sets <= certain.sets).all()
    assert wide.sets.sum() < certain.sets.sum()  # twelve photos a class cannot rule out anything at 99 %
    for row in np.flatnonzero(wide.answered):
        assert wide.set_of(row)[0] == wide.top(row)[0][0]
    expected = predictor.bundle.conformal_sets().predict(wide.proba[wide.answered], 0.9)
    np.testing.assert_array_equal(wide.sets[wide.answered], expected)
    truth = [path.parent.name for path in wide.paths]
    held = [
        truth[row] in wide.set_of(row) for row in np.flatnonzero(wide.answered) if truth[row] in wide.classes
    ]
    assert np.mean(held) >= 0.85


def test_a_photo_that_cannot_be_read_has_no_set(tmp_path, predictor):
    (tmp_path / "broken.jpg").write_text("no photo")
    found = predictor.predict([tmp_path], sets=0.9)
    assert not found.sets.any()
    assert next(found.records())["set"] is None


@pytest.mark.parametrize("level", [0, 1, 95, -0.5])
def test_a_level_that_is_no_probability_is_the_users_mistake(tiny, predictor, level):
    with pytest.raises(UserError, match="between 0 and 1"):
        predictor.predict([tiny.new], sets=level)


def test_an_answer_does_not_depend_on_the_others_their_order_or_the_threads(tiny, predictor, monkeypatch):
    files = [*sorted(tiny.new.iterdir()), *sorted(tiny.photos.rglob("*.png"))]
    together = predictor.predict(files)
    alone = np.concatenate([predictor.predict([file]).proba for file in files[:6]])
    np.testing.assert_allclose(alone, together.proba[:6], rtol=1e-5, atol=1e-7)
    backwards = load(tiny.bundle, n_threads=1).predict(files[::-1])
    np.testing.assert_allclose(backwards.proba[::-1], together.proba, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(backwards.member_proba[::-1], together.member_proba, rtol=1e-5, atol=1e-7)
    threads = load(tiny.bundle, n_threads=4).predict(files)
    np.testing.assert_array_equal(threads.proba, together.proba)
    monkeypatch.setattr(photo_predictor, "_CHUNK", 5)
    told: list[tuple[int, int]] = []
    chunks = predictor.predict(files, lambda *done: told.append(done))
    np.testing.assert_allclose(chunks.proba, together.proba, rtol=1e-5, atol=1e-7)
    assert told == sorted(told)
    assert {(min(start + 5, 42), 42) for start in range(0, 42, 5)} <= set(told)


def test_a_photo_that_cannot_be_read_keeps_its_row_and_costs_no_other(tiny, predictor, tmp_path, monkeypatch):
    files = sorted(tiny.new.iterdir())
    expected = predictor.predict(files).proba
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "notes.png").write_text("found in 1987")
    (tmp_path / "cut.png").write_bytes(files[0].read_bytes()[:300])
    tiny.draw_photo(tmp_path / "tiny.png", 0, 0, size=(7, 7))
    broken = [tmp_path / name for name in ("empty.jpg", "notes.png", "cut.png", "tiny.png")]
    inputs = [broken[0], files[0], broken[1], *files[1:], broken[2], broken[3]]
    for chunk in (1024, 2):
        monkeypatch.setattr(photo_predictor, "_CHUNK", chunk)
        found = predictor.predict(inputs)
        assert found.paths == tuple(inputs)
        assert [path for path, ok in zip(found.paths, found.answered, strict=True) if not ok] == broken
        kinds = [reason.partition(":")[0] for reason in found.reasons if reason]
        assert kinds == ["empty", "not_an_image", "truncated", "too_small"]
        assert np.isnan(found.proba[~found.answered]).all()
        assert np.isnan(found.member_proba[~found.answered]).all()
        np.testing.assert_allclose(found.proba[found.answered], expected, rtol=1e-5, atol=1e-7)
    none = predictor.predict(broken)
    assert not none.answered.any()
    assert all(none.reasons)


def test_the_limits_of_the_fit_hold_for_new_photos(tiny, tmp_path):
    tiny.fit(tiny.photos, tmp_path / "bundle", tiny.config(data={"max_pixels": 72 * 56, "min_side": 20}))
    tiny.draw_photo(tmp_path / "large.png", 0, 0, size=(73, 56))
    tiny.draw_photo(tmp_path / "small.png", 0, 0, size=(72, 19))
    found = load(tmp_path / "bundle").predict([tmp_path / "large.png", tmp_path / "small.png"])
    assert [reason.partition(":")[0] for reason in found.reasons] == ["too_large", "too_small"]


def test_a_bundle_answers_where_the_photos_of_the_fit_are_gone_and_it_was_moved(tiny, predictor, tmp_path):
    photos = Path(shutil.copytree(tiny.photos, tmp_path / "photos"))
    tiny.fit(photos, tmp_path / "here")
    shutil.rmtree(photos)
    moved = (tmp_path / "here").rename(tmp_path / "a place with spaces [1] 50%")
    answers = load(str(moved)).predict_proba([tiny.new])
    np.testing.assert_array_equal(answers, predictor.predict_proba([tiny.new]))


def test_no_inputs_have_no_rows(predictor):
    found = predictor.predict([])
    assert len(found) == 0
    assert found.proba.shape == (0, 3)


# -- sources ------------------------------------------------------------------------------------------------


def test_features_made_otherwise_than_in_the_fit_are_refused(tiny, monkeypatch):
    metadata = extractor.ColorTextureExtractor().metadata
    monkeypatch.setattr(extractor.ColorTextureExtractor, "metadata", {**metadata, "version": 99})
    with pytest.raises(
        BundleError,
        match="feature extractor 'descriptor' is not what the bundle was fitted with: version is 99",
    ):
        load(tiny.bundle)
    monkeypatch.setattr(
        extractor.ColorTextureExtractor, "metadata", {**metadata, "libraries": {"numpy": "9"}}
    )
    load(tiny.bundle)  # another library or processor moves no more than the last digits


MODEL = "test_resnet"


def save_weights(file: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    network = timm.create_model(MODEL, num_classes=5).state_dict()
    if file.suffix == ".pth":
        torch.save(network, file)
    else:
        save_file(network, file)
    return file


def with_backbone(tiny, weights: object):
    backbone = {"name": "net", "model": MODEL, "weights": str(weights), "size": 32, "views": ["squash"]}
    return tiny.config(
        backbones=[backbone],
        members=[{"features": "all", "strategy": "flat"}, {"features": ["net"], "strategy": "flat"}],
        folds={"n_splits": 2},
        engine="torch",
        precision="float32",
        duplicates={"near": False},
    )


@pytest.fixture(scope="module", params=[".safetensors", ".pth"])
def packed(request, tiny, tmp_path_factory):
    """A packed bundle whose original weights are gone, and the answers of the same fit, not packed."""
    home = tmp_path_factory.mktemp("packed")
    config = with_backbone(tiny, save_weights(home / f"w{request.param}", 0))
    tiny.fit(tiny.photos, home / "linked", config)
    tiny.fit(tiny.photos, home / "packed", config, pack=True)
    answers = load(home / "linked").predict_proba([tiny.new])
    (home / f"w{request.param}").rename(home / f"hidden{request.param}")
    return home, answers


def test_a_packed_bundle_stands_alone(tiny, packed, tmp_path):
    home, answers = packed
    moved = Path(shutil.copytree(home / "packed", tmp_path / "elsewhere"))
    np.testing.assert_allclose(load(moved).predict_proba([tiny.new]), answers, rtol=1e-4, atol=1e-6)
    with pytest.raises(WeightsError, match=r"there is no weights file .*w\."):
        load(home / "linked")


def test_a_packed_bundle_holds_no_pickle(packed):
    home, _ = packed
    names = {
        file.relative_to(home / "packed").as_posix()
        for file in (home / "packed").rglob("*")
        if file.is_file()
    }
    assert {name for name in names if name.startswith("weights")} == {"weights/net.safetensors"}
    data = (home / "packed" / "weights" / "net.safetensors").read_bytes()
    assert isinstance(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]), dict)


def test_packed_weights_are_under_the_bundles_own_seal(packed, tmp_path):
    home, _ = packed
    copy = Path(shutil.copytree(home / "packed", tmp_path / "copy"))
    save_weights(copy / "weights" / "net.safetensors", 1)
    with pytest.raises(BundleError, match=r"weights/net\.safetensors was changed afterwards"):
        load(copy)


@pytest.mark.parametrize("packed", [".safetensors"], indirect=True)
def test_weights_laid_into_a_bundle_afterwards_are_not_used(packed, tiny, tmp_path):
    """Packed weights are trusted because the bundle lists their digest; a stranger's are not listed."""
    home, answers = packed
    shutil.copy(home / "hidden.safetensors", home / "w.safetensors")
    try:
        copy = Path(shutil.copytree(home / "linked", tmp_path / "copy"))
        (copy / "weights").mkdir()
        save_weights(copy / "weights" / "net.safetensors", 1)
        np.testing.assert_array_equal(load(copy).predict_proba([tiny.new]), answers)
        save_weights(home / "w.safetensors", 1)
        with pytest.raises(
            BundleError, match="feature extractor 'net' is not what the bundle was fitted with: weights is"
        ):
            load(copy)
    finally:
        (home / "w.safetensors").unlink()


def test_random_weights_need_no_packing(tiny, tmp_path):
    tiny.fit(tiny.photos, tmp_path / "bundle", with_backbone(tiny, "random"), pack=True)
    assert read_bundle(tmp_path / "bundle").weights == {}
    assert not (tmp_path / "bundle" / "weights").exists()
    assert load(tmp_path / "bundle").predict([tiny.new]).answered.all()


def test_photos_at_hand_as_bytes_are_answered_as_their_files(tiny, predictor, tmp_path):
    files = [*sorted(tiny.new.iterdir()), tmp_path / "broken.jpg"]
    files[-1].write_bytes(b"no photo")
    names = [Path(f"upload {number}") for number in range(len(files))]
    held = predictor.predict_photos([file.read_bytes() for file in files], names, sets=0.9)
    listed = predictor.predict(files, sets=0.9)
    np.testing.assert_array_equal(held.proba, listed.proba)
    np.testing.assert_array_equal(held.sets, listed.sets)
    assert held.paths == tuple(names)
    assert held.reasons == listed.reasons


# -- members of no weight ------------------------------------------------------------------------------------


@pytest.fixture
def with_one_member(network_bundle):
    """Bundles whose member at this position alone has a weight: the first is on ``one``, the second on ``two``."""
    bundle = read_bundle(network_bundle)

    def make(position):
        weights = Combination("product", 1.2 * np.eye(3)[position], np.zeros(len(bundle.classes)))
        return replace(bundle, fitted_ensemble=replace(bundle.fitted_ensemble, combination=weights))

    return make


def test_members_of_no_weight_are_not_asked_and_their_networks_not_passed(tiny, with_one_member, monkeypatch):
    bundle = with_one_member(0)
    every = Predictor(bundle, every_member=True).predict([tiny.new])
    predictor = Predictor(bundle)
    monkeypatch.setattr(predictor.extractors["two"], "extract", pytest.fail)
    found = predictor.predict([tiny.new])
    np.testing.assert_allclose(found.proba, every.proba, atol=1e-12)
    np.testing.assert_array_equal(found.member_proba, every.member_proba[:, :1])
    assert (found.members, found.not_asked) == (every.members[:1], every.members[1:])
    assert (len(every.members), every.not_asked) == (3, ())


def test_features_that_tell_strangers_are_computed_though_no_member_needs_them(tiny, with_one_member):
    bundle = with_one_member(1)
    assert "one" in bundle.rejection.features
    found = Predictor(bundle).predict([tiny.new])
    assert found.members == (bundle.fitted_ensemble.members[1].name,)
    assert np.isfinite(found.typicality).all()
    members_tell = replace(bundle, rejection=replace(bundle.rejection, features=(ANSWERS,)))
    assert len(Predictor(members_tell).members) == 3


def test_evidence_prior_and_advice_from_python_stand_beside_the_answers(tiny, predictor):
    photos = sorted(tiny.new.iterdir())
    plain = predictor.predict(photos)
    prior = {"azurite": 0, "malachite": 1, "pyrite": 1}
    found = predictor.predict(
        [photo.read_bytes() for photo in photos], evidence={"hardness": "3.5-4"}, prior=prior, advise=True
    )
    np.testing.assert_array_equal(found.proba, plain.proba)
    assert (found.evidence.proba[:, 0] == 0).all()
    assert found.top_with_evidence(0)[0] == "malachite"
    assert len(found.advice) == 6
    assert plain.evidence is None
    with pytest.raises(UserError, match="hardnes"):
        predictor.predict(photos, evidence={"hardnes": 3})
