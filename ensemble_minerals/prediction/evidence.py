"""What a photo and the hand say together: Bayes' rule on calibrated probabilities, in logarithms.

Readings are taken for independent of one another, and of the photo, given the class; so their order never matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from ensemble_minerals.log_space import log_normalize
from ensemble_minerals.prediction.advice import advise
from ensemble_minerals.prediction.hand_tests import Floats, HandTests, Reading
from ensemble_minerals.prediction.table import Predictions, WithEvidence
from ensemble_minerals.system.plural import counted

_RULED_OUT = 0.01
"""What a photo gives less than this, it speaks against."""

_NAMED = 3
"""So many classes are named, at most."""


@dataclass(frozen=True)
class Evidence:
    """What is known of n photos beside what they show.

    Attributes:
        tests: The tests that can be read; None where there are no readings.
        readings: Of each photo, one for each property at most.
        prior: How often each class occurs where the photos were taken, as a multiple of how often it did among the
            photos of the fit, (n_classes,); None where that is not known.
        advise: Whether to say of each unsure photo what to test next.
    """

    tests: HandTests | None
    readings: Sequence[tuple[Reading, ...]]
    prior: Floats | None = None
    advise: bool = False


def weigh(predictions: Predictions, evidence: Evidence) -> Predictions:
    """The predictions with what the evidence makes of them beside; those of the photos stay as they are."""
    found = predictions
    if evidence.prior is not None or any(evidence.readings):
        found = replace(found, evidence=_with_evidence(predictions, evidence))
    if evidence.advise and evidence.tests is not None:
        proba = found.proba if found.evidence is None else found.evidence.proba
        given = [{reading.name for reading in readings} for readings in evidence.readings]
        found = replace(found, advice=tuple(advise(evidence.tests, proba, given)))
    return found


def posterior(proba: Floats, log_likelihood: Floats) -> Floats:
    """Bayes' rule, in logarithms.

    Args:
        proba: Probabilities before the evidence, (n, n_classes).
        log_likelihood: Of the evidence in each class, up to a constant for each row, (n, n_classes).

    Example:
        >>> posterior(np.array([[0.5, 0.5]]), np.log([[0.3, 0.1]])).round(2).tolist()
        [[0.75, 0.25]]
    """
    log_proba = np.log(np.maximum(proba, np.finfo(np.float64).tiny))
    return np.asarray(np.exp(log_normalize(log_proba + log_likelihood)), dtype=np.float64)


def _with_evidence(predictions: Predictions, evidence: Evidence) -> WithEvidence:
    answered = predictions.answered
    total = np.zeros(predictions.proba.shape)
    if evidence.prior is not None:
        with np.errstate(divide="ignore"):  # what does not occur at the place has no chance at all
            total += np.log(evidence.prior)
    notes, fitting = [""] * len(predictions), answered.copy()
    if evidence.tests is not None:
        log_likelihood = {
            reading: np.log(evidence.tests.likelihood(reading)) for reading in set(chain(*evidence.readings))
        }
        for row in np.flatnonzero(answered).tolist():
            readings = sorted(
                evidence.readings[row], key=str
            )  # whatever the order, the same to the last digit
            for reading in readings:
                total[row] += log_likelihood[reading]
            if readings:
                notes[row], fitting[row] = _check(evidence.tests, readings, predictions.proba[row])
    proba = np.full(predictions.proba.shape, np.nan)
    proba[answered] = posterior(predictions.proba[answered], total[answered])
    return WithEvidence(proba, fitting, tuple(notes))


def _check(tests: HandTests, readings: Sequence[Reading], photo: Floats) -> tuple[str, bool]:
    """What does not go together (readings and classes, one another, or the photo), and whether a class fits them."""
    fits = np.stack([tests.fits(reading) for reading in readings])
    unfit = [str(reading) for reading, fit in zip(readings, fits, strict=True) if not fit.any()]
    if unfit:
        verb = "fits" if len(unfit) == 1 else "fit"
        return (
            f"{' and '.join(unfit)} {verb} none of the classes: read it again, or it is none of them",
            False,
        )
    together = np.logical_and.reduce(fits)
    if not together.any():
        given = " and ".join(map(str, readings))
        return f"no class fits {given} together: one is misread, or it is none of the classes", False
    share = float(photo[together].sum())
    if share >= _RULED_OUT:
        return "", True
    names = [name for name, fit in zip(tests.classes, together, strict=True) if fit]
    shown = ", ".join(names) if len(names) <= _NAMED else counted(len(names), "class", "classes")
    return f"the photo speaks against it: it gives {100 * share:.1g} % to what fits ({shown})", True
