"""What an ablation found, in plain sentences: effect first, and as plain about what was not found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ensemble_minerals.ablation.arms import BUDGET, FULL, LEAKY
from ensemble_minerals.evaluation.intervals import Interval
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

Row = Mapping[str, Any]
Arms = Mapping[str, Row]


def findings(comparison: Mapping[str, Any], alike: int) -> dict[str, Any]:
    """Sentences on a comparison.

    Args:
        comparison: Of `comparison.compare_arms`.
        alike: Photos that share their row group with another.

    Returns:
        ``title``, ``resolution``, ``gain`` (sentences on the best single member), ``ingredients`` (``title``,
        ``changes``: each with ``name``, ``title``, ``effect``, ``significant`` and ``sentence``), ``choices``,
        ``cost`` and ``leak``. What the arms do not tell is empty.
    """
    arms = {arm["name"]: arm for arm in comparison["arms"]}
    changes = [_change(arm) for arm in arms.values() if arm["kind"] in ("ingredient", "source")]
    changes.sort(key=lambda one: (list(EFFECTS).index(one["effect"]), -abs(one["gain"])))
    return {
        "title": _title(arms),
        "resolution": _resolution(comparison),
        "gain": _gain(arms, comparison),
        "ingredients": {"title": _ingredients(changes), "changes": changes},
        "choices": _choices(comparison["choices"], len(arms[FULL]["members"])),
        "cost": _cost(arms),
        "leak": _leak(arms, alike),
    }


def outcome(arm: Row, score: str, alpha: float = 0.05) -> str:
    """How the full ensemble stands against an arm: ``better``, ``worse``, ``same`` or ``not significant``."""
    if arm["identical"]:
        return "same"
    if arm["p_holm"][score] >= alpha:
        return "not significant"
    return "better" if _lead(arm, score) > 0 else "worse"


def p_value(p: float, *, short: bool = False) -> str:
    """A p-value as printed: ``p = 0.031``, ``p < 0.001``; ``0.031`` or ``< 0.001`` if short."""
    if p < 0.001:
        return "< 0.001" if short else "p < 0.001"
    return f"{p:.3f}" if short else f"p = {p:.3f}"


def _lead(arm: Row, score: str) -> float:
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
    found, family = comparison["resolution"], comparison["family"]
    if found["reference"] is None:
        return "There is one arm only, so nothing is compared."
    differ = (
        f"on {show(found['discordance'], 'percent')} of the {comparison['row_groups']:,} row groups only one of the "
        f"full ensemble and {_quoted(found['reference'])} is right"
    )
    if found["detectable"] is None:
        return (
            "These data can resolve no difference in accuracy with a probability of 80 %, however large: "
            f"{differ}."
        )
    among = ""
    if family > 1:
        corrected = found["detectable_in_table"]
        among = (
            f" ({'none' if corrected is None else _points(corrected)} after the correction for all {family} "
            "comparisons)"
        )
    return (
        f"What these data can resolve: a true difference of {_points(found['detectable'])} of accuracy is found with "
        f"a probability of 80 %{among}; {differ}. Smaller differences may be real and be missed."
    )


def _gain(arms: Arms, comparison: Mapping[str, Any]) -> list[str]:
    """Sentences on the ensemble against single members."""
    if "best_single" not in arms:
        return []
    family = comparison["family"]
    full, best = arms[FULL], arms["best_single"]
    right, right_best = (show(arm["scores"]["accuracy"], "percent") for arm in (full, best))
    loss, loss_best = (show(arm["scores"]["log_loss"], "decimal") for arm in (full, best))
    sentences = [
        f"The full ensemble answers {right} of the photos right, the best single member, chosen without the test "
        f"photos, {right_best}: {_signed_points(best)} ({_chance(best, 'accuracy', family)}), "
        f"{_significance(best, 'accuracy')}.",
        f"Its log-loss is {loss} against {loss_best}: "
        f"{show(best['difference']['log_loss']['estimate'], 'signed')} ({_chance(best, 'log_loss', family)}), "
        f"{_significance(best, 'log_loss')}.",
    ]
    if BUDGET in arms:
        budget = arms[BUDGET]
        sentences.append(
            "That member trained as often as the ensemble trains members answers "
            f"{show(budget['scores']['accuracy'], 'percent')} right; the ensemble is at {_signed_points(budget)} "
            f"({_chance(budget, 'accuracy', family)}), {_significance(budget, 'accuracy')}: what it gains "
            + (
                "comes from different members, not from more training."
                if outcome(budget, "accuracy") == "better"
                else "could come from more training alone."
            )
        )
    singles = [arm for arm in arms.values() if arm["kind"] == "single"]
    if singles:
        leads = [_lead(arm, "accuracy") for arm in singles]
        better, worse = (
            sum(outcome(arm, "accuracy") == how for arm in singles) for how in ("better", "worse")
        )
        sentences.append(
            f"Against the {len(singles)} members one by one it stands at {show(min(leads), 'points')} to "
            f"{show(max(leads), 'points')} points: significantly better than {better or 'none'}, significantly worse "
            f"than {worse or 'none'}."
        )
    return sentences


def _ingredients(changes: Sequence[Row]) -> str:
    if not changes:
        return "No ingredient was left out"
    named = {effect: [_where(one) for one in changes if one["effect"] == effect] for effect in EFFECTS}
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
        largest = max(changes, key=lambda one: abs(one["gain"]))
        if largest["gain"] == 0:
            return f"None of {rest} ingredients changes the accuracy, or anything else significantly"
        return (
            f"None of {rest} ingredients makes a significant difference; the largest is that of "
            f"{largest['title']}, {show(largest['gain'], 'points')} points"
        )
    others = f"; the other {rest} make no significant difference" if rest else ""
    return capitalized("; ".join(parts)) + others


def _where(change: Row) -> str:
    """An ingredient and the scores that it changes significantly."""
    return (
        f"{change['title']} ({listed(change['significant'])})"
        if change["significant"]
        else str(change["title"])
    )


def _change(arm: Row) -> dict[str, Any]:
    """What an ingredient gains or costs: the ensemble with it against the one without."""
    found = {score: outcome(arm, score) for score in _TESTED}
    if {"better", "worse"} <= set(found.values()):
        effect = "mixed"
    elif "better" in found.values():
        effect = "helps"
    else:
        effect = "hurts" if "worse" in found.values() else "unclear"
    return {
        "name": arm["name"],
        "title": arm["subject"],
        "effect": effect,
        "significant": [words for score, words in _TESTED.items() if found[score] in ("better", "worse")],
        "gain": _lead(arm, "accuracy"),
        "sentence": _with_and_without(arm, found),
    }


def _with_and_without(arm: Row, found: Mapping[str, str]) -> str:
    if arm["identical"]:
        return "No answer changes at all."
    lead, loss = _lead(arm, "accuracy"), arm["difference"]["log_loss"]["estimate"]
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
        for score, how in found.items()
    }
    if set(words.values()) == {"not significant"}:
        text = f"{accuracy}, {log_loss}; neither is significant"
    elif set(words.values()) == {"significant"}:
        text = f"{accuracy}, {log_loss}; both are significant"
    else:
        text = f"{accuracy} ({words['accuracy']}), {log_loss} ({words['log_loss']})"
    won, lost = (
        round(sum(test[key] for test in arm["mcnemar"]) / len(arm["mcnemar"]))
        for key in ("only_first", "only_second")
    )
    if won == lost == 0:
        return f"{capitalized(text)}. No answer turns right or wrong."
    groups = f"{won} row {'group is' if won == 1 else 'groups are'} right only with, {lost} only without"
    return f"{capitalized(text)}. {groups}{' (mean of the repeats)' if len(arm['mcnemar']) > 1 else ''}."


def _choices(choices: Sequence[Row], members: int) -> str:
    if not choices or members < 2:
        return ""
    combined = Counter(COMBINED[str(one["combination"])] for one in choices)
    singles = Counter(str(one["best_single"]) for one in choices)
    return (
        f"Of {len(choices)} outer folds the full ensemble chose {_tally(combined)}; the best single member was "
        f"{_tally(singles)}."
    )


def _cost(arms: Arms) -> str:
    full, best = arms[FULL], arms.get("best_single")
    if full["cost"]["predict_ms"] is None:
        return ""
    text = f"An answer of the full ensemble takes {_amount(full)}"
    if best is not None:
        times = full["cost"]["predict_ms"] / best["cost"]["predict_ms"]
        gained = _signed_points(best)
        text += f", one of the best single member {_amount(best)}: {times:.1f} times the time for {gained}"
    close = [
        arm
        for arm in arms.values()
        if arm["kind"] not in ("full", "protocol")
        and _lead(arm, "accuracy") <= CLOSE
        and arm["cost"]["predict_ms"] < 0.9 * full["cost"]["predict_ms"]
    ]
    if close:
        cheapest = min(close, key=lambda arm: float(arm["cost"]["predict_ms"]))
        text += (
            f". The cheapest arm that is at most one point less accurate is {_quoted(cheapest['title'])}: "
            f"{_amount(cheapest)}, {show(cheapest['scores']['accuracy'], 'percent')} right"
        )
    return f"{text}."


def _leak(arms: Arms, alike: int) -> str:
    if LEAKY not in arms:
        return ""
    arm = arms[LEAKY]
    claimed, honest = (show(arms[name]["scores"]["accuracy"], "percent") for name in (LEAKY, FULL))
    interval = arm["difference"]["accuracy"]
    low, high = (show(-interval[end], "points") for end in ("high", "low"))
    more = show(-interval["estimate"], "points")
    return (
        f"Had the {alike:,} photos that look like another one been dealt to the folds one by one, the same ensemble "
        f"would have been reported at {claimed} instead of {honest} ({more} points, 95 % interval {low} to {high}). "
        "That would be no better model, only a test on photos that it knows in another version. Some of the "
        "difference is the luck of other folds."
    )


def _significance(arm: Row, score: str) -> str:
    return "significant" if outcome(arm, score) in ("better", "worse") else "not significant"


def _chance(arm: Row, score: str, family: int) -> str:
    kind = "points" if score == "accuracy" else "signed"
    text = f"95 % interval {span(Interval.read(arm['difference'][score]), kind)}; {p_value(arm['p'][score])}"
    if family > 1:
        text += f", corrected {p_value(arm['p_holm'][score], short=True)}"
    return text


def _points(difference: float) -> str:
    """The size of a difference of shares, without a sign."""
    text = f"{100 * abs(difference):.1f}"
    return f"{text} point" if text == "1.0" else f"{text} points"


def _signed_points(arm: Row) -> str:
    return f"{show(arm['difference']['accuracy']['estimate'], 'points')} points"


def _amount(arm: Row) -> str:
    milliseconds, megabytes = arm["cost"]["predict_ms"], arm["cost"]["megabytes"]
    return (
        f"{show(milliseconds, 'whole' if milliseconds >= 10 else 'two')} ms and "
        f"{show(megabytes, 'whole' if megabytes >= 10 else 'two')} MB"
    )


def _tally(counts: Counter[str]) -> str:
    return listed([f"{name} in {count}" for name, count in counts.most_common()])


def _quoted(title: str) -> str:
    return f"\N{LEFT DOUBLE QUOTATION MARK}{title}\N{RIGHT DOUBLE QUOTATION MARK}"
