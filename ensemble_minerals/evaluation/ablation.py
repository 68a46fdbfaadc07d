"""Single models against the ensemble, and the ensemble without each of its ingredients, by outer cross-validation.

Every choice an arm makes (best single member, combination, weights, learned groups, temperature) is made inside
the outer training rows, by the functions that `fit` uses; the test rows of an outer fold are opened once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.base import clone

from ensemble_minerals.data.folds import assign_folds
from ensemble_minerals.data.sampling import OverSampler
from ensemble_minerals.ensemble.cross_fit import Blocks, CrossFit, Member, cross_fit
from ensemble_minerals.ensemble.oof import clipped_log
from ensemble_minerals.ensemble.stacked import fit_meta
from ensemble_minerals.ensemble.stacking import CANDIDATES, MetaLearner
from ensemble_minerals.evaluation.metrics import row_log_loss
from ensemble_minerals.members.scorer import FoldScorer, log_normalize

FloatMatrix = NDArray[np.floating[Any]]

FULL = "full"
"""Name of the arm that all others are compared with: what `fit` would save."""

LEAKY = "without_duplicate_grouping"
"""Name of the arm whose folds ignore duplicates: not a model, but what a leaky protocol would have claimed."""

_VARIANTS = ("without_oversampling", "without_prior_correction")
_FIXED = {"best_single": "best_single", "uniform": "uniform", "greedy": "greedy", "log_pool": "log_pool",
          "stacked": "logistic"}  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """One way to answer.

    Attributes:
        name: As in tables and on the command line.
        description: What it is, in one sentence.
        kind: ``full``, ``single``, ``choice``, ``control``, ``combination``, ``ingredient``, ``source`` or
            ``protocol``.
        members: Names of the members it uses.
    """

    name: str
    description: str
    kind: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class AblationPlan:
    """What an ablation runs.

    Attributes:
        members: The base learners.
        arms: In the order of the table.
        n_splits: Outer folds.
        n_inner: Inner folds, as a fit would use.
        repeats: Outer cross-validations, each with folds of its own.
        candidates: Combinations of the full ensemble.
        one_standard_error: As in the configuration.
        greedy_iterations: As in the configuration.
        calibrate: As in the configuration.
        seed: Of the folds.
    """

    members: tuple[Member, ...]
    arms: tuple[Arm, ...]
    n_splits: int = 5
    n_inner: int = 5
    repeats: int = 1
    candidates: tuple[str, ...] = CANDIDATES
    one_standard_error: bool = True
    greedy_iterations: int = 50
    calibrate: bool = True
    seed: int = 0


@dataclass
class AblationRun:
    """Answers of every arm for every row.

    Attributes:
        arms: In the order of the table.
        proba: For each arm (repeats, n, n_classes).
        folds: Outer fold of each row, (repeats, n).
        choices: What each outer fold chose: ``{"repeat", "fold", "best_single", "combination"}``.
        seconds: For each arm the time its members and their combination took to fit, mean over outer folds.
    """

    arms: tuple[Arm, ...]
    proba: dict[str, FloatMatrix]
    folds: NDArray[np.intp]
    choices: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def list_arms(members: Sequence[Member], wanted: Sequence[str] | None = None) -> tuple[Arm, ...]:
    """The arms that make sense for the members, the full ensemble first.

    Args:
        members: Base learners.
        wanted: Names to keep (``single`` keeps every single member); all if None. The full ensemble stays.

    Raises:
        ValueError: If a wanted name is no arm here.
    """
    names = tuple(member.name for member in members)
    arms = [Arm(FULL, "the ensemble as fit makes it", "full", names)]
    arms += [Arm(f"single:{name}", f"member {name} alone", "single", (name,)) for name in names]
    arms += [
        Arm("best_single", "the member with the lowest out-of-fold log-loss, calibrated", "choice", names),
        Arm(
            "best_single_in_hindsight",
            "the member that turned out best on the test rows: a bound, not a choice one can make",
            "choice",
            names,
        ),
        Arm(
            "budget_matched",
            "the best single member trained as many times as the ensemble has members, on other folds, averaged",
            "control",
            names,
        ),
        Arm("uniform", "the mean of all members, calibrated", "combination", names),
        Arm("greedy", "greedy selection with replacement, calibrated", "combination", names),
        Arm("log_pool", "a weighted product of all members, calibrated", "combination", names),
        Arm("stacked", "logistic regression over all members, calibrated", "combination", names),
    ]
    for strategy in dict.fromkeys(_strategy(member) for member in members):
        left = tuple(member.name for member in members if _strategy(member) != strategy)
        if left and len(left) < len(names):
            arms.append(Arm(f"without_{strategy}", f"no {strategy} members", "ingredient", left))
    if any(_oversampled(member) for member in members):
        arms += [
            Arm("without_oversampling", "the same members on the natural rows", "ingredient", names),
            Arm("without_prior_correction", "the shifted prior is left as it is", "ingredient", names),
        ]
    arms.append(Arm("without_calibration", "no temperature", "ingredient", names))
    for source in dict.fromkeys(name for member in members for name in member.features):
        left = tuple(member.name for member in members if source not in member.features)
        if left and len(left) < len(names):
            arms.append(Arm(f"without_{source}", f"no member that sees {source}", "source", left))
    arms.append(
        Arm(
            LEAKY, "folds that ignore duplicates: what a leaky protocol would have claimed", "protocol", names
        )
    )
    if wanted is None:
        return tuple(arms)
    known = {arm.name for arm in arms} | {"single"}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"no arm is called {unknown[0]!r}; there are: {', '.join(sorted(known))}")
    return tuple(
        arm for arm in arms if arm.name in (FULL, *wanted) or (arm.kind == "single" and "single" in wanted)
    )


def run_ablation(
    plan: AblationPlan,
    blocks: Blocks,
    y: NDArray[np.intp],
    groups: NDArray[np.intp],
    classes: NDArray[Any],
    *,
    n_jobs: int = 1,
    checkpoint: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> AblationRun:
    """Answer every row by every arm, out of the outer fold.

    Args:
        plan: Members and arms.
        blocks: Feature matrices by name, (n, n_features) each.
        y: Class positions, (n,).
        groups: Row groups, (n,).
        classes: Labels of the positions.
        n_jobs: Concurrent tasks.
        checkpoint: Folder where finished outer folds are kept; the caller names one for one set of inputs.
        progress: Called with (outer folds done, of all).

    Raises:
        DataError: If a class has too few row groups for the folds.
        FitError: If a member fails.
    """
    n, shape = len(y), (plan.repeats, len(y), len(classes))
    run = AblationRun(
        plan.arms, {arm.name: np.full(shape, np.nan) for arm in plan.arms}, np.empty(shape[:2], dtype=np.intp)
    )
    protocols = [groups, np.arange(n)] if LEAKY in run.proba else [groups]
    total, done = plan.repeats * plan.n_splits * len(protocols), 0
    spent: dict[str, list[float]] = {arm.name: [] for arm in plan.arms}
    for repeat in range(plan.repeats):
        for protocol, together in enumerate(protocols):
            folds = assign_folds(y, together, n_splits=plan.n_splits, seed=_seed(plan.seed, repeat, protocol))
            if protocol == 0:
                run.folds[repeat] = folds
            for fold in range(plan.n_splits):
                outer = _OuterFold(plan, blocks, y, together, classes, folds == fold, n_jobs, (repeat, fold))
                kept = None if checkpoint is None else checkpoint / f"{repeat}.{protocol}.{fold}.safetensors"
                answers, seconds, choice = _resumed(kept, partial(outer.answer, leaky=protocol == 1))
                for name, proba in answers.items():
                    run.proba[name][repeat, folds == fold] = proba
                    spent[name].append(seconds[name])
                if protocol == 0:
                    run.choices.append({"repeat": repeat, "fold": fold, **choice})
                done += 1
                if progress:
                    progress(done, total)
    if "best_single_in_hindsight" in run.proba:
        _choose_in_hindsight(run, y)
    run.seconds = {name: float(np.mean(values)) for name, values in spent.items() if values}
    return run


@dataclass(frozen=True)
class _OuterFold:
    """One outer fold: everything is learned from the rows outside it."""

    plan: AblationPlan
    blocks: Blocks
    y: NDArray[np.intp]
    groups: NDArray[np.intp]
    classes: NDArray[Any]
    test: NDArray[np.bool_]
    n_jobs: int
    place: tuple[int, int]

    def answer(self, *, leaky: bool) -> tuple[dict[str, FloatMatrix], dict[str, float], dict[str, Any]]:
        """Probabilities of each arm for the test rows, seconds, and what was chosen."""
        plan, training = self.plan, ~self.test
        y, groups = self.y[training], self.groups[training]
        folds = assign_folds(y, groups, n_splits=plan.n_inner, seed=_seed(plan.seed, *self.place, 2))
        base = self._fit(plan.members, folds)
        names = [member.name for member in plan.members]
        losses = [
            float(row_log_loss(y, base.out_of_fold[:, m].astype(np.float64)).mean())
            for m in range(len(names))
        ]
        best = int(np.argmin(losses))
        answers: dict[str, FloatMatrix] = {}
        seconds: dict[str, float] = {}
        combination = ""
        for arm in plan.arms:
            started = time.perf_counter()
            chosen = [names.index(name) for name in arm.members]
            fitted = base
            if leaky != (arm.name == LEAKY) or arm.name == "best_single_in_hindsight":
                continue
            if arm.kind == "single":
                answers[arm.name] = np.exp(base.test[:, chosen[0]])
            elif arm.name == "budget_matched":
                answers[arm.name] = self._repeat_best(plan.members[best], len(names))
            else:
                if arm.name in _VARIANTS:
                    fitted = self._refit(base, arm.name, folds)
                meta = MetaLearner(
                    (_FIXED[arm.name],) if arm.name in _FIXED else plan.candidates,
                    plan.one_standard_error,
                    plan.greedy_iterations,
                )
                calibrate = plan.calibrate and arm.name != "without_calibration"
                log_proba = np.log(fitted.out_of_fold[:, chosen])
                meta, temperature = fit_meta(meta, log_proba, y, folds, groups, calibrate=calibrate)
                combined = meta.log_proba(fitted.test[:, chosen])
                answers[arm.name] = np.exp(log_normalize(combined / temperature))
                if arm.name == FULL:
                    combination = meta.chosen_
            members = sum(fitted.seconds[names[m]] for m in chosen)
            own = arm.name in (*_VARIANTS, "budget_matched")
            seconds[arm.name] = time.perf_counter() - started + (0.0 if own else members)
        return answers, seconds, {"best_single": names[best], "combination": combination}

    def _fit(self, members: Sequence[Member], folds: NDArray[np.intp]) -> _Answers:
        training = np.flatnonzero(~self.test)
        fitted = cross_fit(
            members,
            {name: matrix[training] for name, matrix in self.blocks.items()},
            self.y[training],
            self.groups[training],
            folds,
            self.classes,
            n_jobs=self.n_jobs,
        )
        return _Answers(np.exp(fitted.store.log_proba()), self._predict(members, fitted), fitted.seconds)

    def _predict(self, members: Sequence[Member], fitted: CrossFit) -> FloatMatrix:
        """Log-probabilities of the averaged fold models for the test rows, (n_test, n_members, n_classes)."""
        answers = []
        for member in members:
            X = np.concatenate([self.blocks[name][self.test] for name in member.features], axis=1)
            parts = [part for fit in fitted.fitted[member.name] for part in fit.scorer.parts]
            answers.append(np.exp(FoldScorer.average(parts).log_proba(X)))
        return clipped_log(np.stack(answers, axis=1))

    def _refit(self, base: _Answers, arm: str, folds: NDArray[np.intp]) -> _Answers:
        """The base with its oversampled members trained otherwise; the rest is as it was."""
        changed = [
            (m, Member(member.name, member.features, _changed(member.strategy, arm)))
            for m, member in enumerate(self.plan.members)
            if _oversampled(member)
        ]
        again = self._fit([member for _, member in changed], folds)
        out_of_fold, test = base.out_of_fold.copy(), base.test.copy()
        where = [m for m, _ in changed]
        out_of_fold[:, where], test[:, where] = again.out_of_fold, again.test
        return _Answers(out_of_fold, test, {**base.seconds, **again.seconds})

    def _repeat_best(self, best: Member, times: int) -> FloatMatrix:
        """The best member trained on as many partitions as the ensemble has members; log-odds averaged."""
        training = ~self.test
        total = np.zeros((int(self.test.sum()), len(self.classes)))
        for number in range(times):
            folds = assign_folds(
                self.y[training],
                self.groups[training],
                n_splits=self.plan.n_inner,
                seed=_seed(self.plan.seed, *self.place, 3, number),
            )
            total += self._fit([best], folds).test[:, 0]
        return np.exp(log_normalize(total / times))


@dataclass(frozen=True)
class _Answers:
    """Members' probabilities for the training rows, out of fold, and log-probabilities for the test rows."""

    out_of_fold: FloatMatrix
    test: FloatMatrix
    seconds: Mapping[str, float]


