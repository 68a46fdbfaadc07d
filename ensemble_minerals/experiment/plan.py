"""The stage that decides what a fit will be: what the user wants, or what of it fits into a time limit.

The rule: all of it where there is time for that. Otherwise members in the order in which the configuration lists
them, those that train networks last: each one that the time is enough for, with the features that only it needs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ensemble_minerals.config.members import MemberConfig
from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.experiment.cost_model import Costs, measure_costs
from ensemble_minerals.experiment.extractors import check_networks, open_extractors
from ensemble_minerals.experiment.precision import describe_engines
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.quantization import check_installed
from ensemble_minerals.features.registry import extractor_names, learn_metadata, precision_for
from ensemble_minerals.system.durations import format_estimate
from ensemble_minerals.system.runtime import Runtime

WORTH_TELLING = 10.0
"""Seconds from which on an estimate is worth a note to the user."""

_FEW = 32
"""Photos without features that are not timed where time is not limited: they are soon done."""

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
        config: The members, with the backbones and networks that they need; the user's where nothing is left out.
        learning_curve: Whether it is computed.
        extractors: The feature extractors that are needed, by name.
        limit: Seconds for the whole fit; None where they are not limited.
        estimated: Seconds that it takes.
        notes: What a limit leaves out, and whether even the rest takes too long; a sentence each.
    """

    config: Config
    learning_curve: bool
    extractors: Mapping[str, FeatureExtractor]
    limit: float | None
    estimated: float
    notes: tuple[str, ...] = ()


def plan_fit(config: Config, manifest: Manifest, clock: Clock, runtime: Runtime) -> Plan:
    """Estimate what a fit takes, tell the user, and leave out what does not fit into a time limit.

    Args:
        config: What the user wants.
        manifest: The photos.
        clock: Time spent, and the limit.
        runtime: Where the fit will run. Stored features cost nothing.

    Raises:
        ConfigError: If a network cannot be built as it is described.
        WeightsError: If the weights of a backbone or of a network cannot be had.
    """
    if config.precision == "int8":
        check_installed()
    extractors = open_extractors(config, runtime, precision=precision_for(config, len(manifest.usable)))
    learn_metadata(extractors.values(), runtime.n_jobs)
    costs = measure_costs(config, manifest, extractors, runtime, few=_FEW if clock.limit is None else 0)
    costs = replace(costs, rest=costs.rest + clock.spent)
    everything = costs.total(config) + costs.learning_curve
    if clock.limit is not None or everything >= WORTH_TELLING:
        runtime.progress.note(costs.in_words(config))
    plan = Plan(config, True, extractors, clock.limit, everything)
    if clock.limit is not None and everything > clock.limit:
        plan = within(plan, costs, clock.limit)
    for note in (*plan.notes, describe_engines(plan.extractors)):
        if note:
            runtime.progress.note(note)
    check_networks(plan.config)
    return plan


def within(plan: Plan, costs: Costs, limit: float) -> Plan:
    """What of a plan fits into a time limit that all of it does not; at least the member that is done first.

    Args:
        plan: Of all that the user wants.
        costs: What it takes.
        limit: Seconds.
    """
    members = plan.config.expanded_members()

    def seconds(*some: MemberConfig) -> float:
        return costs.total(plan.config.with_members(some))

    kept: list[MemberConfig] = []
    for member in sorted(members, key=lambda member: member.network is not None):
        if seconds(*kept, member) <= limit:
            kept.append(member)
    kept = kept or [min(members, key=seconds)]
    missing = [*(str(member.name) for member in members if member not in kept), "the learning curve"]
    notes = [f"time limit: left out {', '.join(missing)}"]
    if (estimated := seconds(*kept)) > limit:
        notes.append(
            f"time limit: even the smallest plan takes about {format_estimate(estimated)}, more than the "
            f"{format_estimate(limit)} asked for; it is fitted all the same"
        )
    config = plan.config.with_members([member for member in members if member in kept])
    extractors = {name: one for name, one in plan.extractors.items() if name in {*extractor_names(config)}}
    return Plan(config, False, extractors, limit, estimated, tuple(notes))
