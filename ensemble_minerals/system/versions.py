"""Versions of the packages that decide the numbers, as bundles and students record them."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ensemble_minerals.system.digest import content_digest

_PACKAGES = (
    "ensemble-minerals", "imbalanced-learn", "numpy", "openvino", "pi-heif", "pillow", "scikit-learn",
    "scipy", "timm", "torch", "torchvision",
)  # fmt: skip


def installed_versions() -> dict[str, str]:
    """Versions of the installed packages that decide the numbers, by name."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


@cache
def code_digest() -> str:
    """Digest of the source of this program: what it computed may be used again where this is the same."""
    package = Path(__file__).resolve().parents[1]
    return content_digest(b"".join(file.read_bytes() for file in sorted(package.rglob("*.py"))))
