"""A data set as a list of labeled files: a folder with a sub-folder for each class, or a CSV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ensemble_minerals.data.files import LeftOut, list_files, list_folder, some
from ensemble_minerals.data.labels import case_warnings, check_labels, normal_label
from ensemble_minerals.data.layouts import Layout, Part, find_layout
from ensemble_minerals.data.own_outputs import DOCUMENTS, is_folder
from ensemble_minerals.data.photo_table import Entry, read_photo_table
from ensemble_minerals.data.written_paths import FoundPaths, check_found, find_written
from ensemble_minerals.errors import DataError
from ensemble_minerals.system.plural import counted

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


def list_photos(data: Path, expected: Collection[str] = ()) -> Listing:
    """List the files of a data set.

    Files in deeper folders belong to the class folder above them. A folder may be divided into training, validation
    and test parts, each with a folder a class: files of the test part get the split ``test``, all others ``train``.
    Hidden and system files and what this program wrote are left out. A CSV has the columns path and label, and may
    have group and split (train or test); its paths are relative to its folder.

    Args:
        data: A folder with one sub-folder for each class, or a CSV (comma, semicolon or tab between cells; UTF-8).
        expected: Class names that are known, where folders could be classes or parts.

    Raises:
        DataError: If there is nothing to use, with the way out.
    """
    written: list[str] = []
    found: FoundPaths | None = None
    if is_folder(data):
        root, (entries, warnings) = data, _list_folder(data, expected)
    elif data.is_file():
        if data.suffix.lower() not in _TABLES:
            raise DataError(
                f"{data} is a file, but neither .csv nor .tsv; give a folder with one sub-folder a class, "
                "or a CSV with the columns path and label"
            )
        root, entries = data.parent, read_photo_table(data)
        written = [entry.path for entry in entries]
        found = find_written(data, written)
        entries = [entry._replace(path=path) for entry, path in zip(entries, found.paths, strict=True)]
        warnings = list(found.notes)
    else:
        raise DataError(f"there is no folder or CSV {data}; check the path (it is read from {Path.cwd()})")
    listing = Listing(
        root, tuple(sorted(entries)), (*warnings, *case_warnings(entry.label for entry in entries))
    )
    check_labels(listing.classes)
    if len(listing.classes) < 2:
        raise DataError(
            f"{data} holds only the class {listing.classes[0]!r}; at least 2 classes are needed"
            f"{_wrapper_hint(data)}"
        )
    if found is not None:
        check_found(data, written, found)
    return listing


def _list_folder(root: Path, expected: Collection[str]) -> tuple[list[Entry], list[str]]:
    """Files of the class folders in a folder, and warnings."""
    left_out = LeftOut()
    children = list_folder(root, left_out)
    folders = [child for child in children if is_folder(child)]
    loose = [child for child in children if not is_folder(child)]
    if not folders:
        photos = _no_documents(loose)
        content = f"{len(photos)} files" if photos else "nothing"
        outputs = "; " + "; ".join(left_out.notes()) if left_out.outputs else ""
        raise DataError(
            f"{root} has no class folders ({content} in it); make one sub-folder a class and put its photos "
            f"inside{outputs}"
        )
    layout = find_layout(root, folders, expected)
    warnings = _warn_of_loose(root.name or str(root), loose)
    entries: list[Entry] = []
    for part in layout.parts or [Part("", "", folders)]:
        if part.name:
            above = {folder.parent for folder in part.folders} | {root / part.name}
            inside = [child for folder in above for child in list_folder(folder) if not is_folder(child)]
            warnings += _warn_of_loose(part.name, inside)
        warnings += _warn_of_merged(part.folders)
        for folder in part.folders:
            label = normal_label(folder.name)
            files = list(list_files(folder, left_out))
            if not files:
                warnings.append(
                    f"class folder {folder.relative_to(root).as_posix()!r} is empty; it is no class"
                )
            split = "" if not part.kind else "test" if part.kind == "test" else "train"
            entries.extend(Entry(file.relative_to(root).as_posix(), label, "", split) for file in files)
    if not entries:
        raise DataError(
            f"the class folders of {root} are empty; put the photos of each class into its folder"
        )
    return entries, [*_describe(root, layout, entries), *warnings, *left_out.notes()]


def _describe(root: Path, layout: Layout, entries: list[Entry]) -> list[str]:
    """How a folder is divided into parts, in one line, and what lies beside them."""
    if not layout.parts:
        return []
    numbers = Counter(entry.path.split("/", 1)[0] for entry in entries)
    parts = ", ".join(f"{part.name} ({numbers[part.name]} files)" for part in layout.parts)
    trained = " and ".join(part.name for part in layout.parts if part.kind != "test")
    together = " together" if " and " in trained else ""
    tested = " and ".join(part.name for part in layout.parts if part.kind == "test")
    scored = f"{tested} is scored once" if tested else "there is no test part"
    verb = "are" if together else "is"
    lines = [
        f"{root.name or root} is divided into {parts}: {trained} {verb} trained on{together} in folds, {scored}"
    ]
    if layout.others:
        names = some([folder.name for folder in layout.others])
        lines.append(
            f"{counted(len(layout.others), 'folder')} beside them left out, without class folders: {names}"
        )
    return lines


def _warn_of_merged(folders: Sequence[Path]) -> list[str]:
    """Folders whose names are one class name, written differently."""
    by_label: dict[str, list[str]] = {}
    for folder in folders:
        by_label.setdefault(normal_label(folder.name), []).append(folder.name)
    return [
        f"folders {' and '.join(map(repr, names))} are one class, {label!r}: their names differ only in blanks or in "
        "how accents are coded"
        for label, names in by_label.items()
        if len(names) > 1
    ]


def _warn_of_loose(place: str, files: list[Path]) -> list[str]:
    photos = _no_documents(files)
    if not photos:
        return []
    return [f"{counted(len(photos), 'file')} straight in {place}, so of no class: {some(photos)}"]


def _no_documents(files: list[Path]) -> list[str]:
    return [file.name for file in files if file.suffix.lower() not in DOCUMENTS]


def _wrapper_hint(data: Path) -> str:
    """A hint where the class folders seem to be one level down, as after unpacking an archive."""
    if not is_folder(data):
        return ""
    folders = [child for child in list_folder(data) if is_folder(child)]
    if len(folders) == 1 and sum(is_folder(child) for child in list_folder(folders[0])) > 1:
        return f"; if {folders[0].name!r} is not a class but holds the class folders, give {folders[0]}"
    return ""
