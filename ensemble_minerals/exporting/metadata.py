"""The metadata in an exported file: class names, temperature, and where the file came from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ensemble_minerals.bundle.bundle import Bundle
from ensemble_minerals.bundle.student import Student
from ensemble_minerals.ensemble.rejection import Rejection
from ensemble_minerals.exporting.ensemble_graph import weighted_ensemble
from ensemble_minerals.system.versions import installed_versions

_OF_EXTRACTORS = ("model", "weights", "size", "views", "preprocessing", "states")
"""What is kept of the metadata of a feature extractor."""


def bundle_metadata(bundle: Bundle) -> dict[str, str]:
    """Metadata of an exported bundle, each value as text."""
    fitted_ensemble = weighted_ensemble(bundle)
    return _metadata(
        "bundle",
        bundle.classes,
        bundle.fitted_ensemble.temperature,
        bundle.folder.digest,
        {
            **_on_typicality(bundle.rejection),
            "combination": bundle.fitted_ensemble.combination.kind,
            "groups": json.dumps(bundle.taxonomy.to_tree(), ensure_ascii=False),
            "members": json.dumps([member.name for member in fitted_ensemble.members], ensure_ascii=False),
            "sources": json.dumps(
                {
                    name: {key: value for key, value in stated["facts"].items() if key in _OF_EXTRACTORS}
                    for name, stated in bundle.extractors.items()
                    if name in fitted_ensemble.features
                },
                ensure_ascii=False,
                sort_keys=True,
            ),
        },
    )


def student_metadata(student: Student) -> dict[str, str]:
    """Metadata of an exported student, each value as text."""
    info = student.info
    return _metadata(
        "student",
        student.classes,
        student.temperature,
        student.folder.digest,
        {
            **_on_typicality(student.rejection),
            "groups": json.dumps(info["taxonomy"], ensure_ascii=False),
            "network": json.dumps(info["network"], ensure_ascii=False, sort_keys=True),
            "teacher": json.dumps(info["teacher"], ensure_ascii=False, sort_keys=True),
        },
    )


def _on_typicality(rejection: Rejection | None) -> dict[str, str]:
    if rejection is None:
        return {}
    return {
        "refuse": repr(rejection.refuse),
        "output_typicality": "typicality, where it is an output: float32, shape (n,), from 0 to 1; a photo whose "
        "typicality is at most `refuse` shows none of the classes",
    }


def _metadata(
    kind: str, classes: Sequence[str], temperature: float, digest: str, more: Mapping[str, str]
) -> dict[str, str]:
    return {
        "kind": kind,
        "classes": json.dumps(list(classes), ensure_ascii=False),
        "temperature": repr(temperature),
        "source_digest": digest,
        "version": installed_versions().get("ensemble-minerals", ""),
        "input": "photos: uint8 RGB, upright, shape (n, height, width, 3), any height and width",
        "output": "probabilities: float32, shape (n, n_classes), calibrated; columns in the order of `classes`",
        **more,
    }
