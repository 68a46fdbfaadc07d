"""From a bundle and photos to heat-maps, maps of channels and votes."""

from __future__ import annotations

import csv
import json
import re
import shutil

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.data.decoding import decode
from ensemble_minerals.errors import BundleError, UserError, WeightsError
from ensemble_minerals.explanation.explainer import Attribution, Explainer, heat_maps
from ensemble_minerals.prediction.predictor import load
from ensemble_minerals.reports import report as report_module
from ensemble_minerals.system.progress import Silent
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.workflows import report as reporting
from ensemble_minerals.workflows.explain import explain
from ensemble_minerals.workflows.report import write_report

NETWORKS = (("cnn", "test_efficientnet"), ("vit", "test_vit"))


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def home(tiny, tmp_path_factory):
    """A bundle on a small CNN, a small ViT and the descriptor, and the weights it needs."""
    home = tmp_path_factory.mktemp("explained")
    torch.manual_seed(0)
    backbones = []
    for name, model in NETWORKS:
        save_file(timm.create_model(model, num_classes=0).state_dict(), home / f"{name}.safetensors")
        backbones.append(
            {
                "name": name,
                "model": model,
                "weights": str(home / f"{name}.safetensors"),
                "size": 64,
                "views": ["squash", "squash_flip"],
            }
        )
    backbones[1] |= {"pooling": "concat", "views": ["detail", "squash_flip", "center"]}
    config = tiny.config(
        backbones=backbones,
        engine="torch",
        precision="float32",
        members=[
            {"features": ["cnn"], "strategy": "flat", "name": "cnn-flat"},
            {"features": ["cnn"], "strategy": "one_vs_rest", "name": "cnn-rest"},
            {"features": ["vit"], "strategy": "hierarchical", "name": "vit-groups"},
            {"features": ["vit", "descriptor"], "strategy": "flat", "name": "both", "head": "mlp"},
            {"features": ["descriptor"], "strategy": "flat", "name": "color"},
        ],
        taxonomy={"dark": ["azurite", "malachite"], "pyrite": ["pyrite"]},
        meta={"candidates": ["uniform"]},
    )
    tiny.fit(tiny.photos, home / "bundle", config)
    return home


@pytest.fixture(scope="module")
def predictor(home):
    return load(home / "bundle")


@pytest.fixture(scope="module")
def made(tiny, home):
    """An explanation of two photos and a file that is none."""
    inputs = home / "inputs"
    inputs.mkdir()
    for number, file in enumerate(sorted(tiny.new.iterdir())[:4:3]):
        shutil.copy(file, inputs / f"{number} $odd_name$.png")
    (inputs / "broken.jpg").write_text("no photo")
    options = {"members": ["vit-groups"], "n_jobs": 2}
    return inputs, explain(home / "bundle", [inputs], home / "out", **options)


def photo_of(tiny, number=0):
    return decode(sorted(tiny.new.iterdir())[number]).pixels


# -- what is computed ---------------------------------------------------------------------------------------


def test_the_log_odds_are_those_of_the_answer(tiny, predictor):
    explainer = Explainer(predictor)
    found = predictor.predict([tiny.new])
    for row in (0, 3):
        for target in range(3):
            explanation = explainer.explain(photo_of(tiny, row), target)
            p = found.proba[row, target]
            assert explanation.log_odds == pytest.approx(np.log(p) - np.log1p(-p), abs=1e-4)


def test_networks_share_what_the_ensemble_found(tiny, predictor):
    explanation = Explainer(predictor).explain(photo_of(tiny), 1)
    assert set(explanation.extractors) == {"cnn", "vit"}
    together = sum(one.contributions for one in explanation.extractors.values())
    np.testing.assert_allclose(explanation.whole.contributions, together, atol=1e-6)
    assert explanation.whole.contributions.shape == (174, 224)  # of a photo of 72 x 56
    assert 0 <= explanation.whole.heat.min() <= explanation.whole.heat.max() <= 1
    assert set(explanation.whole.layers) >= {"cnn:stage1", "vit:block3"}


