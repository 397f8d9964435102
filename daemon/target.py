"""What a request's head asks for: path, parameters, and the token that it comes with."""

from functools import lru_cache
from urllib.parse import parse_qsl, urlsplit

from daemon.answers import Refused
from daemon.head_cache import Head

TARGETS_CACHED = 4096
CACHED_TARGET_BYTES_MAX = 512


def presented_token(head: Head, query: dict[str, str]) -> str:
    """The text of the token that a request comes with; the header counts first."""
    header = head.headers.get(b"authorization")
    if header is None:
        return query.get("token", "")
    scheme, _, credentials = header.decode("latin-1").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


def _parse_target(target: bytes) -> tuple[str, dict[str, str]]:
    try:
        text = target.decode("ascii")
        # What begins with two slashes is a path too (RFC 9112, origin-form), and no host.
        path, _, given = text.partition("?") if text.startswith("/") else _after_the_host(text)
    except ValueError:
        raise Refused(400, "the request target is not a valid URL") from None
    query: dict[str, str] = {}
    for name, value in parse_qsl(given, keep_blank_values=True):
        query.setdefault(name, value)
    return path, query


def _after_the_host(text: str) -> tuple[str, str, str]:
    parts = urlsplit(text)
    return parts.path, "?", parts.query


_parse_known_target = lru_cache(maxsize=TARGETS_CACHED)(_parse_target)


def parse_target(target: bytes) -> tuple[str, dict[str, str]]:
    """The path and the parameters of a request target; the first of repeated parameters counts. Raises Refused."""
    parse = _parse_known_target if len(target) <= CACHED_TARGET_BYTES_MAX else _parse_target
    return parse(target)
