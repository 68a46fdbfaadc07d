"""How well strangers are told: another data set, each class left out, and the share of known photos that is refused.

Run: ``python benchmarks/strangers.py DATA OTHER [--cache DIR]``. Features are those of the shipped default.
"""

from __future__ import annotations

import argparse
import resource
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.loading import load_config
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.ensemble.rejection import auroc, refused
from ensemble_minerals.ensemble.rejection_fit import FittedRejection, fit_rejection
from ensemble_minerals.evaluation.intervals import GroupBootstrap
from ensemble_minerals.evaluation.paired import MeanScore
from ensemble_minerals.experiment.dataset import scan_photos
from ensemble_minerals.experiment.extractors import open_extractors
from ensemble_minerals.experiment.preparation import prepare
from ensemble_minerals.system.runtime import Runtime

REFUSE = 0.05
Matrices = dict[str, NDArray[np.floating[Any]]]


def read(data: Path, cache: Path | None) -> tuple[Matrices, FoldInputs]:
    """Features and folds of the photos of a data set that are not put aside for testing."""
    config, runtime = load_config(None), Runtime(1, cache)
    dataset = prepare(scan_photos(data, config, runtime), config, open_extractors(config, runtime), runtime)
    return dict(dataset.blocks(dataset.rows)), dataset.inputs


def rows_of(matrices: Matrices, rows: NDArray[np.intp]) -> Matrices:
    """Some rows of each matrix."""
    return {name: matrix[rows] for name, matrix in matrices.items()}


def fit(matrices: Matrices, known: FoldInputs, rows: NDArray[np.intp]) -> FittedRejection:
    """A rejection of some rows, whose classes are counted anew."""
    some = known.take(rows)
    classes, y = np.unique(some.y, return_inverse=True)
    again = FoldInputs(y.astype(np.intp), some.groups, some.folds, known.classes[classes])
    return fit_rejection(rows_of(matrices, rows), again, refuse=REFUSE)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    (matrices, known), (others, _) = (read(folder, options.cache) for folder in (options.data, options.other))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    rejection = fit(matrices, known, np.arange(len(known))).rejection
    seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
    strangers = rejection.typicality(others)
    far = auroc(rejection.calibration, rejection.score(others))
    print(f"fit: {seconds:.1f} CPU seconds, weights {rejection.weight.tolist()}")
    print(f"far: AUROC {far:.3f}, refused {refused(strangers, REFUSE).mean():.1%}")
    near = {}
    for position, name in enumerate(known.names):
        own = fit(matrices, known, np.flatnonzero(known.y != position)).rejection
        scores = own.score(rows_of(matrices, np.flatnonzero(known.y == position)))
        near[name] = auroc(own.calibration, scores)
    print(
        f"near: mean AUROC {np.mean(list(near.values())):.3f}",
        {name: round(v, 2) for name, v in near.items()},
    )
    told = np.zeros(len(known), dtype=bool)
    for fold in known.numbers:
        held_out = known.held_out(fold)
        without = fit(matrices, known, known.training(fold)).rejection
        told[held_out] = refused(without.typicality(rows_of(matrices, held_out)), REFUSE)
    share = GroupBootstrap(known.groups).interval(MeanScore(told))
    interval = f"95 % interval over row groups {share.low:.1%} to {share.high:.1%}"
    print(f"known photos refused by rejections that had not seen them: {share.estimate:.1%} ({interval})")


if __name__ == "__main__":
    main()
