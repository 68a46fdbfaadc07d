from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.features.engine_agreement import PROBES, agreement, probes

LAYERS = {"one": slice(0, 40), "two": slice(40, 60)}


@pytest.fixture
def vectors() -> np.ndarray:
    rng = np.random.default_rng(0)
    # a large constant and very different spreads, as features have
    return (50 + rng.normal(size=(PROBES, 60)) * rng.uniform(0.01, 3, 60)).astype(np.float32)


def test_the_same_vectors_agree_fully(vectors: np.ndarray) -> None:
    assert agreement(vectors, vectors.copy(), LAYERS) == pytest.approx({"one": 1.0, "two": 1.0})


def test_a_drift_shows_in_its_layer_despite_a_large_constant(vectors: np.ndarray) -> None:
    drifted = vectors.copy()
    drifted[:, LAYERS["two"]] += np.random.default_rng(1).normal(size=(PROBES, 20)).astype(np.float32)
    found = agreement(vectors, drifted, LAYERS)
    assert found["one"] == pytest.approx(1.0)
    assert found["two"] < 0.95


def test_values_that_are_no_numbers_do_not_agree(vectors: np.ndarray) -> None:
    broken = vectors.copy()
    broken[2, 5] = np.nan
    assert agreement(vectors, broken, LAYERS)["one"] == 0.0


def test_a_layer_that_never_varies_must_be_equal(vectors: np.ndarray) -> None:
    vectors[:, LAYERS["two"]] = 1
    assert agreement(vectors, vectors.copy(), LAYERS)["two"] == 1.0
    assert agreement(vectors, vectors + 1, LAYERS)["two"] == 0.0


def test_probes_are_varied_and_the_same_every_time() -> None:
    images = probes(48)
    assert [image.shape for image in images] == [(48, 48, 3)] * PROBES
    assert all(image.dtype == np.uint8 and image.std() > 10 for image in images)
    assert all(np.array_equal(a, b) for a, b in zip(images, probes(48), strict=True))
    assert len({image.tobytes() for image in images}) == PROBES
