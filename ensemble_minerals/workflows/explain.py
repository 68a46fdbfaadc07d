"""`explain`: takes a bundle and photos, and draws heat-maps, maps of channels and votes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.explanation.explainer import Explainer
from ensemble_minerals.explanation.page import EXPLANATION, write_explanation
from ensemble_minerals.explanation.request import ExplanationRequest
from ensemble_minerals.prediction.inputs import Inputs, named_folders
from ensemble_minerals.prediction.predictor import Predictor
from ensemble_minerals.prediction.table import Predictions
from ensemble_minerals.system.cpu import count_jobs
from ensemble_minerals.system.paths import claimed_output
from ensemble_minerals.system.progress import Progress, Silent
from ensemble_minerals.system.runtime import Runtime


@dataclass(frozen=True)
class ExplainResult:
    """What an explanation made.

    Attributes:
        html: The page; the figures lie beside it.
        json: The same as data.
        votes: Table of every vote.
        predictions: The answers.
        seconds: Time it took.
    """

    html: Path
    json: Path
    votes: Path
    predictions: Predictions
    seconds: float

    def __repr__(self) -> str:
        """The page, and how many photos it explains."""
        return f"ExplainResult({str(self.html)!r}, {len(self.predictions)} photos)"


def explain(
    bundle_path: str | Path,
    inputs: Inputs,
    out: str | Path,
    *,
    target: str | None = None,
    layers: Sequence[str] | None = None,
    members: Sequence[str] | None = None,
    cache_dir: Path | None = None,
    overwrite: bool = False,
    n_jobs: int = -1,
    progress: Progress | None = None,
) -> ExplainResult:
    """Show what in photos speaks for the answers of an ensemble.

    Args:
        bundle_path: Of a fit.
        inputs: Photos, folders and patterns, as for `Predictor.predict`.
        out: Folder for the page, its figures and tables.
        target: Class that is explained; the answer to each photo by default.
        layers: Layers whose channels are drawn, such as ``"lite0:final"``, or ``"final"`` of every network that
            has one; by default the first, one in the middle and the last of each network.
        members: Names of members whose own heat-maps are drawn as well.
        cache_dir: Where converted networks are kept between runs.
        overwrite: Replace an explanation that is at `out`.
        n_jobs: Threads; -1 for all processors this process may use.
        progress: Told about progress.

    Raises:
        BundleError: If the bundle is missing, damaged or of another format.
        WeightsError: If the weights of a network cannot be had any more.
        UserError: If an input matches nothing, a name is not known, or `out` may not be replaced.
    """
    started = time.perf_counter()
    runtime = Runtime(count_jobs(n_jobs), cache_dir, Silent() if progress is None else progress)
    folder = Path(out)
    note = runtime.progress.note
    outside = named_folders(inputs)
    with claimed_output(folder, "an explanation", kind=EXPLANATION, overwrite=overwrite, outside=outside):
        predictor = Predictor(read_bundle(Path(bundle_path)), cache_dir, runtime.n_jobs, every_member=True)
        explainer = Explainer(predictor)
        request = ExplanationRequest.resolve(explainer, target=target, members=members or (), layers=layers)
        if not explainer.networks:
            note("No member looks through a network: there are votes, but no heat-maps.")
        predictions = predictor.predict(inputs, runtime.progress.stage("Answering"), note=note)
        html, json, votes = write_explanation(
            explainer, predictions, request, folder, source=str(bundle_path), runtime=runtime
        )
    return ExplainResult(html, json, votes, predictions, time.perf_counter() - started)
