"""Fixtures that several rooms share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real photos and weights beside the checkout; absent on most machines."""
    shared = Path(__file__).resolve().parents[2] / "shared"
    if not shared.is_dir():
        pytest.skip(f"NOT RUN: real photos and weights are not at {shared.name}/ beside the checkout")
    return shared
