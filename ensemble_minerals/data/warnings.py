"""Warnings about a data set before training: each is one sentence with the way out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from ensemble_minerals.data.contamination import is_test, split_notes
from ensemble_minerals.data.manifest import Manifest, Status
from ensemble_minerals.data.same_object.pairs import SameObjectPair
from ensemble_minerals.data.scanning import FEW_PHOTOS, few_photos
from ensemble_minerals.data.too_few_groups import too_few_groups, ways_out

SMALL_SIDE = 64
"""Photos with a shorter side below this are worth a warning: networks see them enlarged."""

_MANY_COPIES = 0.10  # share of copies among the readable files
_IMBALANCE = 10  # times as many photos in the largest class as in the smallest
_REVEALING = 0.9  # share of a class among the files of one format
_FEW_FILES = 10  # of one format: too few to judge


def data_warnings(manifest: Manifest, n_splits: int, pairs: Sequence[SameObjectPair] = ()) -> Iterator[str]:
    """Warnings besides those of the scan.

    Args:
        manifest: Its row groups are set, and copies and conflicts are marked.
        n_splits: Number of folds of the fit that follows.
        pairs: What joined photos, in rows of the manifest.
    """
    yield from _of_duplicates(manifest)
    yield from _of_counts(manifest)
    yield from _of_groups(manifest, n_splits, pairs)
    yield from _of_files(manifest)


def _of_duplicates(manifest: Manifest) -> Iterator[str]:
    conflicts = int(np.sum(manifest.status == Status.CONFLICT.value))
    if conflicts:
        yield (
            f"{conflicts} photos are also there under another class; they are not used until each is kept under "
            "one class"
        )
    usable = manifest.usable
    pairs = set(zip(manifest.row_group[usable].tolist(), manifest.label[usable].tolist(), strict=True))
    several = sum(number > 1 for number in Counter(group for group, _ in pairs).values())
    if several:
        yield (
            f"row groups with photos of more than one class: {several}; check whether each photo is in the right one"
        )
    yield from split_notes(manifest)
    copies = int(np.sum(manifest.status == Status.DUPLICATE.value))
    readable = int(np.sum(manifest.width > 0))
    if readable and copies >= _MANY_COPIES * readable:
        yield (
            f"{copies} of {readable} readable files are exact copies of others; a split that does not know them "
            "would test on photos it trained on"
        )


def _of_counts(manifest: Manifest) -> Iterator[str]:
    readable = manifest.width > 0
    usable = manifest.status == Status.OK.value
    sizes = {
        label: int(np.sum((manifest.label == label) & usable))
        for label in sorted(set(manifest.label[readable].tolist()))
    }
    left = {
        label: size
        for label, size in sizes.items()
        if np.sum((manifest.label == label) & readable) >= FEW_PHOTOS
    }
    yield from few_photos(left, "usable photos, once copies and conflicts are set aside,")
    yield from (
        f"class {label!r} has no usable photo left, so it is not learned"
        for label, size in sizes.items()
        if not size
    )
    if sizes and max(sizes.values()) >= _IMBALANCE * max(min(sizes.values()), 1):
        few, many = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
        yield (
            f"class {many!r} has {_photos(sizes[many])}, class {few!r} has {sizes[few]}; judge by balanced "
            "accuracy, and let members oversample"
        )


def _of_groups(manifest: Manifest, n_splits: int, pairs: Sequence[SameObjectPair]) -> Iterator[str]:
    rows = manifest.usable[~is_test(manifest)[manifest.usable]]
    short = too_few_groups(manifest, rows, pairs, n_splits)
    if short:
        yield from (f"{n_splits} folds need {n_splits} row groups; {line}" for line in short.values())
        yield f"classes with too few row groups are refused by a fit: {ways_out(manifest, rows, tuple(short))}"


def _of_files(manifest: Manifest) -> Iterator[str]:
    usable = manifest.usable
    small = int(np.sum(np.minimum(manifest.width[usable], manifest.height[usable]) < SMALL_SIDE))
    if small:
        yield f"{_photos(small)} with a shorter side under {SMALL_SIDE} pixels: little texture is left in them"
    labels, formats = manifest.label[usable], manifest.format[usable]
    for name in sorted(set(formats.tolist())):
        with_it = labels[formats == name]
        if len(with_it) < _FEW_FILES or len(with_it) == len(labels):
            continue
        classes, number = np.unique(with_it, return_counts=True)
        label = classes[number.argmax()]
        if number.max() >= _REVEALING * len(with_it) and np.mean(labels == label) < 0.5:
            yield (
                f"{number.max()} of {len(with_it)} {name} files are of class {str(label)!r}; traces of the "
                "format could give the class away"
            )


def _photos(number: int) -> str:
    return "1 usable photo" if number == 1 else f"{number} usable photos"
