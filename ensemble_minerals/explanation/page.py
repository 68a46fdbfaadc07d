"""The drawn explanations of photos: pictures in a folder, cards for the page, rows for the tables."""

from __future__ import annotations

import csv
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
from ensemble_minerals.prediction.table import Predictions
from ensemble_minerals.reports.heatmaps import (
    Heat,
    VoteRow,
    as_address,
    draw_features,
    draw_panel,
    overlay,
    shrink,
)
from ensemble_minerals.reports.page import percent

PANELS, FEATURES = "panels", "features"

_SHOWN = 640  # pixels of the longer side of a photo in a panel
_FEW, _SIDE, _SIDE_OF_MANY = 40, 300, 200  # up to so many photos their pictures in the page are large


@dataclass(frozen=True)
class Picture:
    """A picture of the page."""

    title: str
    address: str


@dataclass(frozen=True)
class Card:
    """A photo of the page."""

    name: str
    folder: str
    answer: str
    confidence: float
    explained: str
    p_explained: float
    pictures: Sequence[Picture]
    votes: Sequence[tuple[str, float, str, float, float]]
    panel: str
    features: str


class Illustrator:
    """Draws the photos of an explanation, and remembers what stood in it."""

    def __init__(
        self,
        folder: Path,
        explainer: Explainer,
        found: Predictions,
        weights: NDArray[np.float64],
        *,
        target: int | None,
        members: Sequence[int],
        layers: Sequence[tuple[str, str]],
    ) -> None:
        self._folder = folder
        self._explainer = explainer
        self._found = found
        self._weights = weights
        self._target = target
        self._members = members
        self._layers = layers
        self._side = _SIDE if found.answered.sum() <= _FEW else _SIDE_OF_MANY
        self._records: dict[int, dict[str, Any]] = {}

    def cards(self, n_threads: int) -> Generator[Card, None, None]:
        """Explain and draw all answered photos; a few threads look into networks while one draws."""
        rows = np.flatnonzero(self._found.answered).tolist()
        with ThreadPoolExecutor(n_threads, thread_name_prefix="explain") as pool:
            for start in range(0, len(rows), 2 * n_threads):
                chunk = rows[start : start + 2 * n_threads]
                for row, (pixels, explanation) in zip(chunk, pool.map(self._explain, chunk), strict=True):
                    yield self._draw(row, pixels, explanation)

    def records(self) -> list[dict[str, Any]]:
        """Every input as JSON values."""
        found = self._found
        return [
            self._records.get(row, {"path": str(path), "status": "unreadable", "reason": found.reasons[row]})
            for row, path in enumerate(found.paths)
        ]

    def _explain(self, row: int) -> tuple[NDArray[np.uint8], Explanation]:
        target = int(self._found.proba[row].argmax()) if self._target is None else self._target
        try:
            photo = decode(
                self._found.paths[row], at_least=self._explainer.side, limits=self._explainer.limits
            ).pixels
        except ImageError as error:
            raise UserError(f"{self._found.paths[row]} changed while it was explained: {error}") from error
        explanation = self._explainer.explain(photo, target, members=self._members, layers=self._layers)
        return shrink(photo, _SHOWN), explanation

    def _draw(self, row: int, pixels: NDArray[np.uint8], explanation: Explanation) -> Card:
        found, path = self._found, self._found.paths[row]
        answer, confidence = found.top(row)[0]
        explained = found.classes[explanation.target]
        heats = _heats(explanation, explained)
        name = f"{row + 1:04d}-{_plain(path.stem)}.png"
        title = f"{path.name}: {answer}, {percent(confidence)}"
        if explained != answer:
            title += f" (explained: {explained}, {percent(found.proba[row, explanation.target])})"
        rows = [VoteRow("ensemble", found.proba[row].tolist(), strong=True)]
        rows += [
            VoteRow(member, votes.tolist())
            for member, votes in zip(found.members, found.member_proba[row], strict=True)
        ]
        draw_panel(
            self._folder / PANELS / name,
            pixels,
            heats,
            found.classes,
            rows,
            title=title,
            target=explanation.target,
        )
        features = ""
        if explanation.features:
            features = f"{FEATURES}/{name}"
            draw_features(
                self._folder / features,
                [
                    (f"{source}, {layer}: {maps.shape[1]} x {maps.shape[2]} places", maps)
                    for (source, layer), maps in explanation.features.items()
                ],
                title=f"{path.name}: channels that move the answer {explained} most",
            )
        self._records[row] = {
            **_record(found, row, explanation),
            "panel": f"{PANELS}/{name}",
            "features": features or None,
        }
        small = shrink(pixels, self._side)
        return Card(
            name=path.name,
            folder="" if path.parent.as_posix() == "." else path.parent.as_posix().rstrip("/") + "/",
            answer=answer,
            confidence=confidence,
            explained=explained,
            p_explained=float(found.proba[row, explanation.target]),
            pictures=[
                Picture(
                    heat.title,
                    as_address(small if heat.values is None else overlay(small, heat.values)),
                )
                for heat in heats
            ],
            votes=[
                (member, float(weight), label, share, float(found.member_proba[row, m, explanation.target]))
                for m, (weight, (member, label, share)) in enumerate(
                    zip(self._weights, found.votes(row), strict=True)
                )
            ],
            panel=f"{PANELS}/{name}",
            features=features,
        )


