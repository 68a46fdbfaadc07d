"""Corrections: what people decided about photos and labels, in CSV files that only grow.

A row is one decision. It names the photo by the digest of its content, so that it holds for copies and wherever the
photo lies; the path beside it is for people. The columns:

``photo``, ``path``
    Digest of the photo (`Manifest.image_id`), and where it was seen.
``action``, ``label``
    ``keep`` or ``relabel``: the photo shows the class ``label``. ``add``: so does a photo that is of no data set yet
    and lies at ``path``. ``leave_out``: not to be learned from. ``same_object``, ``not_same_object``: of two photos.
    ``undo``: takes back the last decision of the same person on the same photo, or pair.
``other``, ``other_path``
    The second photo of a pair.
``who``, ``when``
    Name of the person, and an ISO 8601 time with its time zone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from ensemble_minerals.data.labels import check_labels, nearest, normal_label
from ensemble_minerals.data.photo_table import Entry, problems_of_table, table_rows
from ensemble_minerals.errors import DataError
from ensemble_minerals.system.atomic import user_errors
from ensemble_minerals.system.csv_file import append_csv

COLUMNS = ("photo", "path", "action", "label", "other", "other_path", "who", "when")
LABELS = frozenset({"keep", "relabel", "add"})
"""Actions that say which class a photo shows."""

PAIRS = frozenset({"same_object", "not_same_object"})
"""Actions about two photos."""

ACTIONS = (*sorted(LABELS), "leave_out", *sorted(PAIRS), "undo")
LONGEST_NAME = 60
"""Characters of a person's name, at most."""

_REQUIRED = ("photo", "action", "who", "when")
_DIGEST = re.compile(r"[0-9a-f]{32}")

Subject: TypeAlias = tuple[str, ...]
"""What a decision is about: the digest of a photo, or those of two, ascending."""


@dataclass(frozen=True)
class Decision:
    """What one person decided at one time.

    Attributes:
        photo: Digest of the photo.
        action: One of `ACTIONS`.
        who: The person.
        when: With its time zone.
        label: Class that the photo shows; empty where the action is none of `LABELS`.
        other: Digest of the second photo; empty where the decision is about one.
        path: Where the photo was seen; of an added photo where it lies.
        other_path: Where the second photo was seen.
    """

    photo: str
    action: str
    who: str
    when: datetime
    label: str = ""
    other: str = ""
    path: str = ""
    other_path: str = ""

    @property
    def subject(self) -> Subject:
        """What it is about."""
        return tuple(sorted((self.photo, self.other))) if self.other else (self.photo,)

    @property
    def outcome(self) -> str:
        """What follows from it, in a word or two: decisions of the same outcome do not contradict each other.

        >>> Decision("0" * 32, "keep", "Ann", datetime.now(UTC), "quartz").outcome
        'quartz'
        """
        return self.label if self.action in LABELS else self.action.replace("_", " ")


@dataclass(frozen=True)
class Corrections:
    """Decisions of one or several people.

    Attributes:
        decisions: In the order of their times.
    """

    decisions: tuple[Decision, ...] = ()

    @cached_property
    def by_person(self) -> Mapping[Subject, Mapping[str, Decision]]:
        """For each subject the standing decision of each person; those that were taken back are left out."""
        taken: dict[Subject, dict[str, list[Decision]]] = defaultdict(lambda: defaultdict(list))
        for decision in self.decisions:
            mine = taken[decision.subject][decision.who]
            if decision.action != "undo":
                mine.append(decision)
            elif mine:
                mine.pop()
        standing = {
            subject: {who: mine[-1] for who, mine in people.items() if mine}
            for subject, people in taken.items()
        }
        return {subject: people for subject, people in standing.items() if people}

    @cached_property
    def standing(self) -> Mapping[Subject, Decision]:
        """The decision that counts for each subject: the latest of those that were not taken back."""
        return {
            subject: max(people.values(), key=lambda one: (one.when, one.who))
            for subject, people in self.by_person.items()
        }

    def disagreements(self) -> Iterator[str]:
        """Where people contradict each other, one sentence each."""
        for subject, people in self.by_person.items():
            if len({one.outcome for one in people.values()}) > 1:
                said = ", ".join(f"{who} says {one.outcome}" for who, one in sorted(people.items()))
                last = self.standing[subject]
                between = f" and {last.other_path or last.other}" if last.other else ""
                yield f"{last.path or last.photo}{between}: {said}; the last to decide counts ({last.who})"

    def followed_by(self, decisions: Iterable[Decision]) -> Corrections:
        """These and later ones."""
        return _merged((*self.decisions, *decisions))

    def added(self) -> list[Entry]:
        """Photos that are of no data set yet, with their labels; those that lie there no more are left out."""
        return [
            Entry(one.path, one.label)
            for one in self.standing.values()
            if one.action == "add" and Path(one.path).is_file()
        ]


