"""What a configuration needs before it is trained."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest

from ensemble_minerals.config.loading import build_config
from ensemble_minerals.experiment import setup
from ensemble_minerals.experiment.setup import import_torch
from ensemble_minerals.system.cache_folder import NETWORKS
from ensemble_minerals.system.runtime import Runtime


@pytest.mark.parametrize(
    ("features", "is_converted", "expected"),
    [("small", False, True), ("small", True, False), ("descriptor", False, False)],
)
def test_torch_is_imported_where_a_network_was_never_converted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, features: str, is_converted: bool, expected: bool
) -> None:
    imported = Event()
    monkeypatch.setattr(setup, "import_module", lambda name: imported.set())
    config = build_config(
        {
            "backbones": [{"name": "small", "model": "test_vit", "weights": "random"}],
            "members": [{"features": [features], "strategy": "flat"}],
        }
    )
    if is_converted:
        (tmp_path / NETWORKS).mkdir()
    import_torch(config, Runtime(1, tmp_path))
    assert imported.wait(10 if expected else 0.05) is expected
