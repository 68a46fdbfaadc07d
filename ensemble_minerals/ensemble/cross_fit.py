"""Members x folds: every member predicts every row by a model that never saw it.

Finished tasks are kept in a checkpoint folder; a fit that was killed runs only what is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.ensemble.oof import OutOfFold
from ensemble_minerals.errors import FitError
from ensemble_minerals.members.base import (
    FittedFold,
    FoldResult,
    FoldTask,
    Member,
    MemberFailure,
    OutOfTime,
    fit_folds,
)
from ensemble_minerals.members.checkpoints import TaskFiles, load_task, save_task
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.system.progress import StageProgress
from ensemble_minerals.system.runtime import Runtime

STAGE = "Fitting members"
"""Name of the stage of progress."""


@dataclass
class CrossFit:
    """All members in all folds.

    Attributes:
        out_of_fold: Answers of the members that succeeded.
        fitted: For each of them its fold models, in the order of the folds.
        failures: Members that failed, fold by fold.
        notes: Distinct notes as (member, note).
        seconds: For each member the time of its fits.
    """

    out_of_fold: OutOfFold
    fitted: dict[str, list[FittedFold]]
    failures: list[MemberFailure] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def cross_fit(
    members: Sequence[Member],
    data: RowData,
    inputs: FoldInputs,
    runtime: Runtime | None = None,
    *,
    checkpoint: Path | None = None,
    allow_failures: bool = False,
) -> CrossFit:
    """Fit every member without every fold and collect what it predicts for the held-out rows.

    Args:
        members: The base learners.
        data: What members see of the rows.
        inputs: Labels, row groups and folds of the rows.
        runtime: Tasks at once; where progress is reported, in steps of each member in each fold; and the time after
            which no task starts. Members that lack a fold then are left out. If no member is complete, one is fitted
            nevertheless.
        checkpoint: Folder for finished tasks, one for one set of inputs; see `TaskFiles`.
        allow_failures: Leave failed members out instead of raising.

    Raises:
        FitError: If a member failed and that is not allowed, or all failed.
        ValueError: If two members have one name.
    """
    twice = [name for name, count in Counter(member.name for member in members).items() if count > 1]
    if twice:
        raise ValueError(f"two members are named {twice[0]!r}; every member needs a name of its own")
    runtime = Runtime() if runtime is None else runtime
    files = TaskFiles(members, data, inputs, checkpoint=checkpoint, cache_dir=runtime.cache_dir)
    work = _CrossFitting(
        members, data, inputs, checkpoint, files, allow_failures, runtime.progress.stage(STAGE)
    )
    work.run(work.load(), runtime)
    if (spared := work.spare()) is not None:
        work.run(work.late(spared), replace(runtime, deadline=None))
    return work.collect()


@dataclass
class _CrossFitting:
    """A cross-fit under way.

    Attributes:
        results: What there is of each member in each fold, by (member, fold).
    """

    members: Sequence[Member]
    data: RowData
    inputs: FoldInputs
    checkpoint: Path | None
    files: TaskFiles
    allow_failures: bool
    progress: StageProgress
    results: dict[tuple[str, int], FoldResult] = field(default_factory=dict)

    def load(self) -> list[FoldTask[Member]]:
        """Take up what an earlier run finished, and list the rest."""
        rest = []
        for member in self.members:
            for fold in self.inputs.numbers:
                finished = load_task(self.files.path(member.name, fold), member, fold, self.inputs.names)
                if finished is None:
                    rest.append(FoldTask(member, fold))
                else:
                    self.results[member.name, fold] = finished
        return rest

    def run(self, tasks: Sequence[FoldTask[Member]], runtime: Runtime) -> None:
        """Fit members without folds and keep what comes of it."""
        self.report()
        results = fit_folds(
            tasks, self.data, self.inputs, runtime, checkpoint=self.checkpoint, on_steps=self.report
        )
        with closing(results):
            for some in results:
                for result in some:
                    self.take(result)
                self.report()

    def take(self, result: FoldResult) -> None:
        """Keep a result.

        Raises:
            FitError: If a member failed and that is not allowed.
        """
        self.results[result.member, result.fold] = result
        if isinstance(result, FittedFold):
            save_task(self.files.path(result.member, result.fold), result)
        elif not (self.allow_failures or isinstance(result, OutOfTime)):
            raise FitError(
                f"member {result.member!r} failed in fold {result.fold}: {result.reason}\n"
                "Mend or remove the member, or leave failed members out with --allow-failures."
            )

    def report(self, under_way: int = 0) -> None:
        """Tell how many steps are done, those of long tasks under way included."""
        steps = {member.name: member.n_steps for member in self.members}
        finished = [name for (name, _), one in self.results.items() if not isinstance(one, OutOfTime)]
        done, total = sum(steps[name] for name in finished), sum(steps.values()) * len(self.inputs.numbers)
        # Separate specialists train more networks than their member counts for, and early stopping fewer epochs.
        self.progress(done + min(under_way, max(total - done - 1, 0)), total)

    def late(self, member: Member) -> list[FoldTask[Member]]:
        """Tasks of a member that would have started after the time limit."""
        return [
            FoldTask(member, fold)
            for fold in self.inputs.numbers
            if isinstance(self.results[member.name, fold], OutOfTime)
        ]

    def fitted(self, member: Member) -> list[FittedFold]:
        """Fold models of a member, in the order of the folds."""
        results = [self.results[member.name, fold] for fold in self.inputs.numbers]
        return [result for result in results if isinstance(result, FittedFold)]

    def spare(self) -> Member | None:
        """The member that is fitted though time is up, as no other is complete; None if there is no need."""
        n_folds = len(self.inputs.numbers)
        done = {member.name: len(self.fitted(member)) for member in self.members}
        late = [
            member
            for member in self.members
            if (missing := self.late(member)) and done[member.name] + len(missing) == n_folds
        ]
        if not late or n_folds in done.values():
            return None
        return max(late, key=lambda member: (member.is_quick, done[member.name]))

    def collect(self) -> CrossFit:
        """Bring results into the order of members and folds, whatever order they finished in."""
        failures = [result for result in self.results.values() if isinstance(result, MemberFailure)]
        failures.sort(key=lambda failure: (failure.member, failure.fold))
        if any(isinstance(failure, OutOfTime) for failure in failures):
            total = sum(member.n_steps for member in self.members) * len(self.inputs.numbers)
            self.progress(total, total)
        failed = {failure.member for failure in failures}
        whole = [member for member in self.members if member.name not in failed]
        if not whole:
            raise FitError(f"every member failed; the first: {failures[0].member!r}: {failures[0].reason}")
        collected = CrossFit(OutOfFold(self.inputs, [member.name for member in whole]), {}, failures)
        for member in whole:
            fits = self.fitted(member)
            for fit in fits:
                collected.out_of_fold.write(member.name, self.inputs.held_out(fit.fold), fit.proba)
            collected.fitted[member.name] = fits
            collected.seconds[member.name] = sum(fit.seconds for fit in fits)
            notes = dict.fromkeys(note for fit in fits for note in fit.notes)
            collected.notes += [(member.name, note) for note in notes]
        return collected
