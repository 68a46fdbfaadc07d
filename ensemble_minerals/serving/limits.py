"""What a server takes on at once, at most."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServingLimits:
    """Bounds of a server; what is beyond them is refused at once, not queued without end.

    Attributes:
        body_bytes: Of one request.
        photos: Of one request.
        bytes_in_flight: Of the bodies of all requests together.
        waiting_photos: That wait to be answered.
        batch_photos: That are answered together.
        receive_seconds: In which a request must have arrived.
        answer_seconds: In which it must be answered.
        drain_seconds: That requests in flight get when the server is told to end.
    """

    body_bytes: int = 64 << 20
    photos: int = 64
    bytes_in_flight: int = 512 << 20
    waiting_photos: int = 512
    batch_photos: int = 64
    receive_seconds: float = 60.0
    answer_seconds: float = 120.0
    drain_seconds: int = 30
