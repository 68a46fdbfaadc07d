"""Results in the cache, under a digest of all that decides them, so that the same is not computed twice."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.members.strategy import Strategy
from ensemble_minerals.system.arrays import array_digest
from ensemble_minerals.system.cache_folder import MEMBERS
from ensemble_minerals.system.digest import content_digest
from ensemble_minerals.system.sealed import not_kept
from ensemble_minerals.system.versions import code_digest, installed_versions


class CachedRows:
    """Files of what was learned from rows.

    They are named by features, labels, row groups and folds of the rows, by the code of this program, the versions of
    libraries, and what else decides a result.

    Args:
        cache_dir: The cache folder.
        data: What is seen of the rows.
        inputs: Labels, row groups and folds of the rows.
    """

    @classmethod
    def open(cls, cache_dir: Path | None, data: RowData, inputs: FoldInputs) -> Self | None:
        """None where there is no cache, or, with a warning, where nothing can be kept in it."""
        if cache_dir is None:
            return None
        try:
            (cache_dir / MEMBERS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            not_kept(cache_dir / MEMBERS, error)
            return None
        return cls(cache_dir, data, inputs)

    def __init__(self, cache_dir: Path, data: RowData, inputs: FoldInputs) -> None:
        self._folder = cache_dir / MEMBERS
        arrays = [array_digest(one) for one in (inputs.y, inputs.groups, inputs.folds)]
        self._shared = repr((inputs.names, arrays, code_digest(), installed_versions()))
        self._features = {
            name: [array_digest(one[name]) for one in (data.matrices, data.views) if name in one]
            for name in data.matrices
        }

    def file(self, features: Sequence[str], *settings: object) -> Path:
        """File of a result.

        Args:
            features: Names of the feature matrices that decide it.
            settings: What else decides it, as values whose `repr` tells them apart.
        """
        decided_by = (self._shared, [self._features[name] for name in features], settings)
        file = self._folder / content_digest(repr(decided_by).encode())
        with suppress(OSError):  # the time of its last use, by which the cache is pruned
            os.utime(file)
        return file


def describe_strategy(strategy: Strategy) -> str | None:
    """A strategy and its parameters as a text; None where a part is of other people's code, which may change."""
    parts = {"": strategy, **strategy.get_params(deep=True)}
    estimators = [one for one in parts.values() if hasattr(one, "get_params")]
    if not all(type(one).__module__.startswith("ensemble_minerals.") for one in estimators):
        return None
    return repr([(name, type(one) if hasattr(one, "get_params") else one) for name, one in parts.items()])
