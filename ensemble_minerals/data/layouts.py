"""How a folder of photos is divided: into classes, or into training, validation and test parts that hold them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ensemble_minerals.data.files import list_folder, some
from ensemble_minerals.data.labels import normal_label
from ensemble_minerals.data.own_outputs import is_folder
from ensemble_minerals.errors import DataError

_KIND_OF_WORD = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(
        ("val", "valid", "validate", "validation", "dev", "devel", "eval", "evaluation"), "validation"
    ),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
_SHOWN = 12


@dataclass(frozen=True)
class Part:
    """A part of a data set: its name, its kind (``train``, ``validation`` or ``test``), and its class folders."""

    name: str
    kind: str
    folders: Sequence[Path]


@dataclass(frozen=True)
class Layout:
    """How a folder is divided.

    Attributes:
        parts: Parts with class folders; empty where the folders themselves are the classes.
        others: Folders beside the parts that hold none of the classes.
    """

    parts: Sequence[Part] = ()
    others: Sequence[Path] = field(default=())


def split_kind(word: str) -> str | None:
    """The kind of a part that is called by one of the usual words; None for any other word.

    >>> [split_kind(word) for word in ("Training", "dev", "test", "quartz")]
    ['train', 'validation', 'test', None]
    """
    return _KIND_OF_WORD.get(word.strip().lower())


def kind_of_name(name: str) -> str | None:
    """The kind of part that a folder name speaks of, whatever stands around the word.

    >>> [kind_of_name(name) for name in ("seg_train", "test-images", "Val2017", "latest")]
    ['train', 'test', 'validation', None]
    """
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    kinds = {kind for word in words if (kind := split_kind(word))}
    return kinds.pop() if len(kinds) == 1 else None


def find_layout(root: Path, folders: Sequence[Path], expected: Collection[str] = ()) -> Layout:
    """Find out whether the folders in a folder are classes, or parts that hold the same classes.

    Args:
        root: The folder, for messages.
        folders: Its folders.
        expected: Class names that are known; folders called so are the classes.

    Raises:
        DataError: If both could be meant, with both ways out.
    """
    labels = {normal_label(folder.name) for folder in folders}
    if labels & set(expected):
        return Layout()
    inside = {folder: _class_folders(folder) for folder in folders}
    parts = [
        Part(folder.name, kind, list(inside[folder].values()))
        for folder in folders
        if (kind := kind_of_name(folder.name)) and inside[folder]
    ]
    if _share_classes(parts):
        names = {normal_label(folder.name) for part in parts for folder in part.folders}
        others = [folder for folder in folders if folder.name not in {part.name for part in parts}]
        unclear = [folder for folder in others if names & set(inside[folder])]
        if not unclear:
            return Layout(parts, others)
        raise DataError(
            f"{root}: {_listed(folder.name for folder in unclear)} holds the same classes as "
            f"{_listed(part.name for part in parts)}, and its name does not say whether it is for training or for "
            "the test; call it so that it holds the word train, validation or test, or move it away"
        )
    if folders and all(split_kind(folder.name) for folder in folders):
        raise DataError(
            f"{root} is divided into {_listed(folder.name for folder in folders)}, not into classes, and no class "
            "folder stands in all of them; give one of them, or a CSV with the columns path, label and split"
        )
    _refuse_same_shape(root, inside)
    return Layout()


def _class_folders(folder: Path) -> dict[str, Path]:
    """Folders in a folder, by normal name; those in its only folder where that repeats the part, as in zip files."""
    found = {normal_label(child.name): child for child in list_folder(folder) if is_folder(child)}
    kind = kind_of_name(folder.name)
    if kind and len(found) == 1 and kind_of_name(next(iter(found))) == kind:
        return _class_folders(next(iter(found.values())))
    return found


def _share_classes(parts: Sequence[Part]) -> bool:
    """Whether there is a training part, and each other part holds some of its classes."""
    names = [{normal_label(folder.name) for folder in part.folders} for part in parts]
    training: set[str] = set()
    for part, held in zip(parts, names, strict=True):
        if part.kind == "train":
            training |= held
    others = [held for part, held in zip(parts, names, strict=True) if part.kind != "train"]
    return bool(training and others) and all(held & training for held in others)


def _refuse_same_shape(root: Path, inside: Mapping[Path, Mapping[str, Path]]) -> None:
    """Refuse a folder whose folders all hold folders of the same names, and no photos beside them."""
    filled = {folder: held for folder, held in inside.items() if list_folder(folder)}
    if len(filled) < 2 or any(len(held) < len(list_folder(folder)) for folder, held in filled.items()):
        return
    for folder, held in filled.items():
        others = {name for other, names in filled.items() if other is not folder for name in names}
        if not others & set(held):
            return
    outer = sorted(normal_label(folder.name) for folder in filled)
    inner = sorted({name for held in filled.values() for name in held})
    chosen = ",".join(outer) if len(outer) <= _SHOWN else "NAME,NAME,..."
    raise DataError(
        f"{root}: {_listed(outer)} hold folders of the same names ({_listed(inner)}), so either could be the "
        f"classes. If {_listed(outer)} are the classes, say so with --set 'classes=[{chosen}]'. If {_listed(inner)} "
        f"are the classes, and {_listed(outer)} parts of the photos, call the parts train, validation or test, or "
        "give a CSV with the columns path, label and split"
    )


def _listed(names: Iterable[str]) -> str:
    return some(list(names))
