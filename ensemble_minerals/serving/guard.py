"""What stands before every address: who may ask, how much may be sent, and what a browser may do with the answer."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ensemble_minerals.serving.limits import ServingLimits
from ensemble_minerals.serving.metrics import ServerMetrics
from ensemble_minerals.serving.problems import ProblemError, too_busy
from ensemble_minerals.serving.static_files import PREDICTING, REVIEWING

_log = logging.getLogger(__name__)

_OPEN = frozenset({*PREDICTING, *REVIEWING, "/openapi.json", "/healthz", "/readyz"})
"""Addresses that need no token: they hold nothing of the model or of photos."""

_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}

REPORT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "frame-ancestors 'none'"
)
"""Of a page that holds its own style and script; it may ask nothing of anybody."""


class Flight:
    """Bytes of the requests that are not answered yet."""

    def __init__(self) -> None:
        self.n_bytes = 0


class Guard:
    """Checks requests before they reach an application, and bounds what they send.

    Args:
        app: The application.
        hosts: Names by which the server may be addressed.
        token: That requests must show; None for none.
        limits: Bytes of a request, and of all requests in flight.
        flight: Where the bytes in flight are counted.
        metrics: Told about every request.
        paths: Known addresses; all others are counted as one.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str],
        token: str | None,
        limits: ServingLimits,
        flight: Flight,
        metrics: ServerMetrics,
        paths: Collection[str],
    ) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._token = token
        self._limits = limits
        self._flight = flight
        self._metrics = metrics
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500
        held = 0

        async def answering(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            headers = Headers(scope=scope)
            self._check(scope, headers)
            if scope["method"] in _CHANGING:
                held = self._claim(headers)
            await self._app(scope, _bounded(receive, self._limits), answering)
        except ProblemError as problem:
            await problem.response()(scope, receive, answering)
        except Exception:  # the framework has answered 500; the connection stays for the next request
            _log.exception("%s %s failed", scope["method"], scope["path"])
        finally:
            self._flight.n_bytes -= held
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.request(path, status, time.perf_counter() - started)

    def _check(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        if _name_of(host) not in self._hosts:
            raise ProblemError(421, f"the host {host[:100]!r} is not served here; name it with --allow-host")
        origin = headers.get("origin")
        if (
            origin is not None
            and scope["method"] in _CHANGING
            and urlsplit(origin).netloc.lower() != host.lower()
        ):
            raise ProblemError(403, f"a page of {origin[:100]!r} may not ask here")
        if self._token is not None and scope["path"] not in _OPEN:
            kind, _, shown = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not secrets.compare_digest(
                shown.strip().encode(), self._token.encode()
            ):
                raise ProblemError(
                    401, "show the token: Authorization: Bearer TOKEN", headers={"WWW-Authenticate": "Bearer"}
                )

    def _claim(self, headers: Headers) -> int:
        """Count a body before it arrives: as long as it says, or as long as it may be."""
        written = headers.get("content-length", "")
        length = int(written) if written.isascii() and written.isdecimal() else self._limits.body_bytes
        if length > self._limits.body_bytes:
            raise _too_long(self._limits.body_bytes)
        if self._flight.n_bytes and self._flight.n_bytes + length > self._limits.bytes_in_flight:
            raise too_busy(1)
        self._flight.n_bytes += length
        return length


def _bounded(receive: Receive, limits: ServingLimits) -> Receive:
    """Receive a body that is no longer than it may be, and arrives in time."""
    n_bytes, arrives = 0, True
    ends = asyncio.get_running_loop().time() + limits.receive_seconds

    async def receiving() -> Message:
        nonlocal n_bytes, arrives
        try:
            async with asyncio.timeout_at(ends if arrives else None):
                message = await receive()
        except TimeoutError as error:
            raise ProblemError(408, f"it did not arrive within {limits.receive_seconds:g} s") from error
        body: Any = message.get("body", b"")
        arrives = message.get("more_body", False)
        n_bytes += len(body)
        if n_bytes > limits.body_bytes:
            raise _too_long(limits.body_bytes)
        return message

    return receiving


def _too_long(most: int) -> ProblemError:
    return ProblemError(413, f"a request holds {most:,} bytes at most; send fewer or smaller photos")


def _name_of(host: str) -> str:
    """The host of a header, without its port.

    >>> _name_of("Localhost:8000"), _name_of("[::1]:8000")
    ('localhost', '[::1]')
    """
    name, _, port = host.rpartition(":")
    return (name if name and port.isdecimal() else host).lower()
