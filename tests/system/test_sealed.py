from __future__ import annotations

import numpy as np
import pytest
from drawn.damage import DAMAGES

from ensemble_minerals.system.sealed import read_sealed, write_sealed


@pytest.mark.parametrize("data", [b"", b"1200", b"long " * 10_000], ids=len)
def test_what_was_written_is_read(tmp_path, caplog, data):
    assert read_sealed(tmp_path / "file") is None
    assert write_sealed(tmp_path / "folder" / "file", data)
    assert read_sealed(tmp_path / "folder" / "file") == data
    assert caplog.text == ""


@pytest.mark.parametrize("how", DAMAGES, ids=lambda how: how.__name__)
def test_what_is_damaged_is_not_read_and_is_said(tmp_path, caplog, how):
    write_sealed(tmp_path / "file", b"quartz and pyrite " * 500)
    whole = (tmp_path / "file").read_bytes()
    for seed in range(50):
        (tmp_path / "file").write_bytes(how(whole, np.random.default_rng(seed)))
        caplog.clear()
        assert read_sealed(tmp_path / "file") is None
        assert "file is damaged" in caplog.text


def test_what_cannot_be_kept_or_read_is_said(tmp_path, caplog):
    (tmp_path / "folder").mkdir()
    assert not write_sealed(tmp_path / "folder", b"data")
    assert "cannot be kept" in caplog.text
    assert read_sealed(tmp_path / "folder") is None
    assert "cannot be read" in caplog.text
