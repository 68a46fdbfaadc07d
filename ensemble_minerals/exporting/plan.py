"""A saved committee taken apart, so that it can be put together again in torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ensemble_minerals.ensemble.fitted import Committee
from ensemble_minerals.ensemble.oof import LOG_FLOOR
from ensemble_minerals.members.predictor import FoldScorer
from ensemble_minerals.members.serialization import scorer_to_arrays

if TYPE_CHECKING:
    from ensemble_minerals.networks.graphs.fitted_ensemble import CommitteePlan


def plan_committee(
    committee: Committee, classes: tuple[str, ...], kept: Sequence[int] | None = None
) -> CommitteePlan:
    """Members and their combination as plain arrays.

    Args:
        committee: Of a bundle: every member stands on sources of features.
        classes: Names of the classes.
        kept: Positions of the members that are wanted, those without weight left out; all if None.

    Raises:
        TypeError: If a member stands on networks that have not been saved yet.
    """
    from ensemble_minerals.networks.graphs.fitted_ensemble import CommitteePlan, PlannedMember

    chosen = range(len(committee.members)) if kept is None else kept
    rows = np.array(chosen, dtype=np.intp)
    if committee.combination.kind == "linear":  # a matrix of weights for each member
        rows = (rows[:, None] * len(classes) + np.arange(len(classes))).reshape(-1)
    planned = []
    for number in chosen:
        member = committee.members[number]
        if not isinstance(member.scorer, FoldScorer):
            raise TypeError(f"member {member.name!r} of a saved bundle stands on no source of features")
        planned.append(PlannedMember(member.features, *scorer_to_arrays(member.scorer)))
    return CommitteePlan(
        classes=classes,
        members=tuple(planned),
        kind=committee.combination.kind,
        weight=committee.combination.weight[rows],
        bias=committee.combination.bias,
        temperature=committee.temperature,
        floor=LOG_FLOOR,
    )
