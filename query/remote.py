"""Calls to a daemon for the commands that change something."""

from typing import Any
from urllib.parse import quote

import orjson
import urllib3

_TIMEOUT = urllib3.Timeout(connect=5, read=600)
_OK = range(200, 300)


class RemoteFailed(Exception):
    """The daemon refused, or could not be reached; the text is one sentence."""


class Remote:
    """A daemon at a URL, with the token to use there."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._pool = urllib3.PoolManager(timeout=_TIMEOUT, retries=False)

    def call(
        self,
        method: str,
        *path: str,
        fields: list[tuple[str, str]] | None = None,
        body: bytes = b"",
        kind: str = "text/plain",
    ) -> Any:
        """Ask for the path, whose parts are quoted, and give back the JSON of the answer. Raises RemoteFailed."""
        target = self._url + "/" + "/".join(quote(part, safe="") for part in path)
        if fields:
            target += "?" + "&".join(f"{quote(name)}={quote(value, safe='')}" for name, value in fields)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": kind}
        try:
            response = self._pool.request(method, target, body=body, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            reason = (
                "it takes too long to answer"
                if isinstance(error, urllib3.exceptions.ReadTimeoutError)
                else "nobody answers"
            )
            raise RemoteFailed(
                f"{reason} at {self._url}; is siltstoned running there? (--url or SILTSTONE_URL says where)"
            ) from error
        try:
            document = orjson.loads(response.data) if response.data else {}
        except orjson.JSONDecodeError:
            raise RemoteFailed(f"{self._url} answered {response.status} with something else than JSON") from None
        if response.status not in _OK:
            raise RemoteFailed(str(document.get("error", f"the daemon answered {response.status}")))
        return document
