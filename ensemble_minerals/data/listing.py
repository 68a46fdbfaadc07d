"""What the user pointed at, a folder of class folders or a CSV, as a list of labelled files."""

from __future__ import annotations

import csv
import difflib
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ensemble_minerals.errors import DataError

_JUNK = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r"})
_PROSE = frozenset({".csv", ".html", ".json", ".md", ".pdf", ".rst", ".txt", ".yaml", ".yml"})
_MARKER = ".synthetic"
_SPLIT_FOLDERS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})
_CSV_SUFFIXES = frozenset({".csv", ".tsv"})
_COLUMNS = ("path", "label", "group", "split")
_SPLITS = frozenset({"", "train", "test"})
_SHOWN_PROBLEMS = 5


class Entry(NamedTuple):
    """One file: path relative to the root (posix), label, given group and split ("" where not given)."""

    path: str
    label: str
    group: str = ""
    split: str = ""


@dataclass(frozen=True)
class Listing:
    """All files that the user pointed at.

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
    """List the files of a folder with a sub-folder a class, or of a CSV.

    Files in deeper folders count to the class folder above them. Hidden and system files are ignored. A CSV
    has the columns path and label, and may have group and split (train or test); its paths are relative to
    it.

    Args:
        data: The folder or the CSV (comma, semicolon or tab between cells; UTF-8).

    Raises:
        DataError: If there is nothing to use, with the way out.
    """
    if data.is_dir():
        listing = _list_folder(data)
    elif data.is_file():
        if data.suffix.lower() not in _CSV_SUFFIXES:
            raise DataError(
                f"{data} is a file, but neither .csv nor .tsv; give a folder with one sub-folder a class, "
                "or a CSV with the columns path and label"
            )
        listing = _list_csv(data)
    else:
        raise DataError(f"there is no folder or CSV {data}; check the path (it is read from {Path.cwd()})")
    for name in listing.classes:
        if any(unicodedata.category(sign) in {"Cc", "Cs", "Zl", "Zp"} for sign in name):
            raise DataError(
                f"class name {name!r} holds a line break, a control sign or bytes that are no UTF-8; rename it"
            )
    if len(listing.classes) < 2:
        raise DataError(
            f"{data} holds only the class {listing.classes[0]!r}; at least 2 classes are needed"
            f"{_wrapper_hint(data)}"
        )
    return listing


def check_classes(chosen: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Chosen class names in normal form, sorted.

    Raises:
        DataError: If one does not exist (naming the nearest that does) or fewer than 2 are chosen.
    """
    names = {normal_label(name) for name in chosen}
    unknown = sorted(names - set(known))
    if unknown:
        hints = [f"{name!r}{_nearest(name, known)}" for name in unknown]
        raise DataError(f"no such class: {', '.join(hints)}; the data hold {', '.join(known)}")
    if len(names) < 2:
        raise DataError(
            f"{len(names)} class chosen ({', '.join(names)}); at least 2 are needed to tell apart"
        )
    return tuple(sorted(names))


def normal_label(text: str) -> str:
    """A class name without blanks around it, composed (NFC): the same on every file system."""
    return unicodedata.normalize("NFC", text.strip())


