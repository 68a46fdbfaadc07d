"""Inputs of a prediction as users name them: files, folders, patterns, and lists of paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ensemble_minerals.data.files import LeftOut, list_files
from ensemble_minerals.data.own_outputs import is_folder, is_output
from ensemble_minerals.data.patterns import matches
from ensemble_minerals.data.photo_table import read_path_column
from ensemble_minerals.data.text_files import read_text
from ensemble_minerals.data.written_paths import check_found, find_written
from ensemble_minerals.errors import UserError

Inputs = str | Path | Sequence[str | Path]
"""What users name to be predicted; one alone stands for a list of one."""

TABLES = frozenset({".csv", ".tsv"})
"""Suffixes of tables with a column of paths."""

_TEXTS = frozenset({".txt", ".lst"})


def expand_inputs(inputs: Inputs, note: Callable[[str], None] | None = None) -> list[Path]:
    """Files for which inputs stand, in the order given, each once.

    An input is a file, a folder (every file in it, at any depth), a pattern such as ``'new/*.jpg'``, a CSV with a
    column path, or a ``.txt`` file with a path on each line. Paths in a list are relative to its folder or, where
    they are not there, to the current one; a listed folder stands for its files, and a listed file that is not there
    keeps its place: the decoder says later that it is missing. A pattern matches hidden files only where it names
    them, as in a shell.

    Args:
        inputs: What the user named.
        note: Told what was left out, and which listed paths were read otherwise than written.

    Raises:
        UserError: If an input matches nothing, or is a list of which no file is there.
        DataError: If a folder or a list cannot be read.
    """
    files: dict[Path, None] = {}
    left_out = LeftOut()
    notes: list[str] = []
    for entry in entries(inputs):
        inside: list[Path] = []
        for match in _matches(entry, notes):
            if is_folder(match):
                inside += list_files(match, left_out)
            else:
                inside.append(match)
        if not inside:
            raise UserError(f"{entry} holds no files")
        files |= dict.fromkeys(inside)
    for text in (*left_out.notes(), *notes):
        if note is not None:
            note(text)
    return list(files)


def named_folders(inputs: Inputs) -> list[Path]:
    """Folders among the inputs, of which every file is one: no output may be put there.

    Raises:
        UserError: If an input matches nothing, or is a list of which no file is there.
        DataError: If a list cannot be read.
    """
    return [match for entry in entries(inputs) for match in _matches(entry, []) if is_folder(match)]


def entries(inputs: Inputs) -> Sequence[str | Path]:
    """The single inputs; one that stands alone is a list of one."""
    return [inputs] if isinstance(inputs, str | Path) else inputs


def _matches(entry: str | Path, notes: list[str]) -> list[Path]:
    path = Path(entry)
    if not str(entry):
        raise UserError("an input is empty; name a file, a folder or a pattern")
    try:
        if path.exists():
            return _listed(path, notes) if path.is_file() else [path]
        found = matches(path)
    except (OSError, ValueError) as error:  # a name that is too long
        raise UserError(f"{entry} is no file or folder here, and no pattern: {error}") from error
    if not found:
        raise UserError(f"{entry} is no file or folder here, and matches none as a pattern")
    outputs = [match for match in found if is_folder(match) and is_output(match)]
    left_out = LeftOut(outputs=outputs)
    notes += left_out.notes()
    return [match for match in found if match not in outputs]


def _listed(path: Path, notes: list[str]) -> list[Path]:
    """Paths in a list; a file that is no list stands for itself."""
    suffix = path.suffix.lower()
    if suffix in TABLES:
        written = read_path_column(path)
    elif suffix in _TEXTS:
        written = [line for line in read_text(path).splitlines() if line.strip()]
    else:
        return [path]
    if not written:
        raise UserError(f"{path} lists no paths")
    found = find_written(path, written, others=[Path()])
    check_found(path, written, found)
    notes += found.notes
    return [path.parent / name for name in found.paths]
