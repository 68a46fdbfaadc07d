"""Runs a server at an address until the process is told to end."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn

from ensemble_minerals.errors import UserError
from ensemble_minerals.serving.app import Served, Server

_MOST_CONNECTIONS = 1024


def run(served: Served, listening: socket.socket) -> None:
    """Serve a model; requests in flight are answered before it ends.

    Args:
        served: The model.
        listening: The socket of the address.
    """
    config = uvicorn.Config(
        Server(served).app(),
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=served.limits.drain_seconds,
    )
    uvicorn.Server(config).run(sockets=[listening])


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
