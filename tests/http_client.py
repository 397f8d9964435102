"""A small HTTP client for tests: whole requests by http.client, or bytes as they are, and answers split apart again."""

import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

TIMEOUT_S = 60.0
Address = tuple[str, int]


@dataclass(frozen=True)
class Answer:
    """A whole response; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A connection that is kept open from one request to the next."""

    def __init__(self, address: Address) -> None:
        self._connection = http.client.HTTPConnection(*address, timeout=TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def request(self, method: str, target: str, body: bytes | None = None, **headers: str) -> Answer:
        """Header names are given with underscores."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, target, body, fields)
        response = self._connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    @property
    def local_port(self) -> int:
        """0 when the server has closed the connection."""
        sock = self._connection.sock
        return 0 if sock is None else int(sock.getsockname()[1])


def connect(address: Address) -> socket.socket:
    connection = socket.create_connection(address, timeout=TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def send_all_and_read(address: Address, *pieces: bytes) -> list[Answer]:
    """Send bytes as they are, a piece at a time, close our half, and read answers until the server closes its own."""
    with connect(address) as connection:
        for piece in pieces:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while data := connection.recv(65536):
            received += data
    return list(parse_answers(received))


def send_and_stay(address: Address, data: bytes, *, answers: int) -> list[Answer]:
    """Send bytes as they are and read so many answers while our half stays open, as real clients do."""
    with connect(address) as connection:
        connection.sendall(data)
        received = b""
        while len(found := list(parse_answers(received))) < answers:
            more = connection.recv(65536)
            assert more, f"closed after {len(found)} of {answers} answers"
            received += more
    return found


def parse_answers(data: bytes) -> Iterator[Answer]:
    """Split a stream of responses; interim ones are left out, and a last one that is cut."""
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines if ": " in line)}
        status = int(status_line.split()[1]) if end else 0
        length = int(headers.get("content-length", "0"))
        if not end or len(rest) < length:
            return
        if status >= 200:
            yield Answer(status, headers, rest[:length])
        data = rest[length:]
