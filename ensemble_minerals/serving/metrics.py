"""Counters of a server, in the text format of Prometheus."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "ensemble_minerals"


class ServerMetrics:
    """What a server counts. Labels are addresses that it has, and statuses: nothing from outside.

    Args:
        waiting: Photos that are not answered yet.
        bytes_in_flight: Of the requests that are not answered yet.

    Example:
        >>> metrics = ServerMetrics(lambda: 2, lambda: 0)
        >>> metrics.request("/healthz", 200, 0.5)
        >>> print(metrics.text().splitlines()[1])
        ensemble_minerals_requests_total{path="/healthz",status="200"} 1
    """

    def __init__(self, waiting: Callable[[], int], bytes_in_flight: Callable[[], int]) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._photos: Counter[str] = Counter()
        self._gauges = {"waiting_photos": waiting, "bytes_in_flight": bytes_in_flight}

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests[path, status] += 1
        self._seconds[path] += seconds

    def photo(self, status: str) -> None:
        """Count a photo."""
        self._photos[status] += 1

    def text(self) -> str:
        """All of it."""
        lines = [f"# TYPE {_PREFIX}_requests_total counter"]
        for (path, status), count in sorted(self._requests.items()):
            lines.append(f'{_PREFIX}_requests_total{{path="{path}",status="{status}"}} {count}')
        lines.append(f"# TYPE {_PREFIX}_request_seconds_total counter")
        for path, seconds in sorted(self._seconds.items()):
            lines.append(f'{_PREFIX}_request_seconds_total{{path="{path}"}} {seconds:.6f}')
        lines.append(f"# TYPE {_PREFIX}_photos_total counter")
        lines += [
            f'{_PREFIX}_photos_total{{status="{status}"}} {n}' for status, n in sorted(self._photos.items())
        ]
        for name, read in self._gauges.items():
            lines += [f"# TYPE {_PREFIX}_{name} gauge", f"{_PREFIX}_{name} {read()}"]
        return "\n".join(lines) + "\n"
