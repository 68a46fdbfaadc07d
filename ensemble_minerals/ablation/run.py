"""Single models against the ensemble, and the ensemble without each of its ingredients, by outer cross-validation.

Every choice an arm makes (best single member, combination, weights, learned groups, temperature) is made inside
the outer training rows, by the functions that `fit` uses; the test rows of an outer fold are opened once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from ensemble_minerals.ablation.arms import HINDSIGHT, LEAKY, AblationPlan, Arm
from ensemble_minerals.ablation.outer_fold import FoldAnswers, OuterFold, count_fits
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.folds import assign_folds
from ensemble_minerals.ensemble.oof import OutOfFold
from ensemble_minerals.errors import DataError
from ensemble_minerals.evaluation.metrics import row_log_loss
from ensemble_minerals.members.base import estimate_seconds
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.system.parallel import single_thread
from ensemble_minerals.system.progress import StageProgress
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.system.sealed import read_sealed_pair, write_sealed_pair
from ensemble_minerals.system.seeds import derived_seed

FloatMatrix = NDArray[np.floating[Any]]


STAGE = "Answering outer folds"
"""Name of the stage of progress."""


_TYPICALITY = ":typicality"
"""Beside the names of arms in a kept outer fold."""


@dataclass
class AblationRun:
    """Answers of every arm for every row.

    Attributes:
        arms: In the order of the table.
        answers: For each repeat what the arms, as members, answered out of its outer folds.
        choices: What each outer fold chose: ``{"repeat", "fold", "best_single", "combination"}``.
        used: For each arm and outer fold the members that it uses.
        costs: For each arm, mean over outer folds: ``fit_seconds`` on one core of its members and their
            combination; ``predict_ms`` a photo and ``megabytes`` of its heads, without the feature extractors.
        typicality: Of every row out of its outer fold, shape (repeats, n), see `ensemble.rejection`; NaN without the
            arm that rejects.
    """

    arms: tuple[Arm, ...]
    answers: tuple[OutOfFold, ...]
    choices: list[dict[str, Any]] = field(default_factory=list)
    used: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    costs: dict[str, dict[str, float]] = field(default_factory=dict)
    typicality: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.typicality = np.full((len(self.answers), len(self.answers[0])), np.nan)

    @property
    def known(self) -> FoldInputs:
        """Labels and row groups of the rows, and their outer folds in the first repeat."""
        return self.answers[0].known

    @property
    def folds(self) -> NDArray[np.intp]:
        """Outer fold of each row, shape (repeats, n)."""
        return np.stack([one.known.folds for one in self.answers])

    @property
    def proba(self) -> dict[str, FloatMatrix]:
        """For each arm its answers, shape (repeats, n, n_classes)."""
        stacked = np.stack([one.member_proba for one in self.answers], axis=1)
        return dict(zip(self.answers[0].members, stacked, strict=True))


class Ablation:
    """An ablation of one set of inputs, ready to run.

    Args:
        plan: Members and arms.
        data: What members see of the rows.
        known: Labels and row groups of the rows; outer folds are drawn anew.
        runtime: Tasks at once, and where progress is reported; answers do not depend on it.
        checkpoint: Folder where finished outer folds are kept; the caller names one for one set of inputs.
        views: Of backbones whose views are averaged, (n, n_views, n_features), for the arm on views as rows.

    Raises:
        DataError: If a class has too few row groups for outer folds, or for inner folds in what they leave.
    """

    def __init__(
        self,
        plan: AblationPlan,
        data: RowData,
        known: FoldInputs,
        runtime: Runtime | None = None,
        *,
        checkpoint: Path | None = None,
        views: Mapping[str, FloatMatrix] | None = None,
    ) -> None:
        self.plan = plan
        self.views = views or {}
        self.data = data
        self.runtime = Runtime() if runtime is None else runtime
        self.checkpoint = checkpoint
        self.known = {
            (repeat, leaky): _in_outer_folds(plan, known, repeat, leaky)
            for repeat in range(plan.repeats)
            for leaky in ((False, True) if plan.has(LEAKY) else (False,))
        }
        self._check_inner_folds()

    def run(self) -> AblationRun:
        """Answer every row by every arm, out of the outer fold; a step of progress is a fit in an inner fold.

        Returns:
            The answers, with what was chosen and what it cost.

        Raises:
            FitError: If a member fails.
        """
        plan, progress = self.plan, self.runtime.progress.stage(STAGE)
        names = [arm.name for arm in plan.arms]
        run = AblationRun(
            plan.arms, tuple(OutOfFold(self.known[repeat, False], names) for repeat in range(plan.repeats))
        )
        spent: dict[str, list[dict[str, float]]] = {}
        total, before = self.count_fits(), 0
        for key in self._keys():
            answers = self._load(key)
            if answers is None:
                outer = self._outer_fold(key)
                own = self._fits(key)
                outer.progress = _within(progress, before, own, total)
                with single_thread:
                    answers = outer.answer()
                self._save(key, answers)
            for name, proba in answers.proba.items():
                held_out = self.known[key.repeat, key.leaky].held_out(key.fold)
                run.answers[key.repeat].write(name, held_out, proba)
                run.used.setdefault(name, []).append(answers.used[name])
                spent.setdefault(name, []).append(answers.costs[name])
            if answers.typicality is not None:
                held_out = self.known[key.repeat, key.leaky].held_out(key.fold)
                run.typicality[key.repeat, held_out] = answers.typicality
            if not key.leaky:
                chosen = {"best_single": answers.best_single, "combination": answers.combination}
                run.choices.append({"repeat": key.repeat, "fold": key.fold, **chosen})
            before += self._fits(key)
            progress(before, total)
        run.costs = {
            name: {kind: float(np.mean([one[kind] for one in each])) for kind in each[0]}
            for name, each in spent.items()
        }
        if plan.has(HINDSIGHT):
            _choose_in_hindsight(run)
        return run

    def count_fits(self, *, left: bool = False) -> int:
        """How often a member is fitted in an inner fold, in all or in what is not finished yet."""
        keys = [key for key in self._keys() if not (left and self._file(key, exists=True))]
        return sum(self._fits(key) for key in keys)

    def _fits(self, key: _FoldKey) -> int:
        return count_fits(self.plan, leaky=key.leaky, viewed=self.views)

    def estimate_seconds(self) -> float:
        """How long the rest will take, from one inner fold that is fitted to find out."""
        left = self.count_fits(left=True)
        if not left:
            return 0.0
        key = _FoldKey(0, leaky=False, fold=0)
        inner = self._outer_fold(key).inner(0)
        training = self.data.take(self.known[0, False].training(key.fold))
        seconds = estimate_seconds(self.plan.members, training, inner, inner.numbers[0])
        return left * seconds / sum(member.n_steps for member in self.plan.members) / self.runtime.n_tasks

    def _keys(self) -> Iterator[_FoldKey]:
        for repeat, leaky in self.known:
            for fold in range(self.plan.n_splits):
                yield _FoldKey(repeat, leaky, fold)

    def _outer_fold(self, key: _FoldKey) -> OuterFold:
        return OuterFold(
            self.plan,
            self.data,
            self.known[key.repeat, key.leaky],
            key.fold,
            seed=(self.plan.seed, key.repeat, int(key.leaky), key.fold),
            runtime=self.runtime,
            leaky=key.leaky,
            views=self.views,
        )

    def _check_inner_folds(self) -> None:
        for key in self._keys():
            known = self.known[key.repeat, key.leaky]
            training = known.take(known.training(key.fold))
            for position, name in enumerate(known.names):
                n_groups = len(np.unique(training.groups[training.y == position]))
                if n_groups < self.plan.n_inner:
                    raise DataError(
                        f"with {self.plan.n_splits} outer folds {name!r} has {n_groups} row groups left to "
                        f"train on, fewer than the {self.plan.n_inner} inner folds; use fewer inner folds "
                        "(folds.n_splits of the configuration), or photograph more specimens"
                    )

    def _file(self, key: _FoldKey, *, exists: bool = False) -> Path | None:
        if self.checkpoint is None:
            return None
        kind = "leaky" if key.leaky else "grouped"
        file = self.checkpoint / f"{key.repeat}.{kind}.{key.fold}.safetensors"
        return file if file.is_file() or not exists else None

    def _save(self, key: _FoldKey, answers: FoldAnswers) -> None:
        """Keep a finished outer fold; it appears whole or not at all."""
        file = self._file(key)
        if file is None:
            return
        arrays = {
            name: np.ascontiguousarray(proba, dtype=np.float64) for name, proba in answers.proba.items()
        }
        if answers.typicality is not None:
            arrays[_TYPICALITY] = answers.typicality
        write_sealed_pair(file, asdict(replace(answers, proba={}, typicality=None)), save(arrays))

    def _load(self, key: _FoldKey) -> FoldAnswers | None:
        """A finished outer fold of an earlier run; None where there is none, or a damaged one."""
        file = self._file(key, exists=True)
        if file is None:
            return None
        sealed = read_sealed_pair(file)
        if sealed is None:
            return None
        metadata, proba = sealed[0], load(sealed[1])
        used = {arm: tuple(members) for arm, members in metadata["used"].items()}
        typicality = proba.pop(_TYPICALITY, None)
        return FoldAnswers(
            proba, used, metadata["costs"], metadata["best_single"], metadata["combination"], typicality
        )


def _in_outer_folds(plan: AblationPlan, known: FoldInputs, repeat: int, leaky: bool) -> FoldInputs:
    """The rows in outer folds that keep row groups together, or nothing in the leaky protocol."""
    groups = np.arange(len(known)) if leaky else known.groups
    seed = derived_seed(plan.seed, repeat, int(leaky))
    return known.redrawn(groups, assign_folds(known.y, groups, n_splits=plan.n_splits, seed=seed))


@dataclass(frozen=True)
class _FoldKey:
    """One outer fold of one repeat, with row groups kept together or not."""

    repeat: int
    leaky: bool
    fold: int


def _within(progress: StageProgress, before: int, own: int, total: int) -> Callable[[int], None]:
    """Progress of one outer fold as that of all; its last step is taken when it has answered."""

    def report(done: int) -> None:
        if done < own:
            progress(before + done, total)

    return report


def _choose_in_hindsight(run: AblationRun) -> None:
    """Fill the arm of the single member that has the lowest log-loss on the test rows of each repeat."""
    singles = [arm.name for arm in run.arms if arm.kind == "single"]
    winners = []
    for answers in run.answers:
        proba = dict(zip(answers.members, answers.member_proba, strict=True))
        losses = {name: float(row_log_loss(answers.known.y, proba[name]).mean()) for name in singles}
        winners.append(min(singles, key=losses.__getitem__))
        answers.write(HINDSIGHT, np.arange(len(answers)), proba[winners[-1]])
    run.used[HINDSIGHT] = [run.used[winner][0] for winner in winners]
    run.costs[HINDSIGHT] = {
        kind: float(np.mean([run.costs[winner][kind] for winner in winners]))
        for kind in run.costs[winners[0]]
    }
