"""Members x folds through joblib: every member predicts every row by a model that never saw it.

A task is one fold of one feature set: the fold's training rows are brought into their row space once, and every
member on those features is fitted there. Finished tasks are kept in a checkpoint folder; a fit that was killed
runs only what is missing.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from ensemble_minerals.ensemble.committee import Blocks
from ensemble_minerals.ensemble.oof import ProbabilityStore
from ensemble_minerals.errors import EnsembleMineralsError, FitError
from ensemble_minerals.members.base import Strategy
from ensemble_minerals.members.row_space import RowSpace
from ensemble_minerals.members.scorer import FoldScorer
from ensemble_minerals.members.scorer_arrays import scorer_from_arrays, scorer_to_arrays

FloatMatrix = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Member:
    """A base learner of the ensemble.

    Attributes:
        name: Unique.
        features: Names of the feature matrices it sees, side by side.
        strategy: Unfitted.
    """

    name: str
    features: tuple[str, ...]
    strategy: Strategy


@dataclass(frozen=True)
class MemberFailure:
    """A member that could not be fitted in a fold, and why."""

    member: str
    fold: int
    reason: str


@dataclass
class FittedFold:
    """One member in one fold.

    Attributes:
        member: Its name.
        fold: Number of the fold; -1 when trained on all rows.
        scorer: The fitted member.
        proba: Answers for the held-out rows, shape (k, n_classes).
        notes: What the user should know, such as an over-sampler that was replaced.
        seconds: Time of the fit, its share of the common factorization included.
    """

    member: str
    fold: int
    scorer: FoldScorer
    proba: FloatMatrix
    notes: tuple[str, ...]
    seconds: float


@dataclass
class CrossFit:
    """All members in all folds.

    Attributes:
        store: Out-of-fold probabilities of the members that succeeded.
        fitted: For each member its fold models, in fold order.
        failures: Members that did not, fold by fold.
        notes: Distinct notes as (member, note).
        seconds: For each member the time of its fits.
    """

    store: ProbabilityStore
    fitted: dict[str, list[FittedFold]]
    failures: list[MemberFailure] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def cross_fit(
    members: Sequence[Member],
    blocks: Blocks,
    y: NDArray[np.intp],
    groups: NDArray[np.intp],
    folds: NDArray[np.intp],
    classes: NDArray[Any],
    *,
    n_jobs: int = 1,
    checkpoint: Path | None = None,
    allow_failures: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> CrossFit:
    """Fit every member in every fold and collect what it predicts for the held-out rows.

    Args:
        members: The base learners.
        blocks: Feature matrices by name, each of shape (n, n_features).
        y: Class positions, shape (n,).
        groups: Row groups, shape (n,).
        folds: Fold of each row, shape (n,).
        classes: Labels of the positions.
        n_jobs: Concurrent tasks; answers do not depend on it.
        checkpoint: Folder for finished tasks; the caller names one folder for one set of inputs.
        allow_failures: Leave failed members out instead of raising.
        progress: Called with (members x folds done, of all).

    Raises:
        FitError: If a member failed and that is not allowed, or all failed.
        ValueError: If two members have one name.
    """
    twice = [name for name, count in Counter(member.name for member in members).items() if count > 1]
    if twice:
        raise ValueError(f"two members are named {twice[0]!r}; every member needs a name of its own")
    by_features: dict[tuple[str, ...], list[Member]] = defaultdict(list)
    for member in members:
        by_features[member.features].append(member)
    numbers = [int(fold) for fold in np.unique(folds)]
    names = tuple(str(label) for label in classes)
    total = len(members) * len(numbers)
    outcomes: dict[tuple[str, int], FittedFold | MemberFailure] = {}
    tasks = []
    for features, same in by_features.items():
        for fold in numbers:
            kept = {
                member.name: loaded
                for member in same
                if (loaded := _load(checkpoint, member.name, fold, names)) is not None
            }
            outcomes |= {(name, fold): loaded for name, loaded in kept.items()}
            todo = [member for member in same if member.name not in kept]
            if todo:
                tasks.append((features, fold, todo))
    if progress:
        progress(len(outcomes), total)
    # One BLAS thread a task: threads beyond the cores wait on each other, and sums keep one order whatever n_jobs.
    with threadpool_limits(1):
        run = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator_unordered")
        for results in run(
            delayed(fit_fold)(todo, [blocks[name] for name in features], y, groups, folds, fold, classes)
            for features, fold, todo in tasks
        ):
            for result in results:
                outcomes[result.member, result.fold] = result
                if isinstance(result, FittedFold):
                    _save(checkpoint, result)
                elif not allow_failures:
                    raise FitError(
                        f"member {result.member!r} failed in fold {result.fold}: {result.reason}\n"
                        "Mend or remove the member, or leave failed members out with --allow-failures."
                    )
            if progress:
                progress(len(outcomes), total)
    return _collect(members, outcomes, numbers, folds, names)


def fit_fold(
    members: Sequence[Member],
    matrices: Sequence[FloatMatrix],
    y: NDArray[np.intp],
    groups: NDArray[np.intp],
    folds: NDArray[np.intp],
    fold: int,
    classes: NDArray[Any],
) -> list[FittedFold | MemberFailure]:
    """Fit members that share their features on the rows outside `fold`, and predict the rows in it.

    A `fold` that no row has trains on all rows and predicts none.
    """
    started = time.perf_counter()
    training, held_out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
    X = matrices[0] if len(matrices) == 1 else np.concatenate(matrices, axis=1)
    present = np.unique(y[training])
    if len(present) < len(classes):
        lacking = ", ".join(str(classes[k]) for k in np.setdiff1d(np.arange(len(classes)), present))
        return [MemberFailure(member.name, fold, f"no training row of class {lacking}") for member in members]
    space = RowSpace()
    Z = space.fit_transform(X[training])
    shared = (time.perf_counter() - started) / len(members)
    results: list[FittedFold | MemberFailure] = []
    for member in members:
        started = time.perf_counter()
        try:
            strategy = clone(member.strategy).fit_reduced(space, Z, y[training], groups[training], classes)
            scorer = FoldScorer.average([strategy.scorer_])
            proba = np.exp(scorer.log_proba(X[held_out]).astype(np.float64))
        except (
            EnsembleMineralsError,
            ValueError,
            FloatingPointError,
            np.linalg.LinAlgError,
            MemoryError,
            RuntimeError,  # how torch says that memory ran out
        ) as error:
            results.append(MemberFailure(member.name, fold, f"{type(error).__name__}: {error}"))
            continue
        proba /= proba.sum(axis=1, keepdims=True)
        seconds = time.perf_counter() - started + shared
        results.append(FittedFold(member.name, fold, scorer, proba, strategy.notes_, seconds))
    return results


def _collect(
    members: Sequence[Member],
    outcomes: Mapping[tuple[str, int], FittedFold | MemberFailure],
    numbers: Sequence[int],
    folds: NDArray[np.intp],
    names: tuple[str, ...],
) -> CrossFit:
    """Bring outcomes into the order of members and folds, whatever order they finished in."""
    failures = [outcome for outcome in outcomes.values() if isinstance(outcome, MemberFailure)]
    failures.sort(key=lambda failure: (failure.member, failure.fold))
    failed = {failure.member for failure in failures}
    whole = [member for member in members if member.name not in failed]
    if not whole:
        raise FitError(f"every member failed; the first: {failures[0].member!r}: {failures[0].reason}")
    result = CrossFit(ProbabilityStore([m.name for m in whole], len(folds), names), {}, failures)
    for member in whole:
        fits = [outcomes[member.name, fold] for fold in numbers]
        fitted = [fit for fit in fits if isinstance(fit, FittedFold)]
        for fit in fitted:
            result.store.write(member.name, np.flatnonzero(folds == fit.fold), fit.proba)
        result.fitted[member.name] = fitted
        result.seconds[member.name] = sum(fit.seconds for fit in fitted)
        notes = dict.fromkeys(note for fit in fitted for note in fit.notes)
        result.notes += [(member.name, note) for note in notes]
    return result


def _path(checkpoint: Path, member: str, fold: int) -> Path:
    """A name that no file system takes for another member's, however long or odd the member's own is."""
    if not re.fullmatch(r"[a-z0-9_+-][a-z0-9_.+-]{0,99}", member):
        digest = blake2b(member.encode(errors="surrogateescape"), digest_size=16).hexdigest()
        member = f"{re.sub('[^A-Za-z0-9_+-]', '_', member[:60])}-{digest}"
    return checkpoint / f"{member}.{fold}.safetensors"


def _save(checkpoint: Path | None, fitted: FittedFold) -> None:
    """Keep a finished task; it appears whole or not at all."""
    if checkpoint is None:
        return
    arrays, description = scorer_to_arrays(fitted.scorer, "scorer.")
    facts = {"scorer": description, "notes": list(fitted.notes), "seconds": fitted.seconds}
    path = _path(checkpoint, fitted.member, fitted.fold)
    unfinished = path.with_suffix(".part")
    save_file(
        {**arrays, "proba": np.ascontiguousarray(fitted.proba)},
        unfinished,
        metadata={"facts": json.dumps(facts)},
    )
    unfinished.replace(path)


def _load(checkpoint: Path | None, member: str, fold: int, names: tuple[str, ...]) -> FittedFold | None:
    """A finished task of an earlier run, or None where there is none, or a damaged one."""
    if checkpoint is None or not _path(checkpoint, member, fold).is_file():
        return None
    path = _path(checkpoint, member, fold)
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads(file.metadata()["facts"])
        arrays = load_file(path)
    except SafetensorError:
        return None
    scorer = scorer_from_arrays(arrays, facts["scorer"], names, "scorer.")
    return FittedFold(member, fold, scorer, arrays["proba"], tuple(facts["notes"]), facts["seconds"])
