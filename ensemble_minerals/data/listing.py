"""A data set as a list of labelled files: a folder with a sub-folder for each class, or a CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ensemble_minerals.data.files import list_files, list_folder
from ensemble_minerals.data.labels import case_warnings, check_labels, normal_label
from ensemble_minerals.data.photo_table import Entry, read_photo_table
from ensemble_minerals.errors import DataError

_DOCUMENTS = frozenset({".csv", ".html", ".json", ".md", ".pdf", ".rst", ".txt", ".yaml", ".yml"})
_SPLIT_FOLDERS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})
_TABLES = frozenset({".csv", ".tsv"})


@dataclass(frozen=True)
class Listing:
    """All files of a data set.

    Attributes:
        root: Folder that the paths are relative to.
        entries: Files, sorted by path, then label.
        warnings: What the user should know about, one sentence each.
    """

    root: Path
    entries: tuple[Entry, ...]
    warnings: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels in use, sorted."""
        return tuple(sorted({entry.label for entry in self.entries}))


def list_photos(data: Path) -> Listing:
    """List the files of a data set.

    Files in deeper folders belong to the class folder above them. Hidden and system files are ignored. A CSV has
    the columns path and label, and may have group and split (train or test); its paths are relative to its folder.

    Args:
        data: A folder with one sub-folder for each class, or a CSV (comma, semicolon or tab between cells; UTF-8).

    Raises:
        DataError: If there is nothing to use, with the way out.
    """
    if data.is_dir():
        root, (entries, warnings) = data, _list_folder(data)
    elif data.is_file():
        if data.suffix.lower() not in _TABLES:
            raise DataError(
                f"{data} is a file, but neither .csv nor .tsv; give a folder with one sub-folder a class, "
                "or a CSV with the columns path and label"
            )
        root, entries, warnings = data.parent, read_photo_table(data), []
    else:
        raise DataError(f"there is no folder or CSV {data}; check the path (it is read from {Path.cwd()})")
    labels = {entry.label for entry in entries}
    listing = Listing(root, tuple(sorted(entries)), (*warnings, *case_warnings(labels)))
    check_labels(listing.classes)
    if len(listing.classes) < 2:
        raise DataError(
            f"{data} holds only the class {listing.classes[0]!r}; at least 2 classes are needed"
            f"{_wrapper_hint(data)}"
        )
    return listing


def _list_folder(root: Path) -> tuple[list[Entry], list[str]]:
    """Files of the class folders in a folder, and warnings."""
    ignored: list[str] = []
    children = list_folder(root, ignored)
    folders = [child for child in children if child.is_dir()]
    loose = [
        child.name for child in children if not child.is_dir() and child.suffix.lower() not in _DOCUMENTS
    ]
    if not folders:
        content = f"{len(loose)} files" if loose else "nothing"
        raise DataError(
            f"{root} has no class folders ({content} in it); make one sub-folder a class and put its photos "
            "inside"
        )
    if {folder.name.lower() for folder in folders} <= _SPLIT_FOLDERS:
        raise DataError(
            f"{root} is divided into {', '.join(folder.name for folder in folders)}, not into classes; give "
            "one of them, or a CSV with the columns path, label and split"
        )
    warnings = []
    if loose:
        warnings.append(
            f"{_count(loose, 'file')} straight in {root.name or root}, so of no class: {_some(loose)}"
        )
    entries: list[Entry] = []
    for folder in folders:
        label = normal_label(folder.name)
        files = list(list_files(folder, ignored))
        if not files:
            warnings.append(f"class folder {folder.name!r} is empty; it is no class")
        entries.extend(Entry(file.relative_to(root).as_posix(), label) for file in files)
    if not entries:
        raise DataError(
            f"the class folders of {root} are empty; put the photos of each class into its folder"
        )
    if ignored:
        warnings.append(f"{_count(ignored, 'hidden or system file')} ignored: {_some(ignored)}")
    return entries, warnings


def _wrapper_hint(data: Path) -> str:
    """A hint where the class folders seem to be one level down, as after unpacking an archive."""
    if not data.is_dir():
        return ""
    folders = [child for child in list_folder(data) if child.is_dir()]
    if len(folders) == 1 and sum(child.is_dir() for child in list_folder(folders[0])) > 1:
        return f"; if {folders[0].name!r} is not a class but holds the class folders, give {folders[0]}"
    return ""


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}" if len(things) == 1 else f"{len(things)} {noun}s"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown}, ..."
