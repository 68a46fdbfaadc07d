"""Groups from pairs, the strongest first, with pairs that must stay apart."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


class Groups:
    """Groups that grow by joining, unless that would bring together what must stay apart.

    Args:
        n: Number of items; each is a group of its own at first.
        apart: Pairs of items that must stay in different groups.

    Example:
        >>> groups = Groups(4, [(0, 2)])
        >>> groups.join(0, 1), groups.join(1, 2), groups.join(2, 3)
        (True, False, True)
        >>> groups.numbers.tolist()
        [0, 0, 2, 2]
    """

    def __init__(self, n: int, apart: Iterable[tuple[int, int]] = ()) -> None:
        self._members = {item: [item] for item in range(n)}
        self._group = list(range(n))
        self._foes: dict[int, set[int]] = {}
        for a, b in apart:
            self._foes.setdefault(a, set()).add(b)
            self._foes.setdefault(b, set()).add(a)

    @property
    def numbers(self) -> NDArray[np.intp]:
        """Group of each item."""
        return np.array(self._group, dtype=np.intp)

    def members(self, item: int) -> list[int]:
        """The group of an item."""
        return self._members[self._group[item]]

    def join(self, a: int, b: int) -> bool:
        """Join the groups of two items; whether they are in one group now."""
        keep, gone = sorted((self._group[a], self._group[b]))
        if keep == gone:
            return True
        if len(self._members[keep]) < len(self._members[gone]):
            small, large = keep, gone
        else:
            small, large = gone, keep
        if self._foes and any(
            self._group[foe] == large for item in self._members[small] for foe in self._foes.get(item, ())
        ):
            return False
        for item in self._members[small]:
            self._group[item] = large
        self._members[large] += self._members.pop(small)
        return True
