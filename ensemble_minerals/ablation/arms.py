"""What an ablation compares: the full ensemble, and ways to answer that differ from it in one factor."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from sklearn.base import clone

from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.ensemble.meta_learner import MetaLearner
from ensemble_minerals.members.base import NETWORKS, Member
from ensemble_minerals.members.feature_member import FeatureMember
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.heads.logistic import LogisticHead

FULL = "full"
"""Name of the arm that all others are compared with: what `fit` would save."""

HINDSIGHT = "best_single_in_hindsight"
"""Name of the arm that is chosen by its log-loss on the test rows themselves: a bound, not a choice one can make."""

LEAKY = "without_duplicate_grouping"
"""Name of the arm whose folds ignore duplicates: not a model, but what a leaky protocol would have claimed."""

BUDGET = "budget_matched"
"""Name of the arm that trains the best single member as often as the ensemble trains members."""

ONE_MODEL = "one_model"
"""Name of the arm that has one regression on the features of all members, side by side, its penalty chosen inside."""

ROWS = "views_as_rows"
"""Name of the arm whose members on one backbone learn from each view as a row that counts a part of the photo."""

REJECTION = "rejection"
"""Name of the arm that is the full ensemble with what tells photos of none of the classes: it answers the same."""

PENALTIES = (30.0, 100.0, 300.0, 1000.0, 3000.0)
"""Inverse penalties (C) that the one model chooses from."""

RETRAINED = ("without_oversampling", "without_prior_correction")
"""Arms for which oversampled members are trained anew."""

COMBINATIONS = {
    "best_single": "best_single",
    "uniform": "uniform",
    "calibrated": "calibrated",
    "greedy": "greedy",
    "log_pool": "log_pool",
    "stacked": "logistic",
}
"""Arms that always use one combination, and what the meta-learner calls it."""

KINDS = ("full", "single", "choice", "control", "combination", "addition", "ingredient", "source", "protocol")
"""Kinds of arms, in the order of the table; a user can choose a kind by its name."""


@dataclass(frozen=True)
class Arm:
    """One way to answer.

    Attributes:
        name: As in files and on the command line.
        title: As in tables.
        description: What it is, in one sentence.
        kind: One of `KINDS`.
        members: Names of the members it may use.
        subject: What is left out, in words, for an ingredient or a feature extractor.
    """

    name: str
    title: str
    description: str
    kind: str
    members: tuple[str, ...]
    subject: str = ""


@dataclass(frozen=True)
class AblationPlan:
    """What an ablation runs.

    Attributes:
        members: The base learners.
        arms: In the order of the table.
        n_splits: Outer folds.
        n_inner: Inner folds, as a fit would use.
        repeats: Outer cross-validations, each with folds of its own.
        meta: How the full ensemble combines and calibrates, unfitted.
        refit: Whether members are trained again on all rows, as in the configuration.
        refuse: Share of photos that the arm with rejection refuses in expectation.
        seed: Of the folds.
    """

    members: tuple[Member, ...]
    arms: tuple[Arm, ...]
    n_splits: int = 5
    n_inner: int = 5
    repeats: int = 1
    meta: MetaLearner = field(default_factory=MetaLearner)
    refit: bool = False
    refuse: float = 0.05
    seed: int = 0

    def has(self, arm: str) -> bool:
        """Whether an arm of this name is run."""
        return any(one.name == arm for one in self.arms)


def list_arms(
    members: Sequence[Member],
    wanted: Sequence[str] | None = None,
    *,
    calibrate: bool = True,
    viewed: Collection[str] = (),
    rejects: bool = True,
) -> tuple[Arm, ...]:
    """The arms that make sense for the members, the full ensemble first.

    Args:
        members: Base learners.
        wanted: Names or kinds to keep; all if None. The full ensemble stays, and so do single members where the
            best of them in hindsight is wanted.
        calibrate: Whether the full ensemble is calibrated.
        viewed: Backbones whose several views are averaged.
        rejects: Whether the ensemble tells photos of none of the classes.

    Raises:
        ValueError: If a wanted name is no arm here.
    """
    arms = tuple(_arms(members, calibrate, viewed, rejects))
    if wanted is None:
        return arms
    known = {arm.name for arm in arms} | {arm.kind for arm in arms}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(
            f"no arm is called {unknown[0]!r}; there are the arms {', '.join(arm.name for arm in arms)}, and the "
            f"kinds {', '.join(dict.fromkeys(arm.kind for arm in arms))}"
        )
    kept = {FULL, *wanted} | ({"single"} if HINDSIGHT in wanted or "choice" in wanted else set())
    return tuple(arm for arm in arms if arm.name in kept or arm.kind in kept)


def _arms(
    members: Sequence[Member], calibrate: bool, viewed: Collection[str], rejects: bool
) -> Iterator[Arm]:
    names = tuple(member.name for member in members)
    calibrated = ", calibrated" if calibrate else ""
    yield Arm(FULL, "Full ensemble", "the ensemble as fit makes it", "full", names)
    for name in names:
        yield Arm(f"single:{name}", f"{name} alone", f"one member{calibrated}", "single", (name,))
    if models := one_models(members):
        yield Arm(
            ONE_MODEL,
            "One model on everything",
            "one regression on the features of all members side by side, its penalty chosen over inner "
            f"folds{calibrated}",
            "control",
            tuple(model.name for model in models),
        )
    if len(names) > 1:
        yield from _of_several(names, calibrated)
    yield from _additions(members, viewed, rejects)
    for strategy in dict.fromkeys(member.strategy.kind for member in members):
        left = tuple(member.name for member in members if member.strategy.kind != strategy)
        words = strategy.replace("_", "-")
        if left:
            yield Arm(
                f"without_{strategy}",
                f"Without {words} members",
                f"the ensemble of all members that are not {words}",
                "ingredient",
                left,
                f"{words} members",
            )
    if any(member.strategy.is_oversampled for member in members):
        yield Arm(
            "without_oversampling",
            "Without oversampling",
            "the same members trained on the natural rows",
            "ingredient",
            names,
            "oversampling",
        )
        if any(m.strategy.is_oversampled and m.strategy.prior_correction for m in members):
            yield Arm(
                "without_prior_correction",
                "Without prior correction",
                "oversampled members keep the class shares that oversampling taught them",
                "ingredient",
                names,
                "the prior correction",
            )
    if calibrate:
        yield Arm(
            "without_calibration",
            "Without calibration",
            "no temperature after the combination",
            "ingredient",
            names,
            "calibration",
        )
    for extractor in dict.fromkeys(name for member in members for name in member.learns_from):
        left = tuple(member.name for member in members if extractor not in member.learns_from)
        if left and len(left) < len(names):
            networks = extractor == NETWORKS
            yield Arm(
                f"without:{extractor}",
                "Without trained networks" if networks else f"Without {extractor}",
                "the ensemble of all members on frozen features"
                if networks
                else f"the ensemble of all members that do not see {extractor}",
                "source",
                left,
                "trained networks" if networks else f"source {extractor}",
            )
    yield Arm(
        LEAKY,
        "Leaky protocol",
        "the full ensemble in folds that ignore duplicates: not a model, but what a leak would have claimed",
        "protocol",
        names,
    )


def _of_several(names: tuple[str, ...], calibrated: str) -> Iterator[Arm]:
    """Arms that are not the full ensemble only if there are several members."""
    yield Arm(
        "best_single",
        "Best single, chosen inside",
        f"the member with the lowest log-loss over inner folds{calibrated}",
        "choice",
        names,
    )
    yield Arm(
        HINDSIGHT,
        "Best single, in hindsight",
        "the member with the lowest log-loss on the test rows themselves: a bound, not a choice that one can make",
        "choice",
        names,
    )
    yield Arm(
        BUDGET,
        "Best single, trained as often",
        f"the best single trained on {len(names)} sets of inner folds; mean of the log-odds{calibrated}",
        "control",
        names,
    )
    combinations = {
        "uniform": ("Uniform mean", "the mean of all members"),
        "calibrated": ("Mean of calibrated members", "the mean of members each calibrated by itself before"),
        "greedy": ("Greedy selection", "members selected greedily, with replacement"),
        "log_pool": ("Weighted product", "a logarithmic pool of all members"),
        "stacked": ("Logistic stacking", "logistic regression over all members' log-probabilities"),
    }
    for name, (title, description) in combinations.items():
        yield Arm(name, title, description + calibrated, "combination", names)


def _additions(members: Sequence[Member], viewed: Collection[str], rejects: bool) -> Iterator[Arm]:
    """Arms that have something more than the full ensemble."""
    names = tuple(member.name for member in members)
    if on_views(members, viewed):
        yield Arm(
            ROWS,
            "Views as training rows",
            "members on one backbone learn from each view of a photo, a row that counts a part of it",
            "addition",
            names,
        )
    if rejects and any(name != NETWORKS for member in members for name in member.learns_from):
        yield Arm(
            REJECTION,
            "With rejection",
            "the full ensemble and what tells photos of none of the classes; answers are the same, the cost is not",
            "addition",
            names,
        )


def on_views(members: Sequence[Member], viewed: Collection[str]) -> tuple[Member, ...]:
    """Members that can learn from views as rows: those on one backbone whose head and over-sampler allow it."""
    return tuple(member for member in members if member.takes_views and member.features[0] in viewed)


def one_models(members: Sequence[Member]) -> tuple[FeatureMember, ...]:
    """One regression on the features of all members, for each of `PENALTIES`; none where members see one source."""
    seen = dict.fromkeys(name for member in members for name in member.learns_from)
    features = tuple(name for name in seen if name != NETWORKS)
    if len(features) < 2:
        return ()
    return tuple(
        FeatureMember(f"{ONE_MODEL}:C={C:g}", features, FlatClassifier(LogisticHead(C))) for C in PENALTIES
    )


def retrained(member: Member, arm: str) -> Member:
    """An oversampled member as an arm of `RETRAINED` trains it."""
    without = (
        {"sampler": OverSampler("none")} if arm == "without_oversampling" else {"prior_correction": False}
    )
    return replace(member, strategy=clone(member.strategy).set_params(**without))
