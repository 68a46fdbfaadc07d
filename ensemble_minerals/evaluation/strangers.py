"""How well photos that show none of the classes are told from the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.ensemble.rejection import auroc, refused
from ensemble_minerals.evaluation.intervals import GroupBootstrap, Interval, wilson

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LeftOutClass:
    """A class that a model was fitted without.

    Attributes:
        name: Of the class.
        auroc: Of its rows against rows of the classes that the model knew, which it had not seen.
    """

    name: str
    auroc: float


@dataclass(frozen=True)
class GivenStrangers:
    """Photos of which the user says that they show none of the classes.

    Attributes:
        name: Of their folder.
        n: Number of photos.
        refused: Share that is refused.
        auroc: Of their typicality against that of the answered rows.
    """

    name: str
    n: int
    refused: Interval
    auroc: float


@dataclass(frozen=True)
class StrangerFigures:
    """What is known of the rejection of an ensemble.

    Attributes:
        refuse: Share that it should refuse of photos like those of the fit.
        typicality: Of each answered row, shape (n,).
        refused: Share of the answered rows that is refused, with an interval over row groups.
        left_out: A figure for each class, where classes were left out.
        given: Photos that were given as strangers; None where there are none.
    """

    refuse: float
    typicality: Floats
    refused: Interval
    left_out: tuple[LeftOutClass, ...]
    given: GivenStrangers | None

    @property
    def mean_auroc(self) -> float:
        """Mean over the classes that were left out; NaN where none was."""
        return float(np.mean([own.auroc for own in self.left_out])) if self.left_out else float("nan")


def stranger_figures(
    typicality: Floats,
    refuse: float,
    left_out: Mapping[str, float],
    strangers: tuple[str, Floats] | None,
    bootstrap: GroupBootstrap,
) -> StrangerFigures:
    """Score a rejection.

    Args:
        typicality: Of each answered row, shape (n,), by models that had not seen it.
        refuse: Photos of at most this typicality are refused.
        left_out: AUROC of each class by a model that did not know it.
        strangers: Name and typicality of photos that were given as strangers.
        bootstrap: Draws of the answered rows.
    """
    is_refused = refused(typicality, refuse)
    share = bootstrap.interval(lambda weights: weights @ is_refused / weights.sum(axis=1))
    if not share.has_ends:  # none is refused, or all are
        share = wilson(int(is_refused.sum()), len(is_refused))
    given = None
    if strangers is not None:
        name, own = strangers
        given = GivenStrangers(
            name, len(own), wilson(int(refused(own, refuse).sum()), len(own)), auroc(-typicality, -own)
        )
    classes = tuple(LeftOutClass(name, value) for name, value in left_out.items())
    return StrangerFigures(refuse, typicality, share, classes, given)