def test_a_member_without_weight_changes_nothing(tiny, home):
    predictor = load(home / "bundle")
    predictor.bundle.fitted_ensemble.combination.weight[2:4] = 0.0  # both that see the ViT
    explanation = Explainer(predictor).explain(photo_of(tiny), 0)
    assert np.abs(explanation.extractors["vit"].contributions).max() == 0
    assert np.abs(explanation.extractors["cnn"].contributions).max() > 0
    assert explanation.extractors["vit"].heat.max() == 0


def test_members_and_channels_on_request(tiny, predictor):
    explanation = Explainer(predictor).explain(
        photo_of(tiny), 0, members=[0, 3], layers=[("cnn", "final"), ("vit", "block3")]
    )
    assert list(explanation.members) == ["cnn-flat", "both"]
    assert np.abs(explanation.members["both"].contributions).max() > 0
    maps = explanation.features
    assert list(maps) == [("cnn", "final"), ("vit", "block3")]
    assert all(len(each) == 16 and each.ndim == 3 for each in maps.values())
    assert maps["vit", "block3"].shape[1:] == (4, 4)


def test_what_moves_the_photo_moves_the_map(tiny, predictor):
    """Both views of the CNN are the whole photo, one of them mirrored: a mirrored photo mirrors the evidence."""
    explainer, photo = Explainer(predictor), photo_of(tiny)
    one, other = (
        explainer.explain(np.ascontiguousarray(each), 0).extractors["cnn"].contributions
        for each in (photo, photo[:, ::-1])
    )

    def likeness(left, right):
        return np.corrcoef(left.ravel(), right.ravel())[0, 1]

    assert likeness(one, other[:, ::-1]) > 0.999
    assert likeness(one, other) < 0.9


def test_heat_is_relative_to_what_speaks_most_for_it():
    evidence = Attribution(np.array([[-2.0, 0.0], [1.0, 4.0]]), {})
    np.testing.assert_array_equal(evidence.heat, [[0, 0], [0.25, 1]])
    assert evidence.support == 5.0
    assert Attribution(np.full((2, 2), -1.0), {}).heat.max() == 0


def test_heat_maps_of_many_leave_out_what_cannot_be_read(tiny, predictor, tmp_path):
    files = sorted(tiny.new.iterdir())[:2]
    gone = tmp_path / "gone.png"
    steps = []

    class Steps(Silent):
        def stage(self, name):
            return lambda *done: steps.append(done)

    targets = {files[0]: 0, gone: 1, files[1]: 2}
    found = heat_maps(Explainer(predictor), targets, Runtime(2, progress=Steps()))
    assert list(found) == files
    assert steps == [(1, 3), (2, 3), (3, 3)]
    np.testing.assert_allclose(found[files[0]], Explainer(predictor).explain(photo_of(tiny), 0).whole.heat)


# -- what is written ----------------------------------------------------------------------------------------


def test_every_input_has_its_row(made):
    inputs, result = made
    told = json.loads(result.json.read_text(encoding="ascii"))
    assert [photo["status"] for photo in told["photos"]] == ["ok", "ok", "unreadable"]
    assert told["photos"][2]["reason"].startswith("not_an_image")
    assert [member["sources"] for member in told["members"]][3] == ["vit", "descriptor"]
    first = told["photos"][0]
    assert first["answer"] == first["explained"] == max(first["proba"], key=first["proba"].get)
    assert sum(one["share"] for one in first["networks"].values()) == pytest.approx(1)
    with result.votes.open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 2 * 6 + 1
    assert [row["voter"] for row in rows[:6]] == [
        "ensemble", "cnn-flat", "cnn-rest", "vit-groups", "both", "color"
    ]  # fmt: skip
    for row in rows[:-1]:
        shares = [float(row[f"p_{name}"]) for name in told["classes"]]
        assert sum(shares) == pytest.approx(1, abs=1e-4)
        assert row["vote"] == told["classes"][int(np.argmax(shares))]
    assert rows[-1]["path"] == str(inputs / "broken.jpg")
    assert rows[-1]["status"] == "unreadable"


