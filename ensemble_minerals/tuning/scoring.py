"""Out-of-fold log-loss of configurations on features that were computed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.ensemble.cross_combined import cross_combined
from ensemble_minerals.ensemble.cross_fit import cross_fit
from ensemble_minerals.evaluation.metrics import row_log_loss
from ensemble_minerals.experiment.setup import build_members, build_meta_learner
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.system.progress import Silent
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.taxonomy import Tree

FloatMatrix = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class CachedFeatures:
    """Features of n rows, of which configurations take what they need.

    Attributes:
        matrices: Of each feature extractor without views to choose from, (n, n_features).
        views: Of each backbone with several views, (n, n_views, n_features).
        names: Names of these views.
    """

    matrices: Mapping[str, FloatMatrix]
    views: Mapping[str, FloatMatrix]
    names: Mapping[str, tuple[str, ...]]

    def take(self, rows: NDArray[np.intp]) -> CachedFeatures:
        """Some rows alone."""
        return CachedFeatures(
            {name: matrix[rows] for name, matrix in self.matrices.items()},
            {name: views[rows] for name, views in self.views.items()},
            self.names,
        )

    def of(self, config: Config) -> RowData:
        """What the members of a configuration see."""
        matrices, apart = dict(self.matrices), {}
        for backbone in config.backbones:
            if backbone.name not in self.views:
                continue
            at = [self.names[backbone.name].index(view) for view in backbone.views]
            views = self.views[backbone.name][:, at]
            if backbone.pooling == "concat":
                matrices[backbone.name] = views.reshape(len(views), -1)
                continue
            matrices[backbone.name] = views.mean(axis=1)
            if backbone.pooling == "rows" and len(at) > 1:
                apart[backbone.name] = views
        return RowData(matrices, views=apart)


@dataclass
class OutOfFoldLoss:
    """Scores configurations on rows in folds; a member that was fitted before is not fitted again.

    Attributes:
        features: Of the rows.
        inputs: Labels, row groups and folds of the rows.
        tree: Groups of the classes for hierarchical members.
        runtime: Tasks at once.
    """

    features: CachedFeatures
    inputs: FoldInputs
    tree: Tree | str
    runtime: Runtime
    _answers: dict[str, FloatMatrix] = field(default_factory=dict, init=False)

    def of(self, config: Config) -> float:
        """Log-loss of rows by members, a combination and a temperature that never saw them.

        Raises:
            FitError: If a member fails.
        """
        members = build_members(config, self.tree)
        keys = member_keys(config)
        missing = [member for member in members if keys[member.name] not in self._answers]
        if missing:
            quiet = replace(self.runtime, progress=Silent())
            answers = cross_fit(missing, self.features.of(config), self.inputs, quiet).out_of_fold
            for name, log_proba in zip(answers.members, answers.log_proba().transpose(1, 0, 2), strict=True):
                self._answers[keys[name]] = log_proba
        stacked = np.stack([self._answers[keys[member.name]] for member in members], axis=1)
        meta = build_meta_learner(config)
        combined = cross_combined(meta, stacked, self.inputs, n_jobs=self.runtime.n_jobs)
        return float(row_log_loss(self.inputs.y, combined.proba.astype(np.float64)).mean())


def member_keys(config: Config) -> dict[str, str]:
    """By the name of each member what its answers depend on, as text: its own settings and those of its backbones."""
    backbones = {backbone.name: backbone for backbone in config.backbones}
    keys = {}
    for member in config.expanded_members():
        features = member.features or ()
        pooled = {"rows": "mean"} if len(features) > 1 else {}
        seen = [
            (name, one.views, pooled.get(one.pooling, one.pooling))
            if (one := backbones.get(name)) is not None
            else name
            for name in features
        ]
        keys[str(member.name)] = repr((seen, member.model_dump(exclude={"name", "features"})))
    return keys
