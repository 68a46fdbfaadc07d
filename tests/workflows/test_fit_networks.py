"""Networks trained on photos, from the folder to the answers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from drawn.manifests import read_manifest
from PIL import Image

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.config.loading import build_config
from ensemble_minerals.data.decoding import decode
from ensemble_minerals.errors import ConfigError, FitError, WeightsError
from ensemble_minerals.features.trained_network import TrainedNetworkExtractor
from ensemble_minerals.log_space import log_normalize
from ensemble_minerals.networks.training import estimator
from ensemble_minerals.prediction.predictor import load
from ensemble_minerals.workflows.ablate import ablate
from ensemble_minerals.workflows.fit import fit
from ensemble_minerals.workflows.report import write_report

CLASSES = {"azurite": (60, 70, 190), "malachite": (40, 150, 80), "pyrite": (190, 160, 70)}
FLAT, JOINT, SEPARATE = "net-flat", "net-one_vs_rest", "net-hierarchical-separate"


def config(**changes):
    network = {
        "name": "net",
        "model": "test_efficientnet",
        "weights": "random",
        "size": 32,
        "phases": [{"train": "all", "lr": 0.01, "epochs": 2, "keep": "last"}],
        "augment": {"horizontal_flip": True},
        "batch_size": 8,
        "validation_fraction": 0.2,
        "views": ["squash", "squash_flip"],
    } | changes.pop("network", {})
    values = {
        "networks": [network],
        "members": [
            {"network": "net", "strategy": "flat"},
            {"network": "net", "strategy": "one_vs_rest", "sampler": "random"},
            {"network": "net", "strategy": "hierarchical", "specialists": "separate"},
            {"features": ["descriptor"], "strategy": "flat"},
        ],
        "taxonomy": {"copper": ["azurite", "malachite"]},
        "folds": {"n_splits": 2},
        "duplicates": {"near": False},
    } | changes
    return build_config(values)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name, color in CLASSES.items():
        (root / name).mkdir()
        for number in range(8):
            pixels = np.clip(rng.normal(color, 40, (48, 56, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def made(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundles") / "made"
    fit(photos, out, config(), n_jobs=1)
    return read_bundle(out)


def test_members_on_networks_stand_beside_those_on_features(made):
    assert [member.name for member in made.fitted_ensemble.members] == [
        FLAT,
        JOINT,
        SEPARATE,
        "descriptor-flat",
    ]
    assert made.fitted_ensemble.members[0].features == (f"network:{FLAT}",)
    # two folds; separate specialists are a network for each node: copper or not, and which copper mineral
    assert {name: len(files) for name, files in made.networks.items()} == {
        f"network:{FLAT}": 2,
        f"network:{JOINT}": 2,
        f"network:{SEPARATE}": 4,
    }
    assert {name: len(logs) for name, logs in made.logs.items()} == {FLAT: 2, JOINT: 2, SEPARATE: 4}
    assert [len(log) for log in made.logs[FLAT]] == [2, 2]


@pytest.mark.parametrize("place", [0, 1])
def test_a_saved_network_gives_its_folds_out_of_fold_answers(made, photos, place):
    found = made.out_of_fold
    manifest = read_manifest(made.path / "manifest.csv", photos)
    held_out = np.flatnonzero(manifest.fold[found.row] == place)
    source = TrainedNetworkExtractor(
        FLAT,
        made.config.networks[0],
        [made.networks[f"network:{FLAT}"][place]],
        side=int(made.extractors[f"network:{FLAT}"]["facts"]["side"]),
    )
    logits = source.extract([decode(manifest.file(found.row[row])).pixels for row in held_out])
    expected = found.member_proba[0, held_out]
    np.testing.assert_allclose(np.exp(log_normalize(logits.mean(axis=1))), expected, atol=1e-5)


def test_the_bundle_answers(made, photos):
    files = [photos / name / f"{number}.png" for name in CLASSES for number in range(8)]
    answers = load(made.path).predict(files)
    assert answers.answered.all()
    np.testing.assert_allclose(answers.proba.sum(axis=1), 1)
    one_by_one = np.concatenate([load(made.path).predict_proba([file]) for file in files[:3]])
    np.testing.assert_allclose(answers.proba[:3], one_by_one, atol=1e-6)


def test_the_report_shows_how_they_learned(made, tmp_path):
    result = write_report(made.path, out=tmp_path / "report", n_jobs=1, heatmaps=False)
    assert 'id="training"' in result.html.read_text(encoding="utf-8")


def test_processes_change_nothing(made, photos, tmp_path):
    fit(photos, tmp_path / "two", config(), n_jobs=2)
    again = read_bundle(tmp_path / "two")
    for name in (FLAT, JOINT, SEPARATE):
        files = zip(made.networks[f"network:{name}"], again.networks[f"network:{name}"], strict=True)
        assert all(one.read() == two.read() for one, two in files)
    np.testing.assert_array_equal(made.out_of_fold.proba, again.out_of_fold.proba)


def test_an_interrupted_fit_trains_only_what_is_missing(made, photos, tmp_path, monkeypatch):
    real, trained = estimator.FineTunedNetwork.fit_subproblems, []

    def dying(self, *arguments, **named):
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append(self.name)
        return real(self, *arguments, **named)

    monkeypatch.setattr(estimator.FineTunedNetwork, "fit_subproblems", dying)
    with pytest.raises(KeyboardInterrupt):
        fit(photos, tmp_path / "b", config(), n_jobs=1)

    def counting(self, *arguments, **named):
        trained.append(self.name)
        return real(self, *arguments, **named)

    monkeypatch.setattr(estimator.FineTunedNetwork, "fit_subproblems", counting)
    fit(photos, tmp_path / "b", config(), n_jobs=1, resume=True)
    assert len(trained) == 8
    again = read_bundle(tmp_path / "b")
    np.testing.assert_array_equal(made.out_of_fold.proba, again.out_of_fold.proba)
    assert again.logs.keys() == made.logs.keys()


KILLED = """
import os, signal, sys, threading, time
from pathlib import Path
from ensemble_minerals.config.loading import load_config
from ensemble_minerals.networks.training.session import PROGRESS_FILE
from ensemble_minerals.workflows.fit import fit

