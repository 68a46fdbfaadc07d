"""A fitted ensemble as plain arrays, from which torch builds the same ensemble."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ensemble_minerals.ensemble.fitted import FittedEnsemble
from ensemble_minerals.log_space import LOG_FLOOR
from ensemble_minerals.members.serialization import predictor_to_arrays

if TYPE_CHECKING:
    from ensemble_minerals.networks.graphs.members import EnsembleSpec


def ensemble_spec(fitted_ensemble: FittedEnsemble, classes: tuple[str, ...]) -> EnsembleSpec:
    """Members, their combination and the temperature as plain arrays.

    Args:
        fitted_ensemble: Of a bundle: every member is trained on features.
        classes: Names of the classes.

    Raises:
        TypeError: If a member is a network that has not been saved yet.
    """
    from ensemble_minerals.networks.graphs.members import EnsembleSpec, MemberSpec

    members = []
    for member in fitted_ensemble.members:
        if member.networks is not None:
            raise TypeError(f"member {member.name!r} has networks that are not saved")
        members.append(MemberSpec(member.features, *predictor_to_arrays(member.predictor)))
    return EnsembleSpec(
        classes=classes,
        members=tuple(members),
        kind=fitted_ensemble.combination.kind,
        weight=fitted_ensemble.combination.weight,
        bias=fitted_ensemble.combination.bias,
        temperature=fitted_ensemble.temperature,
        floor=LOG_FLOOR,
    )
