"""Calibrated image ensembles for mineral photos.

`fit` trains an ensemble on a folder of photos and saves it as a bundle, `load` reads a bundle and answers for
photos, `inspect_data` says what a folder holds; see `api` for all functions, and `PhotoClassifier` for scikit-learn.
The names in ``__all__``, their arguments and what is documented of their results are promised; all else may change.
Names are resolved at first use, so importing the package is quick::

    import ensemble_minerals as em

    em.fit("photos/", "artifacts/mine")
    predictions = em.load("artifacts/mine").predict(["new/"])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ensemble_minerals.api import (
        ablate,
        compare,
        distill,
        explain,
        export,
        fit,
        inspect_data,
        load,
        report,
        review,
        tune,
    )
    from ensemble_minerals.config.loading import load_config
    from ensemble_minerals.config.schema import Config
    from ensemble_minerals.ensemble.stacked import StackedEnsemble
    from ensemble_minerals.errors import EnsembleMineralsError, ImageError, UserError
    from ensemble_minerals.photo_classifier import PhotoClassifier
    from ensemble_minerals.prediction.photo_predictor import PhotoPredictor
    from ensemble_minerals.prediction.predictor import Predictor
    from ensemble_minerals.prediction.table import Predictions
    from ensemble_minerals.taxonomy import Taxonomy
    from ensemble_minerals.workflows.ablate import AblationResult
    from ensemble_minerals.workflows.compare import BundleComparison
    from ensemble_minerals.workflows.distill import DistillResult
    from ensemble_minerals.workflows.explain import ExplainResult
    from ensemble_minerals.workflows.export import ExportResult
    from ensemble_minerals.workflows.fit import FitResult
    from ensemble_minerals.workflows.inspect import Inspection
    from ensemble_minerals.workflows.report import ReportResult
    from ensemble_minerals.workflows.tune import TuneResult

__version__ = "0.2.0"

__all__ = [
    "AblationResult",
    "BundleComparison",
    "Config",
    "DistillResult",
    "EnsembleMineralsError",
    "ExplainResult",
    "ExportResult",
    "FitResult",
    "ImageError",
    "Inspection",
    "PhotoClassifier",
    "PhotoPredictor",
    "Predictions",
    "Predictor",
    "ReportResult",
    "StackedEnsemble",
    "Taxonomy",
    "TuneResult",
    "UserError",
    "__version__",
    "ablate",
    "compare",
    "distill",
    "explain",
    "export",
    "fit",
    "inspect_data",
    "load",
    "load_config",
    "report",
    "review",
    "tune",
]

_HOMES = {
    "AblationResult": "workflows.ablate",
    "BundleComparison": "workflows.compare",
    "Config": "config.schema",
    "DistillResult": "workflows.distill",
    "EnsembleMineralsError": "errors",
    "ExplainResult": "workflows.explain",
    "ExportResult": "workflows.export",
    "FitResult": "workflows.fit",
    "ImageError": "errors",
    "Inspection": "workflows.inspect",
    "PhotoClassifier": "photo_classifier",
    "PhotoPredictor": "prediction.photo_predictor",
    "Predictions": "prediction.table",
    "Predictor": "prediction.predictor",
    "ReportResult": "workflows.report",
    "StackedEnsemble": "ensemble.stacked",
    "Taxonomy": "taxonomy",
    "TuneResult": "workflows.tune",
    "UserError": "errors",
    "ablate": "api",
    "compare": "api",
    "distill": "api",
    "explain": "api",
    "export": "api",
    "fit": "api",
    "inspect_data": "api",
    "load": "api",
    "load_config": "config.loading",
    "report": "api",
    "review": "api",
    "tune": "api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
