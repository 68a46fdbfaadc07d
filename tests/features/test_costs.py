"""What a photo costs in each source."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ensemble_minerals.features import costs
from ensemble_minerals.features.costs import measure_extractors


class Source:
    """Takes a known time for each photo, more when it is used first."""

    n_views, n_features, side, metadata, fingerprint = 1, 2, 16, {}, "f"

    def __init__(self, name, seconds):
        self.name, self.seconds, self.calls = name, seconds, 0

    def extract(self, photos):
        self.calls += 1
        time.sleep(len(photos) * self.seconds + (0.2 if self.calls == 1 else 0))
        return np.zeros((len(photos), 1, 2), dtype=np.float32)


class Heavy(Source):
    def megabytes(self):
        return 17.5


@pytest.fixture
def photos(tmp_path):
    files = [tmp_path / f"{number}.png" for number in range(4)]
    for file in files:
        Image.new("RGB", (20, 20)).save(file)
    return files


def test_time_and_weights_of_each_source(photos):
    extractors = {"light": Source("light", 0.001), "heavy": Heavy("heavy", 0.01)}
    found = measure_extractors(extractors, photos)
    assert found["light"].megabytes == 0.0
    assert found["heavy"].megabytes == 17.5
    assert 1.0 <= found["light"].predict_ms < 50  # without the first use, which would add 50
    assert found["heavy"].predict_ms >= 10.0
    assert extractors["light"].calls == 1 + costs._ROUNDS


def test_what_was_measured_before_is_not_measured_again(photos, tmp_path):
    memory = tmp_path / "cache" / "costs.json"
    light, heavy = Source("light", 0.001), Heavy("heavy", 0.01)
    heavy.fingerprint = "h"
    first = measure_extractors({"light": light}, photos, memory=memory)
    calls = light.calls
    both = measure_extractors({"light": light, "heavy": heavy}, photos, memory=memory)
    assert light.calls == calls
    assert heavy.calls == 1 + costs._ROUNDS
    assert both["light"] == first["light"]
    again = measure_extractors({"light": light, "heavy": heavy}, photos, memory=memory)
    assert (light.calls, heavy.calls) == (calls, 1 + costs._ROUNDS)
    assert again == both


def test_other_machines_and_damaged_files_are_no_memory(photos, tmp_path, monkeypatch):
    memory, extractor = tmp_path / "costs.json", Source("light", 0.001)
    measure_extractors({"light": extractor}, photos, memory=memory)
    monkeypatch.setattr(costs.platform, "node", lambda: "elsewhere")
    measure_extractors({"light": extractor}, photos, memory=memory)
    assert extractor.calls == 2 * (1 + costs._ROUNDS)
    memory.write_text("{")
    measure_extractors({"light": extractor}, photos, memory=memory)
    assert extractor.calls == 3 * (1 + costs._ROUNDS)
    assert b"elsewhere" in memory.read_bytes()


def test_unreadable_photos_tell_nothing(photos):
    photos[0].write_bytes(b"no picture")
    found = measure_extractors({"light": Source("light", 0.001)}, [photos[0], Path("absent.jpg")])
    assert found["light"].predict_ms is None
