"""A fit from folder to bundle: what it promises of itself, and how it is interrupted, resumed and refused."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections import Counter
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn.manifests import read_manifest

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.ensemble import stacked
from ensemble_minerals.errors import BundleError, DataError, FitError, TaxonomyError, UserError
from ensemble_minerals.evaluation.metrics import summary
from ensemble_minerals.experiment import rejection
from ensemble_minerals.experiment.rejection import Begun
from ensemble_minerals.members import feature_fits, registry
from ensemble_minerals.members.feature_member import FeatureMember
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.heads.logistic import LogisticHead
from ensemble_minerals.prediction.predictor import load
from ensemble_minerals.system.csv_file import unescaped
from ensemble_minerals.system.progress import Silent

NAMES = ["descriptor-flat", "descriptor-one_vs_rest", "descriptor-hierarchical"]
PROMISED = {"protocol", "oof", "members", "meta", "seconds", "counts"}
SCORES = {"n", "accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece", "per_class"}


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def rows_of(photos: Path, **more: Any) -> list[dict[str, Any]]:
    return [{"path": str(file), "label": file.parent.name, **more} for file in sorted(photos.rglob("*.png"))]


def tree(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


def untimed(bundle: Path) -> dict[str, bytes]:
    """Every file, without what a clock put into it."""
    files = tree(bundle)
    metrics, index = json.loads(files["metrics.json"]), json.loads(files["bundle.json"])
    assert metrics.pop("seconds")
    assert metrics.pop("member_seconds")
    for cost in metrics.get("source_costs", {}).values():
        assert cost.pop("predict_ms") > 0
    assert index["files"].pop("metrics.json")
    return files | {"metrics.json": json.dumps(metrics).encode(), "bundle.json": json.dumps(index).encode()}


# -- metrics ------------------------------------------------------------------------------------------------


def test_metrics_have_the_promised_shape(tiny):
    metrics = read_bundle(tiny.bundle).metrics
    assert (
        PROMISED
        <= set(metrics)
        <= PROMISED | {"member_seconds", "source_costs", "learning_curve", "rejection"}
    )
    assert list(metrics["members"]) == NAMES
    for scores in (metrics["oof"], *metrics["members"].values()):
        assert set(scores) >= SCORES
        assert scores["n"] == 36
        assert list(scores["per_class"]) == ["azurite", "malachite", "pyrite"]
        for row in scores["per_class"].values():
            assert {"precision", "recall", "f1", "support"} <= set(row)
            assert row["support"] == 12
    meta = {"chosen", "candidates", "temperature"}
    assert meta <= set(metrics["meta"]) <= meta | {"fold_temperatures"}
    assert metrics["meta"]["chosen"] in metrics["meta"]["candidates"]
    assert set(metrics["meta"]["candidates"]) == {"best_single", "uniform", "greedy", "log_pool", "logistic"}
    for scores in metrics["meta"]["candidates"].values():
        assert set(scores) == {"log_loss", "accuracy"}
    assert set(metrics["seconds"]) == {"scan", "features", "members", "rejection", "meta", "total"}
    assert list(metrics["member_seconds"]) == NAMES
    assert metrics["counts"]["files"] == 36
    assert metrics["counts"]["status"] == {"ok": 36}


def test_the_figures_are_those_of_the_out_of_fold_answers(tiny):
    bundle = read_bundle(tiny.bundle)
    manifest = read_manifest(tiny.bundle / "manifest.csv", tiny.photos)
    found = bundle.out_of_fold
    y = np.searchsorted(bundle.classes, manifest.label[found.row])
    assert bundle.metrics["oof"] == json.loads(json.dumps(summary(y, found.proba, bundle.classes)))
    for number, name in enumerate(found.members):
        expected = summary(y, found.member_proba[number], bundle.classes)
        assert bundle.metrics["members"][name] == json.loads(json.dumps(expected))
    in_sample = load(tiny.bundle).predict_proba([manifest.file(row) for row in found.row])
    assert summary(y, in_sample, bundle.classes)["log_loss"] < bundle.metrics["oof"]["log_loss"] - 0.05
    assert sorted(manifest.fold[found.row].tolist()) == sorted([0, 1, 2] * 12)


def test_permuted_labels_fall_to_the_majority_share(tiny, tmp_path):
    share = np.array([16, 12, 8]) / 36
    drawn = np.repeat(["azurite", "malachite", "pyrite"], [16, 12, 8])
    losses, accuracies = [], []
    for seed in range(3):
        rows = rows_of(tiny.photos)
        for row, label in zip(rows, np.random.default_rng(seed).permutation(drawn), strict=True):
            row["label"] = label
        out = tmp_path / str(seed)
        metrics = tiny.fit(table(tmp_path / f"{seed}.csv", rows), out, tiny.config(seed=seed)).metrics
        losses.append(metrics["oof"]["log_loss"])
        accuracies.append(metrics["oof"]["accuracy"])
    assert read_bundle(tiny.bundle).metrics["oof"]["accuracy"] > 0.7  # there is something to learn
    assert np.mean(accuracies) < share.max() + 0.1  # 108 answers: a standard error below 0.05
    assert np.mean(losses) > -np.sum(share * np.log(share)) - 0.05


# -- the same again -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed(tiny):
    """Heads of both kinds, samplers that draw, groups that are learned."""
    members = [
        {"features": ["descriptor"], "strategy": "flat", "sampler": "random",
         "head": {"kind": "mlp", "hidden": [8], "max_epochs": 4}},
        {"features": ["descriptor"], "strategy": "one_vs_rest", "sampler": "smote"},
        {"features": ["descriptor"], "strategy": "hierarchical", "sampler": "borderline_smote"},
    ]  # fmt: skip
    return tiny.config(members=members, seed=5, taxonomy="auto")


@pytest.fixture(scope="module")
def once(tiny, mixed, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("once") / "bundle"
    tiny.fit(tiny.photos, out, mixed)
    return out


@pytest.mark.parametrize("options", [{}, {"n_jobs": 2}, {"cache_dir": None, "n_jobs": 2}], ids=str)
def test_the_same_seed_gives_the_same_bundle_byte_for_byte(tiny, mixed, once, tmp_path, options):
    tiny.fit(tiny.photos, tmp_path / "again", mixed, **options)
    one, other = tree(once), tree(tmp_path / "again")
    different = {name for name in one | other if one.get(name) != other.get(name)}
    assert different <= {"metrics.json", "bundle.json"}  # their times, and the digest of those
    assert untimed(tmp_path / "again") == untimed(once)


def test_a_rejection_that_was_begun_from_other_features_is_learned_anew(tiny, tmp_path, monkeypatch):
    """Its own never comes, and the bundle is that of a fit which learned it beside the members."""
    monkeypatch.setattr(rejection, "begin_rejection", lambda *_: nullcontext(Begun(["others"], Future())))
    tiny.fit(tiny.photos, tmp_path / "bundle")
    assert untimed(tmp_path / "bundle") == untimed(tiny.bundle)


def test_another_seed_gives_another_bundle(tiny, mixed, once, tmp_path):
    tiny.fit(tiny.photos, tmp_path / "other", mixed.model_copy(update={"seed": 6}))
    one, other = untimed(once), untimed(tmp_path / "other")
    assert one["manifest.csv"] != other["manifest.csv"]
    assert one["members.safetensors"] != other["members.safetensors"]


# -- interrupted and resumed --------------------------------------------------------------------------------


class Interrupted(BaseException):
    """Like Ctrl-C."""


@pytest.fixture
def spied(monkeypatch, members_anew):
    """Every (fold, members) that `fit_fold` is asked for; dies after so many, if told to."""
    real = feature_fits.start_together
    seen: list[tuple[int, tuple[str, ...]]] = []

    def arm(survived: int | None = None) -> list[tuple[int, tuple[str, ...]]]:
        seen.clear()

        def spy(members, matrices, inputs, fold, **shared):
            if shared.get("rows") is not None:  # a part of the rows, for the learning curve
                return real(members, matrices, inputs, fold, **shared)
            if survived is not None and len(seen) == survived:
                raise Interrupted
            seen.append((fold, tuple(member.name for member in members)))
            return real(members, matrices, inputs, fold, **shared)

        monkeypatch.setattr(feature_fits, "start_together", spy)
        return seen

    return arm


def test_a_resumed_fit_runs_only_what_is_missing_and_gives_the_same_bundle(tiny, tmp_path, spied):
    out = tmp_path / "bundle"
    seen = spied(survived=2)
    with pytest.raises(Interrupted):
        tiny.fit(tiny.photos, out)
    assert not out.exists()
    assert seen == [(0, tuple(NAMES)), (1, tuple(NAMES))]

    seen = spied()
    with pytest.raises(
        BundleError, match="was interrupted; take it up with --resume, or start anew with --ov"
    ):
        tiny.fit(tiny.photos, out)
    assert seen == []

    told: list[tuple[int, int]] = []
    progress = Silent()
    progress.stage = lambda name: (  # type: ignore[method-assign]  # progress of one stage
        (lambda *done: told.append(done)) if name == "Fitting members" else lambda *done: None
    )
    tiny.fit(tiny.photos, out, resume=True, progress=progress)
    assert seen == [(2, tuple(NAMES))]
    assert told == [(6, 9), (9, 9)]
    assert untimed(out).keys() == untimed(tiny.bundle).keys()
    for name, data in untimed(out).items():
        assert data == untimed(tiny.bundle)[name], name
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]  # the finished parts are cleared away


def test_finished_parts_of_other_photos_or_settings_are_not_used(tiny, tmp_path, spied):
    out, photos = tmp_path / "bundle", Path(shutil.copytree(tiny.photos, tmp_path / "photos"))
    spied(survived=2)
    with pytest.raises(Interrupted):
        tiny.fit(photos, out)
    tiny.draw_photo(photos / "pyrite" / "one more.png", 2, 50)
    with pytest.raises(Interrupted):
        tiny.fit(photos, out, resume=True)
    seen = spied()
    result = tiny.fit(photos, out, tiny.config(seed=3), resume=True)
    assert [fold for fold, _ in seen] == [0, 1, 2]
    assert result.metrics["oof"]["n"] == 37
    assert not (tmp_path / ".bundle.checkpoint").exists()


def test_overwrite_forgets_an_interrupted_fit_and_replaces_the_bundle(tiny, tmp_path, spied):
    out = Path(shutil.copytree(tiny.bundle, tmp_path / "bundle"))
    with pytest.raises(BundleError, match="exists; choose another --out"):
        tiny.fit(tiny.photos, out)
    with pytest.raises(BundleError, match="exists; choose another --out"):
        tiny.fit(tiny.photos, out, resume=True)
    before = tree(out)
    spied(survived=2)
    with pytest.raises(Interrupted):
        tiny.fit(tiny.photos, out, overwrite=True, cache_dir=None)
    assert tree(out) == before  # the old one answers until the new one is there
    seen = spied(survived=2)
    with pytest.raises(Interrupted):
        tiny.fit(tiny.photos, out, overwrite=True, cache_dir=None)
    assert [fold for fold, _ in seen] == [0, 1]
    seen = spied()
    tiny.fit(tiny.photos, out, overwrite=True, resume=True, cache_dir=None)
    assert [fold for fold, _ in seen] == [2]
    assert untimed(out) == untimed(tiny.bundle)


def test_what_is_no_bundle_is_refused_before_any_work(tiny, tmp_path, spied, monkeypatch):
    seen = spied()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "photo.jpg").touch()
    with pytest.raises(BundleError, match="is no bundle, and --overwrite replaces nothing else"):
        tiny.fit(tmp_path / "no photos", tmp_path / "precious", overwrite=True)
    inside = Path(shutil.copytree(tiny.bundle, tmp_path / "b"))
    monkeypatch.chdir(inside)
    for nameless in (Path(), Path("x") / ".."):
        with pytest.raises(BundleError, match="no name for something new"):
            tiny.fit(tmp_path / "no photos", nameless, overwrite=True)
    assert seen == []


def test_a_place_where_nothing_can_be_saved_is_refused_before_any_work(tiny, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"nothing can be saved in .*file"):
        tiny.fit(tmp_path / "no photos", tmp_path / "file" / "bundle")


@pytest.mark.parametrize("n_jobs", [0, -2])
def test_impossible_numbers_of_jobs_are_refused(tiny, tmp_path, n_jobs):
    with pytest.raises(UserError, match=f"n_jobs={n_jobs}"):
        tiny.fit(tiny.photos, tmp_path / "bundle", n_jobs=n_jobs)


# -- members that fail, refit -------------------------------------------------------------------------------


class Failing(FlatClassifier):
    """Is not able to learn the second fold."""

    def start_fit(self, rows, y, groups, classes):
        if len(SUCCEEDED) == 1:
            raise np.linalg.LinAlgError("no convergence")
        SUCCEEDED.append(len(rows))
        return super().start_fit(rows, y, groups, classes)


SUCCEEDED: list[int] = []


@pytest.fixture
def flat_fails(monkeypatch):
    SUCCEEDED.clear()
    monkeypatch.setattr(registry, "STRATEGIES", {**registry.STRATEGIES, "flat": Failing})


@pytest.mark.usefixtures("flat_fails")
def test_a_failing_member_stops_the_fit(tiny, tmp_path):
    out = tmp_path / "bundle"
    with pytest.raises(
        FitError, match=r"'descriptor-flat' failed in fold 1: LinAlgError: no convergence"
    ) as e:
        tiny.fit(tiny.photos, out)
    assert "--allow-failures" in str(e.value)
    assert not out.exists()


@pytest.mark.usefixtures("flat_fails")
def test_a_failing_member_is_left_out_with_consent_and_said_to_be(tiny, tmp_path):
    out, told = tmp_path / "bundle", []
    progress = Silent()
    progress.note = told.append  # type: ignore[method-assign]  # remembers
    result = tiny.fit(tiny.photos, out, tiny.config(allow_failures=True), progress=progress)
    bundle = read_bundle(out)
    assert [member.name for member in bundle.fitted_ensemble.members] == NAMES[1:]
    assert list(bundle.metrics["members"]) == NAMES[1:]
    assert [(f.member, f.fold) for f in result.failures] == [("descriptor-flat", 1), ("descriptor-flat", 2)]
    assert bundle.info["failures"][0]["reason"] == "LinAlgError: no convergence"
    sentence = "descriptor-flat was left out: fold 1: LinAlgError: no convergence"
    assert sentence in told
    assert sentence in bundle.info["notes"]
    assert f"- {sentence}" in (out / "README.md").read_text(encoding="utf-8")
    assert load(out).predict([tiny.new]).answered.all()


def test_a_member_that_had_to_copy_rows_in_many_folds_says_so_once(tiny, tmp_path):
    photos = tiny.folder(tmp_path / "photos", {"azurite": 4, "malachite": 9, "pyrite": 12})
    members = [{"features": ["descriptor"], "strategy": "one_vs_rest", "sampler": "smote"}]
    result = tiny.fit(photos, tmp_path / "bundle", tiny.config(members=members))
    said = [note for note in result.notes if "random oversampling used" in note]
    assert len(said) == 1
    assert said[0].startswith("descriptor-one_vs_rest: azurite against the rest: class 1 has")
    assert said[0].endswith("more notes like this)")


def test_refit_answers_with_models_of_all_rows_and_has_the_same_figures(tiny, tmp_path, spied):
    seen = spied()
    tiny.fit(tiny.photos, tmp_path / "refit", tiny.config(refit=True))
    refit, folds = read_bundle(tmp_path / "refit"), read_bundle(tiny.bundle)
    assert refit.config.refit
    for key in ("oof", "members", "meta"):
        assert refit.metrics[key] == folds.metrics[key]
    assert [fold for fold, _ in seen] == [0, 1, 2, -1]
    answers = [
        load(tmp_path / "refit").predict_proba([tiny.new]),
        load(tiny.bundle).predict_proba([tiny.new]),
    ]
    assert not np.array_equal(*answers)
    assert np.abs(answers[0] - answers[1]).max() < 0.5


# -- taxonomies ---------------------------------------------------------------------------------------------


def groups_of(bundle: Path) -> list[dict[str, Any]]:
    """The tree of each fold model of the hierarchical member."""
    member = read_bundle(bundle).fitted_ensemble.members[-1]
    return [part.taxonomy.to_tree() for part in member.predictor.parts]


def test_the_built_in_groups_where_all_classes_are_known(tiny, tmp_path):
    photos = tiny.folder(tmp_path / "photos", {"pyrite": 8, "quartz": 8, "bornite": 8})
    told: list[str] = []
    progress = Silent()
    progress.note = told.append  # type: ignore[method-assign]  # remembers
    tiny.fit(photos, tmp_path / "bundle", progress=progress)
    metallic = {"metallic": ["bornite", "pyrite"], "quartz": ["quartz"]}
    assert read_bundle(tmp_path / "bundle").taxonomy.to_tree() == metallic
    assert groups_of(tmp_path / "bundle") == [metallic] * len(groups_of(tmp_path / "bundle"))
    answer = next(load(tmp_path / "bundle").predict([photos / "pyrite"]).records())
    assert answer["group"] == {"quartz": "quartz"}.get(answer["label"], "metallic")
    assert not [note for note in told if "groups are learned" in note]


def test_unknown_classes_have_their_groups_learned_and_are_told_so(tiny):
    bundle = read_bundle(tiny.bundle)
    assert (
        "not all classes are among the seven minerals: groups are learned inside each fold"
        in bundle.info["notes"]
    )
    assert bundle.taxonomy.is_flat


def test_a_users_groups_are_kept_and_rolled_up(tiny, tmp_path):
    tree = {"blue": ["azurite"], "not blue": ["malachite", "pyrite"]}
    tiny.fit(tiny.photos, tmp_path / "bundle", tiny.config(taxonomy=tree))
    assert read_bundle(tmp_path / "bundle").taxonomy.group_names == ("azurite", "not blue")
    for record in load(tmp_path / "bundle").predict([tiny.new]).records():
        assert record["group"] == ("azurite" if record["label"] == "azurite" else "not blue")


def test_groups_that_name_an_absent_class_are_refused_by_name(tiny, tmp_path):
    with pytest.raises(
        TaxonomyError, match="'topaz', which is no class here; the classes are azurite, malach"
    ):
        tiny.fit(tiny.photos, tmp_path / "bundle", tiny.config(taxonomy={"stones": ["topaz", "pyrite"]}))
    assert not list(tmp_path.iterdir())


# -- test part ----------------------------------------------------------------------------------------------


@pytest.fixture
def trained_on(monkeypatch, members_anew):
    """Feature rows that any member learned from, and those it was held back from, over all folds and refits."""
    real, seen = feature_fits.start_together, set()

    def spy(members, matrices, inputs, fold, **shared):
        if shared.get("rows") is not None:  # a part of the rows, for the learning curve
            return real(members, matrices, inputs, fold, **shared)
        seen.update(row.tobytes() for row in matrices[0])
        return real(members, matrices, inputs, fold, **shared)

    monkeypatch.setattr(feature_fits, "start_together", spy)
    return seen


def features(tiny, manifest: Manifest, rows: np.ndarray) -> set[bytes]:
    from ensemble_minerals.features.extraction import extract_features
    from ensemble_minerals.features.registry import build_extractors

    sources = list(build_extractors(tiny.config(), ["descriptor"], cache_dir=None).values())
    found = extract_features([manifest.file(row) for row in rows], [""] * len(rows), sources)
    return {row.tobytes() for row in found.features["descriptor"][:, 0]}


@pytest.mark.parametrize("how", ["holdout", "csv"])
def test_a_test_part_is_never_learned_from_and_scored_by_itself(tiny, tmp_path, trained_on, how):
    config = tiny.config(refit=True)
    data = tiny.photos
    if how == "holdout":
        config = tiny.config(refit=True, folds={"n_splits": 3, "holdout": 0.25})
    else:
        rows = rows_of(tiny.photos)
        for row in rows:
            row["split"] = "test" if row["path"].endswith(("03.png", "07.png", "11.png")) else "train"
        data = table(tmp_path / "table.csv", rows)
    result = tiny.fit(data, tmp_path / "bundle", config)
    bundle = read_bundle(tmp_path / "bundle")
    manifest = read_manifest(tmp_path / "bundle" / "manifest.csv", Path("/") if how == "csv" else data)
    test = np.flatnonzero(manifest.fold == -2)
    assert Counter(manifest.label[test].tolist()) == {"azurite": 3, "malachite": 3, "pyrite": 3}
    assert not set(bundle.out_of_fold.row.tolist()) & set(test.tolist())
    assert not np.intersect1d(manifest.row_group[test], manifest.row_group[bundle.out_of_fold.row]).size
    assert not features(tiny, manifest, test) & trained_on
    assert features(tiny, manifest, bundle.out_of_fold.row) == trained_on

    answers = load(tmp_path / "bundle").predict_proba([manifest.file(row) for row in test])
    y = np.searchsorted(bundle.classes, manifest.label[test])
    expected = summary(y, answers, bundle.classes)
    assert "test" not in read_bundle(tiny.bundle).metrics
    assert result.metrics["test"]["n"] == result.metrics["counts"]["test"] == 9
    assert result.metrics["oof"]["n"] == 27
    assert result.metrics["test"]["accuracy"] == expected["accuracy"]
    assert result.metrics["test"]["log_loss"] == pytest.approx(expected["log_loss"], rel=1e-5)


# -- odd data -----------------------------------------------------------------------------------------------

ODD = ["rose quartz", "größe 水晶", "50%", "=1+1", "x" * 200, "-x", "null", 'c,"d"|{e}', "__metadata__"]


@pytest.mark.parametrize("start", range(0, len(ODD), 3))
def test_odd_class_names_survive_all_the_way(tiny, tmp_path, start):
    names = ODD[start : start + 3]
    photos = tiny.folder(tmp_path / "photos of 水晶", dict.fromkeys(names, 8))
    out = tmp_path / "a bundle"
    tiny.fit(photos, out)
    predictor = load(out)
    assert predictor.bundle.classes == tuple(sorted(names))
    assert predictor.bundle.out_of_fold.classes == tuple(sorted(names))
    assert list(predictor.bundle.metrics["oof"]["per_class"]) == sorted(names)
    file = predictor.predict([photos]).write(tmp_path / "answers.csv")
    with file.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [name for name in rows[0] if name.startswith("p_")] == [f"p_{name}" for name in sorted(names)]
    right = [unescaped(row["label"]) == Path(row["path"]).parent.name for row in rows]
    assert np.mean(right) > 0.8  # these photos it has seen


@pytest.mark.parametrize("name", ["two\nlines", "bell\a", os.fsdecode(b"caf\xe9"), "para\u2029graph"])
def test_class_names_that_no_table_can_hold_are_refused_at_once(tiny, tmp_path, name):
    photos = tiny.folder(tmp_path / "photos", {name: 3, "quartz": 3})
    with pytest.raises(DataError, match="holds a line break, a control sign or bytes that are no UTF-8"):
        tiny.fit(photos, tmp_path / "bundle")


def test_a_folder_whose_name_is_no_utf8(tiny, tmp_path):
    photos = Path(shutil.copytree(tiny.photos, tmp_path / os.fsdecode(b"caf\xe9")))
    tiny.fit(photos, tmp_path / "bundle")
    assert read_bundle(tmp_path / "bundle").info["data"]["root_path"] == str(photos.resolve())


def test_two_photos_a_class_are_the_least(tiny, tmp_path):
    config = tiny.config(folds={"n_splits": 2})
    photos = tiny.folder(tmp_path / "photos", {"a": 2, "b": 2})
    assert tiny.fit(photos, tmp_path / "bundle", config).metrics["oof"]["n"] == 4
    assert load(tmp_path / "bundle").predict([tiny.new]).answered.all()
    (photos / "a" / "01.png").unlink()
    with pytest.raises(DataError, match="class 'a' has 1, of 1 photo, none merged with another"):
        tiny.fit(photos, tmp_path / "another", config)


def test_two_classes(tiny, tmp_path):
    photos = tiny.folder(tmp_path / "photos", {"pyrite": 10, "quartz": 10})
    metrics = tiny.fit(photos, tmp_path / "bundle").metrics
    assert metrics["oof"]["accuracy"] > 0.7
    answers = load(tmp_path / "bundle").predict([tiny.new])
    assert answers.proba.shape == (6, 2)
    np.testing.assert_allclose(answers.proba.sum(axis=1), 1)


def test_one_class_ten_times_as_large(tiny, tmp_path):
    photos = tiny.folder(tmp_path / "photos", {"a": 60, "b": 6, "c": 6})
    metrics = tiny.fit(photos, tmp_path / "bundle").metrics
    assert {name: row["support"] for name, row in metrics["oof"]["per_class"].items()} == {
        "a": 60,
        "b": 6,
        "c": 6,
    }
    assert metrics["oof"]["balanced_accuracy"] > 0.45  # more than the large class for everything


def test_only_chosen_classes_are_learned(tiny, tmp_path):
    chosen = tiny.config(classes=["pyrite", "azurite"])
    metrics = tiny.fit(tiny.photos, tmp_path / "bundle", chosen).metrics
    assert read_bundle(tmp_path / "bundle").classes == ("azurite", "pyrite")
    assert metrics["counts"]["status"] == {"excluded": 12, "ok": 24}
    with pytest.raises(DataError, match=r"no such class: 'pirite' \(did you mean 'pyrite'\?\)"):
        tiny.fit(tiny.photos, tmp_path / "another", tiny.config(classes=["pirite", "azurite"]))


def test_odd_member_names_share_no_checkpoint(tmp_path, spied):
    """Two may differ in case alone, be longer than a file's name, or lead out of the folder."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(24, 4)), np.tile(["a", "b"], 12)
    names = ["A", "a", "../../up", "Ä/ä", "Ä_ä", "con:", "n" * 400, "n" * 399, "a.0", "a.0.safetensors"]
    members = [
        FeatureMember(name, (stacked.WHOLE,), FlatClassifier(LogisticHead(C=1 + n)))
        for n, name in enumerate(names)
    ]
    inside = tmp_path / "deep" / "checkpoint"
    inside.mkdir(parents=True)
    first = stacked.StackedEnsemble(members, n_splits=2, checkpoint=inside).fit(X, y)
    kept = [path.name.lower() for path in inside.iterdir()]
    assert len(set(kept)) == 2 * len(names)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [*tmp_path.glob("deep/checkpoint/*")]
    seen = spied()
    again = stacked.StackedEnsemble(members, n_splits=2, checkpoint=inside).fit(X, y)
    assert seen == []
    np.testing.assert_array_equal(again.out_of_fold_.member_proba, first.out_of_fold_.member_proba)
    assert len({proba.tobytes() for proba in first.out_of_fold_.member_proba}) == len(names)
