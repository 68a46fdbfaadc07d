"""What an ablation found, in plain sentences: effect first, and as plain about what was not found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ensemble_minerals.evaluation.arms import BUDGET, FULL, LEAKY
from ensemble_minerals.evaluation.wording import show, span

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

Arms = Mapping[str, Mapping[str, Any]]


def findings(comparison: Mapping[str, Any], alike: int) -> dict[str, Any]:
    """Sentences on a comparison.

    Args:
        comparison: Of `comparison.compare_arms`.
        alike: Photos that share their row group with another.

    Returns:
        ``title``, ``resolution``, ``gain`` (sentences on the best single member), ``ingredients`` (each with
        ``title``, ``effect`` and ``sentence``), ``combinations``, ``choices``, ``cost`` and ``leak``. What the
        arms do not tell is empty.
    """
    arms = {arm["name"]: arm for arm in comparison["arms"]}
    family = comparison["family"]
    ingredients = [
        _ingredient(arm, family) for arm in arms.values() if arm["kind"] in ("ingredient", "source")
    ]
    ingredients.sort(key=lambda one: (EFFECTS.index(one["effect"]), -one["size"]))
    return {
        "title": _title(arms),
        "resolution": _resolution(comparison),
        "gain": _gain(arms, family),
        "ingredients": ingredients,
        "combinations": [_combination(arm, family) for arm in arms.values() if arm["kind"] == "combination"],
        "choices": _choices(comparison["choices"], len(arms[FULL]["members"])),
        "cost": _cost(arms),
        "leak": _leak(arms, alike),
    }


EFFECTS = ("helps", "hurts", "mixed", "unclear")
"""What an ingredient does: significantly better with it, worse, each in one of the two scores, or not shown."""


def outcome(arm: Mapping[str, Any], score: str, alpha: float = 0.05) -> str:
    """How the full ensemble stands against an arm: ``better``, ``worse``, ``same`` or ``not significant``."""
    if arm["identical"]:
        return "same"
    if arm["p_holm"][score] >= alpha:
        return "not significant"
    lead = _lead(arm, score)
    return "better" if lead > 0 else "worse"


def _lead(arm: Mapping[str, Any], score: str) -> float:
    """By how much the full ensemble is better, whichever way the score runs."""
    difference = float(arm["difference"][score]["estimate"])
    return -difference if score == "log_loss" else difference


def _title(arms: Arms) -> str:
    if "best_single" not in arms:
        return "What the ensemble gains, and what from"
    arm = arms["best_single"]
    points, found = _points(_lead(arm, "accuracy")), outcome(arm, "accuracy")
    if found == "better":
        return f"The ensemble beats the best single model by {points} of accuracy"
    if found == "worse":
        return f"The best single model beats the ensemble by {points} of accuracy"
    if _lead(arm, "accuracy") == 0:
        return "The ensemble is as accurate as the best single model"
    ahead = "ahead of" if _lead(arm, "accuracy") > 0 else "behind"
    return f"The ensemble is {points} of accuracy {ahead} the best single model: not significant"


def _resolution(comparison: Mapping[str, Any]) -> str:
    found, groups = comparison["resolution"], comparison["row_groups"]
    if found["reference"] is None:
        return "There is one arm only, so nothing is compared."
    text = (
        f"What these data can resolve: of {groups:,} row groups {show(found['discordance'], 'percent')} are answered "
        f"right by only one of the full ensemble and \N{LEFT DOUBLE QUOTATION MARK}{found['reference']}"
        "\N{RIGHT DOUBLE QUOTATION MARK}"
    )
    if found["detectable"] is None:
        return f"{text}, too few to find any difference in accuracy with a probability of 80 %."
    text += f"; there a true difference in accuracy of {_points(found['detectable'])} is found with a probability of 80 %"
    if comparison["family"] > 1:
        corrected = found["detectable_in_table"]
        text += (
            f" if it is the only question, {_points(corrected)} after the correction for all {comparison['family']} "
            "comparisons of the table"
            if corrected is not None
            else f" if it is the only question, none after the correction for all {comparison['family']} comparisons "
            "of the table"
        )
    return f"{text}. Smaller differences may be real and be missed."


def _gain(arms: Arms, family: int) -> list[str]:
    """Sentences on the ensemble against single members."""
    if "best_single" not in arms:
        return []
    full, best = arms[FULL], arms["best_single"]
    right = show(full["scores"]["accuracy"], "percent"), show(best["scores"]["accuracy"], "percent")
    sentences = [
        f"The full ensemble answers {right[0]} of the photos right, the best single member, chosen without the test "
        f"photos, {right[1]}: {_signed_points(best)} ({_chance(best, 'accuracy', family)}): "
        f"{_significance(best, 'accuracy')}.",
        f"Its log-loss is {show(full['scores']['log_loss'], 'decimal')} against "
        f"{show(best['scores']['log_loss'], 'decimal')}: {show(best['difference']['log_loss']['estimate'], 'signed')} "
        f"({_chance(best, 'log_loss', family)}): {_significance(best, 'log_loss')}.",
    ]
    if BUDGET in arms:
        budget = arms[BUDGET]
        sentences.append(
            f"Training that one member as often as the ensemble trains members gives "
            f"{show(budget['scores']['accuracy'], 'percent')}; the ensemble is at {_signed_points(budget)} "
            f"({_chance(budget, 'accuracy', family)}): {_significance(budget, 'accuracy')}. What the ensemble gains "
            + (
                "comes from different members, not from more training."
                if outcome(budget, "accuracy") == "better"
                else "may come from more training alone."
            )
        )
    singles = [arm for arm in arms.values() if arm["kind"] == "single"]
    if singles:
        leads = [_lead(arm, "accuracy") for arm in singles]
        better = sum(outcome(arm, "accuracy") == "better" for arm in singles)
        sentences.append(
            f"Against each of the {len(singles)} members alone it stands at {show(min(leads), 'points')} to "
            f"{show(max(leads), 'points')} points; {better} of the {len(singles)} differences "
            f"{'is' if better == 1 else 'are'} significant after the correction."
        )
    return sentences


def _ingredient(arm: Mapping[str, Any], family: int) -> dict[str, Any]:
    """What an ingredient gains or costs: the ensemble with it against the one without."""
    found = {outcome(arm, score) for score in ("accuracy", "log_loss")}
    if {"better", "worse"} <= found:
        effect = "mixed"
    elif "better" in found:
        effect = "helps"
    else:
        effect = "hurts" if "worse" in found else "unclear"
    return {
        "name": arm["name"],
        "title": arm["subject"][:1].upper() + arm["subject"][1:],
        "effect": effect,
        "size": abs(_lead(arm, "accuracy")),
        "sentence": _change(arm, family, "with", "without"),
    }


def _combination(arm: Mapping[str, Any], family: int) -> dict[str, Any]:
    if arm["identical"]:
        sentence = "the same answers as the full ensemble, which chose it in every outer fold."
    else:
        sentence = _change(arm, family, "as chosen", "so")
    return {"name": arm["name"], "title": arm["title"], "sentence": sentence}


def _change(arm: Mapping[str, Any], family: int, here: str, there: str) -> str:
    """Accuracy and log-loss of the full ensemble against an arm."""
    if arm["identical"]:
        return "no answer changes at all."
    lead = _lead(arm, "accuracy")
    won, lost = (sum(test[key] for test in arm["mcnemar"]) for key in ("only_first", "only_second"))
    groups = f"{won} row {'group' if won == 1 else 'groups'} right only {here}, {lost} only {there}"
    if lead == 0:
        first = f"accuracy is the same {here} and {there} ({groups})"
    else:
        first = (
            f"{_points(lead)} of accuracy {'gained' if lead > 0 else 'lost'} "
            f"({_interval(arm, 'accuracy')}; {groups}; {_p(arm, 'accuracy', family)}): "
            f"{_significance(arm, 'accuracy')}"
        )
    loss = arm["difference"]["log_loss"]["estimate"]
    if abs(loss) < 0.0005:
        second = f"The log-loss stays the same ({_chance(arm, 'log_loss', family)})"
    else:
        second = (
            f"The log-loss {'rises' if loss > 0 else 'falls'} by {abs(loss):.3f} ({_chance(arm, 'log_loss', family)}): "
            f"{_significance(arm, 'log_loss')}"
        )
    return f"{first}. {second}."


def _choices(choices: Sequence[Mapping[str, Any]], members: int) -> str:
    if not choices or members < 2:
        return ""
    combined = Counter(COMBINED.get(one["combination"], one["combination"]) for one in choices)
    singles = Counter(one["best_single"] for one in choices)
    return (
        f"In {len(choices)} outer folds the full ensemble chose {_tally(combined)}; as best single member was chosen "
        f"{_tally(singles)}."
    )


def _cost(arms: Arms) -> str:
    full, best = arms[FULL], arms.get("best_single")
    if full["cost"].get("predict_ms") is None:
        return ""
    text = f"An answer of the full ensemble takes {_ms(full)} and {_megabytes(full)} of weights"
    if best is not None:
        times = full["cost"]["predict_ms"] / best["cost"]["predict_ms"]
        text += (
            f", one of the best single member {_ms(best)} and {_megabytes(best)}: {times:.1f} times the time for "
            f"{_signed_points(best)}"
        )
    close = [
        arm
        for arm in arms.values()
        if arm["kind"] not in ("full", "protocol")
        and arm["cost"].get("predict_ms") is not None
        and _lead(arm, "accuracy") <= CLOSE
        and arm["cost"]["predict_ms"] < 0.9 * full["cost"]["predict_ms"]
    ]
    if close:
        cheapest = min(close, key=lambda arm: float(arm["cost"]["predict_ms"]))
        text += (
            f". The cheapest arm within a point of it is \N{LEFT DOUBLE QUOTATION MARK}{cheapest['title']}"
            f"\N{RIGHT DOUBLE QUOTATION MARK}: {_ms(cheapest)}, "
            f"{show(cheapest['scores']['accuracy'], 'percent')} right"
        )
    return f"{text}."


def _leak(arms: Arms, alike: int) -> str:
    if LEAKY not in arms:
        return ""
    arm = arms[LEAKY]
    claimed, honest = (show(arms[name]["scores"]["accuracy"], "percent") for name in (LEAKY, FULL))
    lead = -_lead(arm, "accuracy")
    more = f"{_points(lead)} {'more' if lead > 0 else 'less'}"
    return (
        f"If the {alike:,} photos that look like another one had been dealt to folds one by one, the same ensemble would "
        f"have been reported at {claimed} instead of {honest}: {more} ({_interval(arm, 'accuracy')}, full minus leaky). "
        "That is no better model, only a test on photos it knows in another version. Other folds alone move "
        "such a figure by chance, too."
    )


def _significance(arm: Mapping[str, Any], score: str) -> str:
    return "significant" if outcome(arm, score) in ("better", "worse") else "not significant"


def _chance(arm: Mapping[str, Any], score: str, family: int) -> str:
    return f"{_interval(arm, score)}; {_p(arm, score, family)}"


def _interval(arm: Mapping[str, Any], score: str) -> str:
    interval = arm["difference"][score]
    kind = "points" if score == "accuracy" else "signed"
    return f"95 % interval {span(interval, kind)}"


def _p(arm: Mapping[str, Any], score: str, family: int) -> str:
    text = p_value(arm["p"][score])
    if score in arm["p_holm"] and family > 1:
        text += f", corrected for {family} comparisons {p_value(arm['p_holm'][score], short=True)}"
    return text


def p_value(p: float, *, short: bool = False) -> str:
    """A p-value as printed: ``p = 0.031``, ``p < 0.001``; without the ``p =`` if short."""
    if p < 0.001:
        return "< 0.001" if short else "p < 0.001"
    return f"{p:.3f}" if short else f"p = {p:.3f}"


def _points(difference: float) -> str:
    """The size of a difference of shares, without a sign."""
    text = f"{100 * abs(difference):.1f}"
    return f"{text} point" if text == "1.0" else f"{text} points"


def _signed_points(arm: Mapping[str, Any]) -> str:
    return f"{show(arm['difference']['accuracy']['estimate'], 'points')} points"


def _ms(arm: Mapping[str, Any]) -> str:
    return f"{arm['cost']['predict_ms']:.0f} ms"


def _megabytes(arm: Mapping[str, Any]) -> str:
    return f"{arm['cost']['megabytes']:.0f} MB"


def _tally(counts: Counter[str]) -> str:
    parts = [f"{name} {count} times" if count > 1 else f"{name} once" for name, count in counts.most_common()]
    return ", ".join(parts)
