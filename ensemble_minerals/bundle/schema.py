"""What a saved folder holds: a bundle, whose index is ``bundle.json``, or a student, whose index is ``student.json``.

The index holds a format number, what the folder is, and the digest of every other file. Whatever is used is listed in
it, and everything is checked against the schemas of this package before anything is built from it.

Format 2, a bundle:

- ``bundle.json``: see `BundleIndex`;
- `ENSEMBLE`: members, combination and temperature, see `EnsembleDescription`; ``members.safetensors`` and
  ``meta.safetensors`` are their arrays;
- ``config.yaml``, ``taxonomy.json``, ``manifest.csv``, ``metrics.json``, ``README.md``;
- ``members_oof.safetensors`` and ``ensemble_oof.safetensors``: answers for the rows of the fit;
- where there are trained networks, ``networks/*.safetensors`` and ``logs.json``;
- where it needs nothing else, ``weights/*``: the weights of its backbones.

A student: ``student.json``, see `StudentIndex`; ``student.safetensors``, its network; ``out_of_fold.safetensors``;
it may have `FOLD_STUDENT`, the network of one fold.

Parts that either may have, see `optional_parts`: ``rejection.json`` with ``rejection.safetensors`` (how a photo is
told from those of the fit), and ``properties.json`` (properties of the classes). A student may have the
``manifest.csv`` of its teacher.

Format 1 had no such parts and did not say in which precision features were computed. It is upgraded while it is read.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from ensemble_minerals.bundle.index import BundleIndex, IndexEntries, StudentIndex
from ensemble_minerals.bundle.optional_parts import MANIFEST, OPTIONAL_PARTS
from ensemble_minerals.bundle.saved_folder import ON_DISK, OpenFolder, SavedFolder, damage, read_unreplaced
from ensemble_minerals.config.messages import validated
from ensemble_minerals.errors import BundleError
from ensemble_minerals.system.atomic import recover
from ensemble_minerals.system.digest import content_digest, file_digest
from ensemble_minerals.system.held_file import HeldFile
from ensemble_minerals.system.paths import FolderKind
from ensemble_minerals.system.plain_json import parse_json

FORMAT = 2
ENSEMBLE = "committee.json"
FOLD_STUDENT = "fold_student.safetensors"
Index: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Schema:
    """What one kind of saved folder must hold.

    Attributes:
        kind: The kind of folder; its marker is the index.
        command: The command that makes such a folder.
        index: What the index must say.
        files: Files that the folder must have.
        others: Files that it may have.
        folders: Folders inside that it may have, with files of any plain name.
        format: Number of the format that is written.
        upgrades: For each older format the step that turns its index into the next format's.
    """

    kind: FolderKind
    command: str
    index: type[IndexEntries]
    files: frozenset[str]
    others: frozenset[str]
    folders: frozenset[str] = frozenset()
    format: int = FORMAT
    upgrades: Mapping[int, Callable[[Index], Index]] = field(default_factory=dict)

    def read(self, path: Path) -> SavedFolder:
        """Open a folder, check its index and bring it to the current format, and check the digests of all files.

        Raises:
            BundleError: If the folder is missing, damaged, or of a format that this version does not know.
        """
        recover(path)
        if not path.is_dir():
            raise BundleError(
                f"there is no {self.kind.name} at {path}; `ensemble-minerals {self.command}` makes one"
            )
        try:
            return read_unreplaced(path, self._read)
        except OSError as error:
            raise BundleError(f"{path} cannot be opened: {error.strerror}") from error

    def write(self, folder: Path, content: Mapping[str, Any]) -> None:
        """Write the index of a folder that has all its files: format number, content, digests.

        Raises:
            ValueError: If it is none that can be read again.
        """
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        digests = {file.relative_to(folder).as_posix(): file_digest(file) for file in files}
        index = {"format": self.format, **content, "files": digests}
        self._check(index)
        write_json(folder / self.kind.marker, index)

    def _read(self, folder: OpenFolder) -> SavedFolder:
        marker = self.kind.marker
        path = folder.path
        with damage(path / marker, self.command):
            try:
                content = folder.file(marker).read()
            except FileNotFoundError:
                raise BundleError(
                    f"{path} is no {self.kind.name}: it has no {marker}; `ensemble-minerals {self.command}` makes one"
                ) from None
            except OSError as error:
                raise ValueError(_reason(error)) from error
            index = self._upgraded(path, parse_json(content))
            self._check(index)
        files = {name: self._file(folder, name, digest) for name, digest in index["files"].items()}
        return SavedFolder(path, index, content_digest(content), files, self.command)

    def _file(self, folder: OpenFolder, name: str, digest: str) -> HeldFile:
        with damage(folder.path / name, self.command):
            try:
                file = folder.file(name)
                found = file.digest(keep=not name.startswith(ON_DISK))
            except FileNotFoundError:
                raise BundleError(
                    f"{folder.path}: {name} is missing; the {self.kind.name} is incomplete, {self.command} it again"
                ) from None
            except OSError as error:
                raise ValueError(_reason(error)) from error
        if found != digest:
            raise BundleError(
                f"{folder.path}: {name} was changed afterwards (its digest differs); {self.command} it again"
            )
        return file

    def _check(self, index: object) -> None:
        """Make sure that an index of the current format is whole.

        Raises:
            ValueError: If it is not.
        """
        listed = validated(self.index, index).files
        for name in listed:
            folder, _, file = name.rpartition("/")
            inside = folder in self.folders and _PLAIN.fullmatch(file)
            if name not in self.files | self.others and not inside:
                raise ValueError(f"files: {name!r} is no file of a {self.kind.name}")
        if not self.files <= listed.keys():
            raise ValueError(f"files: {', '.join(sorted(self.files - listed.keys()))} is missing")

    def _upgraded(self, path: Path, index: object) -> Index:
        number = index.get("format") if isinstance(index, dict) else None
        if not isinstance(index, dict) or not isinstance(number, int) or isinstance(number, bool):
            raise ValueError("format: must be a whole number")
        if number > self.format:
            raise BundleError(
                f"{path} has format {number} and was made by a newer version, this one reads up to {self.format}; "
                "upgrade ensemble-minerals"
            )
        while number < self.format:
            if number not in self.upgrades:
                raise BundleError(
                    f"{path} has format {number}, which nothing upgrades; {self.command} it again"
                )
            number += 1
            index = {**self.upgrades[number - 1](index), "format": number}
        return index


_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")
"""Names of files that mean the same on every system, and nothing above their folder."""


def _reason(error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "it is a link, or lies behind one"
    return f"it cannot be read: {error.strerror or error}"


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write JSON values to a file.

    Raises:
        ValueError: If a number is not finite.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A path that is no UTF-8 has stray bytes; written as \udcXX they are JSON's own escapes.
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def _with_precision(index: Index) -> Index:
    """A bundle's index of format 1 as format 2: extractors state the precision of their features."""
    sources = index.get("sources")
    if not isinstance(sources, dict):
        return index
    return {**index, "sources": {name: _stating_precision(entry) for name, entry in sources.items()}}


