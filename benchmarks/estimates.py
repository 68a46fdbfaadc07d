"""What a fit says beforehand that members take, against what they take: one fold, one core, rows drawn by code.

The estimate is made of operations and of the rate at which the machine multiplies matrices. This calibrates the
constants of logistic members in `experiment/fold_shape.py`. Hierarchical ones have a group for every two classes.

    python benchmarks/estimates.py [--runs 5]
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import timing
from numpy.typing import NDArray

from ensemble_minerals.config.members import MemberConfig
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.experiment.fold_shape import FoldShape, multiplication_rate
from ensemble_minerals.members.base import MemberFailure
from ensemble_minerals.members.feature_member import FeatureMember, fit_together
from ensemble_minerals.members.registry import build_strategy
from ensemble_minerals.system.parallel import single_thread

SHAPES = (
    (300, 400, 7),
    (750, 1400, 7),
    (750, 4100, 7),
    (750, 4100, 3),
    (750, 1400, 20),
    (2000, 600, 7),
    (6000, 600, 7),
    (2200, 1400, 68),
)
"""Rows, columns and classes."""

MEMBERS: tuple[dict[str, Any], ...] = (
    {"strategy": "flat", "head": {"kind": "logistic", "C": 300.0}},
    {"strategy": "one_vs_rest", "head": {"kind": "logistic", "C": 50.0}, "sampler": "random"},
    {"strategy": "hierarchical", "head": {"kind": "logistic", "C": 100.0}, "sampler": "smote"},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    configs = [
        MemberConfig.model_validate({"name": member["strategy"], "features": ["drawn"], **member})
        for member in MEMBERS
    ]
    rows = []
    for n_rows, n_columns, n_classes in SHAPES:
        X, y = draw(n_rows, n_columns, n_classes)
        names = np.array([f"class {number}" for number in range(n_classes)])
        tree = {f"group {n}": names[n : n + 2].tolist() for n in range(0, n_classes - 1, 2)}
        members = [FeatureMember(str(c.name), ("drawn",), build_strategy(c, tree, 0)) for c in configs]
        numbers = np.arange(n_rows)
        folds = numbers % 5
        learned = y[folds != 0]
        shape = FoldShape(len(learned), n_rows - len(learned), n_classes, float(np.bincount(learned).max()))
        space = shape.space(n_columns) / len(members)
        shares: dict[str, list[float]] = {member.name: [] for member in members}
        for _ in range(options.runs):
            rate = multiplication_rate()
            with single_thread:
                fitted = fit_together(members, [X], FoldInputs(y, numbers, folds, names), 0)
            for config, member, found in zip(configs, members, fitted, strict=True):
                if isinstance(found, MemberFailure):
                    raise SystemExit(found.reason)
                shares[member.name].append((space + shape.head(config, n_columns)) / rate / found.seconds)
        timing.note(f"{n_rows} rows, {n_columns} columns: done")
        rows.append(
            (
                f"{n_rows} rows, {n_columns} columns, {n_classes} classes",
                ", ".join(f"{name} {timing.spread(found, 1, '')}" for name, found in shares.items()),
            )
        )
    timing.table("estimates of members over what they took", rows)


def draw(n_rows: int, n_columns: int, n_classes: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Rows of classes that overlap, the first thrice as frequent as the last, in 60 dimensions and noise."""
    rng = np.random.default_rng(0)
    share = np.linspace(3, 1, n_classes)
    y = rng.choice(n_classes, n_rows, p=share / share.sum())
    y[: 6 * n_classes] = np.repeat(np.arange(n_classes), 6)
    latent = 0.55 * rng.normal(size=(n_classes, 60))[y] + rng.normal(size=(n_rows, 60))
    X = latent @ rng.normal(size=(60, n_columns)) / 8 + 0.6 * rng.normal(size=(n_rows, n_columns))
    return X.astype(np.float32), y


if __name__ == "__main__":
    main()
