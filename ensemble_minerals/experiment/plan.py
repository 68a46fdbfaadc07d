"""What a fit will be: what was asked for, or what of it fits into a time limit."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ensemble_minerals.config.loading import build_config
from ensemble_minerals.config.schema import Config
from ensemble_minerals.experiment import cost_model
from ensemble_minerals.experiment.cost_measurement import measure_costs
from ensemble_minerals.experiment.cost_model import Estimate, Plan, spell
from ensemble_minerals.experiment.dataset import Scan
from ensemble_minerals.experiment.setup import extractor_names
from ensemble_minerals.features.registry import build_extractors
from ensemble_minerals.system.parallel import Cluster
from ensemble_minerals.system.progress import Progress

WORTH_TELLING = 10.0
"""Seconds from which on an estimate is told; and less is not worth trimming for."""

_FOR_MEMBERS = 0.95
"""Share of a time limit after which no member begins: what is fitted has to be combined and saved."""

_PLAN = "plan.json"


@dataclass(frozen=True)
class Trial:
    """An estimate and what was found on the way to it.

    Attributes:
        plan: What will be fitted.
        scan: The photos, with the sources that were opened.
        notes: What the bundle should say: what was left out.
    """

    plan: Plan
    scan: Scan
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Clock:
    """When a fit began, and the seconds that it has, if they are limited."""

    began: float
    limit: float | None = None

    @property
    def spent(self) -> float:
        """Seconds since."""
        return time.time() - self.began

    @property
    def deadline(self) -> float | None:
        """When no member begins any more: what follows takes time, too."""
        return None if self.limit is None else self.began + _FOR_MEMBERS * self.limit


def decide(
    config: Config,
    scan: Scan,
    clock: Clock,
    *,
    cache_dir: Path | None,
    cluster: Cluster,
    work: Path,
    progress: Progress,
) -> Trial:
    """The plan of an interrupted fit, or a new one; see `plan_fit`.

    Args:
        config: What the user asked for.
        scan: The photos.
        clock: Time spent, and the limit.
        cache_dir: Where features and converted networks are kept between runs.
        cluster: Where the fit will run.
        work: Where an interrupted fit has left what it had finished.
        progress: Hears the estimate, and what is left out.
    """
    if clock.limit is not None and (kept := _kept_plan(work, config, clock.limit, scan)) is not None:
        for note in kept.notes:
            progress.note(note)
        return kept
    return plan_fit(
        config,
        scan,
        limit=clock.limit,
        spent=clock.spent,
        cache_dir=cache_dir,
        cluster=cluster,
        progress=progress,
    )


def plan_fit(
    config: Config,
    scan: Scan,
    *,
    limit: float | None,
    spent: float,
    cache_dir: Path | None,
    cluster: Cluster,
    progress: Progress,
) -> Trial:
    """Estimate what a fit takes, tell the user, and leave out what does not fit into a time limit.

    Features that are stored cost nothing. Those of the photos that were tried on are stored as well, where there is a
    cache folder.

    Args:
        config: What the user asked for.
        scan: The photos.
        limit: Seconds for the whole fit, or None.
        spent: Seconds of it that are over.
        cache_dir: Where features and converted networks are kept between runs.
        cluster: Where the fit will run.
        progress: Hears the estimate, and what is left out.

    Raises:
        WeightsError: If a backbone's weights cannot be had.
    """
    started = time.perf_counter()
    extractors = build_extractors(config, extractor_names(config), cache_dir=cache_dir)
    costs = measure_costs(
        config, scan, extractors, cache_dir=cache_dir, cluster=cluster, always=limit is not None
    )
    trial_seconds = time.perf_counter() - started
    costs = replace(costs, rest=costs.rest + (0.0 if limit is None else spent + trial_seconds))
    whole = cost_model.estimate(config, costs)
    if whole.total >= WORTH_TELLING or limit is not None:
        progress.note(cost_model.describe(config, costs, whole))
    plan = Plan(config, True, whole) if limit is None else cost_model.trim(config, costs, limit)
    notes = list(plan.left_out)
    if limit is not None and not plan.fits:
        notes.append(
            f"time limit: even the smallest plan takes about {spell(plan.estimate.total)}, more than the "
            f"{spell(limit)} asked for; it is fitted all the same"
        )
    for note in notes:
        progress.note(note)
    views = {backbone.name: len(backbone.views) for backbone in plan.config.backbones}
    same = {
        name: extractor for name, extractor in extractors.items() if extractor.n_views == views.get(name, 1)
    }
    return Trial(plan, replace(scan, extractors=same, trial_seconds=trial_seconds), tuple(notes))


def keep_plan(folder: Path, asked: Config, limit: float, trial: Trial) -> None:
    """Keep a plan where an interrupted fit is taken up: what is stored by then would make another one of it.

    Args:
        folder: Where the fit leaves what it has finished.
        asked: What the user asked for.
        limit: Seconds that the user gave.
        trial: What came of it.
    """
    plan = trial.plan
    (folder / _PLAN).write_text(
        json.dumps(
            {
                "asked": asked.model_dump(mode="json"),
                "limit": limit,
                "config": plan.config.model_dump(mode="json"),
                "learning_curve": plan.learning_curve,
                "estimate": asdict(plan.estimate),
                "left_out": plan.left_out,
                "fits": plan.fits,
                "notes": trial.notes,
            }
        ),
        encoding="utf-8",
    )


def _kept_plan(folder: Path, asked: Config, limit: float, scan: Scan) -> Trial | None:
    """The plan of an interrupted fit of the same configuration under the same limit; None if there is none."""
    try:
        kept = json.loads((folder / _PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if kept["asked"] != asked.model_dump(mode="json") or kept["limit"] != limit:
        return None
    config = asked if kept["config"] == kept["asked"] else build_config(kept["config"])
    plan = Plan(
        config, kept["learning_curve"], Estimate(**kept["estimate"]), tuple(kept["left_out"]), kept["fits"]
    )
    return Trial(plan, scan, tuple(kept["notes"]))
