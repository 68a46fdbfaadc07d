"""What each ingredient of an ensemble gains or costs, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ensemble_minerals.ablation.comparison import ArmResult, PairedComparison
from ensemble_minerals.reports.wording import capitalized, listed, show

EFFECTS = {"helps": "helps", "hurts": "hurts", "mixed": "helps and hurts", "unclear": "not significant"}
"""What an ingredient does to the two tested scores, and the words for it."""

_TESTED = {"accuracy": "accuracy", "log_loss": "log-loss"}


@dataclass(frozen=True)
class IngredientChange:
    """What one ingredient gains or costs: the ensemble with it against the one without.

    Attributes:
        name: Of the arm without it.
        title: What the ingredient is.
        effect: One of `EFFECTS`.
        significant: The scores that it changes significantly, in words.
        gain: Of accuracy, as a share.
        sentence: All of it in words.
    """

    name: str
    title: str
    effect: str
    significant: tuple[str, ...]
    gain: float
    sentence: str


@dataclass(frozen=True)
class Ingredients:
    """What the ingredients gain or cost.

    Attributes:
        title: All of them in one sentence.
        changes: Those with a significant effect first.
    """

    title: str
    changes: tuple[IngredientChange, ...]


def describe_ingredients(results: Iterable[ArmResult]) -> Ingredients:
    """Describe the arms that leave one ingredient out."""
    changes = [_change(result) for result in results if result.arm.kind in ("ingredient", "source")]
    changes.sort(key=lambda change: (list(EFFECTS).index(change.effect), -abs(change.gain)))
    return Ingredients(_ingredients(changes), tuple(changes))


def format_points(difference: float) -> str:
    """The size of a difference of shares, without a sign."""
    text = f"{100 * abs(difference):.1f}"
    return f"{text} point" if text == "1.0" else f"{text} points"


def _ingredients(changes: Sequence[IngredientChange]) -> str:
    if not changes:
        return "No ingredient was left out"
    named = {effect: [_where(change) for change in changes if change.effect == effect] for effect in EFFECTS}
    parts = [
        f"{verb} {listed(names)}"
        for names, verb in (
            (named["helps"], "significantly better with"),
            (named["hurts"], "significantly better without"),
            (named["mixed"], "one score significantly better with, the other without"),
        )
        if names
    ]
    rest = len(named["unclear"])
    if not parts:
        largest = max(changes, key=lambda change: abs(change.gain))
        if largest.gain == 0:
            return f"None of {rest} ingredients changes the accuracy, or anything else significantly"
        return (
            f"None of {rest} ingredients makes a significant difference; the largest is that of "
            f"{largest.title}, {show(largest.gain, 'points')} points"
        )
    others = f"; the other {rest} make no significant difference" if rest else ""
    return capitalized("; ".join(parts)) + others


def _where(change: IngredientChange) -> str:
    """An ingredient and the scores that it changes significantly."""
    return f"{change.title} ({listed(change.significant)})" if change.significant else change.title


def _change(result: ArmResult) -> IngredientChange:
    paired = result.against
    outcomes = {score: paired.outcome(score) for score in _TESTED}
    if {"better", "worse"} <= set(outcomes.values()):
        effect = "mixed"
    elif "better" in outcomes.values():
        effect = "helps"
    else:
        effect = "hurts" if "worse" in outcomes.values() else "unclear"
    return IngredientChange(
        name=result.arm.name,
        title=result.arm.subject,
        effect=effect,
        significant=tuple(words for score, words in _TESTED.items() if paired.is_significant(score)),
        gain=paired.lead("accuracy"),
        sentence=_with_and_without(paired, outcomes),
    )


def _with_and_without(paired: PairedComparison, outcomes: Mapping[str, str]) -> str:
    if paired.identical:
        return "No answer changes at all."
    lead, loss = paired.lead("accuracy"), paired.difference["log_loss"].estimate
    accuracy = "accuracy stays the same"
    if lead != 0:
        accuracy = f"{format_points(lead)} of accuracy {'gained' if lead > 0 else 'lost'}"
    log_loss = "log-loss the same to three places"
    if abs(loss) >= 0.0005:
        log_loss = (
            f"log-loss {abs(loss):.3f} {'higher, which is worse' if loss > 0 else 'lower, which is better'}"
        )
    words = {
        score: "not significant" if how == "not significant" else "significant"
        for score, how in outcomes.items()
    }
    if set(words.values()) == {"not significant"}:
        text = f"{accuracy}, {log_loss}; neither is significant"
    elif set(words.values()) == {"significant"}:
        text = f"{accuracy}, {log_loss}; both are significant"
    else:
        text = f"{accuracy} ({words['accuracy']}), {log_loss} ({words['log_loss']})"
    won, lost = (
        round(sum(counts) / len(counts))
        for counts in (
            [test.only_first for test in paired.mcnemar],
            [test.only_second for test in paired.mcnemar],
        )
    )
    if won == lost == 0:
        return f"{capitalized(text)}. No answer turns right or wrong."
    groups = f"{won} row {'group is' if won == 1 else 'groups are'} right only with, {lost} only without"
    return f"{capitalized(text)}. {groups}{' (mean of the repeats)' if len(paired.mcnemar) > 1 else ''}."
