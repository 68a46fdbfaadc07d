"""What an attack found, counted in a table."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from campaign.workplace import Workplace

WRONG, LOST, HALF, TRACE, CODE, OUTSIDE, BLOCKED = COLUMNS = (
    "wrong answer without a word",
    "lost row",
    "half artifact",
    "traceback",
    "code run",
    "read outside",
    "blocked next run",
)


@dataclass(frozen=True)
class Trial:
    """One attack.

    Attributes:
        what: What was done.
        broken: Which promises did not hold, of `COLUMNS`.
        said: What the program said, of a trial that did not hold.
    """

    what: str
    broken: tuple[str, ...] = ()
    said: str = ""


@dataclass(frozen=True)
class Part:
    """Many attacks of a kind.

    Attributes:
        name: Of the part, for ``--part``.
        title: For the table.
        attack: Yields a trial for each attack; takes workplace, random numbers, and how many are wanted.
        count: Trials of a whole campaign.
        minutes: When it ends, even if trials are left.
    """

    name: str
    title: str
    attack: Callable[[Workplace, np.random.Generator, int], Iterator[Trial]]
    count: int
    minutes: float


@dataclass
class Row:
    """A row of the table."""

    part: str
    wanted: int
    tried: int = 0
    held: int = 0
    seconds: float = 0.0
    broken: Counter[str] = field(default_factory=Counter)
    findings: list[Trial] = field(default_factory=list)

    def count(self, trial: Trial) -> None:
        """Add a trial."""
        self.tried += 1
        self.held += not trial.broken
        self.broken.update(set(trial.broken))
        if trial.broken:
            self.findings.append(trial)


def run(part: Part, place: Workplace, *, scale: float, seed: int) -> Row:
    """Run a part.

    Args:
        part: What to do.
        place: Where.
        scale: Share of its trials and of its time.
        seed: Of random numbers.
    """
    row = Row(part.title, max(1, round(part.count * scale)))
    rng = np.random.default_rng([seed, *part.name.encode()])
    started = last = time.monotonic()
    for trial in part.attack(place, rng, row.wanted):
        row.count(trial)
        row.seconds = time.monotonic() - started
        if time.monotonic() - last > 60:
            last = time.monotonic()
            print(f"{row.part}: {row.held} of {row.tried} held, {row.wanted} wanted", file=sys.stderr)
        if row.seconds > 60 * max(1.0, part.minutes * scale):
            break
    return row


def table(rows: list[Row]) -> str:
    """The rows as Markdown, findings below."""
    lines = [
        "| part | wanted | tried | held | " + " | ".join(COLUMNS) + " | seconds |",
        "|---|" + "---:|" * (len(COLUMNS) + 4),
    ]
    for row in rows:
        cells = [
            row.wanted,
            row.tried,
            row.held,
            *(row.broken[name] for name in COLUMNS),
        ]
        lines.append(f"| {row.part} | {' | '.join(map(str, cells))} | {row.seconds:.0f} |")
    cut = [row.part for row in rows if row.tried < row.wanted]
    if cut:
        lines += ["", f"Cut by time: {'; '.join(cut)}."]
    for row in rows:
        lines += [
            f"\n- {row.part}, {trial.what}: {', '.join(trial.broken)}\n  `{trial.said[-300:]!r}`"
            for trial in row.findings
        ]
    return "\n".join(lines) + "\n"


def save(rows: list[Row], folder: Path) -> None:
    """Write the table as ``campaign.md`` and ``campaign.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "campaign.md").write_text(table(rows), encoding="utf-8", errors="backslashreplace")
    records = [{**vars(row), "findings": [vars(trial) for trial in row.findings]} for row in rows]
    (folder / "campaign.json").write_text(json.dumps(records, indent=1) + "\n", encoding="ascii")
