"""The stacked ensemble: cross-fit, stack, calibrate. `fit` and `ablate` both train it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.folds import NO_FOLD, assign_folds, check_no_straddling, is_holdout
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.ensemble.cross_combined import cross_combined
from ensemble_minerals.ensemble.cross_fit import CrossFit, cross_fit
from ensemble_minerals.ensemble.fitted import FittedEnsemble
from ensemble_minerals.ensemble.meta_learner import MetaLearner
from ensemble_minerals.errors import FitError
from ensemble_minerals.members.base import FittedFold, FoldTask, Member, fit_folds
from ensemble_minerals.members.feature_member import FeatureMember
from ensemble_minerals.members.fitted import FittedMember
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.hierarchical import HierarchicalClassifier
from ensemble_minerals.members.one_vs_rest import OneVsRestClassifier
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.system.parallel import single_thread
from ensemble_minerals.system.runtime import Runtime

FloatMatrix = NDArray[np.floating[Any]]

WHOLE = "features"
"""Name of the only feature matrix when `StackedEnsemble.fit` is given one array."""

Rows = ArrayLike | Mapping[str, FloatMatrix] | RowData
"""One feature matrix, several by name, or all that members see of rows."""


class StackedEnsemble(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Members fitted out of fold, combined by a meta-learner, calibrated by one temperature.

    Every step that learns from labels is itself cross-fitted before it is scored: `oof_proba_` of a row comes
    from members, a choice of combination, its weights and a temperature that never saw the row's fold.

    Rows of a negative fold are only trained on. With such rows and one other fold, a plain hold-out, each member
    is trained once; no answers are left to learn weights and a temperature from, so all members get the same weight
    and the temperature is 1.

    Args:
        members: Base learners; a flat, a one-vs-rest and a hierarchical one over all columns by default.
        n_splits: Folds, where `fit` is not given any.
        meta: How the members are combined and calibrated; a `MetaLearner` with its defaults if None.
        refit: Train each member again, on all rows, and predict with that, instead of averaging the fold
            models. One model a member, but the meta-learner's weights were learned on the fold models' answers.
        allow_failures: Leave out members that fail.
        checkpoint: Folder where finished tasks are kept, for one set of inputs.
        runtime: Tasks at once, where progress is reported, and the time after which no member starts, see
            `cross_fit`. Answers do not depend on it.
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
        notes_: (member, note) pairs; those of the combination are under ``meta-learner``.
        seconds_: Time of each member's fits.
        logs_: For each member on networks their epochs, network by network.
        cross_fit_seconds_: Time from the first of them to the last.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> ensemble = StackedEnsemble(n_splits=3).fit(X, y)
        >>> bool(np.mean(ensemble.oof_proba_.argmax(axis=1) == y) > 0.9)
        True
    """

    def __init__(
        self,
        members: Sequence[Member] | None = None,
        n_splits: int = 5,
        meta: MetaLearner | None = None,
        refit: bool = False,
        allow_failures: bool = False,
        checkpoint: Path | None = None,
        runtime: Runtime | None = None,
        random_state: int = 0,
    ) -> None:
        self.members = members
        self.n_splits = n_splits
        self.meta = meta
        self.refit = refit
        self.allow_failures = allow_failures
        self.checkpoint = checkpoint
        self.runtime = runtime
        self.random_state = random_state

    def fit(
        self,
        X: Rows,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        folds: ArrayLike | None = None,
    ) -> StackedEnsemble:
        """Cross-fit the members, choose and fit the combination, calibrate.

        Args:
            X: What members see of n rows: one feature matrix of shape (n, n_features), several by name, or
                `RowData`, where there are members on networks.
            y: Labels, shape (n,).
            groups: Row groups, shape (n,); each row by itself if None.
            folds: Fold of each row, shape (n,); drawn from `n_splits` if None.

        Raises:
            FitError: If a member failed and that is not allowed.
            DataError: If a class has fewer row groups than folds.
            ValueError: If a group straddles two folds, lengths differ, or a hold-out is to be refitted or has folds.
        """
        data, inputs = self._check_inputs(X, y, groups, folds)
        fits = self._cross_fit(data, inputs)
        fitted = self._refit(fits, data, inputs) if self.refit else _averaged(fits)
        with single_thread:
            if is_holdout(inputs.folds):
                self._combine_uniformly()
            else:
                self._combine()
        self.notes_ += [("meta-learner", note) for note in self.meta_.notes_]
        self.fitted_ensemble_ = FittedEnsemble(fitted, self.meta_.combination_, self.meta_.temperature_)
        return self

    def _check_inputs(
        self, X: Rows, y: ArrayLike, groups: ArrayLike | None, folds: ArrayLike | None
    ) -> tuple[RowData, FoldInputs]:
        """Bring labels, row groups and folds into numbers; draw folds where none are given."""
        data = _as_row_data(X)
        if data is None:
            matrix, labels = validate_data(self, X, y, dtype=(np.float64, np.float32))
            data = RowData({WHOLE: matrix})
        else:
            labels = np.asarray(y)
        check_classification_targets(labels)
        self.classes_, encoded = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"StackedEnsemble needs at least two classes; the data has one class: {str(self.classes_[0])!r}"
            )
        given = np.arange(len(labels)) if groups is None else np.asarray(groups)
        check_consistent_length(*data.matrices.values(), data.images, labels, given, folds)
        together = np.unique(given, return_inverse=True)[1].astype(np.intp)
        if folds is None:
            self.folds_ = assign_folds(labels, together, n_splits=self.n_splits, seed=self.random_state)
        else:
            self.folds_ = np.asarray(folds, dtype=np.intp)
        check_no_straddling(together, self.folds_)
        if is_holdout(self.folds_) and self.refit:
            raise ValueError(
                "refit=True trains on all rows, those held out, too; leave it out, or give folds"
            )
        inputs = FoldInputs(encoded.astype(np.intp), together, self.folds_, self.classes_)
        self.answered_ = inputs.predicted
        return data, inputs

    def _cross_fit(self, data: RowData, inputs: FoldInputs) -> CrossFit:
        """Fit every member without every fold."""
        started = time.perf_counter()
        fits = cross_fit(
            _default_members() if self.members is None else list(self.members),
            data,
            inputs,
            self.runtime,
            checkpoint=self.checkpoint,
            allow_failures=self.allow_failures,
        )
        self.cross_fit_seconds_ = time.perf_counter() - started
        self.out_of_fold_, self.failures_ = fits.out_of_fold, fits.failures
        self.oof_proba_ = self.out_of_fold_.proba
        self.notes_, self.seconds_ = fits.notes, fits.seconds
        logs = {name: [log for fit in folds for log in fit.logs] for name, folds in fits.fitted.items()}
        self.logs_ = {name: own for name, own in logs.items() if own}
        return fits

    def _refit(self, fits: CrossFit, data: RowData, inputs: FoldInputs) -> tuple[FittedMember, ...]:
        """Train each member that succeeded again, on all rows."""
        members = _default_members() if self.members is None else self.members
        tasks = [FoldTask(member, NO_FOLD) for member in members if member.name in fits.fitted]
        runtime = replace(self.runtime or Runtime(), deadline=None)
        refitted: dict[str, FittedFold] = {}
        with closing(fit_folds(tasks, data, inputs, runtime, checkpoint=self.checkpoint)) as results:
            for result in (result for some in results for result in some):
                if not isinstance(result, FittedFold):
                    raise FitError(f"member {result.member!r} failed on all rows: {result.reason}")
                refitted[result.member] = result
        for name in fits.fitted:
            self.notes_ += [(name, f"on all rows: {note}") for note in refitted[name].notes]
        return tuple(refitted[name].fitted for name in fits.fitted)

    def _combine(self) -> None:
        """Score the whole, each fold by a combination and a temperature of the others; learn both from all rows."""
        answers, known = self.out_of_fold_, self.out_of_fold_.known
        meta = self.meta or MetaLearner()
        combined = cross_combined(meta, answers.log_proba(), known, n_jobs=(self.runtime or Runtime()).n_jobs)
        self.fold_temperatures_ = combined.temperatures
        answers.write_whole(known.predicted, combined.proba[known.predicted])
        self.meta_ = meta.unfitted().fit(combined.fits, known.groups)

    def _combine_uniformly(self) -> None:
        """Take the plain mean of the members, and score it on the rows held out."""
        held_out = self.out_of_fold_.take(self.answered_)
        meta = self.meta or MetaLearner()
        self.meta_ = meta.unfitted().take_uniform(held_out.log_proba(), held_out.known.y)
        self.fold_temperatures_ = dict.fromkeys(held_out.known.numbers, self.meta_.temperature_)
        self.out_of_fold_.write_whole(self.answered_, np.exp(self.meta_.cross_fitted_))

    def predict_log_proba(self, X: Rows) -> FloatMatrix:
        """Calibrated log-probabilities, shape (n, n_classes)."""
        check_is_fitted(self)
        data = _as_row_data(X)
        if data is None:
            data = RowData({WHOLE: validate_data(self, X, dtype=(np.float64, np.float32), reset=False)})
        return self.fitted_ensemble_.combine(self.fitted_ensemble_.member_log_proba(data))

    def predict_proba(self, X: Rows) -> FloatMatrix:
        """Calibrated probabilities, shape (n, n_classes)."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Rows) -> NDArray[Any]:
        """Most probable label of each row, shape (n,)."""
        check_is_fitted(self)
        labels: NDArray[Any] = self.classes_[self.predict_log_proba(X).argmax(axis=1)]
        return labels


def _averaged(fits: CrossFit) -> tuple[FittedMember, ...]:
    """Each member's fold models as one."""
    return tuple(FittedMember.average([fit.fitted for fit in folds]) for folds in fits.fitted.values())


def _as_row_data(X: Rows) -> RowData | None:
    """What members see, if X gives it by name; None for a single array, which scikit-learn validates."""
    if isinstance(X, RowData):
        return X
    # A sparse matrix in dictionary format is a mapping, too.
    return RowData(X) if isinstance(X, Mapping) and not issparse(X) else None


def _default_members() -> list[Member]:
    sampler = OverSampler("random")
    return [
        FeatureMember("flat", (WHOLE,), FlatClassifier()),
        FeatureMember("one_vs_rest", (WHOLE,), OneVsRestClassifier(sampler=sampler)),
        FeatureMember("hierarchical", (WHOLE,), HierarchicalClassifier("auto", sampler=sampler)),
    ]
