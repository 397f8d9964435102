"""Load of large bodies: a few clients that send the same one over and over, timed from the first byte to the last answer.

A generator that stops its clock in the middle of bodies would lose a good part of the few it sends.
"""

import socket
import threading
import time
from urllib.parse import urlsplit

from scripts.benchmarks.load import Load, LoadFailed, Request, message

TIMEOUT_S = 120.0


def send_bodies(request: Request, *, clients: int, seconds: float) -> Load:
    """Each client begins its last body before the time is up, and every answer is waited for."""
    data = message(request)
    latencies: list[float] = []
    failed: list[str] = []
    start = time.perf_counter()

    def client() -> None:
        try:
            _send_until(request.url, data, start + seconds, latencies)
        except (OSError, LoadFailed) as error:
            failed.append(f"{request.url}: {error}")

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - start
    if failed:
        raise LoadFailed(failed[0])
    latencies.sort()
    p50, p99 = (latencies[int(len(latencies) * part)] for part in (0.5, 0.99))
    return Load(len(latencies) / took, p50, p99, 0)


def _send_until(url: str, data: bytes, deadline: float, latencies: list[float]) -> None:
    where = urlsplit(url)
    with socket.create_connection((where.hostname or "", where.port or 80), timeout=TIMEOUT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            began = time.perf_counter()
            connection.sendall(data)
            head = _read_answer(connection)
            if not head.startswith(b"HTTP/1.1 2"):
                raise LoadFailed(head.decode(errors="replace"))
            latencies.append(time.perf_counter() - began)
            if time.perf_counter() >= deadline:
                return


def _read_answer(connection: socket.socket) -> bytes:
    """One whole answer; the next must not begin with the rest of this one."""
    answer = b""
    while True:
        piece = connection.recv(65536)
        if not piece:
            raise LoadFailed(f"the connection ended after {answer!r}")
        answer += piece
        head, end, body = answer.partition(b"\r\n\r\n")
        if not end:
            continue
        fields = head.lower()
        if b"transfer-encoding: chunked" in fields:
            if body.endswith(b"0\r\n\r\n"):
                return answer
        elif b" 204 " in head.partition(b"\r\n")[0]:
            return answer
        else:
            _, _, rest = fields.partition(b"content-length:")
            if len(body) >= int(rest.split(b"\r\n")[0]):
                return answer
