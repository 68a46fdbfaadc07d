from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ensemble_minerals.features import opened_ahead
from ensemble_minerals.features.backbone import BackboneExtractor
from ensemble_minerals.features.engine_agreement import probes
from ensemble_minerals.features.metadata import NETWORK

pytestmark = pytest.mark.usefixtures("one_thread")


def extractor(cache: Path) -> BackboneExtractor:
    return BackboneExtractor(
        "small", "test_resnet", "random", size=64, views=["squash"], precision="float32", cache_dir=cache
    )


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with one network, which is noted for the bundle of the same folder."""
    monkeypatch.setattr(opened_ahead, "_opened", {})
    kept = extractor(tmp_path).kept
    assert kept is not None
    opened_ahead.note_networks(tmp_path, tmp_path, [kept])
    return kept


def test_an_extractor_takes_the_network_that_was_opened_ahead(tmp_path: Path, noted: Path) -> None:
    photos = probes(80)[:1]
    expected = extractor(tmp_path).extract(photos)
    opened_ahead.open_ahead(tmp_path, tmp_path)
    ahead = opened_ahead._opened[noted].result()
    small = extractor(tmp_path)
    np.testing.assert_array_equal(small.extract(photos), expected)
    assert small.open(1) is ahead
    assert small.open(100) is not ahead


def test_what_cannot_be_opened_ahead_is_opened_by_who_needs_it(tmp_path: Path, noted: Path) -> None:
    opened_ahead.open_ahead(tmp_path / "another", tmp_path)
    assert opened_ahead.opened(noted) is None
    (noted / NETWORK).unlink()
    opened_ahead.open_ahead(tmp_path, tmp_path)
    assert opened_ahead.opened(noted) is None
    assert opened_ahead._opened[noted].done()
    assert len(extractor(tmp_path).extract(probes(80)[:1])) == 1
