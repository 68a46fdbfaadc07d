"""Readings of hand tests: what was written, and how likely each class would give it."""

from __future__ import annotations

import numpy as np
import pytest
from drawn.hand_tests import CLASSES, TESTS

from ensemble_minerals.errors import UserError
from ensemble_minerals.prediction.hand_tests import HandTests, Reading, parse_evidence


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("hardness", "3", "hardness=3"),
        ("hardness", " 2.5 Mohs", "hardness=2.5"),
        ("hardness", "2,5-3", "hardness=2.5-3"),
        ("hardness", "2.5 to 3 Mohs", "hardness=2.5-3"),
        ("hardness", "2.5\N{EN DASH}3", "hardness=2.5-3"),
        ("density", "2650 kg/m3", "density=2.65"),
        ("streak", " Black ", "streak=black"),
    ],
)
def test_a_reading_is_understood_as_it_is_written(name, text, shown):
    assert str(TESTS.read(name, text)) == shown


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "hardnes",
            "3",
            r"no class has a property 'hardnes' \(did you mean 'hardness'\?\); known: hardness, density",
        ),
        ("luster", "dull", "no class has a property 'luster'"),
        ("hardness", "3 moh", r"'moh' is not known \(did you mean 'Mohs'\?\)"),
        ("density", "2.6 kg/m3", "give a value, .* from 1 to 20 g/cm3"),
        ("density", "2650 kg/m", r"did you mean 'kg/m3'"),
        ("hardness", "11", "from 1 to 10 Mohs"),
        ("hardness", "4-3", "a lesser and a greater one"),
        ("hardness", "nan", "is no number"),
        ("hardness", "", "is no number"),
        ("hardness", "03-Mar", "'Mar' is not known|'-Mar' is not known"),
        ("streak", "blck", r"'blck' is not known \(did you mean 'black'\?\)"),
        ("streak", "", "'' is not known"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_the_nearest(name, text, words):
    with pytest.raises(UserError, match=words):
        TESTS.read(name, text)


def test_evidence_of_a_command_line_is_a_property_and_a_value_each_once():
    assert [str(r) for r in parse_evidence(["hardness=3", "streak = white"], TESTS)] == [
        "hardness=3",
        "streak=white",
    ]
    with pytest.raises(UserError, match="hardness is given twice"):
        parse_evidence(["hardness=3", "hardness=4"], TESTS)
    with pytest.raises(UserError, match="write a property and what was read"):
        parse_evidence(["hardness"], TESTS)


def test_likelihoods_of_a_number_in_closed_form():
    # mica: 2 to 3, widened by 0.5 to 1.5 to 3.5 (2 wide); quartz: 6.5 to 7.5; nothing is known of glass
    inside = 0.98 * 9 / np.array([2, 1]) + 0.02
    assert TESTS.likelihood(TESTS.read("hardness", "2")) == pytest.approx(
        [inside[0], 0.02, (inside[0] + 0.02) / 2]
    )
    assert TESTS.likelihood(TESTS.read("hardness", "7")) == pytest.approx(
        [0.02, inside[1], (inside[1] + 0.02) / 2]
    )
    # 1 to 3: three quarters of mica's, and 2/9 of what is misread
    low = [0.98 * 0.75 + 0.02 * 2 / 9, 0.02 * 2 / 9]
    assert TESTS.likelihood(TESTS.read("hardness", "1-3")) == pytest.approx([*low, sum(low) / 2])


def test_a_relative_error_widens_by_the_value_and_the_scale_cuts():
    # mica: 2.8 to 3.2, 5 % each
    reading = [TESTS.likelihood(TESTS.read("density", text))[0] for text in ("2.67", "2.65", "3.35", "3.37")]
    width = 3.2 * 1.05 - 2.8 * 0.95
    assert reading == pytest.approx([0.99 * 19 / width + 0.01, 0.01, 0.99 * 19 / width + 0.01, 0.01])


def test_likelihoods_of_a_word_in_closed_form():
    assert TESTS.likelihood(Reading("streak", "white")) == pytest.approx([0.95 / 2, 0.95, 0.7125])
    assert TESTS.likelihood(Reading("streak", "black")) == pytest.approx([0.05 / 1, 0.05 / 2, 0.0375])


@pytest.mark.parametrize("test", list(TESTS.tests()), ids=lambda test: f"{test.name} {test.tool}")
def test_the_outcomes_of_a_test_are_all_there_are(test):
    likelihood = np.array([TESTS.likelihood(outcome) for outcome in test.outcomes])
    assert (likelihood > 0).all()
    np.testing.assert_allclose(likelihood.sum(axis=0), 1)


def test_a_word_that_fits_every_class_tells_nothing():
    assert TESTS.likelihood(Reading("magnetism", "none")) == pytest.approx([0.98] * 3)


def test_what_fits_is_what_needs_no_misreading():
    assert TESTS.fits(TESTS.read("hardness", "3.5")).tolist() == [True, False, True]
    assert TESTS.fits(TESTS.read("hardness", "3.5-6.5")).tolist() == [True, True, True]
    assert TESTS.fits(TESTS.read("hardness", "5")).tolist() == [False, False, True]  # glass may be anything
    assert TESTS.fits(Reading("streak", "grey")).tolist() == [True, False, True]


def test_readings_are_drawn_as_their_likelihood_says():
    rng, n = np.random.default_rng(0), 20_000
    drawn = TESTS.simulate("streak", np.full(n, CLASSES.index("quartz")), rng)
    for word in ("white", "grey", "black"):
        likelihood = TESTS.likelihood(Reading("streak", word))
        share = np.isclose(drawn, likelihood).all(axis=1).mean()
        assert share == pytest.approx(likelihood[CLASSES.index("quartz")], abs=0.01), word
    # of mica's hardness, 98 % are drawn from 1.5 to 3.5, and 2/9 of the others fall there
    drawn = TESTS.simulate("hardness", np.full(n, CLASSES.index("mica")), rng)
    inside = drawn[:, 0] > 1
    assert inside.mean() == pytest.approx(0.98 + 0.02 * 2 / 9, abs=0.005)
    quartz = drawn[:, 1] > 1  # one of nine that are misread
    assert quartz.mean() == pytest.approx(0.02 / 9, abs=0.002)
    np.testing.assert_array_equal(TESTS.simulate("hardness", np.full(3, CLASSES.index("glass")), rng), 1)


def test_only_properties_that_a_class_has_are_known():
    assert TESTS.names == ["hardness", "density", "streak", "magnetism"]
    assert HandTests(TESTS.properties, ("glass", "mica", "quartz")).names == TESTS.names