photos, out, config, n_begun = sys.argv[1:]

def kill():
    # os.walk, unlike rglob, goes on where a folder vanishes while it looks.
    while sum(PROGRESS_FILE in files for _, _, files in os.walk(Path(out).parent)) < int(n_begun):
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=kill, daemon=True).start()
fit(photos, out, load_config(config), n_jobs=1)
"""


def test_a_fit_that_is_killed_while_networks_train_resumes_to_the_same_weights(made, photos, tmp_path):
    out = tmp_path / "b"
    (tmp_path / "c.yaml").write_text(config().to_yaml(), encoding="utf-8")
    # A process of its own, not a fork: torch's threads do not survive one.
    arguments = [sys.executable, "-c", KILLED, photos, out, tmp_path / "c.yaml", "4"]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not out.exists()
    fit(photos, out, config(), n_jobs=1, resume=True)
    again = read_bundle(out)
    for name, files in made.networks.items():
        assert [file.digest() for file in again.networks[name]] == [file.digest() for file in files]
    np.testing.assert_array_equal(made.out_of_fold.proba, again.out_of_fold.proba)
    assert not list(tmp_path.glob(".b.*"))


DIVERGING = {"phases": [{"train": "all", "optimizer": "sgd", "lr": 1e9, "epochs": 2}]}


def test_a_network_that_diverges_ends_the_fit(photos, tmp_path):
    with pytest.raises(FitError, match=r"'net-flat' failed in fold 0.*phase 1.*1e\+09"):
        fit(photos, tmp_path / "b", config(network=DIVERGING), n_jobs=1)


def test_or_is_left_out_where_that_is_allowed(photos, tmp_path):
    result = fit(photos, tmp_path / "b", config(network=DIVERGING, allow_failures=True), n_jobs=1)
    assert {failure.member for failure in result.failures} == {FLAT, JOINT, SEPARATE}
    bundle = read_bundle(tmp_path / "b")
    assert [member.name for member in bundle.fitted_ensemble.members] == ["descriptor-flat"]
    assert not bundle.networks


IMPOSSIBLE = [
    ({"weights": "missing.safetensors"}, WeightsError, "missing.safetensors"),
    ({"model": "test_efficientnt"}, WeightsError, "test_efficientnt"),
    ({"phases": [{"train": "last:99"}]}, ConfigError, "last:99 asks for more than"),
    ({"phases": [{"train": ["hed"]}]}, ConfigError, "hed"),
    (
        {"phases": [{"train": "head"}], "prefix_views": 2, "cutmix": 1.0},
        ConfigError,
        "'net': cutmix mixes feature maps",
    ),
    ({"head": {"kind": "layers", "dropout": [0.1, 0.2]}}, ConfigError, "2 shares for 1 dense layers"),
]


@pytest.mark.parametrize(("network", "error", "message"), IMPOSSIBLE)
def test_a_network_that_cannot_be_had_is_told_before_anything_is_made(
    photos, tmp_path, monkeypatch, network, error, message
):
    monkeypatch.setattr(
        "ensemble_minerals.workflows.fit.prepare", lambda *_, **__: pytest.fail("features were computed")
    )
    with pytest.raises(error, match=message):
        fit(photos, tmp_path / "b", config(network=network), n_jobs=1)
    assert list(tmp_path.iterdir()) == []


def test_where_members_may_fail_such_a_network_is_left_out(photos, tmp_path):
    network, _, message = IMPOSSIBLE[0]
    result = fit(photos, tmp_path / "b", config(network=network, allow_failures=True), n_jobs=1)
    assert {failure.member for failure in result.failures} == {FLAT, JOINT, SEPARATE}
    assert all(message in failure.reason for failure in result.failures)


def test_the_ablation_tells_what_trained_networks_bring(photos, tmp_path):
    small = config(
        members=[{"network": "net", "strategy": "flat"}, {"features": ["descriptor"], "strategy": "flat"}]
    )
    result = ablate(photos, tmp_path / "a", small, arms=["without:networks"], n_splits=2, n_jobs=1, yes=True)
    page = json.loads(result.json.read_text(encoding="utf-8"))
    assert "without:networks" in json.dumps(page)


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        ({"network": "nut", "strategy": "flat"}, "no network is called 'nut' (did you mean 'net'?)"),
        ({"network": "net", "strategy": "flat", "sampler": "smote"}, "'smote' makes new rows between rows"),
        ({"network": "net", "strategy": "flat", "head": "mlp"}, "a network has its own"),
        ({"network": "net", "features": ["descriptor"], "strategy": "flat"}, "make two members of it"),
        ({"strategy": "flat"}, "needs features, or a network"),
        ({"features": ["descriptor"], "strategy": "flat", "specialists": "separate"}, "joint and separate"),
    ],
)
def test_what_a_network_member_cannot_be(member, problem):
    with pytest.raises(ConfigError) as caught:
        config(members=[member])
    assert problem in str(caught.value)