def read_corrections(files: Iterable[Path]) -> Corrections:
    """Read one or several files of corrections and merge them; a row that is in several counts once.

    Args:
        files: CSV files with the columns of this module; path, label, other and other_path may lack where no row
            needs them. The path of an added photo is relative to the file's folder.

    Raises:
        DataError: If one cannot be read; it lists what is wrong with its rows.
    """
    decisions: list[Decision] = []
    for file in files:
        decisions += _read(file)
    return _merged(decisions)


def given_corrections(files: Sequence[str | Path]) -> Corrections | None:
    """Corrections as a command is given them; None where it is given no file. See `read_corrections`."""
    return read_corrections(map(Path, files)) if files else None


def append_decisions(file: Path, decisions: Sequence[Decision]) -> None:
    """Add decisions to a file of corrections; it is made if it is not there. No row of it is ever changed.

    Args:
        file: The CSV.
        decisions: The latest last.

    Raises:
        UserError: If it cannot be written.
    """
    rows = [
        {**vars(one), "path": _printable(one.path), "other_path": _printable(one.other_path),
         "when": one.when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")}
        for one in decisions
    ]  # fmt: skip
    with user_errors(file):
        append_csv(file, COLUMNS, rows)


def check_decision(decision: Decision) -> Iterator[str]:
    """What is wrong with a decision, if anything is."""
    action, pair = decision.action, bool(decision.other)
    if not _DIGEST.fullmatch(decision.photo):
        yield f"has the photo {decision.photo!r}; it must be a digest of 32 hexadecimal digits"
    if action not in ACTIONS:
        yield f"has the action {action!r}{nearest(action, ACTIONS)}; it must be one of {', '.join(ACTIONS)}"
    if action in LABELS and not decision.label:
        yield f"has no label, which {action} needs"
    if action not in LABELS and decision.label and action in ACTIONS:
        yield f"has a label, which {action} does not take"
    if action in PAIRS and not pair:
        yield f"has no second photo (column other), which {action} needs"
    if action in (*LABELS, "leave_out") and pair:
        yield f"has a second photo (column other), which {action} does not take"
    if pair and not _DIGEST.fullmatch(decision.other):
        yield f"has {decision.other!r} as other; it must be a digest of 32 hexadecimal digits"
    if pair and decision.other == decision.photo:
        yield "names the same photo twice"
    if action == "add" and not decision.path:
        yield "has no path, which add needs"
    if not decision.who or len(decision.who) > LONGEST_NAME or not decision.who.isprintable():
        yield f"has who={decision.who[:80]!r}; it must be a name of at most {LONGEST_NAME} characters"
    try:
        check_labels([decision.label])
    except DataError as error:
        yield str(error)


def _merged(decisions: Iterable[Decision]) -> Corrections:
    return Corrections(tuple(sorted(dict.fromkeys(decisions), key=lambda one: one.when)))


def _read(file: Path) -> Iterator[Decision]:
    rows = table_rows(file)
    header = [cell.strip().lower() for cell in next(rows, (0, []))[1]]
    unknown = [f"{name!r}{nearest(name, COLUMNS)}" for name in header if name not in COLUMNS]
    missing = [name for name in _REQUIRED if name not in header]
    if unknown or missing or len(set(header)) < len(header):
        wrong = " and ".join(
            filter(
                None,
                [
                    f"lacks {', '.join(missing)}" if missing else "",
                    f"has unknown columns {', '.join(unknown)}" if unknown else "",
                ],
            )
        )
        raise DataError(
            f"the first line of {file} {wrong or 'names a column twice'}; corrections have "
            f"the columns {', '.join(COLUMNS)}"
        )
    problems: list[str] = []
    found: list[Decision] = []
    for number, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            problems.append(f"row {number} has {len(cells)} cells, the header has {len(header)}")
            continue
        row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        amiss: list[str] = []
        when = _time(row["when"])
        if when is None:
            amiss.append(
                f"has when={row['when']!r}; it must be a time with its zone, such as 2026-01-31T12:00:00Z"
            )
        decision = _decision(row, when or datetime.now(UTC), file)
        amiss += check_decision(decision)
        if amiss:
            problems.append(f"row {number} {' and '.join(amiss)}")
        found.append(decision)
    if problems:
        raise problems_of_table(file, problems)
    yield from found


def _decision(row: Mapping[str, str], when: datetime, file: Path) -> Decision:
    path = row.get("path", "")
    if row["action"] == "add" and path:
        path = (file.parent.absolute() / path).as_posix()
    return Decision(
        row["photo"],
        row["action"],
        row["who"],
        when,
        normal_label(row.get("label", "")),
        row.get("other", ""),
        path,
        row.get("other_path", ""),
    )


def _time(text: str) -> datetime | None:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if when.tzinfo is None else when


def _printable(path: str) -> str:
    """A path of which bytes that are no UTF-8 are written as escapes, so that the file stays UTF-8."""
    return path.encode("utf-8", "backslashreplace").decode()
