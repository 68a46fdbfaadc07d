"""What hand tests would add to the answers of photos, simulated: readings are drawn as the properties say."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ensemble_minerals.evaluation.answers import Answers
from ensemble_minerals.evaluation.intervals import GroupBootstrap, Interval, Score
from ensemble_minerals.evaluation.metrics import row_log_loss
from ensemble_minerals.prediction.evidence import posterior
from ensemble_minerals.prediction.hand_tests import Floats, HandTests

_DRAWS = 10
"""Readings that are drawn of each photo; scores are their mean."""

_ROUNDING = 1e-9
"""Likelihoods that differ by less tell nothing."""

_CHUNK = 4096
"""Photos that are weighed at once."""


@dataclass(frozen=True)
class SimulatedScore:
    """Scores with some tests simulated.

    Attributes:
        tests: Names of the properties; none for the photos alone.
        accuracy: Share of photos that are answered right.
        log_loss: Mean surprise at the true class.
    """

    tests: tuple[str, ...]
    accuracy: Interval
    log_loss: Interval


def simulate_evidence(
    answers: Answers, tests: HandTests, bootstrap: GroupBootstrap
) -> tuple[SimulatedScore, ...]:
    """Score answers with each test simulated, alone and in pairs.

    Readings are drawn as `HandTests` says they come, so the scores hold as far as the properties do. Tests of
    which the classes show all the same, or nothing is known, are left out.

    Args:
        answers: With known classes.
        tests: What can be tested.
        bootstrap: Draws of the row groups.

    Returns:
        The photos alone, each test in the order of the properties, then the pairs.
    """
    rng = np.random.default_rng(bootstrap.seed)
    telling = [
        name
        for name in tests.names
        if np.ptp(tests.simulate(name, np.unique(answers.y).astype(np.intp), rng), axis=1).max() > _ROUNDING
    ]
    chosen = [(), *((name,) for name in telling), *combinations(telling, 2)]
    right, loss = np.zeros((2, len(answers), len(chosen)))
    for start in range(0, len(answers), _CHUNK):
        rows = slice(start, start + _CHUNK)
        y, proba = answers.y[rows], answers.proba[rows]
        for _ in range(_DRAWS):
            drawn = {name: np.log(tests.simulate(name, y.astype(np.intp), rng)) for name in telling}
            for number, names in enumerate(chosen):
                weighed = posterior(proba, sum((drawn[name] for name in names), np.zeros_like(proba)))
                right[rows, number] += (weighed.argmax(axis=1) == y) / _DRAWS
                loss[rows, number] += row_log_loss(y, weighed) / _DRAWS
    scores = (bootstrap.intervals(_mean(values)) for values in (right, loss))
    return tuple(map(SimulatedScore, chosen, *scores))


def _mean(values: Floats) -> Score:
    """The mean of each column of values, (n, m)."""
    return lambda weights: weights @ values / weights.sum(axis=1, keepdims=True)
