"""What the index of a saved folder must say: ``bundle.json`` of a bundle, ``student.json`` of a student.

The index holds a format number, what the folder is, and the digest of every other file. It is checked before anything
else is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from ensemble_minerals.errors import BundleError
from ensemble_minerals.system.atomic import recover
from ensemble_minerals.system.digest import file_digest
from ensemble_minerals.system.paths import FolderKind

Index: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Schema:
    """What the index of one kind of folder must hold.

    Attributes:
        kind: The kind of folder; its marker is the index.
        command: The command that makes such a folder.
        keys: Keys that the index must have, and the types of their values.
        files: Files that the folder must have.
        format: Number of the format that is written.
        upgrades: For each older format the step that turns its index into the next format's.
    """

    kind: FolderKind
    command: str
    keys: Mapping[str, type]
    files: frozenset[str]
    format: int = 1
    upgrades: Mapping[int, Callable[[Index], Index]] = field(default_factory=dict)

    def read(self, path: Path) -> Index:
        """Read the index of a folder, bring it to the current format, and check the digests of all files.

        Raises:
            BundleError: If the folder is missing, damaged, or of a format that this version does not know.
        """
        recover(path)
        index = self._upgraded(path, self._load(path))
        file = path / self.kind.marker
        missing = [key for key, kind in self.keys.items() if not isinstance(index.get(key), kind)]
        if missing or not set(index["files"]) >= self.files:
            raise BundleError(f"{file} is damaged: {', '.join(missing) or 'files'} is missing or incomplete")
        for name, digest in index["files"].items():
            if not (path / name).is_file():
                raise BundleError(
                    f"{path}: {name} is missing; the {self.kind.name} is incomplete, {self.command} it again"
                )
            if file_digest(path / name) != digest:
                raise BundleError(
                    f"{path}: {name} was changed afterwards (its digest differs); {self.command} it again"
                )
        return index

    def write(self, folder: Path, content: Mapping[str, Any]) -> None:
        """Write the index of a folder that has all its files: format number, content, digests."""
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        digests = {file.relative_to(folder).as_posix(): file_digest(file) for file in files}
        write_json(folder / self.kind.marker, {"format": self.format, **content, "files": digests})

    def _load(self, path: Path) -> Index:
        if not path.is_dir():
            raise BundleError(
                f"there is no {self.kind.name} at {path}; `ensemble-minerals {self.command}` makes one"
            )
        file = path / self.kind.marker
        if not file.is_file():
            raise BundleError(
                f"{path} is no {self.kind.name}: it has no {file.name}; `ensemble-minerals {self.command}` makes one"
            )
        try:
            index = json.loads(file.read_text(encoding="utf-8"))
            index["format"] = int(index["format"])
        except (ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{file} is damaged: {error}") from error
        loaded: Index = index
        return loaded

    def _upgraded(self, path: Path, index: Index) -> Index:
        number = index["format"]
        if number > self.format:
            raise BundleError(
                f"{path} has format {number}, this version reads up to {self.format}; upgrade ensemble-minerals"
            )
        while number < self.format:
            if number not in self.upgrades:
                raise BundleError(
                    f"{path} has format {number}, which nothing upgrades; {self.command} it again"
                )
            index = self.upgrades[number](index)
            number += 1
        return index


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write JSON values to a file.

    Raises:
        ValueError: If a number is not finite.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A path that is no UTF-8 has stray bytes; written as \udcXX they are JSON's own escapes.
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


BUNDLE = FolderKind("bundle", "bundle.json", BundleError)
STUDENT = FolderKind("student", "student.json")

BUNDLE_SCHEMA = Schema(
    BUNDLE,
    "fit",
    keys={"classes": list, "members": list, "sources": dict, "files": dict},
    files=frozenset(
        {"committee.json", "config.yaml", "ensemble_oof.safetensors", "manifest.csv", "members.safetensors",
         "members_oof.safetensors", "meta.safetensors", "metrics.json", "taxonomy.json"}
    ),
)  # fmt: skip

STUDENT_SCHEMA = Schema(
    STUDENT,
    "distill",
    keys={"classes": list, "taxonomy": dict, "network": dict, "temperature": float, "data": dict, "teacher": dict,
          "metrics": dict, "files": dict},
    files=frozenset({"student.safetensors", "out_of_fold.safetensors"}),
)  # fmt: skip
