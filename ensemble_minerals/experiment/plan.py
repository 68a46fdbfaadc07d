"""The stage that decides what a fit will be: what the user wants, or what of it fits into a time limit.

Under a time limit members are taken in the order in which the configuration lists them, those that train networks
last: each one that the time is enough for, with the features that only it needs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ensemble_minerals.config.members import MemberConfig
from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.experiment.cost_model import Costs, describe, measure_costs
from ensemble_minerals.experiment.precision import describe_engines, precision_for
from ensemble_minerals.experiment.setup import check_networks, open_extractors
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.quantization import check_installed
from ensemble_minerals.features.registry import learn_metadata
from ensemble_minerals.system.durations import format_estimate
from ensemble_minerals.system.runtime import Runtime

WORTH_TELLING = 10.0
"""Seconds from which on an estimate is worth a note to the user."""

_FOR_MEMBERS = 0.95
"""Share of a time limit after which no member begins: what is fitted has to be combined and saved."""


@dataclass(frozen=True)
class Clock:
    """When a fit began, and how many seconds it has, if they are limited."""

    began: float
    limit: float | None = None

    @property
    def spent(self) -> float:
        """Seconds since the fit began."""
        return time.time() - self.began

    @property
    def deadline(self) -> float | None:
        """When no member begins any more: what follows takes time, too."""
        return None if self.limit is None else self.began + _FOR_MEMBERS * self.limit


@dataclass(frozen=True)
class Plan:
    """What will be fitted.

    Attributes:
        config: The members, with the backbones and networks that they need; what the user gave where all is fitted.
        learning_curve: Whether it is computed.
        extractors: The feature extractors that are needed, by name.
        limit: Seconds for the whole fit; None where they are not limited.
        estimated: Seconds that it takes.
        left_out: Sentences on what a limit leaves out.
        notes: These, and whether even the rest takes too long.
    """

    config: Config
    learning_curve: bool
    extractors: Mapping[str, FeatureExtractor]
    limit: float | None
    estimated: float
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def plan_fit(config: Config, manifest: Manifest, clock: Clock, runtime: Runtime) -> Plan:
    """Estimate what a fit takes, tell the user, and leave out what does not fit into a time limit.

    Args:
        config: What the user wants.
        manifest: The photos.
        clock: Time spent, and the limit.
        runtime: Where the fit will run. Stored features cost nothing, and those of the photos that are timed are
            stored as well.

    Raises:
        ConfigError: If a network cannot be built as it is described.
        WeightsError: If the weights of a backbone or of a network cannot be had.
    """
    if config.precision == "int8":
        check_installed()
    precision = precision_for(config, len(manifest.usable))
    extractors = open_extractors(config, runtime, precision=precision)
    learn_metadata(extractors.values(), runtime.n_jobs)
    limited = clock.limit is not None
    costs = measure_costs(config, manifest, extractors, runtime, always=limited)
    if limited:
        costs = replace(costs, rest=costs.rest + clock.spent)
    estimated = costs.total(config.expanded_members()) + costs.learning_curve
    if limited or estimated >= WORTH_TELLING:
        runtime.progress.note(describe(config, costs))
    plan = Plan(config, True, extractors, None, estimated)
    if clock.limit is not None:
        plan = within(plan, costs, clock.limit)
        plan = replace(
            plan, extractors=open_extractors(plan.config, runtime, extractors, precision=precision)
        )
    for note in (*plan.notes, describe_engines(plan.extractors)):
        if note:
            runtime.progress.note(note)
    check_networks(plan.config)
    return plan


def within(plan: Plan, costs: Costs, limit: float) -> Plan:
    """What of a plan fits into a time limit; where not even one member does, the one that is done first.

    Args:
        plan: Of all that the user wants.
        costs: What it takes.
        limit: Seconds.
    """
    members = plan.config.expanded_members()
    kept: list[MemberConfig] = []
    for member in sorted(members, key=lambda member: member.network is not None):
        if costs.total([*kept, member]) <= limit:
            kept.append(member)
    kept = kept or [min(members, key=lambda member: costs.total([member]))]
    seconds = costs.total(kept)
    curve = seconds + costs.learning_curve <= limit
    missing = [str(member.name) for member in members if member not in kept]
    left_out = [f"time limit: left out {', '.join(missing)}"] if missing else []
    left_out += [] if curve else ["time limit: left out the learning curve"]
    too_long = (
        f"time limit: even the smallest plan takes about {format_estimate(seconds)}, more than the "
        f"{format_estimate(limit)} asked for; it is fitted all the same"
    )
    return Plan(
        plan.config.with_members([member for member in members if member in kept])
        if missing
        else plan.config,
        curve,
        plan.extractors,
        limit,
        seconds + costs.learning_curve * curve,
        tuple(left_out),
        (*left_out, *([too_long] if seconds > limit else [])),
    )
