"""A server of the tiny bundle."""

from __future__ import annotations

import pytest


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
