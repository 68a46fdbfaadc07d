"""One outer fold of an ablation: whatever is learned or chosen comes from the rows outside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.ablation.arms import (
    BUDGET,
    COMBINATIONS,
    FULL,
    HINDSIGHT,
    LEAKY,
    ONE_MODEL,
    REJECTION,
    RETRAINED,
    ROWS,
    AblationPlan,
    Arm,
    on_views,
    one_models,
    retrained,
)
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.folds import assign_folds
from ensemble_minerals.ensemble.meta_learner import MetaLearner
from ensemble_minerals.ensemble.rejection_fit import fit_rejection
from ensemble_minerals.ensemble.stacked import StackedEnsemble
from ensemble_minerals.errors import FitError
from ensemble_minerals.members.base import NETWORKS, Member
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.system.memmap import take
from ensemble_minerals.system.progress import StageProgress
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.system.seeds import derived_seed

FloatMatrix = NDArray[np.floating[Any]]


@dataclass
class FoldAnswers:
    """What an outer fold gives.

    Attributes:
        proba: For each arm its answers for the test rows, (n_test, n_classes).
        used: For each arm the members that it uses to answer.
        costs: For each arm ``fit_seconds`` on one core, and of its heads ``predict_ms`` a photo and ``megabytes``.
        best_single: The member with the lowest out-of-fold log-loss.
        combination: What the full ensemble chose.
        typicality: Of the test rows, (n_test,), see `ensemble.rejection`; None without the arm that rejects.
    """

    proba: dict[str, FloatMatrix] = field(default_factory=dict)
    used: dict[str, tuple[str, ...]] = field(default_factory=dict)
    costs: dict[str, dict[str, float]] = field(default_factory=dict)
    best_single: str = ""
    combination: str = ""
    typicality: NDArray[np.float64] | None = None


@dataclass
class OuterFold:
    """The rows of an outer fold, and the others, from which all is learned.

    Attributes:
        plan: Members and arms.
        data: What members see of the rows.
        known: Labels and row groups of the rows, and their outer folds.
        fold: The outer fold.
        seed: Of everything drawn, such as inner folds.
        runtime: Tasks at once.
        leaky: Answer the leaky protocol alone; else everything but that.
        progress: Called with the number of finished fits, of `count_fits`.
        views: Of backbones whose views are averaged, (n, n_views, n_features), for the arm on views as rows.
    """

    plan: AblationPlan
    data: RowData
    known: FoldInputs
    fold: int
    seed: tuple[int, ...]
    runtime: Runtime = field(default_factory=Runtime)
    leaky: bool = False
    progress: Callable[[int], None] | None = None
    views: Mapping[str, FloatMatrix] = field(default_factory=dict)
    _done: int = field(default=0, init=False)

    def answer(self) -> FoldAnswers:
        """Answer the test rows by every arm."""
        inner = self.inner(0)
        base = self._fit(self.plan.members, inner)
        best = self.plan.members[base.best(inner.y)]
        result = FoldAnswers(best_single=best.name)
        for arm in self.plan.arms:
            if self.leaky != (arm.name == LEAKY) or arm.name == HINDSIGHT:
                continue
            fitted, members = base, arm.members
            if arm.name in RETRAINED:
                changed = [
                    retrained(member, arm.name)
                    for member in self.plan.members
                    if member.strategy.is_oversampled
                ]
                fitted = self._retrain(base, changed, inner)
            elif arm.name == ROWS:
                fitted = self._retrain(base, on_views(self.plan.members, self.views), inner, self.views)
            elif arm.name == BUDGET:
                fitted, members = self._repeat(base, best), (best.name,)
            elif arm.name == ONE_MODEL:
                fitted = self._fit(one_models(self.plan.members), inner)
                members = (fitted.names[fitted.best(inner.y)],)
            started = time.perf_counter()
            columns = [fitted.names.index(name) for name in members]
            meta = self._meta(arm)
            meta.fit(meta.candidate_fits(fitted.out_of_fold[:, columns], inner.y, inner.folds), inner.groups)
            result.proba[arm.name] = np.exp(meta.log_proba(fitted.test[:, columns]))
            tried = arm.members if arm.name == ONE_MODEL else members
            seconds = time.perf_counter() - started + sum(fitted.seconds[name] for name in tried)
            used = (best.name,) if arm.name == "best_single" else members
            result.used[arm.name] = used
            result.costs[arm.name] = {"fit_seconds": seconds, **fitted.answering(used)}
            if arm.name == FULL:
                result.combination = meta.chosen_
            elif arm.name == REJECTION:
                result.typicality = self._reject(inner, result.costs[arm.name])
        return result

    def inner(self, number: int) -> FoldInputs:
        """The training rows in inner folds; another partition for another number."""
        training = self.known.take(self.known.training(self.fold))
        folds = assign_folds(
            training.y, training.groups, n_splits=self.plan.n_inner, seed=derived_seed(*self.seed, number)
        )
        return training.redrawn(training.groups, folds)

    def _meta(self, arm: Arm) -> MetaLearner:
        """How an arm combines its members, unfitted."""
        meta = self.plan.meta
        candidates = meta.candidates
        if arm.name in COMBINATIONS:
            candidates = (COMBINATIONS[arm.name],)
        elif arm.kind == "single" or arm.name in (BUDGET, ONE_MODEL):
            candidates = ("uniform",)
        calibrate = meta.calibrate and arm.name != "without_calibration"
        return MetaLearner(candidates, meta.one_standard_error, meta.greedy_iterations, calibrate)

    def _reject(self, inner: FoldInputs, costs: dict[str, float]) -> NDArray[np.float64]:
        """Typicality of the test rows; what it costs is added to the costs."""
        names = dict.fromkeys(
            name for member in self.plan.members for name in member.learns_from if name != NETWORKS
        )
        training, test = self.known.training(self.fold), self.known.held_out(self.fold)
        rows = {name: self.data.matrices[name] for name in names}
        started = time.process_time()
        fitted = fit_rejection(
            {name: take(matrix, training) for name, matrix in rows.items()}, inner, refuse=self.plan.refuse
        )
        fit_seconds, started = time.process_time() - started, time.process_time()
        typicality = fitted.rejection.typicality({name: take(matrix, test) for name, matrix in rows.items()})
        costs["fit_seconds"] += fit_seconds
        costs["predict_ms"] += 1000 * (time.process_time() - started) / len(test)
        costs["megabytes"] += sum(array.nbytes for array in fitted.rejection.arrays().values()) / 1e6
        return typicality

    def _fit(
        self, members: Sequence[Member], inner: FoldInputs, views: Mapping[str, FloatMatrix] | None = None
    ) -> _MemberAnswers:
        """Fit members as `fit` does, on these views as rows if given, and let them answer the test rows."""
        start, plan = self._done, self.plan
        ensemble = StackedEnsemble(
            members,
            meta=MetaLearner(("uniform",), calibrate=False),
            refit=plan.refit,
            runtime=replace(self.runtime, progress=_StepsOnly(lambda done: self._report(start + done))),
        )
        data = self.data if views is None else replace(self.data, views=views)
        training = data.take(self.known.training(self.fold))
        try:
            ensemble.fit(training, inner.classes[inner.y], inner.groups, inner.folds)
        except FitError as error:
            raise FitError(
                f"{str(error).splitlines()[0]}\nAn ablation needs every member in every fold: mend or remove it."
            ) from error
        fitted_ensemble = ensemble.fitted_ensemble_
        test_rows = self.data.take(self.known.held_out(self.fold))
        answers, milliseconds = [], {}
        for member in fitted_ensemble.members:
            started = time.perf_counter()
            answers.append(replace(fitted_ensemble, members=(member,)).member_log_proba(test_rows))
            milliseconds[member.name] = 1000 * (time.perf_counter() - started) / len(answers[-1])
        test = np.concatenate(answers, axis=1)
        return _MemberAnswers(
            tuple(member.name for member in members),
            ensemble.out_of_fold_.log_proba(),
            test,
            ensemble.seconds_,
            milliseconds,
            {member.name: member.nbytes / 1e6 for member in fitted_ensemble.members},
            frozenset(member.name for member in fitted_ensemble.members if member.predictor.is_linear),
        )

    def _retrain(
        self,
        base: _MemberAnswers,
        changed: Sequence[Member],
        inner: FoldInputs,
        views: Mapping[str, FloatMatrix] | None = None,
    ) -> _MemberAnswers:
        """The base with some members trained otherwise; the rest is as it was."""
        again = self._fit(changed, inner, views)
        out_of_fold, test = base.out_of_fold.copy(), base.test.copy()
        columns = [base.names.index(name) for name in again.names]
        out_of_fold[:, columns], test[:, columns] = again.out_of_fold, again.test
        return _MemberAnswers(
            base.names,
            out_of_fold,
            test,
            {**base.seconds, **again.seconds},
            {**base.milliseconds, **again.milliseconds},
            {**base.megabytes, **again.megabytes},
            base.linear,
        )

    def _repeat(self, base: _MemberAnswers, best: Member) -> _MemberAnswers:
        """The best member trained on as many partitions as the ensemble has members; mean of the log-odds."""
        column, times = base.names.index(best.name), len(base.names)
        out_of_fold, test = base.out_of_fold[:, [column]].copy(), base.test[:, [column]].copy()
        seconds = base.seconds[best.name]
        for number in range(1, times):
            again = self._fit([best], self.inner(number))
            out_of_fold += again.out_of_fold
            test += again.test
            seconds += again.seconds[best.name]
        heads = 1 if best.name in base.linear else times
        return _MemberAnswers(
            (best.name,),
            out_of_fold / times,
            test / times,
            {best.name: seconds},
            {best.name: heads * base.milliseconds[best.name]},
            {best.name: heads * base.megabytes[best.name]},
            base.linear,
        )

    def _report(self, done: int) -> None:
        self._done = done
        if self.progress is not None:
            self.progress(done)


@dataclass(frozen=True)
class _MemberAnswers:
    """Members, fitted on the training rows.

    Attributes:
        names: The members.
        out_of_fold: Log-probabilities for the training rows by models that never saw them, (n, M, K).
        test: Log-probabilities for the test rows, (n_test, M, K).
        seconds: Time of a member's fits.
        milliseconds: Time of its head for a photo.
        megabytes: Size of its head.
        linear: Members whose fold models are averaged into one, however many they are.
    """

    names: tuple[str, ...]
    out_of_fold: FloatMatrix
    test: FloatMatrix
    seconds: Mapping[str, float]
    milliseconds: Mapping[str, float]
    megabytes: Mapping[str, float]
    linear: frozenset[str]

    def best(self, y: NDArray[np.intp]) -> int:
        """Position of the member with the lowest log-loss, as the candidate ``best_single`` chooses it."""
        return int(np.argmin(-self.out_of_fold[np.arange(len(y)), :, y].mean(axis=0)))

    def answering(self, members: Sequence[str]) -> dict[str, float]:
        """What the heads of some members cost when they answer."""
        return {
            "predict_ms": sum(self.milliseconds[name] for name in members),
            "megabytes": sum(self.megabytes[name] for name in members),
        }


@dataclass(frozen=True)
class _StepsOnly:
    """Progress of one ensemble among many: steps are handed on, notes and names of stages are not."""

    on_steps: Callable[[int], None]

    def stage(self, name: str) -> StageProgress:
        return lambda done, total: self.on_steps(done)

    def note(self, text: str) -> None:
        pass


def count_fits(plan: AblationPlan, *, leaky: bool, viewed: Collection[str] = ()) -> int:
    """How often a member is fitted in an inner fold, in one outer fold; some on the views of these backbones."""
    steps = whole = sum(member.n_steps for member in plan.members)
    if not leaky:
        oversampled = sum(member.n_steps for member in plan.members if member.strategy.is_oversampled)
        steps += oversampled * sum(plan.has(arm) for arm in RETRAINED)
        # Which member is the best, and so repeated, shows later: it counts as an average one.
        steps += round((len(plan.members) - 1) * whole / len(plan.members)) * plan.has(BUDGET)
        steps += len(one_models(plan.members)) * plan.has(ONE_MODEL)
        steps += len(on_views(plan.members, viewed)) * plan.has(ROWS)
    return steps * plan.n_inner
