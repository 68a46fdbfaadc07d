"""Class names as users write them: their normal form, the choice of some, and warnings about odd ones."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from ensemble_minerals.errors import DataError

_FORBIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})  # Unicode: control, surrogate, line and paragraph separator


def normal_label(text: str) -> str:
    """A class name without blanks around it, composed (NFC): the same on every file system.

    >>> normal_label(" quartz ")
    'quartz'
    """
    return unicodedata.normalize("NFC", text.strip())


def check_labels(labels: Iterable[str]) -> None:
    """Make sure that class names can be printed on one line.

    Raises:
        DataError: If one cannot.
    """
    for name in labels:
        if any(unicodedata.category(sign) in _FORBIDDEN for sign in name):
            raise DataError(
                f"class name {name!r} holds a line break, a control sign or bytes that are no UTF-8; rename it"
            )


def check_classes(chosen: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Chosen class names in normal form, sorted.

    Raises:
        DataError: If one does not exist (naming the nearest that does) or fewer than 2 are chosen.

    Example:
        >>> check_classes([" quartz", "biotite"], known=["biotite", "bornite", "quartz"])
        ('biotite', 'quartz')
    """
    names = {normal_label(name) for name in chosen}
    unknown = sorted(names - set(known))
    if unknown:
        hints = [f"{name!r}{nearest(name, known)}" for name in unknown]
        raise DataError(f"no such class: {', '.join(hints)}; the data hold {', '.join(known)}")
    if len(names) < 2:
        raise DataError(
            f"{len(names)} class chosen ({', '.join(names)}); at least 2 are needed to tell apart"
        )
    return tuple(sorted(names))


def case_warnings(labels: Iterable[str]) -> Iterator[str]:
    """Warnings for class names that differ only in upper and lower case.

    >>> list(case_warnings(["Quartz", "quartz", "bornite"]))
    ["classes 'Quartz' and 'quartz' differ only in upper and lower case; one class or two?"]
    """
    by_fold: dict[str, list[str]] = {}
    for label in sorted(set(labels)):
        by_fold.setdefault(label.casefold(), []).append(label)
    for names in by_fold.values():
        if len(names) > 1:
            quoted = " and ".join(map(repr, names))
            yield f"classes {quoted} differ only in upper and lower case; one class or two?"


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint at the known name that is most like a wrong one; empty if none is.

    >>> nearest("quarz", ["bornite", "quartz"])
    " (did you mean 'quartz'?)"
    """
    matches = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""
