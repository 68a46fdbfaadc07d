from __future__ import annotations

import time

import pytest

from ensemble_minerals.system.stopwatch import Stopwatch


def test_parts_add_up_also_where_they_fail():
    stopwatch = Stopwatch()

    def fail():
        with stopwatch("scan"):
            time.sleep(0.02)
            raise ValueError("stop")

    with stopwatch("scan"):
        time.sleep(0.02)
    with stopwatch("features"):
        pass
    with pytest.raises(ValueError, match="stop"):
        fail()
    assert list(stopwatch.seconds) == ["scan", "features"]
    assert stopwatch.seconds["scan"] >= 0.04
