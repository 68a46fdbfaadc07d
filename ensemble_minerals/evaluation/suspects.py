"""Doubtful data: suspected labels, duplicates, conflicts and unreadable files."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ensemble_minerals.data.manifest import Manifest, Status
from ensemble_minerals.evaluation.answers import AnsweredPhoto, Answers
from ensemble_minerals.evaluation.label_errors import label_errors


@dataclass(frozen=True)
class SuspectedLabel(AnsweredPhoto):
    """A photo whose label the answers confidently contradict.

    Attributes:
        suggested: The class that the answers suggest instead.
        p_suggested: Its probability.
        margin: Probability of the label minus the largest of any other class; at most 0.
    """

    suggested: str
    p_suggested: float
    margin: float


@dataclass(frozen=True)
class LabelSuspects:
    """The suspected labels.

    Attributes:
        estimated: How many of all labels the method estimates to be wrong.
        suspects: The most suspicious first.
    """

    estimated: float
    suspects: tuple[SuspectedLabel, ...]


def suspect_labels(answers: Answers) -> LabelSuspects:
    """Find the rows whose label the answers confidently contradict."""
    errors = label_errors(answers.y, answers.proba)
    suspects = []
    for row, suggested, probability, margin in zip(
        errors.rows, errors.suggested, errors.suggested_confidence, errors.normalized_margin, strict=True
    ):
        photo = answers.photo(int(row))
        suspects.append(
            SuspectedLabel(
                **{field.name: getattr(photo, field.name) for field in fields(photo)},
                suggested=answers.classes[suggested],
                p_suggested=float(probability),
                margin=float(margin),
            )
        )
    return LabelSuspects(errors.estimated_count, tuple(suspects))


@dataclass(frozen=True)
class ClusterFile:
    """A file of a cluster: its path, its label, and its status in the manifest."""

    path: str
    label: str
    status: str


@dataclass(frozen=True)
class FileCluster:
    """Files of one row group.

    Attributes:
        group: The row group.
        exact: Whether all have the same pixels.
        labels: The different labels of the files, sorted.
        files: In the order of the manifest.
    """

    group: int
    exact: bool
    labels: tuple[str, ...]
    files: tuple[ClusterFile, ...]


@dataclass(frozen=True)
class UnreadableFile:
    """A file that cannot be read: its path, its label, and why."""

    path: str
    label: str
    reason: str


@dataclass(frozen=True)
class DoubtfulFiles:
    """Files that resemble each other, contradict each other, or cannot be read.

    Attributes:
        duplicates: Files that look alike; clusters with several labels come first, then the larger ones.
        duplicate_files: How many files these are.
        conflicts: The same image under several labels.
        unreadable: In the order of the manifest.
    """

    duplicates: tuple[FileCluster, ...]
    duplicate_files: int
    conflicts: tuple[FileCluster, ...]
    unreadable: tuple[UnreadableFile, ...]


def doubtful_files(manifest: Manifest) -> DoubtfulFiles:
    """Find the doubtful files of a manifest that has row groups."""
    status, group = manifest.status, manifest.row_group
    by_group: dict[int, list[int]] = {}
    for row in np.flatnonzero(group >= 0):
        by_group.setdefault(int(group[row]), []).append(int(row))
    conflicting = {int(group[row]) for row in np.flatnonzero(status == Status.CONFLICT.value)}
    duplicates = [_cluster(manifest, rows) for rows in by_group.values() if len(rows) > 1]
    duplicates.sort(
        key=lambda cluster: (len(cluster.labels) == 1, -len(cluster.files), cluster.files[0].path)
    )
    conflicts = [
        _cluster(manifest, [row for row in rows if status[row] == Status.CONFLICT.value])
        for number, rows in by_group.items()
        if number in conflicting
    ]
    unreadable = [
        UnreadableFile(str(manifest.path[row]), str(manifest.label[row]), str(manifest.reason[row]))
        for row in np.flatnonzero(status == Status.UNREADABLE.value)
    ]
    return DoubtfulFiles(
        duplicates=tuple(duplicates),
        duplicate_files=sum(len(cluster.files) for cluster in duplicates),
        conflicts=tuple(conflicts),
        unreadable=tuple(unreadable),
    )


def _cluster(manifest: Manifest, rows: list[int]) -> FileCluster:
    return FileCluster(
        group=int(manifest.row_group[rows[0]]),
        exact=len({manifest.pixel_hash[row] for row in rows}) == 1,
        labels=tuple(sorted(set(manifest.label[rows].tolist()))),
        files=tuple(
            ClusterFile(str(manifest.path[row]), str(manifest.label[row]), str(manifest.status[row]))
            for row in rows
        ),
    )
