"""Contamination of a published split: training photos that show what a photo of the test part shows.

Rows belong to the test part where the user's table or folders say ``test``. Row groups must be set. A row that was
not read, or is of a class that was not chosen, is in neither part.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.manifest import Manifest, Status
from ensemble_minerals.system.plural import counted


def is_test(manifest: Manifest) -> NDArray[np.bool_]:
    """Which rows are of the test part that the user named, shape (n,)."""
    return np.asarray((manifest.split == "test") & _is_read(manifest))


def is_contaminated(manifest: Manifest) -> NDArray[np.bool_]:
    """Which rows of the training part are in a row group with a test row, shape (n,)."""
    test = is_test(manifest)
    return np.asarray(~test & _is_read(manifest) & np.isin(manifest.row_group, manifest.row_group[test]))


def has_twin(manifest: Manifest) -> NDArray[np.bool_]:
    """Which test rows are in a row group with a row of the training part, whether it is trained on or not, (n,)."""
    contaminated = manifest.row_group[is_contaminated(manifest)]
    return np.asarray(is_test(manifest) & np.isin(manifest.row_group, contaminated))


def has_other_label(manifest: Manifest) -> NDArray[np.bool_]:
    """Which test rows are in a row group with a row of another class, shape (n,)."""
    rows = np.flatnonzero(_is_read(manifest))
    _, group = np.unique(manifest.row_group[rows], return_inverse=True)
    _, label = np.unique(manifest.label[rows], return_inverse=True)
    n_groups = int(group.max(initial=-1)) + 1
    low, high = np.full(n_groups, len(rows)), np.full(n_groups, -1)
    np.minimum.at(low, group, label)
    np.maximum.at(high, group, label)
    several = np.zeros(len(manifest), dtype=bool)
    several[rows] = (low < high)[group]
    return is_test(manifest) & several


def leave_out_contaminated(manifest: Manifest) -> Manifest:
    """The manifest with the contaminated rows marked as such; the reason names a test photo of the row group."""
    test = np.flatnonzero(is_test(manifest))
    shown = dict(
        zip(manifest.row_group[test][::-1].tolist(), manifest.path[test][::-1].tolist(), strict=True)
    )
    status, reason = manifest.status.tolist(), manifest.reason.tolist()
    for row in np.flatnonzero(is_contaminated(manifest)).tolist():
        status[row] = Status.CONTAMINATED.value
        reason[row] = (
            f"shows the same picture or object as {shown[int(manifest.row_group[row])]} of the test part"
        )
    return manifest.replace(status=status, reason=reason)


def split_notes(manifest: Manifest) -> Iterator[str]:
    """What the user should know of the test part that they named; nothing where they named none."""
    left_out = int(np.sum(manifest.status == Status.CONTAMINATED.value))
    kept = int(np.sum(is_contaminated(manifest) & (manifest.status == Status.OK.value)))
    if left_out:
        yield (
            f"{counted(left_out, 'photo')} of the training part left out: the same picture or object is in the test "
            "part; manifest.csv lists them as contaminated (folds.contaminated)"
        )
    elif kept:
        yield (
            f"{counted(kept, 'photo')} of the training part trained on although the same picture or object is in the "
            "test part, as folds.contaminated: keep says: figures of the test part flatter"
        )
    contradicted = int(np.sum(has_other_label(manifest)))
    if contradicted:
        yield (
            f"{counted(contradicted, 'photo')} of the test part scored although a photo of another class shows the "
            "same picture or object: the test part stays as it was published"
        )
    unread = int(np.sum((manifest.split == "test") & (manifest.status == Status.UNREADABLE.value)))
    if unread:
        yield f"{counted(unread, 'photo')} of the test part not scored: unreadable"


def _is_read(manifest: Manifest) -> NDArray[np.bool_]:
    unusable = (Status.UNREADABLE.value, Status.EXCLUDED.value)
    return np.asarray((manifest.row_group >= 0) & ~np.isin(manifest.status, unusable))