def _stating_precision(entry: object) -> object:
    if not isinstance(entry, dict) or not isinstance(entry.get("facts"), dict):
        return entry
    return {**entry, "precision": entry["facts"].get("precision", "float32")}


def _unchanged(index: Index) -> Index:
    """A student's index of format 1 as format 2."""
    return index


BUNDLE = FolderKind("bundle", "bundle.json", BundleError)
STUDENT = FolderKind("student", "student.json")

BUNDLE_SCHEMA = Schema(
    BUNDLE,
    "fit",
    BundleIndex,
    files=frozenset(
        {ENSEMBLE, "config.yaml", "ensemble_oof.safetensors", "manifest.csv", "members.safetensors",
         "members_oof.safetensors", "meta.safetensors", "metrics.json", "taxonomy.json"}
    ),
    others=frozenset({"README.md", "logs.json"}) | OPTIONAL_PARTS,
    folders=frozenset(ON_DISK),
    upgrades={1: _with_precision},
)  # fmt: skip

STUDENT_SCHEMA = Schema(
    STUDENT,
    "distill",
    StudentIndex,
    files=frozenset({"student.safetensors", "out_of_fold.safetensors"}),
    others=OPTIONAL_PARTS | {MANIFEST, FOLD_STUDENT},
    upgrades={1: _unchanged},
)
