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
    return {package: found for package in _PACKAGES if (found := _version(package)) is not None}


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def code_digest() -> str:
    """Digest of the source of this program: what it computed may be used again where this is the same."""
    package = Path(__file__).resolve().parents[1]
    return content_digest(b"".join(file.read_bytes() for file in sorted(package.rglob("*.py"))))
