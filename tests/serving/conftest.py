"""A server of the tiny bundle."""

from __future__ import annotations

import pytest
from PIL import Image


@pytest.fixture(scope="session")
def served(tiny):
    pytest.importorskip("uvicorn", reason="NOT RUN: the extra serve is not installed")
    from ensemble_minerals.workflows.serve import describe

    return describe(tiny.bundle, n_threads=1, cache_dir=tiny.cache)


@pytest.fixture(scope="session")
def live(served):
    from drawn.live_server import listening

    with listening(served) as (server, client):
        yield server, client


@pytest.fixture
def client(live):
    return live[1]


@pytest.fixture(scope="session")
def disputed(tiny, tmp_path_factory):
    """A bundle fitted on photos of which two are under two labels, and some under a wrong one."""
    home = tmp_path_factory.mktemp("disputed")
    photos = tiny.folder(home / "photos", {"azurite": 16, "malachite": 16, "pyrite": 16})
    (photos / "pyrite" / "copy.png").write_bytes((photos / "azurite" / "00.png").read_bytes())
    with Image.open(photos / "malachite" / "00.png") as image:
        image.save(photos / "pyrite" / "again.png", compress_level=0)
    for number in range(1, 4):
        (photos / "azurite" / f"{number:02}.png").rename(photos / "pyrite" / f"wrong {number}.png")
    return tiny.fit(photos, home / "bundle").bundle
