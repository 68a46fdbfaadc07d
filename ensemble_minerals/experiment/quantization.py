"""`precision: int8`: backbones are quantized on photos of the fit, and taken where answers stay as good."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.folds import TEST_FOLD, assign_folds
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.ensemble.cross_fit import cross_fit
from ensemble_minerals.experiment.dataset import gather_rows
from ensemble_minerals.features.backbone import BackboneExtractor
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.quantization import COMPARED, Calibration
from ensemble_minerals.features.quantized_backbone import QuantizedBackbone
from ensemble_minerals.log_space import clipped_log
from ensemble_minerals.members.feature_member import FeatureMember
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.system.seeds import derived_seed

CALIBRATED_ON = 32
"""Photos on which ranges are measured."""

CHECKED = 256
"""Photos on which out-of-fold log-loss is compared, at most."""

MOST_LOSS = 1.01
"""Out-of-fold log-loss on features in int8 over that in float32, at most."""

_FOLDS, _REPEATS = 3, 3


def in_int8(
    extractors: Mapping[str, FeatureExtractor], manifest: Manifest, config: Config, runtime: Runtime
) -> dict[str, FeatureExtractor]:
    """The extractors with those backbones in int8 whose out-of-fold log-loss stays within `MOST_LOSS`.

    No labels and no photos of the test part take part in quantizing. Each backbone is judged by itself, by a flat
    logistic regression on its features of some photos, in folds of their own.

    Args:
        extractors: By name, in float32.
        manifest: With row groups and folds.
        config: What is trained.
        runtime: Networks and features are kept in its cache folder; told what was taken, and why.
    """
    learned_from = manifest.usable[manifest.fold[manifest.usable] != TEST_FOLD]
    ids = np.array(manifest.feature_ids)
    first = learned_from[np.argsort(ids[learned_from])][: CALIBRATED_ON + COMPARED]
    calibration = Calibration.of(
        {str(ids[row]): manifest.file(int(row)) for row in first}, config.data.limits
    )
    exact = {name: each for name, each in extractors.items() if isinstance(each, BackboneExtractor)}
    quantized = {name: QuantizedBackbone(each, calibration) for name, each in exact.items()}
    reduced = {name: each for name, each in quantized.items() if each.metadata["precision"] == "int8"}
    rows = _some_rows(manifest, learned_from)
    if len(np.unique(manifest.label[rows])) < 2:
        runtime.progress.note("too few photos to compare int8 with float32: backbones stay in float32")
        return dict(extractors)
    losses = _compared({name: exact[name] for name in reduced}, reduced, manifest, rows, config, runtime)
    taken = dict(extractors)
    for name, each in quantized.items():
        if name not in reduced:
            runtime.progress.note(f"{name} stays in float32: {each.metadata['engine_note']}")
            continue
        before, after = losses[name]
        error = (after - before).std() / np.sqrt(len(before)) / before.mean()
        kept = after.mean() <= MOST_LOSS * before.mean()
        runtime.progress.note(
            f"{name} {'is computed in int8' if kept else 'stays in float32'}: out-of-fold log-loss of one regression "
            f"on {len(before)} photos is {after.mean():.4f} in int8, {before.mean():.4f} in float32 "
            f"({after.mean() / before.mean() - 1:+.1%}, standard error {error:.1%})"
        )
        if kept:
            taken[name] = each
    return taken


def _compared(
    exact: Mapping[str, FeatureExtractor],
    reduced: Mapping[str, FeatureExtractor],
    manifest: Manifest,
    rows: NDArray[np.intp],
    config: Config,
    runtime: Runtime,
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Out-of-fold losses of photos by a flat logistic regression on each backbone, in float32 and in int8.

    They are means over several ways to deal the photos to folds.
    """
    if not reduced:
        return {}
    gathered = [
        gather_rows(manifest, rows, config, some, runtime, f"Comparing {name}")
        for name, some in (("float32", exact), ("int8", reduced))
    ]
    readable = np.setdiff1d(np.arange(len(rows)), [*gathered[0].errors, *gathered[1].errors])
    labels, groups = manifest.label[rows[readable]], manifest.row_group[rows[readable]]
    classes, y = np.unique(labels, return_inverse=True)
    members = [FeatureMember(name, (name,), FlatClassifier()) for name in exact]
    losses = np.zeros((2, len(members), len(y)))
    for repeat in range(_REPEATS):
        folds = assign_folds(labels, groups, n_splits=_FOLDS, seed=derived_seed(config.seed, repeat))
        inputs = FoldInputs(y.astype(np.intp), groups.astype(np.intp), folds, classes)
        for number, each in enumerate(gathered):
            data = RowData({name: values[readable] for name, values in each.features.items()})
            answers = cross_fit(members, data, inputs, Runtime(runtime.n_jobs)).out_of_fold.member_proba
            losses[number] -= clipped_log(answers[:, np.arange(len(y)), y]) / _REPEATS
    return {name: (losses[0, i], losses[1, i]) for i, name in enumerate(exact)}


def _some_rows(manifest: Manifest, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rows to compare on, spread evenly, of classes with enough row groups for the folds."""
    rows = rows[np.linspace(0, len(rows) - 1, min(CHECKED, len(rows)), dtype=np.intp)]
    labels, groups = manifest.label[rows], manifest.row_group[rows]
    enough = [label for label in np.unique(labels) if len(np.unique(groups[labels == label])) >= _FOLDS]
    return rows[np.isin(labels, enough)]
