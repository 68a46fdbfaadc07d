"""A server that listens, in a thread of the test."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn

from ensemble_minerals.serving.app import Served, Server
from ensemble_minerals.serving.running import listen


@contextmanager
def listening(served: Served) -> Iterator[tuple[Server, httpx.Client]]:
    """A server of a model, and a client that asks it."""
    place = listen("127.0.0.1", 0)
    server = Server(served)
    config = uvicorn.Config(server.app(), log_level="error", access_log=False)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [place]}, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{place.getsockname()[1]}"
    with httpx.Client(base_url=address, timeout=30) as client:
        while not running.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield server, client
        finally:
            running.should_exit = True
            thread.join(20)
            place.close()
