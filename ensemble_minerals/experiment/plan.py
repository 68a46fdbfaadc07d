"""The stage that decides what a fit will be: what the user wants, or what of it fits into a time limit."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ensemble_minerals.config.loading import build_config
from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.experiment.cost_model import describe, estimate, measure_costs
from ensemble_minerals.experiment.precision import describe_engines, precision_for
from ensemble_minerals.experiment.setup import check_networks, open_extractors
from ensemble_minerals.experiment.trimming import Trimmed, trim
from ensemble_minerals.features.engine_agreement import Precision
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.quantization import check_installed
from ensemble_minerals.features.registry import learn_metadata
from ensemble_minerals.system.durations import format_estimate
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.system.sealed import read_sealed, write_sealed

WORTH_TELLING = 10.0
"""Seconds from which on an estimate is worth a note to the user."""

_FOR_MEMBERS = 0.95
"""Share of a time limit after which no member begins: what is fitted has to be combined and saved."""

_PLAN = "plan.json"


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
        wanted: The configuration as the user gave it.
        trimmed: What of it will be fitted.
        limit: Seconds for the whole fit; None where they are not limited.
        extractors: The feature extractors that are needed, by name.
    """

    wanted: Config
    trimmed: Trimmed
    limit: float | None
    extractors: Mapping[str, FeatureExtractor]

    @property
    def config(self) -> Config:
        """What will be fitted, as a configuration."""
        return self.trimmed.config

    @property
    def notes(self) -> tuple[str, ...]:
        """What the bundle should say: what was left out, and whether even that takes too long."""
        if self.limit is None or self.trimmed.fits:
            return self.trimmed.left_out
        return (
            *self.trimmed.left_out,
            f"time limit: even the smallest plan takes about {format_estimate(self.trimmed.estimated)}, "
            f"more than the {format_estimate(self.limit)} asked for; it is fitted all the same",
        )


def plan_fit(config: Config, manifest: Manifest, clock: Clock, runtime: Runtime, *, work: Path) -> Plan:
    """Estimate what a fit takes, tell the user, and leave out what does not fit into a time limit.

    An interrupted fit keeps its plan: what it has stored by then would lead to another one.

    Args:
        config: What the user wants.
        manifest: The photos.
        clock: Time spent, and the limit.
        runtime: Where the fit will run. Stored features cost nothing, and those of the photos that are timed are
            stored as well.
        work: Folder where an interrupted fit has left what it had finished.

    Raises:
        ConfigError: If a network cannot be built as it is described.
        WeightsError: If the weights of a backbone or of a network cannot be had.
    """
    if config.precision == "int8":
        check_installed()
    precision = precision_for(config, len(manifest.usable))
    plan = _kept_plan(config, clock, runtime, work, precision) or _new_plan(
        config, manifest, clock, runtime, precision
    )
    for note in (*plan.notes, describe_engines(plan.extractors)):
        if note:
            runtime.progress.note(note)
    check_networks(plan.config)
    return plan


def keep_plan(plan: Plan, work: Path) -> None:
    """Save a plan for the case that the fit is interrupted; see `plan_fit`.

    Args:
        plan: A plan under a time limit; others are not saved, since they would be the same again.
        work: Folder where the fit leaves what it has finished.
    """
    if plan.limit is None:
        return
    content = {
        "asked": plan.wanted.model_dump(mode="json"),
        "limit": plan.limit,
        "trimmed": {**vars(plan.trimmed), "config": plan.config.model_dump(mode="json")},
    }
    write_sealed(work / _PLAN, json.dumps(content).encode(), durable=True)


def _new_plan(
    config: Config, manifest: Manifest, clock: Clock, runtime: Runtime, precision: Mapping[str, Precision]
) -> Plan:
    extractors = open_extractors(config, runtime, precision=precision)
    learn_metadata(extractors.values(), runtime.n_jobs)
    limited = clock.limit is not None
    costs = measure_costs(config, manifest, extractors, runtime, always=limited)
    if limited:
        costs = replace(costs, rest=costs.rest + clock.spent)
    total = estimate(config, costs).total
    if limited or total >= WORTH_TELLING:
        runtime.progress.note(describe(config, costs))
    trimmed = Trimmed(config, True, total) if clock.limit is None else trim(config, costs, clock.limit)
    needed = open_extractors(trimmed.config, runtime, extractors, precision=precision)
    return Plan(config, trimmed, clock.limit, needed)


def _kept_plan(
    config: Config, clock: Clock, runtime: Runtime, work: Path, precision: Mapping[str, Precision]
) -> Plan | None:
    """The plan of an interrupted fit of the same configuration under the same limit; None if there is none."""
    if clock.limit is None:
        return None
    sealed = read_sealed(work / _PLAN)
    if sealed is None:
        return None
    kept = json.loads(sealed)
    if kept["asked"] != config.model_dump(mode="json") or kept["limit"] != clock.limit:
        return None
    trimmed = Trimmed(**kept["trimmed"])
    same = kept["trimmed"]["config"] == kept["asked"]
    trimmed = replace(
        trimmed,
        config=config if same else build_config(kept["trimmed"]["config"]),
        left_out=tuple(trimmed.left_out),
    )
    return Plan(config, trimmed, clock.limit, open_extractors(trimmed.config, runtime, precision=precision))
