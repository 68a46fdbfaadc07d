"""Numbers as a report prints them, and the finding of each section as its heading."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

SCORES: Mapping[str, Mapping[str, str]] = {
    "accuracy": {"title": "Accuracy", "kind": "percent", "meaning": "Photos answered right."},
    "balanced_accuracy": {
        "title": "Balanced accuracy",
        "kind": "percent",
        "meaning": "Mean of the classes' recalls: every class counts alike.",
    },
    "macro_f1": {"title": "Macro F1", "kind": "decimal", "meaning": "Mean of the classes' F1."},
    "log_loss": {
        "title": "Log-loss",
        "kind": "decimal",
        "meaning": "Surprise at the true class, in nats; confident errors cost most.",
    },
    "brier": {
        "title": "Brier score",
        "kind": "decimal",
        "meaning": "Squared distance of the probabilities to the truth, summed over classes, 0 to 2.",
    },
    "ece": {
        "title": "Calibration error (ECE)",
        "kind": "decimal",
        "meaning": "Gap between stated and observed frequency in 15 equal bins, freed of what chance alone adds.",
    },
    "ece_adaptive": {
        "title": "Calibration error, adaptive",
        "kind": "decimal",
        "meaning": "The same in 15 bins of equal count.",
    },
    "kappa": {
        "title": "Cohen's kappa",
        "kind": "decimal",
        "meaning": "Agreement with the labels beyond chance.",
    },
    "mcc": {
        "title": "Matthews correlation",
        "kind": "decimal",
        "meaning": "Correlation of labels and answers over all classes.",
    },
}
"""How each score of `metrics.METRICS` is called, printed and explained."""

NOTHING = "\N{EN DASH}"
"""Stands where a number is not defined."""

_PERCENT = "\N{NO-BREAK SPACE}%"
_MINUS = "\N{MINUS SIGN}"


def show(value: float | None, kind: str) -> str:
    """One number as printed.

    Args:
        value: The number; None where it is not defined.
        kind: ``percent`` of a share, ``points`` of a difference of shares, ``whole``, ``signed`` or ``decimal``
            (three places), ``one`` place, ``two`` places.

    Returns:
        Text; a share that is not quite all or nothing never prints as 100 or 0 per cent.
    """
    return NOTHING if value is None else _FORMS[kind](value).replace("-", _MINUS)


def _share(share: float) -> str:
    text = f"{100 * share:.1f}"
    if text == "100.0" and share < 1:
        text = "99.9"
    if text == "0.0" and share > 0:
        text = "<0.1"
    return text + _PERCENT


def _points(difference: float) -> str:
    text = f"{100 * difference:+.1f}"
    return "0.0" if float(text) == 0 else text


def _signed(value: float) -> str:
    text = f"{value:+.3f}"
    return "0.000" if float(text) == 0 else text


_FORMS: Mapping[str, Callable[[float], str]] = {
    "percent": _share,
    "points": _points,
    "whole": lambda value: f"{value:,.0f}",
    "signed": _signed,
    "decimal": lambda value: f"{value:.3f}",
    "one": lambda value: f"{value:.1f}",
    "two": lambda value: f"{value:.2f}",
}


def span(interval: Mapping[str, Any], kind: str) -> str:
    """Both ends of an interval in words, empty where it is not defined."""
    if interval["low"] is None:
        return ""
    low, high = show(interval["low"], kind), show(interval["high"], kind)
    return f"{low.removesuffix(_PERCENT)} to {high}"


def findings(analysis: Mapping[str, Any]) -> dict[str, str]:
    """For each section of an analysis the sentence that heads it."""
    return {
        "scores": _scores(analysis),
        "classes": _classes(analysis["classes"]["classes"]),
        "confusion": _confusion(analysis["confusion"]),
        "pairs": _pairs(analysis["pairs"]),
        "sheets": _sheets(analysis["sheets"]),
        "reliability": _reliability(analysis),
        "abstention": _abstention(analysis["abstention"]),
        "sets": _sets(analysis["sets"]),
        "data": _data(analysis["labels"], analysis["files"]),
        "slices": _slices(analysis["slices"]["rows"]),
        "members": _members(analysis["members"]),
        "learning_curve": _learning_curve(analysis["learning_curve"]),
    }


def _round(share: float) -> str:
    return f"{100 * share:.0f}{_PERCENT}"


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def capitalized(name: str) -> str:
    """With its first letter large, the rest as it is."""
    return name[:1].upper() + name[1:]


def listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them: ``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _scores(analysis: Mapping[str, Any]) -> str:
    accuracy = next(score for score in analysis["scores"] if score["name"] == "accuracy")
    n = _count(analysis["confusion"]["n"], "photo")
    text = f"{show(accuracy['estimate'], 'percent')} of {n} are answered right"
    return f"{text} (95{_PERCENT} interval {span(accuracy, 'percent')})"


def _classes(rows: Sequence[Mapping[str, Any]]) -> str:
    known = [row for row in rows if row["support"]]
    if all(row["f1"]["estimate"] == 1 for row in known):
        return "Every class is recognized without an error"
    worst = min(known, key=lambda row: row["f1"]["estimate"])
    best = max(known, key=lambda row: row["f1"]["estimate"])
    return (
        f"{capitalized(worst['name'])} is recognized worst (F1 {show(worst['f1']['estimate'], 'two')}), "
        f"{best['name']} best ({show(best['f1']['estimate'], 'two')})"
    )


def _confusion(section: Mapping[str, Any]) -> str:
    if not section["errors"]:
        return "No answer is wrong"
    verb = "is" if section["errors"] == 1 else "are"
    text = f"{section['errors']:,} of {_count(section['n'], 'answer')} {verb} wrong"
    if section["groups"] is None:
        return text
    return (
        f"{text}: {section['within']:,} stay within a group of the taxonomy, {section['across']:,} leave it"
    )


def _pairs(pairs: Sequence[Mapping[str, Any]]) -> str:
    if not pairs:
        return "No class is mistaken for another"
    first = pairs[0]
    return (
        f"{capitalized(first['given'])} is mistaken for {first['answer']} most: {first['count']:,} of its "
        f"{_count(first['support'], 'photo')}"
    )


def _sheets(sheets: Sequence[Mapping[str, Any]]) -> str:
    errors = sum(sheet["errors"] for sheet in sheets)
    if not errors:
        return "No class holds an error; these photos were the closest calls"
    names, held = [], 0
    for sheet in sorted(sheets, key=lambda sheet: -sheet["errors"]):
        names.append(sheet["name"])
        held += sheet["errors"]
        if 2 * held >= errors:
            break
    share = f"{held:,} of the {_count(errors, 'error')}"
    if len(names) > 3:
        return f"Errors are spread: {_count(len(names), 'class', 'classes')} hold {share}"
    return f"{capitalized(listed(names))} {'holds' if len(names) == 1 else 'hold'} {share}"


def _reliability(analysis: Mapping[str, Any]) -> str:
    error = next(score for score in analysis["scores"] if score["name"] == "ece")
    section = analysis["reliability"]
    stated, seen = show(section["confidence"], "percent"), show(section["accuracy"], "percent")
    if error["low"] is None or error["low"] < 0.005:
        return f"Probabilities can be taken at their word: {stated} sure on average, {seen} right"
    manner = "too sure" if section["confidence"] > section["accuracy"] else "too careful"
    return f"Probabilities are {manner}: {stated} sure on average, {seen} right"


def _abstention(section: Mapping[str, Any]) -> str:
    limit = next(one for one in section["limits"] if one["error"] == 0.02)
    error = show(section["error"], "percent")
    if limit["coverage"] == 1:
        return f"Answering every photo costs {error} errors; there is little to gain by abstaining"
    if limit["coverage"] == 0:
        return f"No threshold brings the {error} errors down to 2{_PERCENT}"
    left = show(1 - limit["coverage"], "percent")
    return (
        f"Leaving the least sure {left} of the photos to a person brings errors from {error} to 2{_PERCENT}"
    )


def _sets(section: Mapping[str, Any]) -> str:
    if not section["levels"]:
        return "Prediction sets could not be scored"
    last = section["levels"][-1]
    return (
        f"Sets stated to hold the class in {_round(last['level'])} of cases hold it in "
        f"{show(last['coverage']['estimate'], 'percent')}, with {show(last['mean_size'], 'two')} classes on average"
    )


def _data(labels: Mapping[str, Any], files: Mapping[str, Any]) -> str:
    found = [
        (len(labels["suspects"]), "label looks wrong", "labels look wrong"),
        (len(files["duplicates"]), "cluster of look-alikes", "clusters of look-alikes"),
        (len(files["conflicts"]), "picture under two classes", "pictures under two classes"),
        (len(files["unreadable"]), "unreadable file", "unreadable files"),
    ]
    named = [_count(number, one, many) for number, one, many in found if number]
    return capitalized(listed(named)) if named else "Nothing in the data asks for a second look"


def _slices(rows: Sequence[Mapping[str, Any]]) -> str:
    large = [row for row in rows if not row["small"]]
    if not large:
        return "There are too few photos to compare slices"
    behind = [row for row in large if row["accuracy"]["high"] < row["expected"]]
    if not behind:
        return "No slice is clearly weaker than its mix of classes explains"
    worst = behind[0]
    span = f" ({worst['span']})" if worst["span"] else ""
    return (
        f"Weaker than its mix of classes explains: {worst['measure']}, {worst['name']}{span}, with "
        f"{show(worst['accuracy']['estimate'], 'percent')} right"
    )


def _members(section: Mapping[str, Any]) -> str:
    best = section["best_single"]
    gain = best["accuracy_gain"]
    if len(section["names"]) == 1:
        return f"There is one member, {best['name']}"
    text = f"{show(gain['estimate'], 'points')} points, 95{_PERCENT} interval {span(gain, 'points')}"
    if gain["low"] is not None and gain["low"] > 0:
        return f"The ensemble beats its best member, {best['name']} ({text})"
    if gain["high"] is not None and gain["high"] < 0:
        return f"The ensemble is worse than its best member, {best['name']} ({text})"
    return f"The ensemble is not clearly more accurate than its best member, {best['name']} ({text})"


def _learning_curve(section: Mapping[str, Any] | None) -> str:
    if section is None or section["last_step"] is None:
        return "Whether more photos would help was not measured"
    step = section["last_step"]
    share = _round(1 - section["points"][-2]["share"])
    text = (
        f"the last {share} of them added {show(step['estimate'], 'points')} points ({span(step, 'points')})"
    )
    if step["low"] is not None and step["low"] > 0:
        return f"More photos would help: {text}"
    return f"More photos may or may not help: {text}"