def _heats(explanation: Explanation, explained: str) -> list[Heat]:
    """The photo, the whole, each network's part, and the members that were asked for."""
    heats = [Heat("photo", None)]
    if explanation.whole is None:
        return heats
    whole = sum(one.support for one in explanation.extractors.values())
    empty = "" if explanation.whole.support > 0 else " (none)"
    heats.append(Heat(f"ensemble, for {explained}{empty}", explanation.whole.heat))
    for name, one in explanation.extractors.items():
        share = f"{100 * one.support / whole:.0f} %" if whole > 0 else "none"
        heats.append(Heat(f"through {name}: {share}", one.heat))
    return heats + [Heat(f"member {name}", one.heat) for name, one in explanation.members.items()]


def _record(found: Predictions, row: int, explanation: Explanation) -> dict[str, Any]:
    answer, confidence = found.top(row)[0]
    whole = sum(one.support for one in explanation.extractors.values())
    return {
        "path": str(found.paths[row]),
        "status": "ok",
        "reason": "",
        "answer": answer,
        "confidence": confidence,
        "explained": found.classes[explanation.target],
        "log_odds": explanation.log_odds,
        "proba": dict(zip(found.classes, found.proba[row].tolist(), strict=True)),
        "networks": {
            name: {"share": one.support / whole if whole > 0 else None, "layers": dict(one.layers)}
            for name, one in explanation.extractors.items()
        },
        "votes": {
            member: dict(zip(found.classes, votes.tolist(), strict=True))
            for member, votes in zip(found.members, found.member_proba[row], strict=True)
        },
    }


def write_votes(file: Path, found: Predictions, weights: NDArray[np.float64]) -> None:
    """A row for each photo and voter, and one for each photo that could not be read."""
    head = ["path", "status", "reason", "voter", "weight", "vote", "probability"]
    with file.open("w", newline="", encoding="utf-8", errors="surrogateescape") as handle:
        table = csv.writer(handle)
        table.writerow(head + [f"p_{name}" for name in found.classes])
        for row, path in enumerate(found.paths):
            if not found.answered[row]:
                table.writerow([path, "unreadable", found.reasons[row]] + [""] * (4 + len(found.classes)))
                continue
            voters = [("ensemble", "", found.proba[row])]
            voters += [
                (name, f"{weight:.6g}", votes)
                for name, weight, votes in zip(found.members, weights, found.member_proba[row], strict=True)
            ]
            for name, weight, votes in voters:
                best = int(votes.argmax())
                shares = [f"{share:.6g}" for share in (votes[best], *votes)]
                table.writerow([path, "ok", "", name, weight, found.classes[best], *shares])


def _plain(stem: str) -> str:
    """A file name's stem as it may stand in an address."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem)[:60].strip("-") or "photo"
