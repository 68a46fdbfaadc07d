"""`explain`: a bundle and photos in; heat-maps, maps of channels and votes out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from ensemble_minerals.errors import UserError
from ensemble_minerals.evaluation.leaderboard import member_weights
from ensemble_minerals.explanation.explainer import Explainer
from ensemble_minerals.explanation.page import FEATURES, PANELS, Card, Illustrator, write_votes
from ensemble_minerals.prediction.predictor import load
from ensemble_minerals.prediction.table import Predictions
from ensemble_minerals.reports.page import write_page
from ensemble_minerals.system.atomic import atomic_folder, user_errors
from ensemble_minerals.system.cpu import count_jobs
from ensemble_minerals.system.paths import FolderKind, check_output
from ensemble_minerals.system.progress import Progress, Silent

FORMAT = 1
"""Of ``explain.json``."""

PAGE, DATA, VOTES = "index.html", "explain.json", "votes.csv"
EXPLANATION = FolderKind("explanation", DATA)
_DEFAULT_LAYERS = 3  # of each network: the first, the last, and one in the middle


@dataclass(frozen=True)
class ExplainResult:
    """What an explanation made.

    Attributes:
        html: The page; the pictures lie beside it.
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


def explain(
    bundle_path: str | Path,
    inputs: Sequence[str | Path],
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
        out: Folder for the page, its pictures and tables.
        target: Class that is explained; the answer to each photo by default.
        layers: Layers whose channels are drawn, such as ``"lite0:final"``, or ``"final"`` of every network that
            has one; by default the first, one in the middle and the last of each network.
        members: Names of members whose own heat-maps are drawn as well.
        cache_dir: Where converted networks are kept between runs.
        overwrite: Replace an explanation that stands at `out`.
        n_jobs: Threads; -1 for all processors this process may use.
        progress: Told of progress.

    Raises:
        BundleError: If the bundle is missing, damaged or of another format.
        WeightsError: If the weights of a network cannot be had any more.
        UserError: If an input matches nothing, a name is none, or `out` may not be replaced.
    """
    started = time.perf_counter()
    progress = Silent() if progress is None else progress
    folder, n_threads = Path(out), count_jobs(n_jobs)
    check_output(folder, kind=EXPLANATION, overwrite=overwrite)
    predictor = load(bundle_path, cache_dir, n_threads)
    explainer = Explainer(predictor)
    asked = _members(explainer, members or ())
    chosen = _layers(explainer, layers)
    position = None if target is None else _class(predictor.bundle.classes, target)
    if not explainer.networks:
        progress.note("No member looks through a network: there are votes, but no heat-maps.")
    found = predictor.predict(inputs, progress.stage("Answering"))
    weights, meaning = member_weights(explainer.fitted_ensemble.combination, len(found.members))
    with user_errors(folder), atomic_folder(folder) as unfinished:
        (unfinished / PANELS).mkdir()
        (unfinished / FEATURES).mkdir()
        writer = Illustrator(
            unfinished, explainer, found, weights, target=position, members=asked, layers=chosen
        )
        with closing(writer.cards(n_threads)) as cards:
            write_page(
                unfinished / PAGE,
                "explanation.html.j2",
                title="What speaks for the answers",
                synthetic=bool(predictor.bundle.info.get("demonstration")),
                source=str(bundle_path),
                total=len(found),
                n_answered=int(found.answered.sum()),
                classes=found.classes,
                target=target,
                networks=list(explainer.networks),
                members=[
                    (m.name, m.features, w)
                    for m, w in zip(explainer.fitted_ensemble.members, weights, strict=True)
                ],
                meaning=meaning,
                unreadable=[(p, r) for p, r in zip(found.paths, found.reasons, strict=True) if r],
                cards=_counted(cards, progress.stage("Explaining"), int(found.answered.sum())),
            )
        write_votes(unfinished / VOTES, found, weights)
        records = {
            "format": FORMAT,
            "bundle": str(bundle_path),
            "classes": list(found.classes),
            "target": target,
            "members": [
                {"name": member.name, "sources": list(member.features), "weight": float(weight)}
                for member, weight in zip(explainer.fitted_ensemble.members, weights, strict=True)
            ],
            "weights_mean": meaning,
            "photos": writer.records(),
        }
        text = json.dumps(records, indent=1, ensure_ascii=True, allow_nan=False)
        (unfinished / DATA).write_text(text + "\n", encoding="ascii")
    seconds = time.perf_counter() - started
    return ExplainResult(folder / PAGE, folder / DATA, folder / VOTES, found, seconds)


def _members(explainer: Explainer, names: Sequence[str]) -> list[int]:
    known = [member.name for member in explainer.fitted_ensemble.members]
    mapped = [name for number, name in enumerate(known) if explainer.mapped(number)]
    for name in names:
        if name in known and name not in mapped:
            raise UserError(
                f"member {name!r} looks through no network, so it has no heat-map; those that do: "
                f"{', '.join(mapped) or 'none'}"
            )
    return [known.index(_named("member", name, known)) for name in dict.fromkeys(names)]


def _layers(explainer: Explainer, wanted: Sequence[str] | None) -> list[tuple[str, str]]:
    known = {name: source.map_names for name, source in explainer.networks.items()}
    if wanted is None:
        return [
            (name, names[number])
            for name, names in known.items()
            for number in sorted(
                {*np.linspace(0, len(names) - 1, _DEFAULT_LAYERS).round().astype(int).tolist()}
            )
        ]
    every = [f"{name}:{layer}" for name, names in known.items() for layer in names]
    chosen = []
    for entry in wanted:
        matching = [full for full in every if entry in (full, full.rpartition(":")[2])]
        chosen += matching or [_named("layer", entry, every)]
    return [(full.rpartition(":")[0], full.rpartition(":")[2]) for full in dict.fromkeys(chosen)]


def _class(classes: Sequence[str], name: str) -> int:
    return list(classes).index(_named("class", name, classes))


def _named(kind: str, name: str, known: Sequence[str]) -> str:
    if name in known:
        return name
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UserError(f"the bundle has no {kind} {name!r}; {hint}There are {', '.join(known) or 'none'}")


def _counted(cards: Iterable[Card], progress: Any, total: int) -> Iterator[Card]:
    for done, card in enumerate(cards, start=1):
        yield card
        progress(done, total)
