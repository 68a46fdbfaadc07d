"""Oversampling of rare classes inside a fold. What it does to probabilities, `data.class_prior` undoes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import config_context
from sklearn.base import BaseEstimator

from ensemble_minerals.system.seeds import derived_seed

_ONE_AT_A_TIME = Lock()
"""Only one thread samples at a time: samplers rarely leave the interpreter, and in parallel they take longer."""

_DANGER_NEIGHBORS = 10  # neighbors that decide whether a row is near a border (imbalanced-learn's default)


@dataclass(frozen=True)
class Resampled:
    """Rows after oversampling.

    Attributes:
        X: Rows: first the originals in their order, then the added ones; from `OverSampler.combine` a sparse matrix
            of shape (m, n) instead, each row as coefficients of the n originals.
        y: Their labels.
        n_original: Number of originals.
        note: Why rows were copied instead of made; empty otherwise.
    """

    X: Any
    y: NDArray[Any]
    n_original: int
    note: str = ""


def _smote(common: dict[str, Any], k_neighbors: int, n_rows: int) -> Any:
    from imblearn.over_sampling import SMOTE

    return SMOTE(**common, k_neighbors=k_neighbors)


def _borderline_smote(common: dict[str, Any], k_neighbors: int, n_rows: int) -> Any:
    from imblearn.over_sampling import BorderlineSMOTE

    return BorderlineSMOTE(**common, k_neighbors=k_neighbors, m_neighbors=min(_DANGER_NEIGHBORS, n_rows - 1))


def _svm_smote(common: dict[str, Any], k_neighbors: int, n_rows: int) -> Any:
    from imblearn.over_sampling import SVMSMOTE

    return SVMSMOTE(**common, k_neighbors=k_neighbors, m_neighbors=min(_DANGER_NEIGHBORS, n_rows - 1))


def _adasyn(common: dict[str, Any], k_neighbors: int, n_rows: int) -> Any:
    from imblearn.over_sampling import ADASYN

    return ADASYN(**common, n_neighbors=k_neighbors)


@dataclass(frozen=True)
class SamplerKind:
    """How a kind of over-sampler adds rows.

    Attributes:
        makes_rows: Whether it makes new rows, from (n, d) floats; otherwise it copies rows of any shape.
        build: For a kind that makes rows: builds an object with imbalanced-learn's `fit_resample` from the parameters
            that all kinds have (`sampling_strategy`, `random_state`), the number of neighbors and the number of rows.
        own_class: Whether the new rows of a class depend on the rows of that class alone.
    """

    makes_rows: bool
    build: Callable[[dict[str, Any], int, int], Any] | None = None
    own_class: bool = False


SAMPLERS: dict[str, SamplerKind] = {
    "none": SamplerKind(makes_rows=False),
    "random": SamplerKind(makes_rows=False),
    "smote": SamplerKind(makes_rows=True, build=_smote, own_class=True),
    "borderline_smote": SamplerKind(makes_rows=True, build=_borderline_smote),
    "svm_smote": SamplerKind(makes_rows=True, build=_svm_smote),
    "adasyn": SamplerKind(makes_rows=True, build=_adasyn),
}
"""Kinds of over-samplers. To add one, add a row here and its section to `config.members`."""


Maker: TypeAlias = Callable[[int, int], Any]
"""New rows of a class: from its code, and the number of rows that it is to have."""

Neighbors: TypeAlias = Callable[[NDArray[np.intp], int], NDArray[np.intp]]
"""For some rows, (k,), the nearest so many others among them, as positions in the k, nearest first."""


class OverSampler(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Adds rows to the rare classes with imbalanced-learn. It never changes or removes an original row.

    A kind that makes rows cannot always make enough of them: a class may have too few rows, or none near a border.
    Then rows of the class are copied, and the note says so.

    Args:
        kind: One of `SAMPLERS`.
        k_neighbors: Number of neighbors of the same class; new rows are made between a row and one of them.
        ratio: Every class gets at least this share of the rows of the largest class. 1.0 makes all equal.
        random_state: Seed.

    Example:
        >>> OverSampler("random").resample([[1.0], [2.0], [3.0]], ["quartz", "quartz", "pyrite"]).y.tolist()
        ['quartz', 'quartz', 'pyrite', 'pyrite']
    """

    def __init__(
        self, kind: str = "random", k_neighbors: int = 5, ratio: float = 1.0, random_state: int = 0
    ) -> None:
        self.kind = kind
        self.k_neighbors = k_neighbors
        self.ratio = ratio
        self.random_state = random_state

    def seeded(self, random_state: int) -> OverSampler:
        """The same with another seed. scikit-learn's `clone` takes longer than many a regression."""
        return OverSampler(self.kind, self.k_neighbors, self.ratio, random_state)

    @property
    def makes_rows(self) -> bool:
        """Whether the kind makes new rows, instead of none or copies."""
        return SAMPLERS[self.kind].makes_rows

    @property
    def combines_rows(self) -> bool:
        """Whether all rows that the kind adds are combinations of given ones that `combine` knows."""
        return not self.makes_rows or SAMPLERS[self.kind].own_class

    def resample(self, X: ArrayLike, y: ArrayLike) -> Resampled:
        """Oversample the rare classes.

        Args:
            X: Rows, shape (n, ...). A kind that makes rows needs floats of shape (n, d).
            y: Labels of any type, shape (n,).

        Raises:
            ValueError: If a parameter is out of range, or X and y have different lengths.
        """
        rows, labels = np.asarray(X), np.asarray(y)
        if labels.ndim != 1 or rows.ndim == 0 or len(rows) != len(labels):
            raise ValueError(
                f"X has shape {rows.shape} and y {labels.shape}: give (n, ...) rows and (n,) labels"
            )
        if self.kind in SAMPLERS and self.makes_rows:
            if rows.ndim != 2 or rows.dtype.kind != "f":
                raise ValueError(f"{self.kind} needs (n, d) floats, not {rows.dtype} of shape {rows.shape}")
            if not np.isfinite(rows).all():
                raise ValueError("X has NaN or infinite values: give finite features")
        codes = np.unique(labels, return_inverse=True)[1]

        def new_rows(code: int, goal: int) -> NDArray[Any]:
            given = np.arange(len(rows))
            if SAMPLERS[self.kind].own_class:
                # imbalanced-learn copies all that it is given, for each class again; it needs two classes.
                given = np.append(np.flatnonzero(codes == code), np.flatnonzero(codes != code)[0])
            sampler = self._sampler({code: goal}, len(rows), code)
            # Its parameters and the rows have been checked before.
            with _ONE_AT_A_TIME, config_context(assume_finite=True, skip_parameter_validation=True):
                grown, _ = sampler.fit_resample(rows[given], codes[given])
            return np.asarray(grown)[len(given) :].astype(rows.dtype, copy=False)

        return self._resample(labels, new_rows, np.concatenate, lambda taken: rows[taken])

    def combine(self, neighbors: Neighbors, y: ArrayLike) -> Resampled:
        """Oversample the rare classes, and tell of which rows the added ones are combinations.

        Rows are never needed, only which are neighbors: draws are those of imbalanced-learn's SMOTE.

        Args:
            neighbors: Finds neighbors of rows; the kind is one that combines rows.
            y: Labels of any type, shape (n,).

        Example:
            >>> OverSampler("random").combine(lambda rows, k: rows, ["a", "a", "b"]).X.toarray()[3:]
            array([[0., 0., 1.]])
        """
        from scipy.sparse import csr_array

        labels = np.asarray(y)
        codes = np.unique(labels, return_inverse=True)[1]

        def combinations(code: int, goal: int) -> NDArray[np.float64]:
            own = np.flatnonzero(codes == code)
            near = neighbors(own, self.k_neighbors)
            random = np.random.RandomState(derived_seed(self.random_state, code))
            bases, numbers = np.divmod(random.randint(0, near.size, goal - len(own)), near.shape[1])
            steps = random.uniform(size=len(bases))
            return np.column_stack([own[bases], own[near[bases, numbers]], 1 - steps, steps])

        def themselves(rows: NDArray[np.intp]) -> NDArray[np.float64]:
            return np.column_stack([rows, rows, np.ones(len(rows)), np.zeros(len(rows))])

        # Each row as two rows and their shares: sparse matrices take long to put together.
        resampled = self._resample(labels, combinations, np.concatenate, themselves)
        pairs, shares = resampled.X[:, :2].astype(np.intp), resampled.X[:, 2:]
        ends = np.arange(0, 2 * len(pairs) + 1, 2)
        matrix = csr_array((shares.ravel(), pairs.ravel(), ends), shape=(len(pairs), len(codes)))
        matrix.eliminate_zeros()
        return replace(resampled, X=matrix)

    def _resample(
        self,
        labels: NDArray[Any],
        make: Maker,
        join: Callable[[list[Any]], Any],
        take: Callable[[NDArray[np.intp]], Any],
    ) -> Resampled:
        """Oversample rows in one form or the other.

        Args:
            labels: Of the rows.
            make: New rows of a class.
            join: Concatenates rows.
            take: Rows at positions.
        """
        self._check_parameters()
        n = len(labels)
        names, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
        target = round(self.ratio * int(counts.max())) if n else 0
        wanted = {code: target for code, count in enumerate(counts.tolist()) if count < target}
        originals = take(np.arange(n))
        if self.kind == "none" or not wanted:
            return Resampled(originals, labels, n)

        notes: list[str] = []
        parts: list[tuple[Any, NDArray[np.intp]]] = []
        to_copy = dict(wanted)  # rows of each class that are still missing after others were made
        if self.makes_rows:
            for code, goal in wanted.items():
                drawn, why = self._synthesize(make, code, goal, int(counts[code]))
                parts += [] if drawn is None else [(drawn, np.full(drawn.shape[0], code))]
                to_copy[code] -= 0 if drawn is None else drawn.shape[0]
                notes += [f"class {names[code]} {why}: random oversampling used"] if why else []
        copied = _copies(codes, to_copy, self.random_state)
        parts.append((take(copied), codes[copied]))
        return Resampled(
            X=join([originals, *(part for part, _ in parts)]),
            y=np.concatenate([labels, names[np.concatenate([part for _, part in parts])]]),
            n_original=n,
            note="; ".join(notes),
        )

    def _check_parameters(self) -> None:
        if self.kind not in SAMPLERS:
            raise ValueError(f"kind={self.kind!r} is no sampler; choose one of {', '.join(SAMPLERS)}")
        if self.k_neighbors < 1:
            raise ValueError(f"k_neighbors={self.k_neighbors!r} must be at least 1")
        if not 0.0 < self.ratio <= 1.0:
            raise ValueError(
                f"ratio={self.ratio!r} must be above 0 and at most 1 (as many rows as the largest)"
            )

    def _synthesize(self, make: Maker, code: int, goal: int, n_own: int) -> tuple[Any, str]:
        """As many new rows of one class as can be made up to `goal`, None for none, and why there are fewer."""
        n_needed = goal - n_own
        if n_own <= self.k_neighbors:
            count = "1 row" if n_own == 1 else f"{n_own} rows"
            return None, f"has {count}, fewer than {self.kind}'s {self.k_neighbors + 1}"
        try:
            drawn = make(code, goal)
        except (RuntimeError, ValueError) as error:  # raised where no row can be made
            return None, f"got no rows from {self.kind} ({str(error).split('.', maxsplit=1)[0]})"
        drawn = drawn[:n_needed]  # ADASYN may make too many, by rounding
        short = n_needed - drawn.shape[0]
        return drawn, f"got {drawn.shape[0]} of {n_needed} rows from {self.kind}" if short else ""

    def _sampler(self, strategy: dict[int, int], n: int, code: int) -> Any:
        build = SAMPLERS[self.kind].build
        assert build is not None
        # Each class has a random stream of its own; with a common one their new rows would repeat the same steps.
        seed = derived_seed(self.random_state, code)
        return build({"sampling_strategy": strategy, "random_state": seed}, self.k_neighbors, n)


def _copies(codes: NDArray[np.intp], wanted: Mapping[int, int], seed: int) -> NDArray[np.intp]:
    """Positions of the rows to copy, drawn with replacement."""
    counts = np.bincount(codes)
    if all(goal == counts[code] for code, goal in wanted.items()):
        return np.empty(0, dtype=np.intp)
    # As imbalanced-learn's RandomOverSampler draws, whose checks take longer than a regression.
    random = np.random.RandomState(seed)
    drawn = [
        random.choice(np.flatnonzero(codes == code), goal - counts[code]) for code, goal in wanted.items()
    ]
    return np.concatenate(drawn)
