"""What a user names to be predicted, as a list of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ensemble_minerals.errors import UserError


def expand_inputs(inputs: Sequence[str | Path]) -> list[Path]:
    """Files, folders and glob patterns as a list of files, in the order given, each once.

    Raises:
        UserError: If one matches nothing.
    """
    found: dict[Path, None] = {}
    for entry in inputs:
        path = Path(entry)
        if not str(entry):
            raise UserError("an input is empty; name a file, a folder or a pattern")
        try:
            matches = [path] if path.exists() else _matches(path)
        except (OSError, ValueError) as error:  # a name too long, or no pattern either
            raise UserError(f"{entry} is no file or folder here, and no pattern: {error}") from error
        if not matches:
            raise UserError(f"{entry} is no file or folder here, and matches none as a pattern")
        files = [file for match in matches for file in (_inside(match) if match.is_dir() else [match])]
        if not files:
            raise UserError(f"{entry} holds no files")
        found |= dict.fromkeys(files)
    return list(found)


def _inside(folder: Path) -> list[Path]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in files if not _is_hidden(path.relative_to(folder))]


def _matches(pattern: Path) -> list[Path]:
    """What a pattern matches, hidden files only where it asks for them, as in a shell."""
    fixed = next((n for n, part in enumerate(pattern.parts) if set(part) & set("*?[")), None)
    if fixed is None:
        return []
    start, rest = Path(*pattern.parts[:fixed]), Path(*pattern.parts[fixed:])
    hidden = _is_hidden(rest)
    return sorted(path for path in start.glob(str(rest)) if hidden or not _is_hidden(path.relative_to(start)))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts) or path.name in ("Thumbs.db", "desktop.ini")
