"""All heads of a fit against scikit-learn's StackingClassifier with the same members, on the very same features.

One fold of the configuration is put aside; both are fitted on the rest, with the other folds as inner folds, and
scored on it. scikit-learn's members are those of the configuration: a scaler and its LogisticRegression of the
same penalty for a flat member, OneVsRestClassifier over imbalanced-learn's pipelines, and one such pipeline a
node of the taxonomy. What it lacks (prior correction, temperature, the choice of the combination) it goes
without. It is timed twice: as it comes, in float32 with its own tolerance; and solved as closely as ours, to 1e-4,
which takes float64 and a tolerance of 1e-7. How far the members' probabilities are apart in the two is printed, too.

    python benchmarks/heads.py DATA [--config default] [--cache DIR] [--runs 5] [--fold 0]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import photos
import timing
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler

from ensemble_minerals.config.loading import load_config
from ensemble_minerals.config.members import MemberConfig
from ensemble_minerals.system.cpu import cores
from ensemble_minerals.taxonomy import Taxonomy

Matrix = NDArray[np.floating[Any]]


class PerNode(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A classifier at every node of a taxonomy, in scikit-learn's own means."""

    def __init__(self, estimator: Any, taxonomy: Taxonomy) -> None:
        self.estimator = estimator
        self.taxonomy = taxonomy

    def fit(self, X: Matrix, y: NDArray[Any]) -> PerNode:
        """Fit one estimator a node."""
        self.classes_, encoded = np.unique(y, return_inverse=True)
        self.nodes_ = []
        for node in self.taxonomy.nodes:
            target = node.targets(encoded)
            self.nodes_.append(clone(self.estimator).fit(X[target >= 0], target[target >= 0]))
        return self

    def predict_proba(self, X: Matrix) -> Matrix:
        """Products of the branch probabilities."""
        logs = [np.log(np.clip(node.predict_proba(X), 1e-12, None)) for node in self.nodes_]
        return np.exp(self.taxonomy.expand_log(logs))

    def predict(self, X: Matrix) -> NDArray[Any]:
        """Most probable labels."""
        labels: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--config", default="default")
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--fold", type=int, default=0)
    options = parser.parse_args()
    config = load_config(options.config)
    with tempfile.TemporaryDirectory() as folder:
        prepared = photos.prepared(options.data, config, options.cache or Path(folder), Path(folder))
    data, folds = prepared.row_data(), prepared.dataset.folds
    rest, aside = np.flatnonzero(folds != options.fold), np.flatnonzero(folds == options.fold)
    y = np.searchsorted(np.array(prepared.dataset.classes), prepared.dataset.labels)
    fitted: dict[str, Any] = {}

    def ours() -> None:
        ensemble = photos.ensemble(config, prepared)
        fitted["ours"] = ensemble.fit(
            data.take(rest), prepared.dataset.labels[rest], prepared.dataset.groups[rest], folds[rest]
        )

    members = config.expanded_members()
    widths = {name: matrix.shape[1] for name, matrix in data.matrices.items()}
    X = data.side_by_side(list(widths))

    def as_it_comes() -> None:
        stack = _stack(members, widths, prepared.setup.taxonomy, y[rest], folds[rest], tol=1e-4)
        fitted["sklearn"] = stack.fit(X[rest], y[rest])

    def as_close() -> None:
        stack = _stack(members, widths, prepared.setup.taxonomy, y[rest], folds[rest], tol=1e-7)
        fitted["close"] = stack.fit(X[rest].astype(np.float64), y[rest])

    times = timing.alternate(
        {"ours": ours, "scikit-learn": as_it_comes, "scikit-learn, as close": as_close}, options.runs
    )
    quick, slow, close = times.values()
    own = fitted["ours"].predict_proba(data.take(aside))
    theirs = [fitted[name].predict_proba(X[aside]) for name in ("sklearn", "close")]
    apart = np.abs(fitted["sklearn"].transform(X[aside]) - fitted["close"].transform(X[aside])).max()
    timing.table(
        f"all heads, {len(members)} members, {len(rest)} rows, {len(set(folds[rest].tolist()))} inner folds",
        [
            ("ours: members, combination, temperature", timing.spread(quick)),
            ("scikit-learn's StackingClassifier as it comes", timing.spread(slow)),
            ("the same, solved as closely as ours", timing.spread(close)),
            ("**scikit-learn as it comes over ours**", f"{timing.ratio(slow, quick):.1f}"),
            ("**scikit-learn as close over ours**", f"{timing.ratio(close, quick):.1f}"),
            (f"ours on the {len(aside)} rows put aside", _score(own, y[aside])),
            ("scikit-learn as it comes", _score(theirs[0], y[aside])),
            ("scikit-learn as close", _score(theirs[1], y[aside])),
            ("probabilities of its members, as it comes and as close, largest difference", f"{apart:.0e}"),
        ],
    )


def _stack(
    members: Sequence[MemberConfig],
    widths: Mapping[str, int],
    taxonomy: Taxonomy,
    y: NDArray[np.intp],
    folds: NDArray[np.int64],
    *,
    tol: float,
) -> StackingClassifier:
    fewest = min(np.bincount(y[folds != fold]).min() for fold in np.unique(folds))
    smote = SMOTE(random_state=0, k_neighbors=int(min(5, fewest - 1)))
    starts = dict(zip(widths, np.cumsum([0, *widths.values()]), strict=False))
    estimators = []
    for member in members:
        features = list(member.features or ())
        columns = np.concatenate([np.arange(starts[n], starts[n] + widths[n]) for n in features])
        # The heads' own penalty is for rows of unit length; standardized columns have a length of their number.
        head = LogisticRegression(C=getattr(member.head, "C", 300.0) / len(columns), tol=tol, max_iter=5000)
        pick = ColumnTransformer([("own", StandardScaler(), columns)])
        steps = {"none": [], "random": [RandomOverSampler(random_state=0)]}.get(member.sampler.kind, [smote])
        specialist = make_pipeline(*steps, head)
        whole = {
            "flat": specialist,
            "one_vs_rest": OneVsRestClassifier(specialist),
            "hierarchical": PerNode(specialist, taxonomy),
        }[member.strategy]
        estimators.append((str(member.name), make_pipeline(pick, whole)))
    splits = [(np.flatnonzero(folds != f), np.flatnonzero(folds == f)) for f in np.unique(folds)]
    return StackingClassifier(
        estimators,
        final_estimator=LogisticRegression(max_iter=1000),
        cv=splits,
        stack_method="predict_proba",
        n_jobs=cores(),
    )


def _score(proba: Matrix, y: NDArray[np.intp]) -> str:
    loss = -np.log(np.clip(proba[np.arange(len(y)), y], 1e-15, None)).mean()
    return f"accuracy {np.mean(proba.argmax(axis=1) == y):.3f}, log-loss {loss:.3f}"


if __name__ == "__main__":
    main()
