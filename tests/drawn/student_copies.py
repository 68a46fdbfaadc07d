"""A student that a test may change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ensemble_minerals.bundle.schema import STUDENT
from ensemble_minerals.system.digest import file_digest


@pytest.fixture
def copied(student: Path, tmp_path: Path) -> Path:
    """A copy of the session's student."""
    return shutil.copytree(student, tmp_path / "copy")


def restate(folder: Path, **changes: Any) -> None:
    """Change what student.json says, digests made to agree."""
    file = folder / STUDENT.marker
    info = json.loads(file.read_text()) | changes
    info["files"] = {name: file_digest(folder / name) for name in info["files"]}
    file.write_text(json.dumps(info))