def _list_folder(root: Path) -> Listing:
    ignored: list[str] = []
    visible = [child for child in _children(root) if not _is_junk(child.name, ignored)]
    folders = [child for child in visible if child.is_dir()]
    loose = [child.name for child in visible if not child.is_dir() and child.suffix.lower() not in _PROSE]
    if not folders:
        found = f"{len(loose)} files" if loose else "nothing"
        raise DataError(
            f"{root} has no class folders ({found} in it); make one sub-folder a class and put its photos "
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
        files = list(_walk(folder, (), ignored))
        if not files:
            warnings.append(f"class folder {folder.name!r} is empty; it is no class")
        entries.extend(Entry(file.relative_to(root).as_posix(), label) for file in files)
    if not entries:
        raise DataError(
            f"the class folders of {root} are empty; put the photos of each class into its folder"
        )
    if ignored:
        warnings.append(f"{_count(ignored, 'hidden or system file')} ignored: {_some(ignored)}")
    return Listing(root, tuple(sorted(entries)), (*warnings, *_twins({entry.label for entry in entries})))


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DataError(
            f"the folder {folder} cannot be opened: {error.strerror}; allow it to be read, or move it away"
        ) from error


def _walk(folder: Path, above: tuple[tuple[int, int], ...], ignored: list[str]) -> Iterator[Path]:
    """Files below a folder; symbolic links are followed, but never in a circle."""
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for child in _children(folder):
        if _is_junk(child.name, ignored):
            continue
        if child.is_dir():
            yield from _walk(child, (*above, here), ignored)
        else:
            yield child


def _is_junk(name: str, ignored: list[str]) -> bool:
    if name.startswith(".") or name.lower() in _JUNK:
        if name != _MARKER:  # the demonstration set's own
            ignored.append(name)
        return True
    return False


def _list_csv(path: Path) -> Listing:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            delimiter = max(",;\t", key=first.count)
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
            header = _check_header(path, next(reader, []))
            entries, problems = _read_rows(reader, header)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}); save it as 'CSV UTF-8'") from error
    except csv.Error as error:
        raise DataError(f"{path} is no CSV that can be read: {error}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror}") from error
    if problems:
        shown = "\n".join(f"  - {problem}" for problem in problems[:_SHOWN_PROBLEMS])
        more = len(problems) - _SHOWN_PROBLEMS
        rest = f"\n  - and {more} more" if more > 0 else ""
        raise DataError(f"{_count(problems, 'line')} of {path} cannot be used:\n{shown}{rest}")
    if not entries:
        raise DataError(f"{path} has no rows below its header; add one for each photo: path,label")
    return Listing(path.parent, tuple(sorted(entries)), tuple(_twins({entry.label for entry in entries})))


def _check_header(path: Path, cells: Sequence[str]) -> list[str]:
    header = [cell.strip().lower() for cell in cells]
    unknown = [name for name in header if name not in _COLUMNS]
    missing = [name for name in ("path", "label") if name not in header]
    if missing or unknown or len(set(header)) != len(header):
        said = ", ".join(f"{name!r}{_nearest(name, _COLUMNS)}" for name in unknown)
        wrong = [
            f"lacks {' and '.join(missing)}" if missing else "",
            f"has unknown columns {said}" if unknown else "",
            "" if missing or unknown else "names a column twice",
        ]
        raise DataError(
            f"the first line of {path} {' and '.join(filter(None, wrong))}; it must name the columns path "
            "and label, and may name group and split"
        )
    return header


def _read_rows(reader: Iterable[Sequence[str]], header: Sequence[str]) -> tuple[list[Entry], list[str]]:
    entries: list[Entry] = []
    problems: list[str] = []
    for number, cells in enumerate(reader, start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            problems.append(f"row {number} has {len(cells)} cells, the header has {len(header)}")
            continue
        row = dict(zip(header, cells, strict=True))
        path, label = row["path"], normal_label(row["label"])
        group, split = row.get("group", "").strip(), row.get("split", "").strip().lower()
        if not path.strip():
            problems.append(f"row {number} has no path")
        elif not label:
            problems.append(f"row {number} ({path}) has no label")
        elif split not in _SPLITS:
            problems.append(f"row {number} ({path}) has the split {split!r}; it must be train, test or empty")
        else:
            entries.append(Entry(Path(path).as_posix(), label, group, split))
    return entries, problems


def _wrapper_hint(data: Path) -> str:
    """Whether the class folders seem to be one level down, as after unpacking an archive."""
    if not data.is_dir():
        return ""
    folders = [child for child in _children(data) if child.is_dir() and not _is_junk(child.name, [])]
    if len(folders) == 1 and sum(child.is_dir() for child in _children(folders[0])) > 1:
        return f"; if {folders[0].name!r} is not a class but holds the class folders, give {folders[0]}"
    return ""


def _twins(labels: set[str]) -> Iterator[str]:
    """Warnings for class names that differ only in upper and lower case."""
    by_fold: dict[str, list[str]] = {}
    for label in sorted(labels):
        by_fold.setdefault(label.casefold(), []).append(label)
    for names in by_fold.values():
        if len(names) > 1:
            said = " and ".join(map(repr, names))
            yield f"classes {said} differ only in upper and lower case; one class or two?"


def _nearest(name: str, known: Sequence[str]) -> str:
    match = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}" if len(things) == 1 else f"{len(things)} {noun}s"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(sorted(os.fspath(name) for name in names)[:3])
    return shown if len(names) <= 3 else f"{shown}, ..."
