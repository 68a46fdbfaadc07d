"""Folders that this program wrote: a bundle, a report and the like are no photos, wherever they lie."""

from __future__ import annotations

import os
import stat
from pathlib import Path

SYNTHETIC_MARKER = ".synthetic"
"""Name of an empty file that marks a folder of drawn photos."""

OUTPUT_FILES = (
    ("bundle.json", "members.safetensors"),
    ("student.json", "student.safetensors"),
    ("report.json", "report.html"),
    ("explain.json", "votes.csv"),
    ("ablation.json", "ablation.html"),
    ("tune.json", "tune.html"),
    ("inspection.json", "inspection.html"),
)
"""Files that a folder of each kind of output holds: its marker, and one more, since others write JSON, too."""

DOCUMENTS = frozenset({".csv", ".html", ".json", ".md", ".pdf", ".rst", ".txt", ".yaml", ".yml"})
"""Suffixes of files that nobody takes for photos."""

_USUAL_NAME = "artifacts"
"""Folder in which outputs are saved by default."""

_DEPTH = 3


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder; False as well where nobody may look."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def is_output(folder: Path) -> bool:
    """Whether a folder is an output of this program, or holds nothing but such outputs.

    A folder named ``artifacts`` is one as soon as it holds an output.
    """
    return _is_output(folder, _DEPTH)


def _is_output(folder: Path, depth: int) -> bool:
    if any(all((folder / name).is_file() for name in names) for names in OUTPUT_FILES):
        return True
    if not depth:
        return False
    usual = folder.name == _USUAL_NAME
    held: list[bool] = []
    try:
        with os.scandir(folder) as children:
            for child in children:
                if child.name.startswith("."):
                    continue
                path = Path(child.path)
                if not is_folder(path):
                    if not usual and path.suffix.lower() not in DOCUMENTS:
                        return False
                elif not (path / SYNTHETIC_MARKER).is_file():
                    held.append(_is_output(path, depth - 1))
                    if not usual and not held[-1]:
                        return False
    except OSError:
        return False
    return any(held)
