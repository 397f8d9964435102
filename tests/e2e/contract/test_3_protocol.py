"""The protocol"""

import pytest

from tests.contract import states
from tests.daemons import TOKEN
from tests.http_client import Client, send_and_stay

BODY = b'{"n":1}'


def call(api, method, target, **fields):
    with Client(api.address) as client:
        return client.request(method, target, None, **fields)


def request(*lines, first=b"POST /v0/events?name=t HTTP/1.1", host=b"x", end=b"\r\n"):
    head = [first, b"Host: " + host, f"Authorization: Bearer {TOKEN}".encode(), *lines, b"Content-Length: 7"]
    return end.join(head) + end + end + BODY


@states("An error is JSON with `error`, one sentence that says what was wrong and what to do, and `documentation`.")
@pytest.mark.parametrize(("method", "target"), [("GET", "/nope"), ("GET", "/v0/events"), ("POST", "/v0/events?name=x")])
def test_errors(api, method, target):
    answer = call(api, method, target)
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert set(answer.json()) == {"error", "documentation"}


@states("A route that does not exist is 404.", "A route's other methods are 405, with `Allow`.")
def test_routes(api):
    assert call(api, "GET", "/v0/nothing").status == 404
    answer = call(api, "DELETE", "/v0/events")
    assert (answer.status, answer.headers["allow"]) == (405, "OPTIONS, POST")
    assert call(api, "TRACE", "/v0/events").status == 405


@states("A slash at the end of a path makes no difference.")
def test_trailing_slash(api):
    assert call(api, "GET", "/health/").status == 200


@states("`HEAD` is answered as `GET` is, without a body.")
def test_head(api):
    answer = call(api, "HEAD", "/health")
    assert (answer.status, answer.body) == (200, b"")


@states(
    "A target in absolute form routes by its path; one that begins with two slashes names no host, and nothing that is here."
)
def test_absolute(api):
    for target in ("//example.com/v0/events?name=absolute", "//v0/events?name=absolute"):
        assert api.call("POST", target, b'{"n":1}').status == 404
    data = request(first=b"POST http://example.com/v0/events?name=absolute HTTP/1.1")
    assert send_and_stay(api.address, data, answers=1)[0].status == 202


@states(
    "`OPTIONS` needs no token and answers 204 with what a browser asks before it sends across origins.",
    "Every answer, errors too, has `Access-Control-Allow-Origin: *` and exposes the rate-limit headers, `Retry-After` and `X-Request-Id`.",
)
def test_browsers(api):
    answer = call(api, "OPTIONS", "/v0/events?name=x")
    assert answer.status == 204
    assert "content-length" not in answer.headers
    assert "POST" in answer.headers["access-control-allow-methods"]
    wanted = "authorization, content-type, content-encoding, idempotency-key"
    assert answer.headers["access-control-allow-headers"] == wanted
    assert int(answer.headers["access-control-max-age"]) > 0
    for other in (answer, api.post(BODY, "name=cors"), api.post(BODY, "name=cors", token="x"), call(api, "GET", "/no")):
        assert other.headers["access-control-allow-origin"] == "*"
        assert "x-request-id" in other.headers["access-control-expose-headers"]


@states(
    "Refused with 400, and the connection closed: Content-Length with Transfer-Encoding, Transfer-Encoding on HTTP/1.0, two different lengths, "
    "bare line feeds, folded headers, control bytes in a head, a bad `Host`, blanks before a colon, two `Authorization` headers."
)
@pytest.mark.parametrize(
    "data",
    [
        request(b"Transfer-Encoding: chunked"),
        b"POST /v0/events?name=t HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        request(b"Content-Length: 8"),
        request(end=b"\n"),
        request(b"X: a\r\n b"),
        request(b"X: a\x01b"),
        request(b"X: a\rb"),
        request(host=b"a b/@"),
        request(b"X : a"),
        request(b"Authorization: Bearer other"),
    ],
)
def test_framing(api, data):
    (answer,) = send_and_stay(api.address, data, answers=1)
    assert answer.status == 400
    assert answer.headers["connection"] == "close"


@states(
    "An HTTP version other than 1.0 and 1.1 is 505; an `Expect` other than `100-continue` is 417; a head over 16 KiB or 64 headers is 431."
)
def test_versions_and_sizes(api):
    first = b"POST /v0/events?name=t HTTP/1.2"
    assert send_and_stay(api.address, request(first=first), answers=1)[0].status == 505
    assert send_and_stay(api.address, request(b"Expect: cake"), answers=1)[0].status == 417
    assert send_and_stay(api.address, request(b"X: " + b"x" * 17_000), answers=1)[0].status == 431
    assert send_and_stay(api.address, request(*[b"X: y"] * 63), answers=1)[0].status == 431


@states(
    "Who sends `Expect: 100-continue` is refused before the body when the head is reason enough, and told to go on else."
)
def test_continue(api):
    data = request(b"Expect: 100-continue").removesuffix(BODY)
    refused = data.replace(TOKEN.encode(), b"wrong")
    assert send_and_stay(api.address, refused, answers=1)[0].status == 403
    with api.connect() as connection:
        connection.sendall(data)
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(BODY)
        assert connection.recv(1000).startswith(b"HTTP/1.1 202 ")


@states("A connection stays open from one request to the next, also after a refusal and after requests without a body.")
def test_keep_alive(api):
    with Client(api.address) as client:
        ports = set()
        for method, target in (("GET", "/health"), ("GET", "/nope"), ("OPTIONS", "/"), ("POST", "/v0/events?name=1")):
            client.request(method, target, None)
            ports.add(client.local_port)
    assert len(ports) == 1
    assert ports != {0}
