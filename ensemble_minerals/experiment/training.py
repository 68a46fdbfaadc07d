"""The stage that trains: members in folds, their combination, a temperature."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ensemble_minerals.ensemble.stacked import StackedEnsemble
from ensemble_minerals.experiment.checkpoint import inputs_digest
from ensemble_minerals.experiment.dataset import Dataset
from ensemble_minerals.experiment.plan import Plan
from ensemble_minerals.experiment.setup import Setup, build_ensemble, set_up
from ensemble_minerals.members.base import OutOfTime
from ensemble_minerals.system.atomic import make_folder
from ensemble_minerals.system.runtime import Runtime


@dataclass(frozen=True)
class Trained:
    """An ensemble that was trained on a data set.

    Attributes:
        ensemble: Fitted.
        setup: Its members, unfitted, and its taxonomy.
        late: Of the notes, those on members that a time limit left out.
        notes: What the user should know, one sentence each; they were reported as progress.
        seconds: Time of ``members`` and ``meta``, the combination.
    """

    ensemble: StackedEnsemble
    setup: Setup
    late: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: dict[str, float]


def train(plan: Plan, dataset: Dataset, runtime: Runtime, *, work: Path) -> Trained:
    """Fit the members and their combination.

    Args:
        plan: What to train.
        dataset: As `split` left it.
        runtime: Where members are fitted, and until when.
        work: Folder of finished tasks; where it has some of the same inputs, they are not repeated.

    Raises:
        FitError: If a member fails and the configuration does not allow that.
        TaxonomyError: If the configured groups do not fit the classes.
    """
    config, progress = plan.config, runtime.progress
    setup = set_up(dataset, config, runtime, work=work)
    checkpoint = work / inputs_digest(config, dataset)
    make_folder(checkpoint)
    for images in setup.images:
        images.prepare(runtime.n_jobs, progress.stage("Shrinking photos"))
    started = time.perf_counter()
    ensemble = build_ensemble(config, setup.members, runtime, checkpoint=checkpoint)
    ensemble.fit(setup.row_data(dataset, dataset.rows), dataset.labels, dataset.groups, dataset.folds)
    seconds = time.perf_counter() - started
    late = _late(ensemble)
    notes = [
        *_of_members(ensemble.notes_),
        *late,
        *(
            f"{failure.member} was left out: fold {failure.fold}: {failure.reason}"
            for failure in ensemble.failures_
            if not isinstance(failure, OutOfTime)
        ),
    ]
    for note in notes:
        progress.note(note)
    return Trained(
        ensemble,
        setup,
        tuple(late),
        (*setup.notes, *notes),
        {"members": ensemble.cross_fit_seconds_, "meta": seconds - ensemble.cross_fit_seconds_},
    )


def _of_members(notes: Iterable[tuple[str, str]]) -> Iterator[str]:
    """For each member its first note, and how many more it has: small classes give one a specialist and fold."""
    by_member: dict[str, list[str]] = {}
    for member, note in notes:
        by_member.setdefault(member, []).append(note)
    for member, (first, *more) in by_member.items():
        yield f"{member}: {first}" + (f" (and {len(more)} more notes like this)" if more else "")


def _late(ensemble: StackedEnsemble) -> list[str]:
    """A sentence for each member whose folds were not all fitted in time."""
    missing = Counter(failure.member for failure in ensemble.failures_ if isinstance(failure, OutOfTime))
    n_folds = len(np.unique(ensemble.folds_[ensemble.answered_]))
    return [
        f"time limit: left out {member}, of which {number} of {n_folds} folds were not fitted in time"
        for member, number in missing.items()
    ]
