"""What h11 lets through and a strict server refuses: h11 parses, this judges (RFC 9112, and limits of our own)."""

import re

import h11

from daemon.config import HEAD_BYTES_MAX, HEADERS_MAX
from daemon.head_cache import Head

_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]*)?")
_ONCE = (b"authorization", b"idempotency-key")


class BadRequest(Exception):
    """The bytes are no request that may be answered otherwise; the connection can't be used after the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def judge(request: h11.Request, raw: bytes) -> Head:
    """The head as the rest of the daemon sees it. `raw` is the head's own bytes. Raises BadRequest."""
    if len(request.headers) > HEADERS_MAX:
        raise BadRequest(431, f"the request has {len(request.headers)} headers; {HEADERS_MAX} is the limit")
    if len(raw) > HEAD_BYTES_MAX:
        raise BadRequest(431, f"the request's head has {len(raw)} bytes; {HEAD_BYTES_MAX} is the limit")
    _judge_bytes(raw)
    if request.http_version not in (b"1.0", b"1.1"):
        raise BadRequest(505, "this server speaks HTTP/1.1 and HTTP/1.0")
    headers: dict[bytes, bytes] = {}
    for name, value in request.headers:
        if name in headers and name in _ONCE:
            raise BadRequest(400, f"a request must not have two {name.decode().title()} headers")
        headers[name] = value if name not in headers else headers[name] + b", " + value
    _judge_framing(headers, request.http_version)
    if not _HOST.fullmatch(headers.get(b"host", b"")):
        raise BadRequest(400, "the Host header is not a host name with an optional port")
    expect = headers.get(b"expect")
    if expect is not None and expect.lower() != b"100-continue":
        raise BadRequest(417, "the only expectation this server can meet is 100-continue")
    return Head(request.method, request.target, headers)


def _judge_bytes(raw: bytes) -> None:
    """Servers and proxies differ in how they read these, which is how one request is made to look like two."""
    line_ends = raw.count(b"\r\n")
    if raw.count(b"\n") != line_ends or raw.count(b"\r") != line_ends:
        raise BadRequest(400, "the lines of a request's head end in CR LF, both together")
    if b"\r\n " in raw or b"\r\n\t" in raw:
        raise BadRequest(400, "a header must not be continued on the next line")
    if _CONTROL.search(raw):
        raise BadRequest(400, "the request's head holds a control character")


def _judge_framing(headers: dict[bytes, bytes], version: bytes) -> None:
    if b"transfer-encoding" not in headers:
        return
    # RFC 9112 §6.1: either is how requests are smuggled past a proxy that counts differently.
    if b"content-length" in headers:
        raise BadRequest(400, "a request must not have both Content-Length and Transfer-Encoding")
    if version == b"1.0":
        raise BadRequest(400, "HTTP/1.0 has no Transfer-Encoding")
