from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from ensemble_minerals.config.loading import build_config
from ensemble_minerals.config.schema import Config
from ensemble_minerals.features import converted_ahead as ahead
from ensemble_minerals.features.backbone import BackboneExtractor
from ensemble_minerals.system.cache_folder import NETWORKS

Python = Callable[[str], Path]


def configured(feature: str = "small", **settings: Any) -> Config:
    small = {"name": "small", "model": "test_resnet", "weights": "random", "size": 64, "views": ["squash"]}
    return build_config(
        {"backbones": [small], "members": [{"features": [feature], "strategy": "flat"}], **settings}
    )


IN_FLOAT32 = configured(precision="float32")


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Python:
    """Puts a shell script in Python's place, and PyTorch out of sight; returns the file that shows whether it ran."""

    def replace(script: str) -> Path:
        ran, file = tmp_path / "ran", tmp_path / "python"
        file.write_text(f"#!/bin/sh\ntouch '{ran}'\n{script}\n")
        file.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(file))
        return ran

    monkeypatch.setattr(ahead, "_begun", [])
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(ahead, "import_module", lambda name: None)
    return replace


@pytest.mark.parametrize(
    ("config", "keeps", "child"),
    [
        (IN_FLOAT32, True, True),
        (IN_FLOAT32, False, False),
        (
            configured("descriptor", precision="float32"),
            True,
            True,
        ),  # finds photos of one object all the same
        (configured("descriptor", precision="float32", duplicates={"near": False}), True, False),
        (configured(precision="float32", engine="torch"), True, False),
        (configured(precision="int8"), True, False),
        (
            configured(precision="auto"),
            True,
            False,
        ),  # how many photos? There are none, which is told elsewhere
    ],
)
def test_a_child_converts_what_the_cache_would_keep(
    tmp_path: Path, python: Python, config: Config, keeps: bool, child: bool
) -> None:
    ran = python("exit 0")
    with ahead.converted_ahead(tmp_path / "none", config, tmp_path if keeps else None, 1):
        pass
    assert ran.exists() is child


def test_what_is_in_the_cache_is_not_converted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = BackboneExtractor(
        "small", "test_resnet", "random", size=64, views=["squash"], precision="float32", cache_dir=tmp_path
    )
    assert known.kept is not None
    monkeypatch.delitem(sys.modules, "torch")
    ahead.begin_to_convert(tmp_path, IN_FLOAT32, tmp_path, 1)
    assert ahead._begun == []


@pytest.mark.parametrize("fails", [True, False])
def test_a_child_that_fails_or_hangs_is_not_waited_for(
    tmp_path: Path, python: Python, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    monkeypatch.setattr(ahead, "PATIENCE", 0.1)
    python("exit 1" if fails else "exec sleep 600")
    ahead.begin_to_convert(tmp_path, IN_FLOAT32, tmp_path, 1)
    (child,) = ahead._begun
    with ahead.converted_ahead(tmp_path, IN_FLOAT32, tmp_path, 1):
        assert ahead._begun == []
    assert child.returncode == (1 if fails else -9)


def test_an_error_ends_the_child(tmp_path: Path, python: Python) -> None:
    python("exec sleep 600")
    ahead.begin_to_convert(tmp_path, IN_FLOAT32, tmp_path, 1)
    (child,) = ahead._begun
    with pytest.raises(KeyboardInterrupt), ahead.converted_ahead(tmp_path, IN_FLOAT32, tmp_path, 1):
        raise KeyboardInterrupt
    assert child.returncode == -9


@pytest.mark.parametrize("executable", ["none", None])
def test_where_no_process_can_begin_there_is_none(
    tmp_path: Path, python: Python, monkeypatch: pytest.MonkeyPatch, executable: str | None
) -> None:
    monkeypatch.setattr(sys, "executable", executable and str(tmp_path / executable))
    with ahead.converted_ahead(tmp_path, IN_FLOAT32, tmp_path, 1):
        pass


def test_the_child_ends_with_the_process_that_began_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its input ends then; that of a child that is still being loaded, too."""
    monkeypatch.setattr(ahead, "_begun", [])
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    ahead.begin_to_convert(tmp_path, IN_FLOAT32, tmp_path, 1)
    (child,) = ahead._begun
    with child:
        child.stdin.close()
        assert child.wait(60) == 1
    assert not (tmp_path / NETWORKS).exists()


@pytest.mark.parametrize(
    ("features", "is_converted", "expected"),
    [("small", False, True), ("small", True, False), ("descriptor", False, False)],
)
def test_torch_is_imported_where_a_network_is_computed_by_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, features: str, is_converted: bool, expected: bool
) -> None:
    imported = Event()
    monkeypatch.setattr(ahead, "import_module", lambda name: imported.set())
    if is_converted:
        (tmp_path / NETWORKS).mkdir()
    config = configured(features, engine="torch", duplicates={"near": False})
    with ahead.converted_ahead(tmp_path, config, tmp_path, 1):
        assert imported.wait(10 if expected else 0.05) is expected
