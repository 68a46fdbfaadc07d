"""Corrections applied to a manifest: other labels, photos left out, pairs of photos apart or together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ensemble_minerals.data.corrections import LABELS, Corrections, Decision
from ensemble_minerals.data.files import some
from ensemble_minerals.data.labels import nearest
from ensemble_minerals.data.manifest import Manifest, Status
from ensemble_minerals.data.same_object.given_pairs import GivenPairs
from ensemble_minerals.errors import DataError
from ensemble_minerals.system.plural import counted

_SHOWN = 5


@dataclass(frozen=True)
class Corrected:
    """A manifest after corrections, and what they did.

    Attributes:
        manifest: Column `corrected` holds the label that a row had before, where it was changed.
        pairs: Rows that people want together or apart.
        counts: Photos with another label than before (``relabeled``), ``kept`` and ``left_out``; photos ``added``;
            pairs ``apart`` and ``together``; corrections that match no photo (``unmatched``), decisions that
            ``count``, and those ``by`` each person.
        notes: What the user should know, one sentence each.
    """

    manifest: Manifest
    pairs: GivenPairs
    counts: dict[str, Any]
    notes: tuple[str, ...]


def correct(
    manifest: Manifest, corrections: Corrections, classes: Collection[str] | None = None
) -> Corrected:
    """Apply the decisions that count to the photos of the same content, whatever their path.

    A copy, of equal bytes or of equal pixels, gets what its photo gets, unless it has a decision of its own.

    Args:
        manifest: As scanned, those photos included that corrections add; row groups are not set yet.
        corrections: Of one or several people.
        classes: Labels that may be given; those of the data if None.

    Raises:
        DataError: If another label is given.
    """
    _check_labels(manifest, corrections, classes)
    rows_of, own = _rows_by_digest(manifest, corrections)
    label, status, reason = manifest.label.tolist(), manifest.status.tolist(), manifest.reason.tolist()
    before = manifest.corrected.tolist()
    together: set[tuple[int, int]] = set()
    apart: set[tuple[int, int]] = set()
    counts: Counter[str] = Counter()
    unmatched: list[Decision] = []
    for decision in corrections.standing.values():
        rows = [rows_of.get(digest, []) for digest in decision.subject]
        if not all(rows):
            if decision.action == "leave_out":
                continue  # what is not there is left out
            unmatched.append(decision)
        elif decision.other:
            pairs = {(min(a, b), max(a, b)) for a, b in product(*rows)}
            (apart if decision.action == "not_same_object" else together).update(pairs)
            counts["apart" if decision.action == "not_same_object" else "together"] += 1
        elif decision.action == "leave_out":
            for row in rows[0]:
                status[row] = Status.EXCLUDED.value
                reason[row] = f"left out by {decision.who} on {decision.when:%Y-%m-%d} (corrections)"
            counts["left_out"] += len(rows[0])
        else:
            changed = [row for row in rows[0] if label[row] != decision.label]
            for row in changed:
                first = before[row] or label[row]
                before[row], label[row] = "" if first == decision.label else first, decision.label
            counts["relabeled"] += len(changed)
            counts["added"] += decision.action == "add"
            counts["kept"] += decision.action == "keep" and not changed
    for row in _changed_since(manifest, corrections):
        status[row], reason[row] = Status.EXCLUDED.value, "another photo than the one that was labeled there"
    corrected = manifest.replace(label=label, status=status, reason=reason, corrected=before)
    names = ("relabeled", "kept", "left_out", "added", "apart", "together")
    figures: dict[str, Any] = {name: counts[name] for name in names}
    figures |= {"unmatched": len(unmatched), "count": len(corrections.standing), "by": dict(own)}
    notes = (in_words(figures), *_notes(corrected, corrections, unmatched))
    return Corrected(corrected, GivenPairs(frozenset(together), frozenset(apart)), figures, notes)


def in_words(counts: Mapping[str, Any]) -> str:
    """What corrections did, in a sentence.

    >>> in_words({"relabeled": 2, "left_out": 1, "kept": 0, "apart": 0})
    'corrections: 2 labels changed, 1 photo left out'
    """
    said = {
        "relabeled": ("label changed", "labels changed"),
        "left_out": ("photo left out", "photos left out"),
        "added": ("photo added", "photos added"),
        "apart": ("pair kept apart", "pairs kept apart"),
        "together": ("pair kept together", "pairs kept together"),
        "kept": ("label confirmed", "labels confirmed"),
    }
    words = [counted(counts[name], *forms) for name, forms in said.items() if counts.get(name)]
    return f"corrections: {', '.join(words) or 'nothing changed'}"


def _check_labels(manifest: Manifest, corrections: Corrections, classes: Collection[str] | None) -> None:
    new = {one.path for one in corrections.standing.values() if one.action == "add"}
    own = manifest.label[~np.isin(manifest.path, list(new))].tolist() if classes is None else classes
    known = sorted(set(own))
    wrong = {
        one.label: f"\n  - {one.label!r}{nearest(one.label, known)}, which {one.who} gave {one.path or one.photo}"
        for one in corrections.standing.values()
        if one.action in LABELS and one.label not in known
    }
    if wrong:
        raise DataError(
            f"corrections give labels that are no class of {manifest.root}:{''.join(list(wrong.values())[:_SHOWN])}\n"
            f"its classes are {', '.join(known)}; correct the label, or make a folder for the class first"
        )


def _rows_by_digest(
    manifest: Manifest, corrections: Corrections
) -> tuple[dict[str, list[int]], Counter[str]]:
    """Rows of each digest with those of equal pixels that have no decision of their own; decisions by person."""
    by_digest: dict[str, list[int]] = {}
    by_pixels: dict[str, list[int]] = {}
    for row, (image_id, pixels) in enumerate(
        zip(manifest.image_id.tolist(), manifest.pixel_hash.tolist(), strict=True)
    ):
        if image_id:
            by_digest.setdefault(image_id, []).append(row)
        if pixels:
            by_pixels.setdefault(pixels, []).append(row)
    decided = {subject[0] for subject in corrections.standing if len(subject) == 1}
    found = {}
    for digest in {digest for subject in corrections.standing for digest in subject}:
        rows = by_digest.get(digest, [])
        copies = by_pixels.get(str(manifest.pixel_hash[rows[0]]), []) if rows else []
        found[digest] = sorted(
            {*rows, *(row for row in copies if str(manifest.image_id[row]) not in decided)}
        )
    return found, Counter(one.who for one in corrections.standing.values())


def _changed_since(manifest: Manifest, corrections: Corrections) -> list[int]:
    """Rows of added photos at whose path another photo lies by now."""
    expected = {one.path: one.photo for one in corrections.standing.values() if one.action == "add"}
    return [
        row
        for row in np.flatnonzero(np.isin(manifest.path, list(expected))).tolist()
        if manifest.image_id[row] != expected[str(manifest.path[row])]
    ]


def _notes(corrected: Manifest, corrections: Corrections, unmatched: list[Decision]) -> Iterator[str]:
    if unmatched:
        names = [Path(one.path or one.photo).as_posix() for one in unmatched]
        verb = "matches" if len(unmatched) == 1 else "match"
        yield (
            f"{counted(len(unmatched), 'correction')} {verb} no photo of {corrected.root}, by content: {some(names)} "
            "(deleted, changed, or of another data set)"
        )
    tested = int(np.sum((corrected.split == "test") & (corrected.corrected != "")))
    if tested:
        yield f"{counted(tested, 'photo')} of the test part have another label by corrections"
    yield from list(corrections.disagreements())[:_SHOWN]
    more = len(list(corrections.disagreements())) - _SHOWN
    if more > 0:
        yield f"on {more} more, people contradict each other, too; the last to decide counts"
