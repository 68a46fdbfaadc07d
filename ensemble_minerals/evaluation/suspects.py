"""What in the data deserves a second look: suspected labels, duplicates, conflicts, unreadable files."""

from __future__ import annotations

from typing import Any

import numpy as np

from ensemble_minerals.data.manifest import Manifest, Status
from ensemble_minerals.evaluation.answers import Answers
from ensemble_minerals.evaluation.label_errors import label_errors


def label_section(answers: Answers) -> dict[str, Any]:
    """Rows whose label the answers confidently contradict, the most suspicious first.

    Args:
        answers: The rows.

    Returns:
        ``suspects`` (each a photo with the suggested class, its probability and the margin), and
        ``estimated``: how many labels of all the method estimates to be wrong.
    """
    found = label_errors(answers.y, answers.proba)
    return {
        "estimated": found.estimated_count,
        "suspects": [
            {
                **answers.photo(int(row)),
                "suggested": answers.classes[suggested],
                "p_suggested": float(probability),
                "margin": float(margin),
            }
            for row, suggested, probability, margin in zip(
                found.rows,
                found.suggested,
                found.suggested_confidence,
                found.normalized_margin,
                strict=True,
            )
        ],
    }


def files_section(manifest: Manifest) -> dict[str, Any]:
    """Files that resemble each other, contradict each other, or cannot be read.

    Args:
        manifest: With row groups.

    Returns:
        ``duplicates`` and ``conflicts``, each a list of clusters of files, and ``unreadable`` files with reasons.
        A duplicate cluster whose files carry several labels comes first, then the larger ones.
    """
    status, group = manifest.status, manifest.row_group
    by_group: dict[int, list[int]] = {}
    for row in np.flatnonzero(group >= 0):
        by_group.setdefault(int(group[row]), []).append(int(row))
    conflicting = {int(group[row]) for row in np.flatnonzero(status == Status.CONFLICT.value)}
    duplicates = [_cluster(manifest, rows) for rows in by_group.values() if len(rows) > 1]
    duplicates.sort(key=lambda one: (len(one["labels"]) == 1, -len(one["files"]), one["files"][0]["path"]))
    conflicts = [
        _cluster(manifest, [row for row in rows if status[row] == Status.CONFLICT.value])
        for number, rows in by_group.items()
        if number in conflicting
    ]
    return {
        "duplicates": duplicates,
        "duplicate_files": sum(len(one["files"]) for one in duplicates),
        "conflicts": conflicts,
        "unreadable": [
            {
                "path": str(manifest.path[row]),
                "label": str(manifest.label[row]),
                "reason": str(manifest.reason[row]),
            }
            for row in np.flatnonzero(status == Status.UNREADABLE.value)
        ],
    }


def _cluster(manifest: Manifest, rows: list[int]) -> dict[str, Any]:
    return {
        "group": int(manifest.row_group[rows[0]]),
        "exact": len({manifest.pixel_hash[row] for row in rows}) == 1,
        "labels": sorted(set(manifest.label[rows].tolist())),
        "files": [
            {
                "path": str(manifest.path[row]),
                "label": str(manifest.label[row]),
                "status": str(manifest.status[row]),
            }
            for row in rows
        ],
    }
