"""Clients that try to take more than their share, and directories that somebody has been in: the others don't notice."""

import gzip
import json
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.daemons import TOKEN, query
from tests.http_client import Client, parse_answers, send_and_stay

MIB = 1024 * 1024
WIDE = json.dumps({f"column_{n}": n for n in range(500)}).encode()


def test_many_small_compressed_bodies_at_once_are_all_taken(start):
    """Each may unfold to 10 MiB, and none does: only what they become counts against the memory."""
    daemon = start("--memory", str(32 * MIB))
    packed = gzip.compress(b'{"n":1}\n' * 100)
    with ThreadPoolExecutor(64) as pool:
        statuses = list(pool.map(lambda _: daemon.post(packed, Content_Encoding="gzip").status, range(400)))

    assert statuses == [200] * 400


@pytest.mark.parametrize("array", [False, True])
def test_few_bytes_that_would_become_a_huge_table_are_refused(daemon, array):
    daemon.post(WIDE)
    rows = b"[" + b",".join([b"{}"] * 280_000) + b"]" if array else b"{}\n" * 280_000
    answer = daemon.post(gzip.compress(rows), Content_Encoding="gzip")

    assert answer.status == 413
    assert "of 500 columns" in answer.json()["error"]
    assert daemon.post(b"{}\n" * 30_000).json()["successful_rows"] == 30_000


def test_bad_rows_cost_by_what_is_in_them_and_not_by_the_columns_of_the_source(daemon):
    daemon.post(WIDE)
    answer = daemon.post(b"x\n" * 30_000 + b'{"column_1": 2, "column_7": "seven"}\n')

    assert answer.json()["quarantined_rows"] == 30_001
    (row,) = query(daemon.data, "SELECT * FROM t_quarantine WHERE column_7 IS NOT NULL")
    assert (row["column_1"], row["column_7"], row["column_2"]) == ("2", "seven", None)


def test_keys_too_long_for_a_schema_are_refused_and_leave_nothing(daemon):
    """The schema stands in each file's header; one that could not be read back is never acknowledged."""
    rows = [json.dumps({f"{line}-{n}-" + "k" * 20_000: n for n in range(40)}).encode() for line in range(3)]
    answer = daemon.post(b"\n".join(rows))

    assert answer.status == 400
    assert "shorter keys" in answer.json()["error"]
    assert not list((daemon.data / "sources").iterdir())


def test_a_chunk_for_every_byte_is_refused_for_its_framing(start):
    daemon = start("--max-body", "100000")
    head = f"POST /v0/events?name=t HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    chunks = b"1\r\n \r\n" * 90_000 + b"0\r\n\r\n"
    (answer,) = send_and_stay(daemon.address, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks, answers=1)

    assert answer.status == 413


def test_a_stop_is_not_held_up_by_a_slow_body(daemon, eventually):
    head = f"POST /v0/events?name=t&token={TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n".encode()
    with daemon.connect() as connection:
        connection.sendall(head + b" " * 2_000_000)
        daemon.post(b'{"n":1}')
        daemon.process.send_signal(signal.SIGTERM)
        eventually(lambda: "stopping" in daemon.log.read_text())
        connection.sendall(b" " * 100)
        answers = list(parse_answers(connection.recv(65536)))

    assert daemon.process.wait(timeout=60) == 0
    assert [answer.status for answer in answers] == [408]


def test_a_known_head_is_no_way_round_the_rules_for_an_older_version(daemon):
    """HTTP/1.0 closes, whatever another header says."""
    head = f"POST /v0/events?name=t&token={TOKEN} HTTP/1.0\r\nX: HTTP/1.1\r\nContent-Length: 7\r\n\r\n".encode()
    for _ in range(3):
        (answer,) = daemon.raw(head + b'{"n":1}')
        assert answer.headers["connection"] == "close"


def test_directories_that_somebody_has_been_in_do_not_keep_the_daemon_down(start):
    daemon = start()
    for name in ("good", "dangling", "gone", "day"):
        assert daemon.post(b'{"n":1}', f"name={name}&wait=true").status == 200
    daemon.kill()
    sources = daemon.data / "sources"
    (sources / "plain_file").write_text("not a directory")
    (sources / "dangling" / "wal" / "0000000009-00000000000000000009.wal").symlink_to("/nonexistent")
    (sources / "gone" / "quarantine").rmdir()
    (sources / "day" / "rows" / "ingested=2024-13-45").mkdir()
    daemon.start()

    with Client(daemon.address) as client:
        statuses = {
            name: client.request("POST", f"/v0/events?name={name}&wait=true&token={TOKEN}", b'{"n":2}').status
            for name in ("good", "day", "dangling", "gone", "plain_file")
        }
    assert statuses == {"good": 200, "day": 200, "dangling": 503, "gone": 503, "plain_file": 503}
    assert query(daemon.data, "SELECT n FROM good ORDER BY n") == [{"n": 1}, {"n": 2}]


def test_a_source_dropped_while_its_rows_arrive_is_not_made_again_by_who_may_not_make_one(daemon):
    assert daemon.post(b'{"n":1}').status == 200
    appender = daemon.call("POST", "/v0/tokens?name=appender&scope=DATASOURCES:APPEND:t").json()["token"]
    for target in ("/v0/events?name=t&wait=true", "/v0/datasources?name=t&mode=append&format=ndjson"):
        with daemon.connect() as connection:
            head = f"POST {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {appender}\r\nExpect: 100-continue\r\n"
            connection.sendall(head.encode() + b"Content-Length: 7\r\n\r\n")
            assert connection.recv(1024).startswith(b"HTTP/1.1 100")
            assert daemon.call("DELETE", "/v0/datasources/t").status == 204
            connection.sendall(b'{"n":2}')
            assert connection.recv(1024).startswith((b"HTTP/1.1 403", b"HTTP/1.1 404"))
        assert daemon.call("GET", "/v0/datasources").json()["datasources"] == []
        assert daemon.post(b'{"n":1}').status == 200


def test_statements_are_small_and_only_from_who_may_read(daemon):
    """They are refused by their heads: taken apart, 10 MB would hold up everybody."""
    nobody = daemon.call("POST", "/v0/tokens?name=nobody&scope=DATASOURCES:APPEND:t").json()["token"]
    announced = b"Content-Length: 10000000\r\nExpect: 100-continue\r\n\r\n"
    for token, status in ((TOKEN, 413), (nobody, 403)):
        head = f"POST /v0/sql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n".encode()
        (answer,) = daemon.raw(head + announced)
        assert answer.status == status
    deep = b'{"q":"SELECT 1","x":' + b"[" * 1000 + b"]" * 1000 + b"}"
    assert daemon.call("POST", "/v0/sql", deep, Content_Type="application/json").body == b"1\n"
    assert daemon.call("POST", "/v0/sql", b"SELECT 1 --" + b" " * 300_000).status == 413
