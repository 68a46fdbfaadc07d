"""A small set of photos and a real fit on it, shared by the tests of all commands."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from drawn.command_line import COLORS, CONFIG, draw_photo, run


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """Nothing goes into the user's own cache, and nothing takes the output for a terminal."""
    monkeypatch.setenv("ENSEMBLE_MINERALS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    for name in ("ENSEMBLE_MINERALS_DEBUG", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "tiny.yaml").write_text(CONFIG, encoding="utf-8")
    for mineral in COLORS:
        for seed in range(6):
            draw_photo(folder / "photos" / mineral / f"{seed}.png", mineral, seed)
        for seed in range(2):
            draw_photo(folder / "new" / f"{mineral}-{seed}.png", mineral, 100 + seed)
    return folder


@pytest.fixture(scope="session")
def fitted(home, tmp_path_factory):
    """The outcome of one real fit; its bundle is `home / "bundle"`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENSEMBLE_MINERALS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        return run("fit", home / "photos", "--config", home / "tiny.yaml", "--out", home / "bundle")


@pytest.fixture
def bundle(home, fitted) -> Path:
    assert fitted.exit_code == 0, fitted.output
    return home / "bundle"


@pytest.fixture
def workplace(tiny, tmp_path, monkeypatch):
    """A working directory with a small configuration; features are those of the session."""
    monkeypatch.setenv("ENSEMBLE_MINERALS_CACHE", str(tiny.cache))
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


@pytest.fixture
def handed_on(monkeypatch):
    """What the commands hand on; the work itself is not done."""
    received = SimpleNamespace()

    def spy(first, second=None, third=None, **options):
        vars(received).update(first=first, second=second, third=third, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr("ensemble_minerals.workflows.ablate.ablate", spy)
    monkeypatch.setattr("ensemble_minerals.workflows.report.write_report", spy)
    monkeypatch.setattr("ensemble_minerals.workflows.tune.tune", spy)
    return received
