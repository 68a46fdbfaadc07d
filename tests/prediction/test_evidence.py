"""What photos and hands say together: Bayes' rule, what it must not change, and what does not go together."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from drawn.hand_tests import CLASSES, TESTS

from ensemble_minerals.prediction.evidence import Evidence, posterior, weigh
from ensemble_minerals.prediction.hand_tests import parse_evidence
from ensemble_minerals.prediction.table import Predictions
from ensemble_minerals.taxonomy import Taxonomy


def predictions(*proba):
    table = np.array(proba, dtype=np.float64)
    paths = tuple(Path(f"{row}.jpg") for row in range(len(table)))
    reasons = tuple("" if row[0] >= 0 else "missing: gone" for row in table)
    return Predictions(paths, reasons, table, table[:, None], ("one",), Taxonomy.flat(CLASSES))


def readings(*entries):
    return parse_evidence(entries, TESTS)


def weighed(found, *entries, **others):
    return weigh(found, Evidence(TESTS, [readings(*entries)] * len(found), **others))


def test_the_answer_is_bayes_rule_and_that_of_the_photo_stays():
    found = predictions([0.5, 0.3, 0.2], [0.1, 0.8, 0.1])
    both = weighed(found, "hardness=2", "streak=white")
    product = (
        found.proba
        * TESTS.likelihood(TESTS.read("hardness", "2"))
        * TESTS.likelihood(TESTS.read("streak", "white"))
    )
    np.testing.assert_allclose(both.evidence.proba, product / product.sum(axis=1, keepdims=True))
    np.testing.assert_array_equal(both.proba, found.proba)
    assert both.evidence.fits.all()
    assert both.advice is None


def test_order_never_matters_to_the_last_digit():
    found = predictions([0.35, 0.33, 0.32])
    entries = ("hardness=2.2", "streak=grey", "density=3.1", "magnetism=none")
    answers = {weighed(found, *order).evidence.proba.tobytes() for order in permutations(entries)}
    assert len(answers) == 1


def test_evidence_known_to_be_useless_changes_nothing():
    found = predictions([0.5, 0.3, 0.2])
    for entry in ("magnetism=none", "magnetism=strong", "hardness=1-10", "hardness=9.5"):
        np.testing.assert_allclose(
            weighed(found, entry).evidence.proba, found.proba, rtol=1e-12, err_msg=entry
        )
    assert weighed(found).evidence is None


def test_a_probability_of_zero_stays_possible_and_certainty_does_not_overflow():
    found = predictions([1.0, 0.0, 0.0], [1e-320, 1.0, 0.0])
    answer = weighed(found, "hardness=7", "streak=white").evidence.proba
    assert np.isfinite(answer).all()
    np.testing.assert_allclose(answer.sum(axis=1), 1)


@pytest.mark.parametrize("seed", range(3))
def test_evidence_drawn_from_the_model_is_calibrated(seed):
    """Classes are drawn from the photo's probabilities, readings from the classes: what is stated is what is true."""
    rng = np.random.default_rng(seed)
    n, known = 20_000, 2  # of mica and quartz something is known
    proba = rng.dirichlet([0.7, 0.7], size=n)
    y = (rng.random(n) < proba[:, 1]).astype(int)
    log_likelihood = sum(np.log(TESTS.simulate(name, y, rng)[:, :known]) for name in ("hardness", "streak"))
    stated = posterior(proba, log_likelihood)[:, 1]
    for low, high in ((0, 0.01), (0.01, 0.2), (0.2, 0.8), (0.8, 0.99), (0.99, 1.01)):
        inside = (stated >= low) & (stated < high)
        error = np.sqrt((stated[inside] * (1 - stated[inside])).sum())
        assert abs(y[inside].sum() - stated[inside].sum()) <= 4 * error + 1, (low, high)
    assert (posterior(proba, log_likelihood).argmax(axis=1) == y).mean() > (
        proba.argmax(axis=1) == y
    ).mean() + 0.1


def test_what_fits_no_class_is_flagged_and_not_forced():
    closed = type(TESTS)(TESTS.properties, CLASSES[:2])
    found = Predictions(
        (Path("a.jpg"),),
        ("",),
        np.array([[0.6, 0.4]]),
        np.array([[[0.6, 0.4]]]),
        ("one",),
        Taxonomy.flat(CLASSES[:2]),
    )

    def note(*entries):
        both = weigh(found, Evidence(closed, [parse_evidence(entries, closed)]))
        record = next(both.records())
        assert (record["with_evidence_label"] is None) == (not both.evidence.fits[0])
        return record["evidence_note"], both.evidence.fits[0]

    assert note("hardness=5") == (
        "hardness=5 fits none of the classes: read it again, or it is none of them",
        False,
    )
    words, fits = note("hardness=7", "streak=grey")
    assert words.startswith("no class fits hardness=7 and streak=grey together")
    assert not fits
    assert note("hardness=7", "streak=white") == ("", True)


def test_a_photo_that_speaks_against_the_evidence_is_told():
    found = predictions([0.9964, 0.0018, 0.0018])
    both = weighed(found, "hardness=7")
    assert both.evidence.notes == (
        "the photo speaks against it: it gives 0.4 % to what fits (quartz, glass)",
    )
    assert both.evidence.fits.all()


def test_a_prior_counts_beside_or_without_readings_and_nothing_occurs_where_its_weight_is_zero():
    found = predictions([0.5, 0.3, 0.2])
    prior = np.array([0.0, 1.0, 0.5])
    alone = weigh(found, Evidence(None, [()], prior))
    np.testing.assert_allclose(alone.evidence.proba, [[0, 0.75, 0.25]])
    both = weighed(found, "hardness=2", prior=prior).evidence.proba
    assert both[0, 0] == 0
    assert both.sum() == pytest.approx(1)


def test_a_photo_that_could_not_be_read_has_empty_cells():
    found = predictions([0.5, 0.3, 0.2], [np.nan] * 3)
    both = weighed(found, "hardness=7", advise=True)
    first, last = both.records()
    assert list(first)[-7:] == [
        "with_evidence_label", "with_evidence_confidence", "with_evidence_p_mica", "with_evidence_p_quartz",
        "with_evidence_p_glass", "evidence_note", "advice",
    ]  # fmt: skip
    assert list(first) == list(both.columns())
    assert first["with_evidence_label"] == "quartz"
    assert [last[name] for name in list(last)[-7:]] == [None, None, None, None, None, "", ""]
