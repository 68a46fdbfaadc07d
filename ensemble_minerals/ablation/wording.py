"""What an ablation found, in plain sentences: effect first, and as plain about what was not found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ensemble_minerals.ablation.arms import BUDGET, FULL, LEAKY
from ensemble_minerals.ablation.comparison import ArmResult, Comparison, FoldChoice, PairedComparison
from ensemble_minerals.evaluation.costs import Cost
from ensemble_minerals.reports.wording import capitalized, listed, show, span

CLOSE = 0.01
"""An arm this close to the full ensemble's accuracy counts as an alternative to it."""

COMBINED = {
    "best_single": "the best single member",
    "uniform": "the uniform mean",
    "greedy": "greedy selection",
    "log_pool": "the weighted product",
    "logistic": "logistic stacking",
}
"""What the meta-learner's candidates are called."""

EFFECTS = {"helps": "helps", "hurts": "hurts", "mixed": "helps and hurts", "unclear": "not significant"}
"""What an ingredient does to the two tested scores, and the words for it."""

_TESTED = {"accuracy": "accuracy", "log_loss": "log-loss"}

Arms = Mapping[str, ArmResult]


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


@dataclass(frozen=True)
class AblationFindings:
    """Sentences on a comparison; what the arms do not tell is empty.

    Attributes:
        title: The ensemble against the best single member, in short.
        resolution: What the data can show.
        gain: Sentences on the ensemble against single members.
        ingredients: What each ingredient gains or costs.
        choices: What the outer folds chose.
        cost: What an answer costs.
        leak: What a leaky protocol would have claimed.
    """

    title: str
    resolution: str
    gain: tuple[str, ...]
    ingredients: Ingredients
    choices: str
    cost: str
    leak: str


def describe(comparison: Comparison, alike: int) -> AblationFindings:
    """Put a comparison into words.

    Args:
        comparison: Of `compare_arms`.
        alike: Photos that share their row group with another.
    """
    arms = comparison.by_name()
    changes = [_change(result) for result in arms.values() if result.arm.kind in ("ingredient", "source")]
    changes.sort(key=lambda change: (list(EFFECTS).index(change.effect), -abs(change.gain)))
    return AblationFindings(
        title=_title(arms),
        resolution=_resolution(comparison),
        gain=tuple(_gain(arms, comparison.family)),
        ingredients=Ingredients(_ingredients(changes), tuple(changes)),
        choices=_choices(comparison.choices, len(arms[FULL].arm.members)),
        cost=_cost(arms),
        leak=_leak(arms, alike),
    )


def p_value(p: float, *, short: bool = False) -> str:
    """A p-value as printed.

    >>> p_value(0.03142), p_value(0.0001), p_value(0.03142, short=True)
    ('p = 0.031', 'p < 0.001', '0.031')
    """
    if p < 0.001:
        return "< 0.001" if short else "p < 0.001"
    return f"{p:.3f}" if short else f"p = {p:.3f}"


def _title(arms: Arms) -> str:
    if "best_single" not in arms:
        return "What the ensemble gains, and what from"
    paired = arms["best_single"].against
    lead, found = paired.lead("accuracy"), paired.outcome("accuracy")
    points = _points(lead)
    if found == "better":
        return f"The ensemble beats the best single model by {points} of accuracy"
    if found == "worse":
        return f"The best single model beats the ensemble by {points} of accuracy"
    if lead == 0:
        return "The ensemble is as accurate as the best single model"
    ahead = "ahead of" if lead > 0 else "behind"
    return f"The ensemble is {points} of accuracy {ahead} the best single model: not significant"


def _resolution(comparison: Comparison) -> str:
    found, family = comparison.resolution, comparison.family
    if found.reference is None:
        return "There is one arm only, so nothing is compared."
    differ = (
        f"on {show(found.discordance, 'percent')} of the {comparison.row_groups:,} row groups only one of the "
        f"full ensemble and {_quoted(found.reference)} is right"
    )
    if found.detectable is None:
        return (
            "These data can resolve no difference in accuracy with a probability of 80 %, however large: "
            f"{differ}."
        )
    among = ""
    if family > 1:
        corrected = found.detectable_in_table
        among = (
            f" ({'none' if corrected is None else _points(corrected)} after the correction for all {family} "
            "comparisons)"
        )
    return (
        f"What these data can resolve: a true difference of {_points(found.detectable)} of accuracy is found with "
        f"a probability of 80 %{among}; {differ}. Smaller differences may be real and be missed."
    )


