"""Classes with too few row groups to be divided: which they are, what merged their photos, and the ways out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.manifest import Manifest, Status
from ensemble_minerals.data.same_object.pairs import SameObjectPair
from ensemble_minerals.data.same_object.wording import count_grades
from ensemble_minerals.errors import DataError
from ensemble_minerals.system.plural import counted

_EXAMPLES = 3


def too_few_groups(
    manifest: Manifest, rows: NDArray[np.intp], pairs: Sequence[SameObjectPair], least: int
) -> dict[str, str]:
    """Classes with fewer row groups than are needed.

    Args:
        manifest: Its row groups are set.
        rows: The rows that are divided.
        pairs: What joined photos, in rows of the manifest.
        least: Row groups that each class needs.

    Returns:
        For each such class how many it has, and what merged its photos.
    """
    labels, groups = manifest.label[rows], manifest.row_group[rows]
    found = {}
    for label in np.unique(labels).tolist():
        own = np.unique(groups[labels == label])
        if len(own) < least:
            found[label] = (
                f"class {label!r} has {len(own)}, of {_of_photos(manifest, rows, own, label, pairs)}"
            )
    return found


def check_groups(
    manifest: Manifest, rows: NDArray[np.intp], pairs: Sequence[SameObjectPair], least: int, purpose: str
) -> None:
    """Make sure that each class has enough row groups.

    Args:
        manifest: Its row groups are set.
        rows: The rows that are divided.
        pairs: What joined photos, in rows of the manifest.
        least: Row groups that each class needs.
        purpose: What needs them, such as ``"5 folds"``.

    Raises:
        DataError: If a class has fewer, with the ways out.
    """
    found = too_few_groups(manifest, rows, pairs, least)
    if found:
        lines = "\n".join(f"  - {line}" for line in found.values())
        raise DataError(
            f"{purpose} need at least {least} row groups of every class (photos of one object are one group):\n"
            f"{lines}\n{ways_out(manifest, rows, tuple(found))}"
        )


def ways_out(manifest: Manifest, rows: NDArray[np.intp], classes: Sequence[str]) -> str:
    """What a user can do about classes with too few row groups."""
    labels, groups = manifest.label[rows], manifest.row_group[rows]
    fewest = min(len(np.unique(groups[labels == label])) for label in classes)
    fewer = f"use --set folds.n_splits={fewest}, " if fewest >= 2 else ""
    if len(rows) < len(manifest.usable):
        fewer += "put fewer photos aside, "
    text = f"{fewer}add photos of other objects, or leave the class out (classes)"
    merged = groups[np.isin(labels, classes)]
    if len(np.unique(merged)) < len(merged):
        text += (
            "; `inspect --out DIR` shows what merged photos: pairs that do not belong together can be named in a "
            "file (duplicates.pairs), and duplicates.near=false merges none but copies"
        )
    return text


def _of_photos(
    manifest: Manifest,
    rows: NDArray[np.intp],
    own: NDArray[np.int64],
    label: str,
    pairs: Sequence[SameObjectPair],
) -> str:
    """The photos of a class, and what merged them."""
    mine = rows[np.isin(manifest.row_group[rows], own)]
    numbers, sizes = np.unique(manifest.row_group[mine], return_counts=True)
    of_class = mine[manifest.label[mine] == label]
    photos = counted(len(of_class), "photo")
    copies = int(np.sum((manifest.label == label) & (manifest.status == Status.DUPLICATE.value)))
    if copies:
        photos += f" besides {counted(copies, 'copy', 'copies')}"
    if sizes.max() == 1:
        return f"{photos}, none merged with another"
    merged = np.isin(manifest.row_group[of_class], numbers[sizes > 1])
    inside = set(mine.tolist())
    joined = [pair.grade for pair in pairs if pair.first in inside and pair.second in inside]
    by = [f"by {counted(len(joined), 'pair')} ({count_grades(joined)})"] if joined else []
    if np.any(manifest.given_group[mine] != ""):
        by.append("by the column group")
    by = by or ["by photos that are set aside"]
    largest = mine[manifest.row_group[mine] == numbers[sizes.argmax()]]
    names = ", ".join(manifest.path[largest[:_EXAMPLES]].tolist())
    return (
        f"{photos}, {int(merged.sum())} of them merged with others {' and '.join(by)}; the largest group holds "
        f"{len(largest)} ({names}{', ...' if len(largest) > _EXAMPLES else ''})"
    )
