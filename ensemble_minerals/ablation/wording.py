"""What an ablation found, in plain sentences: effect first, and as plain about what was not found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ensemble_minerals.ablation.arms import BUDGET, FULL, LEAKY, ONE_MODEL, REJECTION
from ensemble_minerals.ablation.comparison import ArmResult, Comparison, FoldChoice
from ensemble_minerals.ablation.ingredients import Ingredients, describe_ingredients, format_points
from ensemble_minerals.ablation.refusal import RefusedPhotos
from ensemble_minerals.evaluation.costs import Cost
from ensemble_minerals.reports.wording import listed, p_value, show, span

CLOSE = 0.01
"""An arm this close to the full ensemble's accuracy counts as an alternative to it."""

COMBINED = {
    "best_single": "the best single member",
    "uniform": "the uniform mean",
    "calibrated": "the mean of calibrated members",
    "greedy": "greedy selection",
    "log_pool": "the weighted product",
    "logistic": "logistic stacking",
}
"""What the meta-learner's candidates are called."""

Arms = Mapping[str, ArmResult]


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
        rejection: What is refused, and what that costs.
    """

    title: str
    resolution: str
    gain: tuple[str, ...]
    ingredients: Ingredients
    choices: str
    cost: str
    leak: str
    rejection: str = ""


def describe(comparison: Comparison, alike: int) -> AblationFindings:
    """Put a comparison into words.

    Args:
        comparison: Of `compare_arms`.
        alike: Photos that share their row group with another.
    """
    arms = comparison.by_name()
    return AblationFindings(
        title=_title(arms),
        resolution=_resolution(comparison),
        gain=tuple(_gain(arms, comparison.family)),
        ingredients=describe_ingredients(arms.values()),
        choices=_choices(comparison.choices, len(arms[FULL].arm.members)),
        cost=_cost(arms),
        leak=_leak(arms, alike),
        rejection="" if comparison.refused is None else _rejection(arms, comparison.refused),
    )


def _rejection(arms: Arms, found: RefusedPhotos) -> str:
    with_it, without = arms[REJECTION].cost, arms[FULL].cost
    cost = ""
    if with_it.fit_seconds is not None and without.fit_seconds is not None:
        cost = f" Fitting it takes {show(with_it.fit_seconds - without.fit_seconds, 'one')} s of a core"
        if with_it.predict_ms is not None and without.predict_ms is not None:
            cost += f", and a photo {show(with_it.predict_ms - without.predict_ms, 'one')} ms"
        cost += "."
    return (
        f"With rejection {show(found.share.estimate, 'percent')} of the photos ({span(found.share, 'percent')}) are "
        f"called none of the classes, though they show one; {show(found.right_of_answered, 'percent')} of the others "
        f"are answered right, and of those {show(found.right_of_refused, 'percent')} would have been.{cost}"
    )


def _title(arms: Arms) -> str:
    if "best_single" not in arms:
        return "What the ensemble gains, and what from"
    paired = arms["best_single"].against
    lead, found = paired.lead("accuracy"), paired.outcome("accuracy")
    points = format_points(lead)
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
            f" ({'none' if corrected is None else format_points(corrected)} after the correction for all {family} "
            "comparisons)"
        )
    return (
        f"What these data can resolve: a true difference of {format_points(found.detectable)} of accuracy is found "
        f"with a probability of 80 %{among}; {differ}. Smaller differences may be real and be missed."
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
    if ONE_MODEL in arms:
        one = arms[ONE_MODEL]
        sentences.append(
            "One regression on the features of all members side by side, its penalty chosen without the test photos, "
            f"answers {show(one.scores['accuracy'], 'percent')} right with log-loss "
            f"{show(one.scores['log_loss'], 'decimal')}; the ensemble is at {_signed_points(one)} "
            f"({_chance(one, 'accuracy', family)}), {_significance(one, 'accuracy')}, and at "
            f"{show(one.against.difference['log_loss'].estimate, 'signed')} of log-loss, "
            f"{_significance(one, 'log_loss')}."
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
