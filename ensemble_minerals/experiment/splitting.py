"""The stage that splits: a test part, or a hold-out, and folds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.contamination import is_contaminated, is_test
from ensemble_minerals.data.folds import (
    HOLDOUT_FOLD,
    NO_FOLD,
    TEST_FOLD,
    TRAINING_FOLD,
    assign_folds,
    hold_out,
)
from ensemble_minerals.data.manifest import Manifest, Status
from ensemble_minerals.data.same_object.pairs import SameObjectPair
from ensemble_minerals.data.too_few_groups import check_groups
from ensemble_minerals.errors import DataError
from ensemble_minerals.system.plural import counted


def split(manifest: Manifest, config: Config, pairs: Sequence[SameObjectPair] = ()) -> Manifest:
    """Put the test part aside and assign folds, by row groups.

    A test part that the user named is exactly those rows; one that is drawn consists of whole row groups. With one
    fold what is put aside is fold 0, the only one that is predicted, and the rest is only trained on.

    Args:
        manifest: Its row groups are set.
        config: Number of folds, size of the test part, seed.
        pairs: What joined photos, in rows of the manifest: an error names them.

    Raises:
        DataError: If nothing usable is left, or a class has fewer row groups than folds.
    """
    if np.all(np.isin(manifest.status, (Status.UNREADABLE.value, Status.EXCLUDED.value))):
        raise DataError(f"{manifest.root}: no photo could be read; they changed since they were listed")
    rows = manifest.usable
    labels, groups = manifest.label[rows], manifest.row_group[rows]
    _require_undisputed_photos(manifest, set(labels.tolist()))
    if len(set(labels.tolist())) < 2:
        raise DataError(
            f"{'only one class has' if rows.size else 'no class has'} usable photos"
            f"{f' ({labels[0]})' if rows.size else ''}; at least two are needed, and of {len(manifest)} files "
            f"{_by_status(manifest)}"
        )
    aside = _set_aside(manifest, config, pairs)
    fold = np.full(len(manifest), NO_FOLD, dtype=np.int64)
    once = config.folds.n_splits == 1
    fold[rows[aside]] = HOLDOUT_FOLD if once else TEST_FOLD
    if once:
        fold[rows[~aside]] = TRAINING_FOLD
        return manifest.replace(fold=fold)
    n_splits = config.folds.n_splits
    drawn = ", beside the hold-out (folds.holdout)," if aside.any() and not is_test(manifest).any() else ""
    check_groups(manifest, rows[~aside], pairs, n_splits, f"{n_splits} folds{drawn}")
    fold[rows[~aside]] = assign_folds(labels[~aside], groups[~aside], n_splits=n_splits, seed=config.seed)
    return manifest.replace(fold=fold)


def _set_aside(manifest: Manifest, config: Config, pairs: Sequence[SameObjectPair]) -> NDArray[np.bool_]:
    """Which of the usable rows are the test part, or the hold-out: named by the user, or drawn."""
    rows = manifest.usable
    labels, groups = manifest.label[rows], manifest.row_group[rows]
    test = is_test(manifest)[rows]
    if test.any():
        _require_training_photos(manifest, set(labels[~test].tolist()))
        return test
    if config.folds.holdout > 0:
        check_groups(manifest, rows, pairs, 2, "both sides of a hold-out")
        return hold_out(labels, groups, fraction=config.folds.holdout, seed=config.seed)
    return np.zeros(len(rows), dtype=bool)


def _require_undisputed_photos(manifest: Manifest, usable: set[str]) -> None:
    """Raise a DataError that names the classes all of whose photos are there under another class, too."""
    disputed = manifest.status == Status.CONFLICT.value
    lacking = sorted(set(manifest.label[disputed].tolist()) - usable)
    if lacking:
        number = int(np.sum(disputed & np.isin(manifest.label, lacking)))
        raise DataError(
            f"nothing of {', '.join(map(repr, lacking))} is left: {counted(number, 'photo')} show the same picture "
            "as photos of another class; keep each under its right class, or leave the class out (classes). "
            "`inspect --out DIR` shows the pairs; those that do not belong together can be named in a file "
            "(duplicates.pairs)"
        )


def _require_training_photos(manifest: Manifest, trained: set[str]) -> None:
    """Raise a DataError that names the classes of which the test part leaves nothing to learn from."""
    tested, contaminated = is_test(manifest), is_contaminated(manifest)
    lacking = sorted(set(manifest.label[tested | contaminated].tolist()) - trained)
    if not lacking:
        return
    left_out = manifest.status == Status.CONTAMINATED.value
    taken = [name for name in lacking if (left_out & (manifest.label == name)).any()]
    if taken:
        number = int(np.sum(left_out & np.isin(manifest.label, taken)))
        raise DataError(
            f"no training photo of {', '.join(map(repr, taken))} is left: {number} show the same picture or object "
            "as a photo of the test part; add photos of others, or train on them all the same with "
            "--set folds.contaminated=keep"
        )
    raise DataError(
        f"all usable photos of {', '.join(map(repr, lacking))} are of the test part; leave some of each class to "
        "learn from"
    )


def _by_status(manifest: Manifest) -> str:
    numbers = Counter(manifest.status.tolist())
    return ", ".join(f"{number} are {status}" for status, number in sorted(numbers.items()))
