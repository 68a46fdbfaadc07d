"""Keys of earlier versions: bundles that have them are read, new configurations that have them are refused."""

from __future__ import annotations

from typing import Any

_THRESHOLD = (
    "gone; photos are now compared by what they show, without thresholds, and the pairs of a CSV win "
    "(duplicates.pairs); duplicates.likeness: true keeps look-alikes together, too"
)

FORMER_KEYS = {
    f"duplicates.{key}": _THRESHOLD
    for key in ("hash_distance", "hash_cosine", "cosine", "conflict_hash_distance", "conflict_cosine")
}
"""Keys that are no more, and what to tell who uses them."""


def without_former_keys(data: dict[str, Any]) -> dict[str, Any]:
    """The values of a saved configuration without keys that no longer mean anything.

    Example:
        >>> without_former_keys({"seed": 0, "duplicates": {"near": True, "cosine": 0.7}})
        {'seed': 0, 'duplicates': {'near': True}}
    """
    section = data.get("duplicates")
    if not isinstance(section, dict):
        return data
    kept = {key: value for key, value in section.items() if f"duplicates.{key}" not in FORMER_KEYS}
    return {**data, "duplicates": kept}
