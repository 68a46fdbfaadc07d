"""What a fit and an answer cost, member by member."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ensemble_minerals.members.fitted import FittedMember

Recorded = Mapping[str, Mapping[str, float]]
"""Of each feature extractor what the fit measured: any of ``predict_ms`` (of one photo) and ``megabytes``."""


@dataclass(frozen=True)
class Cost:
    """What a member, or all of them, cost; None where it is not known.

    Attributes:
        fit_seconds: Seconds of fitting.
        predict_ms: Milliseconds that an answer takes.
        megabytes: Size of what an answer needs.
    """

    fit_seconds: float | None = None
    predict_ms: float | None = None
    megabytes: float | None = None


def member_costs(
    members: Sequence[FittedMember], extractors: Recorded, fit_seconds: Mapping[str, float]
) -> tuple[dict[str, Cost], Cost]:
    """The cost of each member alone, and of all together.

    A member's own matrices take microseconds; their time is not counted.

    Args:
        members: Of the ensemble.
        extractors: What the fit measured of each feature extractor.
        fit_seconds: Of each member; may lack some.

    Returns:
        The costs by member, and the cost of an answer of all members: a feature extractor that several need
        counts once.
    """
    costs = {
        member.name: replace(
            _answer_cost(extractors, member.features, [member.nbytes]),
            fit_seconds=fit_seconds.get(member.name),
        )
        for member in members
    }
    needed = [name for member in members for name in member.features]
    return costs, _answer_cost(extractors, needed, [member.nbytes for member in members])


def _answer_cost(extractors: Recorded, needed: Iterable[str], nbytes: Sequence[int]) -> Cost:
    known = [extractors.get(name, {}) for name in dict.fromkeys(needed)]
    sizes: list[float | None] = [size / 1e6 for size in nbytes]
    return Cost(
        predict_ms=_total([extractor.get("predict_ms") for extractor in known]),
        megabytes=_total(sizes + [extractor.get("megabytes") for extractor in known]),
    )


def _total(values: Sequence[float | None]) -> float | None:
    """The sum; None where a part of it is not known."""
    known = [value for value in values if value is not None]
    return float(sum(known)) if len(known) == len(values) else None