def _choose_in_hindsight(run: AblationRun, y: NDArray[np.intp]) -> None:
    """Fill the arm of the single member that has the lowest log-loss on the test rows of each repeat."""
    singles = [arm.name for arm in run.arms if arm.kind == "single"]
    for repeat in range(len(run.folds)):
        losses = {
            name: float(row_log_loss(y, run.proba[name][repeat].astype(np.float64)).mean())
            for name in singles
        }
        winner = min(singles, key=losses.__getitem__)
        run.proba["best_single_in_hindsight"][repeat] = run.proba[winner][repeat]


def _strategy(member: Member) -> str:
    """``FlatClassifier`` is ``flat``: the name of a strategy in the configuration."""
    name = type(member.strategy).__name__.removesuffix("Classifier")
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def _oversampled(member: Member) -> bool:
    sampler = member.strategy.sampler
    return sampler is not None and sampler.kind != "none"


def _changed(strategy: Any, arm: str) -> Any:
    changed = clone(strategy)
    if arm == "without_oversampling":
        return changed.set_params(sampler=OverSampler("none"))
    return changed.set_params(prior_correction=False)


def _seed(*entropy: int) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


_Outcome = tuple[dict[str, FloatMatrix], dict[str, float], dict[str, Any]]


def _resumed(kept: Path | None, compute: Callable[[], _Outcome]) -> _Outcome:
    """A finished outer fold of an earlier run, or this one's, which is then kept."""
    if kept is None:
        return compute()
    if kept.is_file():
        with safe_open(kept, framework="numpy") as file:
            facts = json.loads(file.metadata()["facts"])
            return {name: file.get_tensor(name) for name in file.keys()}, facts["seconds"], facts["choice"]  # noqa: SIM118  # no mapping
    answers, seconds, choice = compute()
    kept.parent.mkdir(parents=True, exist_ok=True)
    unfinished = kept.with_suffix(".part")
    arrays = {name: np.ascontiguousarray(proba, dtype=np.float64) for name, proba in answers.items()}
    save_file(arrays, unfinished, metadata={"facts": json.dumps({"seconds": seconds, "choice": choice})})
    unfinished.replace(kept)
    return answers, seconds, choice
