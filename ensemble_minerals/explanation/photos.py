"""The explained photos: figures in a folder, entries of the page, and records of the JSON file."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.decoding import decode
from ensemble_minerals.errors import ImageError, UserError
from ensemble_minerals.explanation.explainer import Explainer, Explanation
from ensemble_minerals.explanation.request import ExplanationRequest
from ensemble_minerals.prediction.table import Predictions
from ensemble_minerals.reports.heatmaps import (
    Heat,
    VoteRow,
    as_address,
    draw_features,
    draw_panel,
    overlay,
    thumbnail,
)
from ensemble_minerals.reports.page import percent

PANELS, FEATURES = "panels", "features"

_SHOWN = 640  # pixels of the longer side of a photo in a panel
_FEW, _SIDE, _SIDE_OF_MANY = 40, 300, 200  # up to this number of photos, their images in the page are large


@dataclass(frozen=True)
class InlineImage:
    """An image of the page.

    Attributes:
        title: What it shows.
        address: The image itself, as a ``data:`` address.
    """

    title: str
    address: str


@dataclass(frozen=True)
class ExplainedVote:
    """What one member answers.

    Attributes:
        member: Name of the member.
        weight: How much it counts.
        answer: The class that it finds most probable.
        probability: What it gives that class.
        p_explained: What it gives the class that is explained.
    """

    member: str
    weight: float
    answer: str
    probability: float
    p_explained: float


@dataclass(frozen=True)
class ExplainedPhoto:
    """An entry of the page.

    Attributes:
        name: Name of the file.
        folder: Its path without the name.
        answer: The class that the ensemble finds most probable.
        confidence: Probability of the answer.
        refused: Whether the photo shows none of the classes.
        explained: The class that is explained.
        p_explained: Its probability.
        images: The photo and its heat-maps.
        votes: Of every member.
        panel: Address of the figure with all heat-maps.
        features: Address of the figure with the channels; empty if there is none.
    """

    name: str
    folder: str
    answer: str
    confidence: float
    refused: bool
    explained: str
    p_explained: float
    images: Sequence[InlineImage]
    votes: Sequence[ExplainedVote]
    panel: str
    features: str


class Illustrator:
    """Explains and draws photos, and keeps a record of each.

    Args:
        folder: Where the figures go; its sub-folders `PANELS` and `FEATURES` exist.
        explainer: Of the ensemble.
        predictions: Its answers.
        weights: How much each member counts, shape (n_members,).
        request: What shall be explained.
    """

    def __init__(
        self,
        folder: Path,
        explainer: Explainer,
        predictions: Predictions,
        weights: NDArray[np.float64],
        request: ExplanationRequest,
    ) -> None:
        self._folder = folder
        self._explainer = explainer
        self._predictions = predictions
        self._weights = weights
        self._request = request
        self._side = _SIDE if predictions.answered.sum() <= _FEW else _SIDE_OF_MANY
        self._records: dict[int, dict[str, Any]] = {}

    def photos(self, n_threads: int) -> Generator[ExplainedPhoto, None, None]:
        """Explain and draw all answered photos; several threads explain while one draws."""
        rows = np.flatnonzero(self._predictions.answered).tolist()
        with ThreadPoolExecutor(n_threads, thread_name_prefix="explain") as pool:
            for start in range(0, len(rows), 2 * n_threads):
                chunk = rows[start : start + 2 * n_threads]
                for row, (pixels, explanation) in zip(chunk, pool.map(self._explain, chunk), strict=True):
                    yield self._draw(row, pixels, explanation)

    def records(self) -> list[dict[str, Any]]:
        """Every input as JSON values."""
        predictions = self._predictions
        return [
            self._records.get(
                row, {"path": str(path), "status": "unreadable", "reason": predictions.reasons[row]}
            )
            for row, path in enumerate(predictions.paths)
        ]

    def _explain(self, row: int) -> tuple[NDArray[np.uint8], Explanation]:
        target = (
            int(self._predictions.proba[row].argmax())
            if self._request.target is None
            else self._request.target
        )
        try:
            photo = decode(
                self._predictions.paths[row], at_least=self._explainer.side, limits=self._explainer.limits
            ).pixels
        except ImageError as error:
            raise UserError(
                f"{self._predictions.paths[row]} changed while it was explained: {error}"
            ) from error
        explanation = self._explainer.explain(
            photo, target, members=self._request.members, layers=self._request.layers
        )
        return thumbnail(photo, _SHOWN), explanation

    def _draw(self, row: int, pixels: NDArray[np.uint8], explanation: Explanation) -> ExplainedPhoto:
        predictions, path = self._predictions, self._predictions.paths[row]
        answer, confidence = predictions.top(row)[0]
        explained = predictions.classes[explanation.target]
        p_explained = float(predictions.proba[row, explanation.target])
        heats = _heats(explanation, explained)
        name = f"{row + 1:04d}-{_plain(path.stem)}.png"
        title = f"{path.name}: {predictions.shown_label(row)}, {percent(confidence)}"
        if explained != answer:
            title += f" (explained: {explained}, {percent(p_explained)})"
        draw_panel(
            self._folder / PANELS / name,
            pixels,
            heats,
            predictions.classes,
            self._vote_rows(row),
            title=title,
            target=explanation.target,
        )
        features = ""
        if explanation.features:
            features = f"{FEATURES}/{name}"
            draw_features(
                self._folder / features,
                [
                    (f"{network}, {layer}: {maps.shape[1]} x {maps.shape[2]} places", maps)
                    for (network, layer), maps in explanation.features.items()
                ],
                title=f"{path.name}: channels that move the answer {explained} most",
            )
        self._records[row] = {
            **_record(predictions, row, explanation),
            "panel": f"{PANELS}/{name}",
            "features": features or None,
        }
        return ExplainedPhoto(
            name=path.name,
            folder="" if path.parent.as_posix() == "." else path.parent.as_posix().rstrip("/") + "/",
            answer=answer,
            confidence=confidence,
            refused=bool(predictions.refused[row]),
            explained=explained,
            p_explained=p_explained,
            images=_inline_images(thumbnail(pixels, self._side), heats),
            votes=self._votes(row, explanation.target),
            panel=f"{PANELS}/{name}",
            features=features,
        )

    def _vote_rows(self, row: int) -> list[VoteRow]:
        """The probabilities of the ensemble and of each member, for the figure."""
        predictions = self._predictions
        return [VoteRow("ensemble", predictions.proba[row].tolist(), strong=True)] + [
            VoteRow(member, proba.tolist())
            for member, proba in zip(predictions.members, predictions.member_proba[row], strict=True)
        ]

    def _votes(self, row: int, target: int) -> list[ExplainedVote]:
        """The vote of each member, for the page."""
        own = self._predictions.member_proba[row, :, target].tolist()
        return [
            ExplainedVote(member, float(weight), answer, probability, p_explained)
            for weight, (member, answer, probability), p_explained in zip(
                self._weights, self._predictions.votes(row), own, strict=True
            )
        ]


def _inline_images(photo: NDArray[np.uint8], heats: Sequence[Heat]) -> list[InlineImage]:
    return [
        InlineImage(heat.title, as_address(photo if heat.values is None else overlay(photo, heat.values)))
        for heat in heats
    ]


def _heats(explanation: Explanation, explained: str) -> list[Heat]:
    """The photo, the map of the ensemble, the part of each network, and the requested members."""
    heats = [Heat("photo", None)]
    if explanation.whole is None:
        return heats
    whole = sum(attribution.support for attribution in explanation.extractors.values())
    empty = "" if explanation.whole.support > 0 else " (none)"
    heats.append(Heat(f"ensemble, for {explained}{empty}", explanation.whole.heat))
    for name, attribution in explanation.extractors.items():
        share = f"{100 * attribution.support / whole:.0f} %" if whole > 0 else "none"
        heats.append(Heat(f"through {name}: {share}", attribution.heat))
    members = explanation.members.items()
    return heats + [Heat(f"member {name}", attribution.heat) for name, attribution in members]


def _record(predictions: Predictions, row: int, explanation: Explanation) -> dict[str, Any]:
    answer, confidence = predictions.top(row)[0]
    whole = sum(attribution.support for attribution in explanation.extractors.values())
    return {
        "path": str(predictions.paths[row]),
        "status": "ok",
        "reason": "",
        "answer": answer,
        "confidence": confidence,
        "typicality": predictions.typicality_of(row),
        "verdict": predictions.verdict(row),
        "explained": predictions.classes[explanation.target],
        "log_odds": explanation.log_odds,
        "proba": dict(zip(predictions.classes, predictions.proba[row].tolist(), strict=True)),
        "networks": {
            name: {
                "share": attribution.support / whole if whole > 0 else None,
                "layers": dict(attribution.layers),
            }
            for name, attribution in explanation.extractors.items()
        },
        "votes": {
            member: dict(zip(predictions.classes, votes.tolist(), strict=True))
            for member, votes in zip(predictions.members, predictions.member_proba[row], strict=True)
        },
    }


def _plain(stem: str) -> str:
    """The stem of a file name with only those characters that an address may have."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem)[:60].strip("-") or "photo"