def _gain(arms: Arms, family: int) -> list[str]:
    """Sentences on the ensemble against single members."""
    if "best_single" not in arms:
        return []
    full, best = arms[FULL], arms["best_single"]
    right, right_best = (show(one.scores["accuracy"], "percent") for one in (full, best))
    loss, loss_best = (show(one.scores["log_loss"], "decimal") for one in (full, best))
    sentences = [
        f"The full ensemble answers {right} of the photos right, the best single member, chosen without the test "
        f"photos, {right_best}: {_signed_points(best)} ({_chance(best, 'accuracy', family)}), "
        f"{_significance(best, 'accuracy')}.",
        f"Its log-loss is {loss} against {loss_best}: "
        f"{show(best.against.difference['log_loss'].estimate, 'signed')} ({_chance(best, 'log_loss', family)}), "
        f"{_significance(best, 'log_loss')}.",
    ]
    if BUDGET in arms:
        budget = arms[BUDGET]
        sentences.append(
            "That member trained as often as the ensemble trains members answers "
            f"{show(budget.scores['accuracy'], 'percent')} right; the ensemble is at {_signed_points(budget)} "
            f"({_chance(budget, 'accuracy', family)}), {_significance(budget, 'accuracy')}: what it gains "
            + (
                "comes from different members, not from more training."
                if budget.against.outcome("accuracy") == "better"
                else "could come from more training alone."
            )
        )
    singles = [result.against for result in arms.values() if result.arm.kind == "single"]
    if singles:
        leads = [paired.lead("accuracy") for paired in singles]
        better, worse = (
            sum(paired.outcome("accuracy") == how for paired in singles) for how in ("better", "worse")
        )
        sentences.append(
            f"Against the {len(singles)} members one by one it stands at {show(min(leads), 'points')} to "
            f"{show(max(leads), 'points')} points: significantly better than {better or 'none'}, significantly worse "
            f"than {worse or 'none'}."
        )
    return sentences


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
        accuracy = f"{_points(lead)} of accuracy {'gained' if lead > 0 else 'lost'}"
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


def _choices(choices: Sequence[FoldChoice], members: int) -> str:
    if not choices or members < 2:
        return ""
    combined = Counter(COMBINED[choice.combination] for choice in choices)
    singles = Counter(choice.best_single for choice in choices)
    return (
        f"Of {len(choices)} outer folds the full ensemble chose {_tally(combined)}; the best single member was "
        f"{_tally(singles)}."
    )


def _cost(arms: Arms) -> str:
    full, best = arms[FULL], arms.get("best_single")
    if full.cost.predict_ms is None:
        return ""
    text = f"An answer of the full ensemble takes {_amount(full.cost)}"
    if best is not None and best.cost.predict_ms is not None:
        times = full.cost.predict_ms / best.cost.predict_ms
        text += (
            f", one of the best single member {_amount(best.cost)}: {times:.1f} times the time for "
            f"{_signed_points(best)}"
        )
    close = [
        (result.cost.predict_ms, result)
        for result in arms.values()
        if result.arm.kind not in ("full", "protocol")
        and result.against.lead("accuracy") <= CLOSE
        and result.cost.predict_ms is not None
        and result.cost.predict_ms < 0.9 * full.cost.predict_ms
    ]
    if close:
        _, cheapest = min(close, key=lambda pair: pair[0])
        text += (
            f". The cheapest arm that is at most one point less accurate is {_quoted(cheapest.arm.title)}: "
            f"{_amount(cheapest.cost)}, {show(cheapest.scores['accuracy'], 'percent')} right"
        )
    return f"{text}."


def _leak(arms: Arms, alike: int) -> str:
    if LEAKY not in arms:
        return ""
    claimed, honest = (show(arms[name].scores["accuracy"], "percent") for name in (LEAKY, FULL))
    interval = arms[LEAKY].against.difference["accuracy"]
    low, high = show(-interval.high, "points"), show(-interval.low, "points")
    more = show(-interval.estimate, "points")
    return (
        f"Had the {alike:,} photos that look like another one been dealt to the folds one by one, the same ensemble "
        f"would have been reported at {claimed} instead of {honest} ({more} points, 95 % interval {low} to {high}). "
        "That would be no better model, only a test on photos that it knows in another version. Some of the "
        "difference is the luck of other folds."
    )


def _significance(result: ArmResult, score: str) -> str:
    return "significant" if result.against.is_significant(score) else "not significant"


def _chance(result: ArmResult, score: str, family: int) -> str:
    kind, paired = "points" if score == "accuracy" else "signed", result.against
    text = f"95 % interval {span(paired.difference[score], kind)}; {p_value(paired.p[score])}"
    if family > 1:
        text += f", corrected {p_value(paired.p_holm[score], short=True)}"
    return text


def _points(difference: float) -> str:
    """The size of a difference of shares, without a sign."""
    text = f"{100 * abs(difference):.1f}"
    return f"{text} point" if text == "1.0" else f"{text} points"


def _signed_points(result: ArmResult) -> str:
    return f"{show(result.against.difference['accuracy'].estimate, 'points')} points"


def _amount(cost: Cost) -> str:
    """Time and size of an answer."""
    amounts = [(cost.predict_ms, "ms"), (cost.megabytes, "MB")]
    return " and ".join(
        f"{show(value, 'whole' if value is not None and value >= 10 else 'two')} {unit}"
        for value, unit in amounts
    )


def _tally(counts: Counter[str]) -> str:
    return listed([f"{name} in {count}" for name, count in counts.most_common()])


def _quoted(title: str) -> str:
    return f"\N{LEFT DOUBLE QUOTATION MARK}{title}\N{RIGHT DOUBLE QUOTATION MARK}"
