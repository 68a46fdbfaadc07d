"""Which tests of the hand would tell most of an unsure photo, by expected information, in words."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ensemble_minerals.prediction.hand_tests import Floats, HandTest, HandTests

SURE = 0.95
"""From this probability on no test is advised."""

WORTH = 0.02
"""Nats that a test must be expected to tell."""

ADVISED = 2
"""So many tests are named, the best first."""

COMMON = 0.1
"""Outcomes below this probability are left out of the words."""


@dataclass(frozen=True)
class Expected:
    """What a test is expected to bring.

    Attributes:
        information: Mutual information of class and outcome, in nats.
        confidence: Mean probability of the most probable class after the test.
    """

    information: float
    confidence: float


def expected(proba: Floats, likelihoods: Floats) -> Expected:
    """What a test is expected to bring.

    Args:
        proba: Probabilities before the test, (n_classes,).
        likelihoods: Of each outcome in each class, (n_outcomes, n_classes); each column adds up to 1.

    Example:
        >>> sure = expected(np.array([0.5, 0.5]), np.eye(2))
        >>> round(sure.information, 3), sure.confidence
        (0.693, 1.0)
        >>> expected(np.array([0.75, 0.25]), np.full((2, 2), 0.5))
        Expected(information=0.0, confidence=0.75)
    """
    joint = likelihoods * proba
    outcome = joint.sum(axis=1, keepdims=True)
    ratio = np.divide(likelihoods, outcome, out=np.ones_like(joint), where=joint > 0)
    information = float((joint * np.log(ratio)).sum())
    return Expected(max(0.0, information), float(joint.max(axis=1).sum()))


def advise(tests: HandTests, proba: Floats, given: Sequence[Collection[str]]) -> Iterator[str]:
    """What to test next, one sentence a photo; empty where the answer is sure, or no test tells anything.

    Args:
        tests: What can be tested.
        proba: What is known by now, (n, n_classes); NaN for photos that could not be read.
        given: Of each photo the properties that were tested.
    """
    known = [
        (test, np.array([tests.likelihood(outcome) for outcome in test.outcomes])) for test in tests.tests()
    ]
    for row, done in zip(proba, given, strict=True):
        if np.isnan(row[0]) or row.max() >= SURE:
            yield ""
            continue
        found = [(expected(row, table), test, table) for test, table in known if test.name not in done]
        found.sort(key=lambda entry: -entry[0].information)
        best: dict[str, str] = {}  # one way to test a property: the one that tells most
        for expects, test, table in found:
            if expects.information >= WORTH and test.name not in best and len(best) < ADVISED:
                best[test.name] = _in_words(tests, row, expects, test, table)
        yield "test next: " + "; or ".join(best.values()) if best else "no test known here tells more"


def _in_words(tests: HandTests, proba: Floats, expects: Expected, test: HandTest, table: Floats) -> str:
    joint = table * proba
    share, speaks_for = joint.sum(axis=1), [tests.classes[k] for k in joint.argmax(axis=1)]
    names = outcome_names(tests, test)
    if names is None:
        outcomes = [range_in_words(tests, test.name, label) for label in _most_probable(tests, proba)]
    else:
        outcomes = [
            f"{name}: {label}"
            for name, label, likely in zip(names, speaks_for, share, strict=True)
            if test.tool or likely >= COMMON
        ]
    how = f"{test.how} {test.tool}".strip()
    gain = f"confidence {100 * proba.max():.0f} -> {100 * expects.confidence:.0f} % on average"
    return f"{how} ({', '.join(filter(None, [*outcomes, gain]))})"


def outcome_names(tests: HandTests, test: HandTest) -> list[str] | None:
    """Names of the outcomes of a test; None for a number that is measured, which has too many to name."""
    if test.tool:
        verbs = ("scratched", "not scratched")
        return [f"{verb} ({outcome})" for verb, outcome in zip(verbs, test.outcomes, strict=True)]
    return [str(outcome) for outcome in test.outcomes] if test.name in tests.properties.words else None


def _most_probable(tests: HandTests, proba: Floats) -> list[str]:
    return [tests.classes[k] for k in np.argsort(-proba, kind="stable")[:2]]


def range_in_words(tests: HandTests, name: str, label: str) -> str:
    """The range of a number in a class; empty where it is not known."""
    shows = tests.properties.classes.get(label, {}).get(name)
    if shows is None or shows.range is None:
        return ""
    low, high = shows.range
    return f"{name}={low:g}{'' if low == high else f'-{high:g}'}: {label}"
