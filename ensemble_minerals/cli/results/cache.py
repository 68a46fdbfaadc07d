"""Prints what the cache holds."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ensemble_minerals.cli.console import say
from ensemble_minerals.cli.tables import Column, table
from ensemble_minerals.system.cache_folder import CachedItem
from ensemble_minerals.system.plural import counted
from ensemble_minerals.system.sizes import format_size

_DAY = 86_400.0


def show_cache(where: Console, folder: Path, items: Sequence[CachedItem], size: int, limit: float) -> None:
    """Print a row for each kind and name, the longest unused last, and the size of all files."""
    grouped: dict[tuple[str, str], list[CachedItem]] = defaultdict(list)
    for item in items:
        grouped[item.kind, item.name].append(item)
    rows = [
        (max(item.last_used for item in same), kind, name, same) for (kind, name), same in grouped.items()
    ]
    if rows:
        table(
            where,
            "",
            [
                Column("what"),
                Column("of"),
                Column("entries", number=True),
                Column("size", number=True),
                Column("last used"),
            ],
            [
                (
                    kind,
                    name,
                    sum(item.n_entries for item in same),
                    format_size(sum(item.n_bytes for item in same)),
                    _age(used),
                )
                for used, kind, name, same in sorted(rows, key=lambda row: -row[0])
            ],
        )
        say(where)
    say(where, f"{format_size(size)} in {folder}; after each fit at most {format_size(limit)} stay.")


def _age(used: float) -> str:
    days = (time.time() - used) / _DAY
    if days < 1:
        return "today"
    return f"{counted(int(days), 'day')} ago"
