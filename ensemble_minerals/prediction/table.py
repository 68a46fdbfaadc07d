"""Predictions as a table: one row for each input, also for one that could not be read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.ensemble.rejection import ANSWERED, IN_WORDS, NONE_OF_THESE, refused
from ensemble_minerals.errors import UserError
from ensemble_minerals.system.atomic import atomic_file
from ensemble_minerals.system.csv_file import write_csv
from ensemble_minerals.taxonomy import Taxonomy

SHOWN = 50
"""Photos that a notebook shows."""

_GUESS: dict[str, type] = {"label": str, "confidence": float}
_FIXED: dict[str, type] = dict.fromkeys(("path", "status", "reason", "label", "group"), str) | {
    "confidence": float
}


def check_sets(sets: float | None) -> None:
    """Make sure that the level of prediction sets, if there is one, is a probability.

    Raises:
        UserError: If not.
    """
    if sets is not None and not 0 < sets < 1:
        raise UserError(f"sets={sets}: give a probability between 0 and 1, such as 0.95")


@dataclass(frozen=True)
class WithEvidence:
    """What becomes of the answers with the evidence of hand tests, or of the place.

    Attributes:
        proba: Probabilities, shape (n, n_classes); NaN for a photo that could not be read.
        fits: Whether a class fits the evidence of a photo, shape (n,); if none does, there is no answer.
        notes: Of each photo, what does not go together; empty where nothing is amiss.
    """

    proba: NDArray[np.float64]
    fits: NDArray[np.bool_]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Predictions:
    """Predictions for photos, one row for each input.

    Attributes:
        paths: The files, as expanded from the user's inputs.
        reasons: Empty for an answered photo, else why it could not be read.
        proba: Calibrated probabilities, shape (n, n_classes); NaN for a photo that could not be read.
        member_proba: Of each member, shape (n, n_members, n_classes).
        members: Their names.
        taxonomy: Classes, in the order of the columns, and their groups.
        sets: Membership of the classes in each photo's prediction set, shape (n, n_classes); None where none
            are wanted, all False for a photo that could not be read.
        evidence: The same with evidence beside the photos; None where there is none.
        advice: Of each photo what to test next, empty for a sure one; None where no advice is wanted.
        typicality: Share of the photos of the fit that are as strange, (n,), see `ensemble.rejection`. NaN for a
            photo that could not be read; NaN or None where the model knows nothing of the kind.
        refuse: Photos of at most this typicality show none of the classes; 0 where none is refused.
        level: Probability with which a set holds the true class; None where no sets are wanted.
        contents: Of photos in memory, by path, for the thumbnails of a notebook.
        not_asked: Names of further members, whose weight is nothing and who were not asked.

    Example:
        >>> taxonomy = Taxonomy.flat(("mica", "quartz"))
        >>> proba = np.array([[0.25, 0.75]])
        >>> predictions = Predictions((Path("a.jpg"),), ("",), proba, proba[:, None], ("flat",), taxonomy)
        >>> predictions.top(0)
        [('quartz', 0.75)]
        >>> next(predictions.records())["label"]
        'quartz'
    """

    paths: tuple[Path, ...]
    reasons: tuple[str, ...]
    proba: NDArray[np.float64]
    member_proba: NDArray[np.float64]
    members: tuple[str, ...]
    taxonomy: Taxonomy
    sets: NDArray[np.bool_] | None = None
    evidence: WithEvidence | None = None
    advice: tuple[str, ...] | None = None
    typicality: NDArray[np.float64] | None = None
    refuse: float = 0.0
    level: float | None = None
    contents: Mapping[Path, bytes] = field(default_factory=dict, repr=False)
    not_asked: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.taxonomy.classes

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Which inputs have an answer, shape (n,)."""
        return ~np.isnan(self.proba[:, 0])

    @property
    def refused(self) -> NDArray[np.bool_]:
        """Which inputs show none of the classes, shape (n,)."""
        typicality = np.full(len(self), np.nan) if self.typicality is None else self.typicality
        return refused(typicality, self.refuse)

    def typicality_of(self, row: int) -> float | None:
        """Typicality of a photo; None where it could not be read, or the model cannot tell."""
        value = np.nan if self.typicality is None else float(self.typicality[row])
        return None if np.isnan(value) else float(value)

    def verdict(self, row: int) -> str | None:
        """``answered`` or ``none_of_these``; None where a photo could not be read, or the model cannot tell."""
        if self.typicality_of(row) is None:
            return None
        return NONE_OF_THESE if self.refused[row] else ANSWERED

    def shown_label(self, row: int) -> str:
        """What people read as the answer of an answered row: the class, or that it is none of these."""
        label = self.top(row)[0][0]
        return f"{IN_WORDS} ({label}?)" if self.refused[row] else label

    def take(self, rows: slice) -> Predictions:
        """Some of the rows."""
        evidence = self.evidence
        return replace(
            self,
            paths=self.paths[rows],
            reasons=self.reasons[rows],
            proba=self.proba[rows],
            member_proba=self.member_proba[rows],
            sets=None if self.sets is None else self.sets[rows],
            evidence=evidence
            and WithEvidence(evidence.proba[rows], evidence.fits[rows], evidence.notes[rows]),
            advice=None if self.advice is None else self.advice[rows],
            typicality=None if self.typicality is None else self.typicality[rows],
        )

    def top(self, row: int, k: int = 1) -> list[tuple[str, float]]:
        """The k most probable classes of an answered row with their probabilities, best first."""
        order = np.argsort(-self.proba[row], kind="stable")[:k]
        return [(self.classes[c], float(self.proba[row, c])) for c in order]

    def votes(self, row: int) -> list[tuple[str, str, float]]:
        """Of each member: name, its most probable class, and that probability."""
        best = self.member_proba[row].argmax(axis=1)
        return [
            (name, self.classes[c], float(self.member_proba[row, m, c]))
            for m, (name, c) in enumerate(zip(self.members, best, strict=True))
        ]

    def set_of(self, row: int) -> tuple[str, ...]:
        """Classes of an answered row's prediction set, the most probable first.

        Raises:
            ValueError: If the predictions have no sets.
        """
        if self.sets is None:
            raise ValueError("these predictions have no sets: ask for them with predict(..., sets=0.95)")
        order = np.argsort(-self.proba[row], kind="stable")
        return tuple(self.classes[c] for c in order if self.sets[row, c])

    def top_with_evidence(self, row: int) -> tuple[str, float] | None:
        """The most probable class of a row with evidence, and its probability; None where no class fits it.

        Raises:
            ValueError: If there is no evidence.
        """
        if self.evidence is None:
            raise ValueError("these predictions have no evidence beside them")
        if not self.evidence.fits[row]:
            return None
        best = int(self.evidence.proba[row].argmax())
        return self.classes[best], float(self.evidence.proba[row, best])

    def remarks(self, row: int) -> list[str]:
        """What is amiss with the evidence of a row, and what to test next."""
        note = "" if self.evidence is None else self.evidence.notes[row]
        advice = "" if self.advice is None else self.advice[row]
        return [text for text in (note, advice) if text]

    def columns(self, top_k: int = 1) -> dict[str, type]:
        """Names of the columns of a table of the answers, in order, and whether each holds text or a number."""
        ranks = range(2, min(top_k, len(self.classes)) + 1)
        guesses = {f"{what}_{rank}": kind for rank in ranks for what, kind in _GUESS.items()}
        chosen = {} if self.sets is None else {"set": str}
        columns = _FIXED | guesses | chosen | {f"p_{name}": float for name in self.classes}
        columns |= {"typicality": float, "verdict": str}
        if self.evidence is not None:
            columns |= {"with_evidence_label": str, "with_evidence_confidence": float}
            columns |= {f"with_evidence_p_{name}": float for name in self.classes} | {"evidence_note": str}
        return columns if self.advice is None else columns | {"advice": str}

    def records(self, top_k: int = 1) -> Iterator[dict[str, Any]]:
        """Rows as mappings, by `columns`."""
        group_of = self.taxonomy.group_of()
        for row, path in enumerate(self.paths):
            answered = bool(self.answered[row])
            record: dict[str, Any] = {
                "path": str(path),
                "status": "ok" if answered else "unreadable",
                "reason": self.reasons[row],
            }
            guesses = self.top(row, top_k) if answered else []
            record["label"] = guesses[0][0] if guesses else None
            best = self.classes.index(guesses[0][0]) if guesses else 0
            record["group"] = self.taxonomy.group_names[group_of[best]] if guesses else None
            record["confidence"] = guesses[0][1] if guesses else None
            for rank in range(1, min(top_k, len(self.classes))):
                record[f"label_{rank + 1}"] = guesses[rank][0] if guesses else None
                record[f"confidence_{rank + 1}"] = guesses[rank][1] if guesses else None
            if self.sets is not None:
                record["set"] = "; ".join(self.set_of(row)) if answered else None
            for position, name in enumerate(self.classes):
                record[f"p_{name}"] = float(self.proba[row, position]) if answered else None
            record |= {"typicality": self.typicality_of(row), "verdict": self.verdict(row)}
            if self.evidence is not None:
                record |= self._with_evidence(self.evidence, row)
            if self.advice is not None:
                record["advice"] = self.advice[row]
            yield record

    def _with_evidence(self, evidence: WithEvidence, row: int) -> dict[str, Any]:
        answered, proba = bool(self.answered[row]), evidence.proba[row]
        label, confidence = self.top_with_evidence(row) or (None, None)
        return {
            "with_evidence_label": label,
            "with_evidence_confidence": confidence,
            **{
                f"with_evidence_p_{name}": float(share) if answered else None
                for name, share in zip(self.classes, proba, strict=True)
            },
            "evidence_note": evidence.notes[row],
        }

    def to_dicts(self, top_k: int = 1) -> list[dict[str, Any]]:
        """Rows as mappings of plain Python values, by `columns`."""
        return list(self.records(top_k))

    def to_pandas(self, top_k: int = 1) -> Any:
        """Rows as a data frame, by `columns`.

        Raises:
            UserError: If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise UserError(
                "to_pandas needs pandas: pip install 'ensemble-minerals[pandas]', or take to_dicts"
            ) from error
        return pandas.DataFrame(self.to_dicts(top_k), columns=list(self.columns(top_k)))

    def __repr__(self) -> str:
        """How many photos have an answer."""
        return f"Predictions({len(self)} photos, {int(self.answered.sum())} answered, {len(self.classes)} classes)"

    def _repr_html_(self) -> str:
        """The answers to the first photos as a table with thumbnails, for a notebook."""
        from ensemble_minerals.prediction.notebook import photo_table

        shown = range(min(len(self), SHOWN))
        sets = ["set"] if self.sets is not None else []
        table = photo_table(
            ["answer", "confidence", *sets],
            ((self.paths[row], self.contents.get(self.paths[row]), self._cells(row)) for row in shown),
        )
        return table + (f"<p>and {len(self) - SHOWN} more</p>" if len(self) > SHOWN else "")

    def _cells(self, row: int) -> list[str]:
        if not self.answered[row]:
            return [self.reasons[row]]
        shown = [self.shown_label(row), f"{self.top(row)[0][1]:.1%}"]
        return [*shown, *([] if self.sets is None else [", ".join(self.set_of(row))])]

    def write(self, file: str | Path, top_k: int = 1) -> Path:
        """Write as ``.csv``, ``.json`` or ``.parquet``, chosen by the ending.

        Raises:
            UserError: For another ending, or a Parquet file without pyarrow.
        """
        file = Path(file)
        check_ending(file)
        with atomic_file(file) as draft:
            _WRITERS[file.suffix.lower()](draft, list(self.records(top_k)), self.columns(top_k))
        return file


def check_ending(file: Path) -> None:
    """Whether `Predictions.write` can write such a file, for those who want to know before the work.

    Raises:
        UserError: For an unknown ending, or a Parquet file without pyarrow.
    """
    if file.suffix.lower() not in _WRITERS:
        raise UserError(f"{file}: the ending must be one of {', '.join(_WRITERS)}")
    if file.is_dir():
        raise UserError(f"{file} is a folder; name a file")
    if file.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise UserError(
            "writing .parquet needs pyarrow: pip install 'ensemble-minerals[parquet]', or write .csv or .json"
        )


# A file name that is no UTF-8 has stray bytes: they pass through a CSV, are escaped in JSON, replaced in Parquet.


def _write_csv(file: Path, records: list[Mapping[str, Any]], columns: Mapping[str, type]) -> None:
    write_csv(file, columns, records)


def _write_json(file: Path, records: list[Mapping[str, Any]], _columns: Mapping[str, type]) -> None:
    text = json.dumps(records, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    file.write_text(text, encoding="utf-8", errors="backslashreplace")


def _write_parquet(file: Path, records: list[Mapping[str, Any]], columns: Mapping[str, type]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    named = [{**record, "path": record["path"].encode(errors="replace").decode()} for record in records]
    schema = pa.schema(
        [(name, pa.string() if kind is str else pa.float64()) for name, kind in columns.items()]
    )
    pq.write_table(pa.Table.from_pylist(named, schema), file)


_WRITERS = {".csv": _write_csv, ".json": _write_json, ".parquet": _write_parquet}
