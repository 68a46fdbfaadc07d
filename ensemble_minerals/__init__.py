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
    from ensemble_minerals.config import Config, load_config
    from ensemble_minerals.ensemble.stacked import StackedEnsemble
    from ensemble_minerals.errors import EnsembleMineralsError
    from ensemble_minerals.inspection import Inspection, inspect_data
    from ensemble_minerals.pipeline import FitResult, fit
    from ensemble_minerals.predict import Predictor, load
    from ensemble_minerals.predictions import Predictions
    from ensemble_minerals.taxonomy import Taxonomy

__version__ = "0.1.0"

__all__ = [
    "Config",
    "EnsembleMineralsError",
    "FitResult",
    "Inspection",
    "Predictions",
    "Predictor",
    "StackedEnsemble",
    "Taxonomy",
    "__version__",
    "fit",
    "inspect_data",
    "load",
    "load_config",
]

_HOMES = {
    "Config": "config",
    "EnsembleMineralsError": "errors",
    "FitResult": "pipeline",
    "Inspection": "inspection",
    "Predictions": "predictions",
    "Predictor": "predict",
    "StackedEnsemble": "ensemble.stacked",
    "Taxonomy": "taxonomy",
    "fit": "pipeline",
    "inspect_data": "inspection",
    "load": "predict",
    "load_config": "config",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
