"""Versions of the packages that decide the numbers, as bundles and students record them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

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
