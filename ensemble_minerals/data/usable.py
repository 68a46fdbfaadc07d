"""Whether what was scanned can be trained on at all, said before any work is done on it."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ensemble_minerals.data.manifest import Manifest, Status
from ensemble_minerals.errors import DataError

_SHOWN = 5


def check_usable(manifest: Manifest, n_classes: int = 2) -> None:
    """Make sure that enough classes have photos that can be read.

    Args:
        manifest: As scanned.
        n_classes: So many classes are needed.

    Raises:
        DataError: If not, with the reasons why files cannot be read.
    """
    used = manifest.status != Status.EXCLUDED.value
    readable = used & (manifest.status != Status.UNREADABLE.value)
    classes = sorted(set(manifest.label[readable].tolist()))
    if len(classes) >= n_classes:
        return
    if not classes:
        raise DataError(f"{manifest.root}: no photo could be read, of {used.sum()} files{_reasons(manifest)}")
    number = int(np.sum(manifest.label[readable] == classes[0]))
    raise DataError(
        f"{manifest.root}: only one class has photos that can be read ({classes[0]!r}: {number}); at least "
        f"{n_classes} are needed{_reasons(manifest)}"
    )


def _reasons(manifest: Manifest) -> str:
    """The reasons why files cannot be read, most frequent first, with an example each."""
    unreadable = np.flatnonzero(manifest.status == Status.UNREADABLE.value)
    numbers = Counter(manifest.reason[unreadable].tolist())
    lines = []
    for reason, number in numbers.most_common(_SHOWN):
        example = manifest.path[unreadable][manifest.reason[unreadable] == reason][0]
        lines.append(f"\n  - {number} x {reason} (such as {example})")
    if len(numbers) > _SHOWN:
        lines.append(f"\n  - and {len(numbers) - _SHOWN} other reasons")
    return ":" + "".join(lines) if lines else ""
