"""What comparisons of photos found, kept by the contents of both: no pair is compared twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.same_object.keypoint_store import source_of
from ensemble_minerals.data.same_object.keypoints import COARSE, FINE
from ensemble_minerals.data.same_object.matching import MATCHING_VERSION
from ensemble_minerals.data.same_object.pairs import GRADES, Evidence, Grade
from ensemble_minerals.system.cache_table import CacheTable
from ensemble_minerals.system.digest import content_digest

Verdict: TypeAlias = tuple[Grade, Evidence] | None
"""What `compare` says of two photos."""

_FLOAT, _POINT = np.dtype("<f8"), np.dtype("<f4")
_N_NUMBERS = 7


class Verdicts:
    """Verdicts by pairs of rows, the smaller first.

    Args:
        table: Where they are kept.
        image_ids: Digests of the files, (n,).

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with CacheTable(Path(tempfile.mkdtemp()) / "keypoints.sqlite") as table:
        ...     verdicts = Verdicts(table, np.array(["1f", "2e", "3d"]))
        ...     verdicts.keep({(0, 2): None})
        ...     list(verdicts.known([(0, 1), (0, 2)]))
        [((0, 2), None)]
    """

    def __init__(self, table: CacheTable, image_ids: NDArray[np.str_]) -> None:
        self._table = table
        self._ids = image_ids
        self._pairs = source_of(f"verdicts {MATCHING_VERSION}", COARSE, FINE)
        self._overprints = source_of(f"overprints {MATCHING_VERSION}", COARSE, FINE)

    def known(self, pairs: Sequence[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], Verdict]]:
        """The pairs whose verdict is kept, in any order."""
        by_key = {self._key(pair): pair for pair in pairs}
        for key, value in self._table.get(self._pairs, by_key):
            yield by_key[key], _unpack(value)

    def keep(self, verdicts: Mapping[tuple[int, int], Verdict]) -> None:
        """Keep what was found."""
        values = {self._key(pair): _pack(verdict) for pair, verdict in verdicts.items()}
        self._table.put(self._pairs, values, {"kind": "verdicts on pairs"})

    def overprint(self, pair: tuple[int, int], others: Sequence[int]) -> bool | None:
        """Whether what a pair shares was found in other photos; None if nobody looked."""
        return next(
            (value == b"1" for _, value in self._table.get(self._overprints, [self._key((*pair, *others))])),
            None,
        )

    def keep_overprint(self, pair: tuple[int, int], others: Sequence[int], answer: bool) -> None:
        """Keep whether what a pair shares was found in other photos."""
        key = self._key((*pair, *others))
        self._table.put(self._overprints, {key: b"1" if answer else b"0"}, {"kind": "overprints"})

    def _key(self, rows: Sequence[int]) -> str:
        return content_digest(" ".join(self._ids[list(rows)].tolist()).encode())


def _pack(verdict: Verdict) -> bytes:
    if verdict is None:
        return b""
    grade, evidence = verdict
    numbers = (
        GRADES.index(grade),
        evidence.inliers,
        evidence.first_share,
        evidence.second_share,
        evidence.agreement,
        evidence.correlation,
        evidence.mirrored,
    )
    return np.array(numbers, _FLOAT).tobytes() + evidence.points.astype(_POINT).tobytes()


def _unpack(value: bytes) -> Verdict:
    if not value:
        return None
    grade, inliers, first, second, agreement, correlation, mirrored = np.frombuffer(
        value, _FLOAT, _N_NUMBERS
    ).tolist()
    points = np.frombuffer(value, _POINT, offset=_N_NUMBERS * _FLOAT.itemsize).reshape(-1, 4)
    evidence = Evidence(int(inliers), first, second, agreement, correlation, bool(mirrored), points)
    return GRADES[int(grade)], evidence
