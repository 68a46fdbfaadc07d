"""The stacked ensemble: cross-fit, stack, calibrate. What `fit` and `ablate` both call."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from joblib import delayed
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from ensemble_minerals.data.folds import assign_folds, check_no_straddling, is_holdout
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.ensemble.calibration import TemperatureScaling
from ensemble_minerals.ensemble.candidates import CANDIDATES, CandidateFits
from ensemble_minerals.ensemble.cross_fit import cross_fit, fit_task
from ensemble_minerals.ensemble.fitted import Blocks, FittedEnsemble, FittedMember, side_by_side
from ensemble_minerals.ensemble.meta_learner import MetaLearner
from ensemble_minerals.ensemble.network_tasks import devices, fit_network_fold, work_folder
from ensemble_minerals.ensemble.tasks import FittedFold, Member
from ensemble_minerals.errors import FitError
from ensemble_minerals.log_space import log_normalize
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.hierarchical import HierarchicalClassifier
from ensemble_minerals.members.network_member import NetworkStrategy
from ensemble_minerals.members.network_predictor import NetworkMemberPredictor, average_predictors
from ensemble_minerals.members.one_vs_rest import OneVsRestClassifier
from ensemble_minerals.members.predictor import AveragedPredictor
from ensemble_minerals.system.cpu import short_switch_interval
from ensemble_minerals.system.parallel import run_unordered, single_thread

FloatMatrix = NDArray[np.floating[Any]]

WHOLE = "features"
"""Name of the only feature matrix when `StackedEnsemble.fit` is given one array."""


class StackedEnsemble(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Members fitted out of fold, combined by a meta-learner, calibrated by one temperature.

    Every step that learns from labels is itself cross-fitted before it is scored: `oof_proba_` of a row comes
    from members, a choice of combination, its weights and a temperature that never saw the row's fold.

    Rows of a negative fold are only trained on. With such rows and one other fold, a plain hold-out, each member
    is trained once; no answers are left to learn weights and a temperature from, so members count alike and the
    temperature is 1.

    Args:
        members: Base learners; a flat, a one-vs-rest and a hierarchical one over all columns by default.
        n_splits: Folds, where `fit` is not given any.
        candidates: Combinations the meta-learner considers, see `MetaLearner`.
        one_standard_error: Prefer the simpler combination unless it is clearly worse.
        greedy_iterations: Draws of greedy selection.
        calibrate: Scale the final log-probabilities by a temperature.
        refit: Train each member once more on all rows and predict with that, instead of averaging the fold
            models. One model a member, but the meta-learner's weights were learned on the fold models' answers.
        allow_failures: Leave out members that fail.
        n_jobs: Concurrent tasks.
        checkpoint: Folder where finished tasks are kept, for one set of inputs.
        progress: Called with (done, total) members x folds.
        deadline: When members that have not begun are left out, see `cross_fit`.
        random_state: Seed of the folds.

    Attributes:
        classes_: Labels, ascending.
        n_features_in_: Number of columns, where `fit` was given one array.
        folds_: Fold of each training row.
        answered_: Positions of the rows that are predicted out of fold: all, or those held out.
        out_of_fold_: Answers of the members and of the whole; NaN for a row that is only trained on.
        oof_proba_: Those of the whole, shape (n, n_classes).
        fold_temperatures_: For each fold the temperature by which `oof_proba_` of its rows was scaled.
        meta_: The meta-learner, fitted on all rows.
        fitted_ensemble_: What predicts.
        failures_: Members left out, and why.
        notes_: (member, note) pairs; the combination's stand under ``meta-learner``.
        seconds_: Time of each member's fits.
        logs_: For each member that stands on networks, their epochs, network by network.
        cross_fit_seconds_: Time from the first of them to the last.
    """

    def __init__(
        self,
        members: Sequence[Member] | None = None,
        n_splits: int = 5,
        candidates: Sequence[str] = CANDIDATES,
        one_standard_error: bool = True,
        greedy_iterations: int = 50,
        calibrate: bool = True,
        refit: bool = False,
        allow_failures: bool = False,
        n_jobs: int = 1,
        checkpoint: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
        deadline: float | None = None,
        random_state: int = 0,
    ) -> None:
        self.members = members
        self.n_splits = n_splits
        self.candidates = candidates
        self.one_standard_error = one_standard_error
        self.greedy_iterations = greedy_iterations
        self.calibrate = calibrate
        self.refit = refit
        self.allow_failures = allow_failures
        self.n_jobs = n_jobs
        self.checkpoint = checkpoint
        self.progress = progress
        self.deadline = deadline
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike | Blocks,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        folds: ArrayLike | None = None,
    ) -> StackedEnsemble:
        """Cross-fit the members, choose and fit the combination, calibrate.

        Args:
            X: One feature matrix, shape (n, n_features), or several by name.
            y: Labels, shape (n,).
            groups: Row groups, shape (n,); each row by itself if None.
            folds: Fold of each row, shape (n,); drawn from `n_splits` if None.

        Raises:
            FitError: If a member failed and that is not allowed.
            DataError: If a class has fewer row groups than folds.
            ValueError: If a group straddles two folds, lengths differ, or a hold-out is to be refitted or has folds.
        """
        blocks, labels = self._check_training(X, y)
        check_classification_targets(labels)
        self.classes_, encoded = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"StackedEnsemble needs at least two classes; the data has one class: {str(self.classes_[0])!r}"
            )
        encoded = encoded.astype(np.intp)
        given = np.arange(len(labels)) if groups is None else np.asarray(groups)
        check_consistent_length(*blocks.values(), labels, given, folds)
        together = np.unique(given, return_inverse=True)[1].astype(np.intp)
        if folds is None:
            self.folds_ = assign_folds(labels, together, n_splits=self.n_splits, seed=self.random_state)
        else:
            self.folds_ = np.asarray(folds, dtype=np.intp)
        check_no_straddling(together, self.folds_)
        once = is_holdout(self.folds_)
        if once and self.refit:
            raise ValueError(
                "refit=True trains on all rows, those held out, too; leave it out, or give folds"
            )
        self.answered_ = np.flatnonzero(self.folds_ >= 0)
        members = _default_members() if self.members is None else list(self.members)
        started = time.perf_counter()
        fitted = cross_fit(
            members,
            blocks,
            encoded,
            together,
            self.folds_,
            self.classes_,
            n_jobs=self.n_jobs,
            checkpoint=self.checkpoint,
            allow_failures=self.allow_failures,
            progress=self.progress,
            deadline=self.deadline,
        )
        self.out_of_fold_, self.failures_ = fitted.out_of_fold, fitted.failures
        self.notes_, self.seconds_ = fitted.notes, fitted.seconds
        self.logs_ = {
            name: [log for fit in fits for log in fit.logs]
            for name, fits in fitted.fitted.items()
            if any(fit.logs for fit in fits)
        }
        self.cross_fit_seconds_ = time.perf_counter() - started
        whole = [member for member in members if member.name in fitted.fitted]
        if self.refit:
            predictors = self._refit(whole, blocks, encoded, together)
        else:
            predictors = {
                name: average_predictors([fit.predictor for fit in fits])
                for name, fits in fitted.fitted.items()
            }
        with threadpool_limits(1):
            temperature = self._average(encoded) if once else self._stack(encoded, together)
            self.notes_ += [("meta-learner", note) for note in self.meta_.notes_]
        self.oof_proba_ = self.out_of_fold_.proba
        learners = tuple(FittedMember(m.name, m.features, predictors[m.name]) for m in whole)
        self.fitted_ensemble_ = FittedEnsemble(learners, self.meta_.combination_, temperature)
        return self

    def _check_training(self, X: ArrayLike | Blocks, y: ArrayLike) -> tuple[Blocks, NDArray[Any]]:
        if _is_blocks(X):
            return X, np.asarray(y)
        matrix, labels = validate_data(self, X, y, dtype=(np.float64, np.float32))
        return {WHOLE: matrix}, labels

    def _refit(
        self, members: Sequence[Member], blocks: Blocks, y: NDArray[np.intp], groups: NDArray[np.intp]
    ) -> dict[str, AveragedPredictor | NetworkMemberPredictor]:
        """Train each member once on all rows."""
        by_features: dict[tuple[str, ...], list[Member]] = {}
        for member in members:
            if not isinstance(member.strategy, NetworkStrategy):
                by_features.setdefault(member.features, []).append(member)
        rows = (y, groups, self.folds_, self.classes_)
        calls = [
            delayed(fit_task)(same, -1, None, *rows, *(blocks[name] for name in features))
            for features, same in by_features.items()
        ]
        used = [blocks[name] for name in dict.fromkeys(name for features in by_features for name in features)]
        with single_thread, short_switch_interval():
            results = list(run_unordered(calls, n_jobs=self.n_jobs, shared=[*rows, *used], threads=True))
        results += [
            fit_network_fold(
                member,
                side_by_side(blocks, member.features),
                y,
                groups,
                self.folds_,
                -1,
                self.classes_,
                work=work_folder(self.checkpoint, member.name, -1),
                n_threads=self.n_jobs,
                device=devices()[0],
            )
            for member in members
            if isinstance(member.strategy, NetworkStrategy)
        ]
        predictors: dict[str, AveragedPredictor | NetworkMemberPredictor] = {}
        for result in (result for same in results for result in same):
            if not isinstance(result, FittedFold):
                raise FitError(f"member {result.member!r} failed on all rows: {result.reason}")
            predictors[result.member] = result.predictor
            self.notes_ += [(result.member, f"on all rows: {note}") for note in result.notes]
        return predictors

    def _stack(self, y: NDArray[np.intp], groups: NDArray[np.intp]) -> float:
        """Score the whole, each fold by a combination and a temperature of the others; learn both from all rows.

        Returns:
            The temperature that was learned from all rows.
        """
        members = self.out_of_fold_.log_proba()
        fits = CandidateFits(members, y, self.folds_, self.greedy_iterations)
        numbers = np.unique(self.folds_)
        self.fold_temperatures_ = {}
        for fold in numbers:
            rest, held_out = self.folds_ != fold, self.folds_ == fold
            others = fits.without(int(fold))
            if len(numbers) == 2:
                # Only one is left: it is split again, by row groups, to choose and to calibrate.
                others = CandidateFits(
                    others.members, others.y, _halves(groups[rest]), self.greedy_iterations
                )
            meta, temperature = self._fit_meta(others, groups[rest])
            self.fold_temperatures_[int(fold)] = temperature
            log_proba = log_normalize(meta.log_proba(members[held_out]) / temperature)
            self.out_of_fold_.write_whole(np.flatnonzero(held_out), np.exp(log_proba))
        self.meta_, temperature = self._fit_meta(fits, groups)
        return temperature

    def _average(self, y: NDArray[np.intp]) -> float:
        """Score the plain mean of members on the rows held out, and return its temperature."""
        members = self.out_of_fold_.take(self.answered_).log_proba()
        self.meta_ = MetaLearner().take_uniform(members, y[self.answered_])
        self.fold_temperatures_ = {int(fold): 1.0 for fold in np.unique(self.folds_[self.answered_])}
        self.out_of_fold_.write_whole(self.answered_, np.exp(self.meta_.cross_fitted_))
        return 1.0

    def _fit_meta(self, fits: CandidateFits, groups: NDArray[np.intp]) -> tuple[MetaLearner, float]:
        meta = MetaLearner(self.candidates, self.one_standard_error)
        return fit_meta(meta, fits, groups, calibrate=self.calibrate)

    def predict_log_proba(self, X: ArrayLike | Blocks) -> FloatMatrix:
        """Calibrated log-probabilities, shape (n, n_classes)."""
        check_is_fitted(self)
        if _is_blocks(X):
            blocks: Blocks = X
        else:
            blocks = {WHOLE: validate_data(self, X, dtype=(np.float64, np.float32), reset=False)}
        return self.fitted_ensemble_.combine(self.fitted_ensemble_.member_log_proba(blocks))

    def predict_proba(self, X: ArrayLike | Blocks) -> FloatMatrix:
        """Calibrated probabilities, shape (n, n_classes)."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: ArrayLike | Blocks) -> NDArray[Any]:
        """Most probable label of each row, shape (n,)."""
        check_is_fitted(self)
        labels: NDArray[Any] = self.classes_[self.predict_log_proba(X).argmax(axis=1)]
        return labels


def fit_meta(
    meta: MetaLearner, fits: CandidateFits, groups: NDArray[np.intp], *, calibrate: bool = True
) -> tuple[MetaLearner, float]:
    """Fit a combination and its temperature.

    Args:
        meta: Unfitted.
        fits: Candidates on n rows.
        groups: Row groups, shape (n,).
        calibrate: Learn a temperature; else it is 1.

    Returns:
        The fitted meta-learner and the temperature, which is learned from answers of combinations that never
        saw the row.
    """
    meta.fit(fits, groups)
    if not calibrate:
        return meta, 1.0
    return meta, TemperatureScaling().fit(meta.cross_fitted_, fits.y).temperature_


def _halves(groups: NDArray[np.intp]) -> NDArray[np.intp]:
    """Every other row group in one half, the rest in the other."""
    return np.unique(groups, return_inverse=True)[1] % 2


def _is_blocks(X: ArrayLike | Blocks) -> TypeGuard[Blocks]:
    """Whether X is matrices by name; a sparse matrix of keys is a mapping, too, but none of ours."""
    return isinstance(X, Mapping) and not issparse(X)


def _default_members() -> list[Member]:
    sampler = OverSampler("random")
    return [
        Member("flat", (WHOLE,), FlatClassifier()),
        Member("one_vs_rest", (WHOLE,), OneVsRestClassifier(sampler=sampler)),
        Member("hierarchical", (WHOLE,), HierarchicalClassifier("auto", sampler=sampler)),
    ]
