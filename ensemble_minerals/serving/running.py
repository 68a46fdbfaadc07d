"""Runs a server at an address until the process is told to end."""

from __future__ import annotations

import asyncio
import ctypes
import socket
import sys
import threading
from typing import Any

import uvicorn

from ensemble_minerals.errors import UserError
from ensemble_minerals.serving.app import Served, Server

_MOST_CONNECTIONS = 1024
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of malloc.h
_KEPT, _LARGE, _HEAPS = 64 << 20, 16 << 20, 2


class Stopped(KeyboardInterrupt):
    """Ctrl-C ended a server that had begun to serve, which is how it usually ends."""


def run(served: Served, listening: socket.socket) -> None:
    """Serve a model; requests in flight are answered before it ends.

    Args:
        served: The model.
        listening: The socket of the address.

    Raises:
        Stopped: If Ctrl-C ends it.
    """
    _share_memory()
    config = uvicorn.Config(
        Server(served).app(),
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=served.limits.drain_seconds,
    )
    server = uvicorn.Server(config)
    try:
        if not _is_in_notebook():
            server.run(sockets=[listening])
            return
        thread = threading.Thread(target=server.run, args=([listening],), name="server", daemon=True)
        thread.start()
        try:
            thread.join()
        finally:
            server.should_exit = True
            thread.join()
    except KeyboardInterrupt as error:
        if type(error) is KeyboardInterrupt:
            raise Stopped from None
        raise


def _is_in_notebook() -> bool:
    """Whether an event loop runs in this thread already, so that the server needs a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _share_memory() -> None:
    """Let all threads free their memory into few heaps, and large pieces go back to the system at once.

    Every request decodes in threads of its own. glibc keeps what each has freed, in up to 8 heaps for every core, and
    once a large piece was freed it keeps others of that size, too: one photo that claims many pixels would stay. With
    a fixed bound it gives every free end of a heap back, and the next photo pays for it; so a heap may keep some.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_ARENA_MAX, _HEAPS)
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)


def listen(host: str, port: int) -> socket.socket:
    """A socket at an address, not listening yet.

    Raises:
        UserError: If it is none, or taken.
    """
    listening = None
    try:
        found: list[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except (OSError, OverflowError) as error:
        if listening is not None:
            listening.close()
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"--host {host} --port {port}: cannot listen there: {reason}; take another port"
        ) from error
    return listening
