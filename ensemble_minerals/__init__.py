"""Calibrated image ensembles for mineral photos.

`fit` trains an ensemble on a folder of photos and saves it as a bundle, `load` reads a bundle and answers for
photos, `inspect_data` says what a folder holds. Names are resolved at first use, so importing the package is quick::

    import ensemble_minerals as em

    em.fit("photos/", "artifacts/mine")
    predictions = em.load("artifacts/mine").predict(["new/"])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ensemble_minerals.config.loading import load_config
    from ensemble_minerals.config.schema import Config
    from ensemble_minerals.ensemble.stacked import StackedEnsemble
    from ensemble_minerals.errors import EnsembleMineralsError
    from ensemble_minerals.prediction.predictor import Predictor, load
    from ensemble_minerals.prediction.table import Predictions
    from ensemble_minerals.taxonomy import Taxonomy
    from ensemble_minerals.workflows.compare import BundleComparison, compare
    from ensemble_minerals.workflows.fit import FitResult, fit
    from ensemble_minerals.workflows.inspect import Inspection, inspect_data

__version__ = "0.1.0"

__all__ = [
    "BundleComparison",
    "Config",
    "EnsembleMineralsError",
    "FitResult",
    "Inspection",
    "Predictions",
    "Predictor",
    "StackedEnsemble",
    "Taxonomy",
    "__version__",
    "compare",
    "fit",
    "inspect_data",
    "load",
    "load_config",
]

_HOMES = {
    "BundleComparison": "workflows.compare",
    "Config": "config.schema",
    "EnsembleMineralsError": "errors",
    "FitResult": "workflows.fit",
    "Inspection": "workflows.inspect",
    "Predictions": "prediction.table",
    "Predictor": "prediction.predictor",
    "StackedEnsemble": "ensemble.stacked",
    "Taxonomy": "taxonomy",
    "compare": "workflows.compare",
    "fit": "workflows.fit",
    "inspect_data": "workflows.inspect",
    "load": "prediction.predictor",
    "load_config": "config.loading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
