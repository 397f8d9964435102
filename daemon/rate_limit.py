"""Limits a second for each data source, off unless configured. The window is a second of the wall clock."""

from dataclasses import dataclass
from time import time

from daemon.answers import Refused
from daemon.head_cache import Fields

_NO_LIMIT = 1 << 62


@dataclass(slots=True)
class _Window:
    second: int = 0
    requests: int = 0
    bytes: int = 0


class RateLimits:
    """What each data source has taken in the present second. 0 is no limit."""

    def __init__(self, *, requests: int, bytes_: int) -> None:
        self._requests_max = requests
        self._bytes_max = bytes_
        self._windows: dict[str, _Window] = {}

    @property
    def is_on(self) -> bool:
        return bool(self._requests_max or self._bytes_max)

    def take(self, name: str, size_bytes: int) -> Fields:
        """Count one request; the fields that tell the client where it stands. Raises RateLimited."""
        window = self._windows.setdefault(name, _Window())
        second = int(time())
        if window.second != second:
            window.second, window.requests, window.bytes = second, 0, 0
        requests_left = (self._requests_max or _NO_LIMIT) - window.requests
        # A body larger than a whole second's share passes alone, or it never would.
        bytes_left = (self._bytes_max or _NO_LIMIT) - window.bytes
        if requests_left < 1 or bytes_left < min(size_bytes, self._bytes_max or _NO_LIMIT):
            raise RateLimited(self._shown(0))
        window.requests += 1
        window.bytes += size_bytes
        return self._shown(requests_left - 1 if self._requests_max else max(0, bytes_left - size_bytes))

    def charge(self, name: str, size_bytes: int) -> None:
        """Count bytes whose number was not known before they had come; the next request may have to wait for them."""
        if name in self._windows:
            self._windows[name].bytes += size_bytes

    def _shown(self, remaining: int) -> Fields:
        limit = self._requests_max or self._bytes_max
        return (
            (b"x-ratelimit-limit", b"%d" % limit),
            (b"x-ratelimit-remaining", b"%d" % remaining),
            (b"x-ratelimit-reset", b"1"),
        )


class RateLimited(Refused):
    """Over the limit; nothing was stored, and a second later there is room again."""

    def __init__(self, fields: Fields) -> None:
        super().__init__(429, "too many requests or bytes for this data source in one second", retry_after_s=1)
        self.fields = fields
