from __future__ import annotations

from pathlib import Path

import pytest

from ensemble_minerals.system.digest import content_digest, file_digest


def test_a_file_has_the_digest_of_its_content(tmp_path: Path) -> None:
    data = bytes(range(256)) * 20_000  # more than is read at once
    (tmp_path / "a").write_bytes(data)
    assert file_digest(tmp_path / "a") == content_digest(data)
    assert len(content_digest(data)) == 32
    assert content_digest(data) != content_digest(data + b"\0")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file_digest(tmp_path / "b")