def test_pictures_lie_beside_the_page(made):
    _, result = made
    told = json.loads(result.json.read_text(encoding="ascii"))
    text = result.html.read_text(encoding="utf-8")
    for photo in told["photos"][:2]:
        for file in (photo["panel"], photo["features"]):
            assert f'href="{file}"' in text
            with Image.open(result.html.parent / file) as picture:
                assert min(picture.size) > 200
    assert text.count("data:image/jpeg") == 2 * 5  # photo, ensemble, two networks, one member
    assert "member vit-groups" in text
    assert "broken.jpg" in text
    assert not re.search(r'(?:src|href)="(?!data:|panels/|features/|votes\.csv|explain\.json)', text)


def test_the_answers_are_those_of_predict(made, predictor):
    inputs, result = made
    np.testing.assert_allclose(
        result.predictions.proba, predictor.predict([inputs]).proba, rtol=1e-6, equal_nan=True
    )


def test_another_class_can_be_explained(tiny, home, tmp_path):
    file = sorted(tiny.new.iterdir())[0]
    result = explain(
        home / "bundle", [file], tmp_path / "out", target="pyrite", layers=["cnn:stage1"], n_jobs=1
    )
    told = json.loads(result.json.read_text(encoding="ascii"))
    assert told["target"] == "pyrite"
    assert told["photos"][0]["explained"] == "pyrite"
    p = told["photos"][0]["proba"]["pyrite"]
    assert told["photos"][0]["log_odds"] == pytest.approx(np.log(p) - np.log1p(-p), abs=1e-4)


def test_an_ensemble_without_networks_has_votes_only(tiny, tmp_path):
    result = explain(tiny.bundle, [tiny.new], tmp_path / "out", n_jobs=1)
    told = json.loads(result.json.read_text(encoding="ascii"))
    assert all(photo["networks"] == {} and photo["log_odds"] is None for photo in told["photos"])
    assert "No heat-maps." in result.html.read_text(encoding="utf-8")
    assert len(list((tmp_path / "out" / "panels").iterdir())) == 6


def test_trained_networks_are_explained_through_their_logits(tiny, tmp_path):
    network = {
        "name": "trained",
        "model": "test_efficientnet",
        "weights": "random",
        "size": 64,
        "precision": "float32",
        "batch_size": 12,
        "views": ["squash", "squash_flip"],
        "phases": [{"epochs": 1}],
    }
    members = [{"network": "trained", "strategy": "flat"}, {"features": ["descriptor"], "strategy": "flat"}]
    config = tiny.config(networks=[network], members=members, meta={"candidates": ["uniform"]})
    tiny.fit(tiny.photos, tmp_path / "bundle", config)
    file = sorted(tiny.new.iterdir())[0]
    result = explain(tmp_path / "bundle", [file], tmp_path / "out", n_jobs=1)
    photo = json.loads(result.json.read_text(encoding="ascii"))["photos"][0]
    p = photo["proba"][photo["answer"]]
    assert photo["log_odds"] == pytest.approx(np.log(p) - np.log1p(-p), abs=1e-4)
    (found,) = photo["networks"].values()
    assert list(found["layers"]) == ["state0-map", "state1-map", "state2-map"]
    assert any(value != 0 for value in found["layers"].values())


# -- mistakes -----------------------------------------------------------------------------------------------


