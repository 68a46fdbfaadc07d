"""What grades and evidence of a pair mean, in plain words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ensemble_minerals.data.same_object.pairs import GRADES, Evidence, Grade

GRADE_WORDS: dict[Grade, str] = {
    "copy": "copy",
    "same_picture": "same picture",
    "same_object": "same object",
    "likeness": "alike",
    "given": "joined by you",
}
"""What each grade is called."""


def count_grades(grades: Iterable[Grade]) -> str:
    """How many there are of each grade, the strongest first.

    >>> count_grades(["same_object", "copy", "same_object"])
    'copy 1, same object 2'
    """
    number = Counter(grades)
    return ", ".join(f"{GRADE_WORDS[grade]} {number[grade]}" for grade in GRADES if number[grade])


def describe(evidence: Evidence) -> str:
    """What shows that two photos belong together.

    >>> import numpy as np
    >>> describe(Evidence(31, 0.45, 0.8, 0.5, 0.93, True, np.empty((0, 4), np.float32)))
    '31 points agree, 50 % of those in an area of 45 % and 80 % of the photos; pixels correlate by 0.93; mirrored'
    """
    mirrored = "; mirrored" if evidence.mirrored else ""
    return (
        f"{evidence.inliers} points agree, {evidence.agreement:.0%} of those in an area of "
        f"{evidence.first_share:.0%} and {evidence.second_share:.0%} of the photos; pixels correlate by "
        f"{evidence.correlation:.2f}{mirrored}"
    ).replace("%", " %")
