"""Manifests from their files."""

from __future__ import annotations

from pathlib import Path

from ensemble_minerals.data.manifest import Manifest


def read_manifest(path: Path, root: Path) -> Manifest:
    """The manifest in a CSV, with the folder that its paths are relative to."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        return Manifest.parse_csv(file, path, root)
