"""What a search gains: it is repeated inside the training rows of outer folds, and scored on rows it never saw."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.folds import assign_folds
from ensemble_minerals.ensemble.stacked import StackedEnsemble
from ensemble_minerals.evaluation.paired import PairedScores, score_pair
from ensemble_minerals.experiment.setup import build_members, build_meta_learner
from ensemble_minerals.system.progress import Silent, StageProgress
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.system.seeds import derived_seed
from ensemble_minerals.taxonomy import Tree
from ensemble_minerals.tuning.scoring import CachedFeatures, OutOfFoldLoss
from ensemble_minerals.tuning.search import Search, search
from ensemble_minerals.tuning.space import SearchSpace

FloatMatrix = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Tuning:
    """A search on all rows, and what searching like that gains.

    Attributes:
        whole: The search on all rows; its best configuration is the result.
        of_folds: The search inside the training rows of each outer fold.
        paired: The first configuration, and the best of each outer fold's search, on the rows of the outer folds.
    """

    whole: Search
    of_folds: tuple[Search, ...]
    paired: PairedScores


@dataclass
class NestedSearch:
    """A search that is to be run on all rows, and inside outer folds.

    Attributes:
        space: What may be tried.
        features: Of the rows.
        inputs: Labels and row groups of the rows, and the folds in which a fit would cross-validate.
        tree: Groups of the classes for hierarchical members.
        outer: Outer fold of each row, shape (n,).
        deadline: Time (`time.time`) by which all of it should be done.
        most: Trials of each search, at most; no limit if None.
        runtime: Tasks at once.
        progress: Called with (done, total): trials, or seconds where they are not limited.
    """

    space: SearchSpace
    features: CachedFeatures
    inputs: FoldInputs
    tree: Tree | str
    outer: NDArray[np.intp]
    deadline: float
    most: int | None
    runtime: Runtime
    progress: StageProgress

    def run(self) -> Tuning:
        """Search in each outer fold and answer its rows, then search on all rows.

        Raises:
            FitError: If the first configuration cannot be fitted.
        """
        began, start = time.time(), self.space.start
        n_searches = int(self.outer.max()) + 2
        first = np.full((len(self.inputs), len(self.inputs.classes)), np.nan)
        tuned, of_folds = first.copy(), []
        for fold in range(n_searches - 1):
            training, held_out = np.flatnonzero(self.outer != fold), np.flatnonzero(self.outer == fold)
            inner = self._inner(training, fold)
            losses = OutOfFoldLoss(self.features.take(training), inner, self.tree, self.runtime)
            found = self._search(losses, fold, n_searches, began)
            of_folds.append(found)
            first[held_out] = self._answer(start, losses, held_out)
            tuned[held_out] = first[held_out]
            if found.best.number:
                tuned[held_out] = self._answer(found.best.config, losses, held_out)
        losses = OutOfFoldLoss(self.features, self.inputs, self.tree, self.runtime)
        whole = self._search(losses, n_searches - 1, n_searches, began)
        known = self.inputs
        paired = score_pair(known.y, first, tuned, known.groups, known.names, seed=start.seed)
        return Tuning(whole, tuple(of_folds), paired)

    def _inner(self, training: NDArray[np.intp], fold: int) -> FoldInputs:
        """The training rows of an outer fold in folds of their own."""
        config, known = self.space.start, self.inputs.take(training)
        seed = derived_seed(config.seed, fold)
        folds = assign_folds(known.y, known.groups, n_splits=config.folds.n_splits, seed=seed)
        return known.redrawn(known.groups, folds)

    def _search(self, losses: OutOfFoldLoss, number: int, n_searches: int, began: float) -> Search:
        """One of the searches; those that follow get as much time as this one."""
        until = time.time() + max(0.0, self.deadline - time.time()) / (n_searches - number)

        def report(trials: int) -> None:
            if self.most is None:
                total = max(1, round(self.deadline - began))
                self.progress(min(total, round(time.time() - began)), total)
            else:
                self.progress(number * self.most + trials, n_searches * self.most)

        return search(
            self.space,
            losses.of,
            until=until,
            most=self.most,
            seed=derived_seed(self.space.start.seed, number),
            report=report,
        )

    def _answer(self, config: Config, losses: OutOfFoldLoss, held_out: NDArray[np.intp]) -> FloatMatrix:
        """Fit a configuration as `fit` does, on the rows that these losses are of, and answer others."""
        ensemble = StackedEnsemble(
            build_members(config, self.tree),
            meta=build_meta_learner(config),
            refit=config.refit,
            runtime=replace(self.runtime, progress=Silent()),
        )
        known = losses.inputs
        ensemble.fit(losses.features.of(config), known.classes[known.y], known.groups, known.folds)
        proba: FloatMatrix = ensemble.predict_proba(self.features.take(held_out).of(config))
        return proba
