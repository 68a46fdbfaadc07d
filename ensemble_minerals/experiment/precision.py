"""In which precision the backbones of a fit compute, and what answers would be in float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ensemble_minerals.bundle.index import Float32Check
from ensemble_minerals.config.schema import Config
from ensemble_minerals.experiment.dataset import Dataset, gather_rows
from ensemble_minerals.features.backbone import BackboneExtractor
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.registry import build_extractors
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.system.runtime import Runtime

if TYPE_CHECKING:
    from ensemble_minerals.ensemble.stacked import StackedEnsemble
    from ensemble_minerals.experiment.setup import Setup

CHECKED = 32
"""Photos whose answers are compared with those in float32."""


def describe_engines(extractors: Mapping[str, FeatureExtractor]) -> str:
    """What runs the backbones, in words for the user; empty where there is none."""
    said = []
    for name, extractor in extractors.items():
        if isinstance(extractor, BackboneExtractor):
            metadata, choice = extractor.metadata, extractor.choice
            why = "" if choice is None else choice.reason
            if choice is not None and choice.milliseconds:
                why = ", ".join(
                    f"{ms:.1f} ms of CPU time a pass in {p}" for p, ms in sorted(choice.milliseconds.items())
                )
            said.append(
                f"{name} by {metadata['engine']} in {metadata['precision']}{f' ({why})' if why else ''}"
            )
    return f"backbones: {'; '.join(said)}" if said else ""


def check_against_float32(
    ensemble: StackedEnsemble, setup: Setup, dataset: Dataset, config: Config, runtime: Runtime
) -> Float32Check | None:
    """Compare an ensemble's answers to some photos with those that it gives to their features in float32.

    Args:
        ensemble: Fitted.
        setup: Its members.
        dataset: The photos.
        config: What was trained.
        runtime: Features are kept in its cache folder.

    Returns:
        None where all features are in float32 as it is.
    """
    reduced = [
        name
        for name, extractor in dataset.extractors.items()
        if extractor.metadata.get("precision", "float32") != "float32"
    ]
    if not reduced:
        return None
    rows = dataset.rows[np.linspace(0, len(dataset.rows) - 1, min(CHECKED, len(dataset.rows)), dtype=np.intp)]
    exact = build_extractors(
        config, reduced, cache_dir=runtime.cache_dir, precision=dict.fromkeys(reduced, "float32")
    )
    gathered = gather_rows(dataset.manifest, rows, config, exact, runtime, "Comparing with float32")
    kept = np.setdiff1d(np.arange(len(rows)), list(gathered.errors))
    data = setup.row_data(dataset, rows).take(kept)
    in_float32 = {name: values[kept] for name, values in gathered.features.items()}
    here = ensemble.predict_proba(data)
    there = ensemble.predict_proba(RowData({**data.matrices, **in_float32}, data.images))
    return Float32Check(
        photos=len(kept), largest_difference=float(np.abs(here - there).max()) if len(kept) else 0.0
    )
