"""Labels that users gave with the photos: a column of a CSV, or the name of the folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ensemble_minerals.data.photo_table import table_rows
from ensemble_minerals.data.written_paths import find_written
from ensemble_minerals.prediction.inputs import TABLES, Inputs, entries


def given_labels(inputs: Inputs, paths: Sequence[Path], classes: Sequence[str]) -> tuple[str, ...]:
    """Of each photo the label that came with it, empty where none did.

    A CSV with the columns path and label says it; elsewhere a folder that bears the name of a class does.

    Args:
        inputs: What the user named.
        paths: The photos for which it stands.
        classes: Names of the classes.

    Raises:
        DataError: If a CSV cannot be read.

    Example:
        >>> given_labels("new", [Path("new/quartz/1.jpg"), Path("new/2.jpg")], ["quartz"])
        ('quartz', '')
    """
    listed: dict[Path, str] = {}
    for entry in entries(inputs):
        table = Path(entry)
        if table.suffix.lower() in TABLES and table.is_file():
            listed |= _column(table)
    named = {path: path.parent.name if path.parent.name in classes else "" for path in paths}
    return tuple(listed.get(path) or named[path] for path in paths)


def _column(table: Path) -> dict[Path, str]:
    """The column label of a CSV, by path; nothing where it has none."""
    rows = table_rows(table)
    header = [cell.strip().lower() for cell in next(rows, (0, []))[1]]
    if not {"path", "label"} <= set(header):
        return {}
    path, label = header.index("path"), header.index("label")
    both = [cells for _, cells in rows if len(cells) > max(path, label) and cells[path].strip()]
    found = find_written(table, [cells[path] for cells in both], others=[Path()])
    return {table.parent / name: cells[label].strip() for name, cells in zip(found.paths, both, strict=True)}
