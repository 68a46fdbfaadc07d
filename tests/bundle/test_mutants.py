"""Mutants of bundles and students with right digests: refused with file and field, or answered in numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn.bundle_mutants import mutate

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.bundle.student import read_student
from ensemble_minerals.errors import BundleError
from ensemble_minerals.prediction.hand_tests import HandTests
from ensemble_minerals.prediction.photo_predictor import PhotoPredictor
from ensemble_minerals.prediction.predictor import Predictor
from ensemble_minerals.prediction.student import StudentPredictor

pytestmark = pytest.mark.usefixtures("one_thread")

FORMAT_1 = Path(__file__).parents[1] / "compatibility" / "format_1"
PHOTO = FORMAT_1 / "photos" / "azurite.png"


def read_all(folder: Path, cache: Path) -> PhotoPredictor:
    """Read everything that a folder holds."""
    if (folder / "student.json").exists():
        return StudentPredictor(read_student(folder), 1)
    bundle = read_bundle(folder)
    assert bundle.metrics
    assert bundle.logs
    assert len(bundle.manifest(folder)) >= len(bundle.out_of_fold)
    return Predictor(bundle, cache, 1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize(("kind", "count"), [("bundle", 30), ("student", 12)])
def test_a_mutant_is_refused_or_answers_with_probabilities(kind, count, cache, tmp_path):
    """Another finite weight cannot be told from the right one where the digests were made right, too."""
    refused: dict[str, str] = {}
    for seed in range(count):
        said = mutate(FORMAT_1 / kind, tmp_path / str(seed), f"{kind}.json", seed)
        try:
            answers = read_all(tmp_path / str(seed), cache).predict([PHOTO], sets=0.9)
        except BundleError as error:
            refused[said] = str(error)
        else:
            assert answers.answered.all(), said
            np.testing.assert_allclose(answers.proba.sum(axis=1), 1, err_msg=said)
    assert len(refused) > count / 2
    for said, message in refused.items():
        assert message.startswith(str(tmp_path)), said
        assert len(message) < 1000, said


def test_a_mutant_of_the_properties_is_refused_or_weighs_with_probabilities(tiny, tmp_path):
    names = sorted(file.name for file in tiny.bundle.rglob("*") if file.is_file())
    place, refused = names.index("properties.json"), 0
    for number in range(25):
        folder = tmp_path / str(number)
        said = mutate(tiny.bundle, folder, "bundle.json", place + number * len(names))
        assert said.startswith("properties.json"), said
        try:
            bundle = read_bundle(folder)
        except BundleError as error:
            refused += str(error).startswith(str(folder))
            continue
        for test in HandTests(bundle.properties, bundle.classes).tests():
            likelihood = [
                HandTests(bundle.properties, bundle.classes).likelihood(one) for one in test.outcomes
            ]
            np.testing.assert_allclose(np.sum(likelihood, axis=0), 1, err_msg=said)
    assert refused > 5


@pytest.mark.parametrize("name", ["rejection.json", "rejection.safetensors"])
def test_a_mutant_of_the_rejection_is_refused_or_gives_typicalities(tiny, tmp_path, name):
    names = sorted(file.name for file in tiny.bundle.rglob("*") if file.is_file())
    place, refused = names.index(name), 0
    for number in range(12):
        folder = tmp_path / str(number)
        said = mutate(tiny.bundle, folder, "bundle.json", place + number * len(names))
        assert said.startswith(name), said
        try:
            found = Predictor(read_bundle(folder), None, 1).predict([PHOTO]).typicality
        except BundleError as error:
            refused += str(error).startswith(str(folder))
        else:
            assert 0 < found[0] <= 1, said
    assert refused > 3