def test_an_explanation_is_replaced_only_on_request(tiny, tmp_path):
    file = sorted(tiny.new.iterdir())[0]
    out = tmp_path / "out"
    explain(tiny.bundle, [file], out, n_jobs=1)
    with pytest.raises(UserError, match="--overwrite"):
        explain(tiny.bundle, [file], out, n_jobs=1)
    (out / "panels" / "old.png").touch()
    explain(tiny.bundle, [file], out, n_jobs=1, overwrite=True)
    assert not (out / "panels" / "old.png").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").touch()
    with pytest.raises(UserError, match="no explanation"):
        explain(tiny.bundle, [file], tmp_path / "mine", n_jobs=1, overwrite=True)
    assert (tmp_path / "mine" / "diary.txt").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": ["cnn-flatt"]}, "did you mean 'cnn-flat'"),
        ({"members": ["color"]}, "looks through no network"),
        ({"layers": ["cnn:stage9"]}, "cnn:stage"),
        ({"layers": ["nowhere"]}, "There are cnn:stage"),
        ({"target": "pyrit"}, "did you mean 'pyrite'"),
    ],
)
def test_names_that_are_none_are_told_at_once(tiny, home, tmp_path, options, message):
    with pytest.raises(UserError, match=message) as caught:
        explain(home / "bundle", [tiny.new], tmp_path / "out", n_jobs=1, **options)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_other_mistakes_leave_nothing_behind(tiny, home, tmp_path):
    with pytest.raises(UserError, match="matches none"):
        explain(home / "bundle", [tmp_path / "none.jpg"], tmp_path / "out")
    with pytest.raises(BundleError, match="no bundle"):
        explain(tmp_path / "nowhere", [tiny.new], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_that_are_gone_are_the_users_mistake(tiny, home, tmp_path):
    moved = home / "elsewhere.safetensors"
    (home / "vit.safetensors").rename(moved)
    try:
        with pytest.raises(WeightsError, match="no weights file") as caught:
            explain(home / "bundle", [tiny.new], tmp_path / "out")
    finally:
        moved.rename(home / "vit.safetensors")
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_bundle_is_left_as_it_was(home, made):
    read_bundle(home / "bundle")  # checks every digest


# -- the error report ---------------------------------------------------------------------------------------


@pytest.fixture
def _without_figures(monkeypatch):
    monkeypatch.setattr(report_module, "draw_figures", lambda sections, folder, also: {})


def heated(result):
    return result.html.read_text(encoding="utf-8").count(' class="heated">')


@pytest.mark.usefixtures("_without_figures")
def test_the_report_shows_heat_maps_beside_the_worst_photos(home, tmp_path, monkeypatch):
    bundle = home / "bundle"
    monkeypatch.setattr(reporting, "HEATMAPS", 2)
    shown = write_report(bundle, out=tmp_path / "shown", n_jobs=1)
    bare = write_report(bundle, out=tmp_path / "bare", n_jobs=1, heatmaps=False)
    sheets = json.loads(shown.json.read_text(encoding="ascii"))["sheets"]
    assert sum(not photo["right"] for sheet in sheets for photo in sheet["worst"]) > 2
    assert 2 <= heated(shown) <= 6  # a photo may stand in several sections
    assert heated(bare) == 0
    text = shown.html.read_text(encoding="utf-8")
    assert "drawn with the finished ensemble, which has" in text
    first = next(photo for sheet in sheets for photo in sheet["worst"] if not photo["right"])
    assert f'alt="what speaks for {first["answer"]}"' in text
    assert bare.json.read_text(encoding="ascii") == shown.json.read_text(encoding="ascii")


@pytest.mark.usefixtures("_without_figures")
def test_a_report_without_weights_says_why_it_has_no_heat_maps(home, tmp_path):
    moved = home / "elsewhere.safetensors"
    (home / "vit.safetensors").rename(moved)
    try:
        result = write_report(home / "bundle", out=tmp_path / "report", n_jobs=1)
    finally:
        moved.rename(home / "vit.safetensors")
    assert heated(result) == 0
    assert "no heat-maps beside the worst photos: there is no weights file" in result.html.read_text(
        encoding="utf-8"
    )
