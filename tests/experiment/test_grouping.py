from __future__ import annotations

import pytest

from ensemble_minerals.data.scanning import scan
from ensemble_minerals.experiment import grouping
from ensemble_minerals.experiment.grouping import begin_to_group
from ensemble_minerals.system.runtime import Runtime


@pytest.mark.parametrize(
    ("near", "keeps", "is_ready", "expected"),
    [(True, True, False, 1), (False, True, False, 0), (True, False, False, 0), (True, True, True, 0)],
)
def test_what_is_needed_and_kept_is_begun(tiny, tmp_path, monkeypatch, near, keeps, is_ready, expected):
    begun = []
    monkeypatch.setattr(grouping, "begin_to_find", lambda *args, **options: begun.append(args))
    config = tiny.config(duplicates={"near": near})
    begin_to_group(scan(tiny.photos), config, Runtime(1, tmp_path if keeps else None), lambda: is_ready)
    assert len(begun) == expected
