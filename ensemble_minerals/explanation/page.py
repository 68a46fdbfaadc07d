"""The report of an explanation: a page, its figures, and the same as JSON and CSV."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.evaluation.leaderboard import member_weights
from ensemble_minerals.explanation.explainer import Explainer
from ensemble_minerals.explanation.photos import FEATURES, PANELS, ExplainedPhoto, Illustrator
from ensemble_minerals.explanation.request import ExplanationRequest
from ensemble_minerals.prediction.table import Predictions
from ensemble_minerals.reports.page import write_page
from ensemble_minerals.system.atomic import atomic_folder, user_errors
from ensemble_minerals.system.csv_file import write_csv
from ensemble_minerals.system.paths import FolderKind
from ensemble_minerals.system.progress import StageProgress
from ensemble_minerals.system.runtime import Runtime

FORMAT = 1
"""Of ``explain.json``."""

PAGE, DATA, VOTES = "index.html", "explain.json", "votes.csv"
EXPLANATION = FolderKind("explanation", DATA)


def write_explanation(
    explainer: Explainer,
    predictions: Predictions,
    request: ExplanationRequest,
    folder: Path,
    *,
    source: str,
    runtime: Runtime,
) -> tuple[Path, Path, Path]:
    """Explain and draw all answered photos; the folder appears whole or not at all.

    Args:
        explainer: Of the ensemble.
        predictions: Its answers.
        request: What shall be explained.
        folder: Where page, figures and tables go.
        source: Who answered, for instance the path of the bundle.
        runtime: Threads and progress.

    Returns:
        The page, the JSON, and the table of votes.

    Raises:
        UserError: If the folder cannot be written, or a photo changed since it was answered.
        WeightsError: If a network's weights cannot be had.
    """
    fitted = explainer.fitted_ensemble
    weights, meaning = member_weights(fitted.combination, len(predictions.members))
    target = None if request.target is None else explainer.classes[request.target]
    n_answered = int(predictions.answered.sum())
    with user_errors(folder), atomic_folder(folder) as unfinished:
        (unfinished / PANELS).mkdir()
        (unfinished / FEATURES).mkdir()
        illustrator = Illustrator(unfinished, explainer, predictions, weights, request)
        with closing(illustrator.photos(runtime.n_jobs)) as photos:
            write_page(
                unfinished / PAGE,
                "explanation.html.j2",
                title="What speaks for the answers",
                synthetic=explainer.demonstration,
                source=source,
                n_answered=n_answered,
                target=target,
                networks=list(explainer.networks),
                meaning=meaning,
                unreadable=[
                    (path, reason)
                    for path, reason in zip(predictions.paths, predictions.reasons, strict=True)
                    if reason
                ],
                photos=_counted(photos, runtime.progress.stage("Explaining"), n_answered),
            )
        _write_votes(unfinished / VOTES, predictions, weights)
        content = {
            "format": FORMAT,
            "bundle": source,
            "classes": list(predictions.classes),
            "target": target,
            "members": [
                {"name": member.name, "sources": list(member.features), "weight": float(weight)}
                for member, weight in zip(fitted.members, weights, strict=True)
            ],
            "weights_mean": meaning,
            "photos": illustrator.records(),
        }
        text = json.dumps(content, indent=1, ensure_ascii=True, allow_nan=False)
        (unfinished / DATA).write_text(text + "\n", encoding="ascii")
    return folder / PAGE, folder / DATA, folder / VOTES


def _write_votes(file: Path, predictions: Predictions, weights: NDArray[np.float64]) -> None:
    """A row for each photo and voter, and one for each photo that could not be read."""
    head = ["path", "status", "reason", "voter", "weight", "vote", "probability"]
    columns = head + [f"p_{name}" for name in predictions.classes]
    write_csv(file, columns, _votes(predictions, weights))


def _votes(predictions: Predictions, weights: NDArray[np.float64]) -> Iterator[list[object]]:
    for row, path in enumerate(predictions.paths):
        if not predictions.answered[row]:
            yield [path, "unreadable", predictions.reasons[row]] + [""] * (4 + len(predictions.classes))
            continue
        voters = [("ensemble", "", predictions.proba[row])]
        voters += [
            (name, f"{weight:.6g}", votes)
            for name, weight, votes in zip(
                predictions.members, weights, predictions.member_proba[row], strict=True
            )
        ]
        for name, weight, votes in voters:
            best = int(votes.argmax())
            shares = [f"{share:.6g}" for share in (votes[best], *votes)]
            yield [path, "ok", "", name, weight, predictions.classes[best], *shares]


def _counted(
    photos: Iterable[ExplainedPhoto], progress: StageProgress, total: int
) -> Iterator[ExplainedPhoto]:
    for done, photo in enumerate(photos, start=1):
        yield photo
        progress(done, total)
