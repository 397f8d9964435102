"""What `append` promises: every row once, whatever the network does, and a sentence when it can't."""

import contextlib
import gzip
import io
import json
import socket
import struct
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pytest

from query.append import Appended, AppendFailed, Patience, append
from query.batches import BATCH_BYTES_MAX

TOKEN = "p.secret.token"


@dataclass
class Turn:
    """What the daemon does with one request; the default is to store the rows."""

    status: int = 200
    retry_after: str | None = None
    body: bytes = b""
    lose: str = ""
    early: bool = False


class FakeDaemon:
    """Stores rows once a key, as the real one does, and misbehaves by turns."""

    def __init__(self):
        self.turns = []
        self.stored = {}
        self.requests = []
        self.connections = 0
        self.released = threading.Event()
        daemon = self

        class Handler(_Handler):
            fake = daemon

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.server.daemon_threads = False
        self.server.server_bind()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def listen(self):
        self.server.server_activate()
        self.thread.start()

    def close(self):
        self.released.set()
        if self.thread.is_alive():
            self.server.shutdown()
            self.thread.join()
        self.server.server_close()

    def rows(self):
        return [line for body in self.stored.values() for line in body.split(b"\n") if line.strip()]

    def keys(self):
        return [request["key"] for request in self.requests]


class _Handler(BaseHTTPRequestHandler):
    fake: FakeDaemon
    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.fake.connections += 1

    def log_message(self, *args):
        pass

    def do_POST(self):
        turn = self.fake.turns.pop(0) if self.fake.turns else Turn()
        key = self.headers["Idempotency-Key"]
        self.fake.requests.append(
            {
                "path": urlsplit(self.path).path,
                "query": parse_qs(urlsplit(self.path).query),
                "authorization": self.headers["Authorization"],
                "key": key,
            }
        )
        if turn.lose == "before":
            self.lose()
            return
        body = b"" if turn.early else self.rfile.read(int(self.headers["Content-Length"]))
        if turn.status == 200:
            turn.body = turn.body or self.store(key, body)
        if turn.lose == "after":
            self.lose()
        elif turn.lose == "silence":
            self.fake.released.wait()
            self.close_connection = True
        else:
            self.answer(turn)

    def store(self, key, body):
        assert self.fake.stored.setdefault(key, body) == body, "a key came again with other bytes"
        lines = [line for line in body.split(b"\n") if line.strip()]
        good = sum(line.startswith(b"{") for line in lines)
        return json.dumps({"successful_rows": good, "quarantined_rows": len(lines) - good}).encode()

    def answer(self, turn):
        self.send_response(turn.status)
        self.send_header("Content-Length", str(len(turn.body)))
        if turn.retry_after is not None:
            self.send_header("Retry-After", turn.retry_after)
        if turn.early:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(turn.body)

    def lose(self):
        """Reset the connection, without an answer."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True


@dataclass
class FakeTime:
    """A clock that only sleeping moves."""

    now: float = 1_000.0
    slept: list[float] = field(default_factory=list)
    dice: float = 1.0

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def patience(self, **limits):
        return Patience(clock=lambda: self.now, sleep=self.sleep, dice=lambda: self.dice, **limits)


@pytest.fixture
def daemon():
    with contextlib.closing(FakeDaemon()) as fake:
        fake.listen()
        yield fake


@pytest.fixture
def fake_time():
    return FakeTime()


@pytest.fixture
def send(daemon, fake_time):
    """`append` to the fake daemon, patient by the fake clock."""

    def call(*paths, on_progress=lambda done: None, run_id="", url=daemon.url, token=TOKEN, name="flights", **limits):
        return append(
            [str(path) for path in paths],
            url=url,
            token=token,
            name=name,
            on_progress=on_progress,
            run_id=run_id,
            patience=fake_time.patience(**limits),
        )

    return call


@pytest.fixture
def file_of(tmp_path):
    """A new file with these bytes."""

    def make(data, name="events.ndjson"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return make


def numbered(count, size=20):
    """So many rows of so many bytes, newline included."""
    return [b'{"n":"%s"}' % str(n).zfill(size - 9).encode() for n in range(count)]


def error_body(text):
    return json.dumps({"error": text, "documentation": "https://example.org"}).encode()


class TestTheRequest:
    def test_rows_go_to_the_events_route_and_are_waited_for(self, send, daemon, file_of):
        path = file_of(b'{"a":1}\n{"a":2}\nnot json\n')

        appended = send(path, name="fl & ights", url=daemon.url + "/")

        assert appended == Appended(3, successful_rows=2, quarantined_rows=1, batches=1, retries=0)
        assert daemon.rows() == [b'{"a":1}', b'{"a":2}', b"not json"]
        [request] = daemon.requests
        assert request["path"] == "/v0/events"
        assert request["query"] == {"name": ["fl & ights"], "wait": ["true"]}
        assert request["authorization"] == f"Bearer {TOKEN}"

    def test_a_path_in_the_url_stays_in_front_of_the_route(self, send, daemon, file_of):
        send(file_of(b'{"a":1}\n'), url=daemon.url + "/behind/proxy/")

        assert daemon.requests[0]["path"] == "/behind/proxy/v0/events"

    def test_all_batches_share_one_connection(self, send, daemon, file_of):
        paths = [file_of(b'{"a":%d}\n' % n, f"{n}.ndjson") for n in range(5)]

        assert send(*paths).batches == 5
        assert daemon.connections == 1

    @pytest.mark.parametrize("data", [b"", b"\n", b"\n \r\n\n"])
    def test_a_file_without_rows_sends_nothing(self, send, daemon, file_of, data):
        assert send(file_of(data)) == Appended()
        assert daemon.requests == []

    def test_blank_lines_are_no_rows_and_the_last_newline_is_optional(self, send, daemon, file_of):
        assert send(file_of(b'{"a":1}\r\n\n{"a":2}')).rows_sent == 2


class TestFiles:
    @pytest.mark.parametrize(
        "compress",
        [
            bytes,
            gzip.compress,
            lambda data: gzip.compress(data[:1000]) + gzip.compress(data[1000:]),
            lambda data: pa.compress(data, codec="zstd", asbytes=True),
            lambda data: b"".join(pa.compress(part, codec="zstd", asbytes=True) for part in (data[:1000], data[1000:])),
        ],
        ids=["plain", "gzip", "gzip of two members", "zstd", "zstd of two frames"],
    )
    def test_the_first_bytes_tell_the_compression(self, send, daemon, file_of, compress):
        rows = numbered(1_000)

        send(file_of(compress(b"\n".join(rows)), "no-telling-name"))

        assert daemon.rows() == rows

    @pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
    def test_a_dash_is_standard_input(self, send, daemon, monkeypatch, compress):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(compress(b'{"a":1}\n'))))

        assert send("-").rows_sent == 1
        assert daemon.rows() == [b'{"a":1}']

    def test_rows_are_sent_while_the_rest_of_a_pipe_is_still_unwritten(self, send, daemon, monkeypatch):
        rows = numbered(450_000)
        first, rest = b"\n".join(rows[:440_000]) + b"\n", b"\n".join(rows[440_000:])

        class Pipe(io.RawIOBase):
            """The rest comes only after the daemon has stored something."""

            def __init__(self):
                self.data = io.BytesIO(first)
                self.switched = False

            def read(self, size=-1):
                chunk = self.data.read(size)
                if not chunk and not self.switched:
                    assert len(daemon.stored) == 1
                    self.data, self.switched = io.BytesIO(rest), True
                    return self.data.read(size)
                return chunk

        monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": Pipe()}))

        send("-")

        assert daemon.rows() == rows

    def test_progress_ends_at_the_size_of_the_files_on_disk(self, send, file_of):
        paths = [file_of(gzip.compress(b'{"a":1}\n' * 1000), "a.gz"), file_of(b"", "b"), file_of(b'{"a":1}\n', "c")]
        seen: list[int] = []

        send(*paths, on_progress=seen.append)

        assert seen == sorted(seen)
        assert seen[-1] == sum(path.stat().st_size for path in paths)

    @pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data + b"junk"], ids=["cut", "junk"])
    def test_broken_compression_is_an_error_that_names_the_file(self, send, file_of, damage):
        path = file_of(damage(gzip.compress(b'{"a":1}\n' * 10)))

        with pytest.raises(AppendFailed, match=r"events\.ndjson, line 1 or later: can't be read: .*"):
            send(path)

    def test_a_missing_file_fails_before_the_first_is_sent(self, send, daemon, file_of, tmp_path):
        with pytest.raises(AppendFailed, match="missing: there is no such file"):
            send(file_of(b'{"a":1}\n'), tmp_path / "missing")

        assert daemon.requests == []

    def test_a_directory_fails_before_the_first_file_is_sent(self, send, daemon, file_of, tmp_path):
        with pytest.raises(AppendFailed, match="is a directory"):
            send(file_of(b'{"a":1}\n'), tmp_path)

        assert daemon.requests == []


class TestBatches:
    def test_batches_end_at_a_newline_and_hold_at_most_eight_million_bytes(self, send, daemon, file_of):
        rows = numbered(1_000_000)

        appended = send(file_of(b"\n".join(rows) + b"\n"))

        bodies = list(daemon.stored.values())
        assert appended == Appended(1_000_000, successful_rows=1_000_000, batches=3, retries=0)
        assert [len(body) for body in bodies] == [7_999_999, 7_999_999, 3_999_999]
        assert daemon.rows() == rows

    def test_a_line_of_the_whole_batch_is_sent_with_its_neighbours_apart(self, send, daemon, file_of):
        longest = b'{"a":"%s"}' % (b"x" * (BATCH_BYTES_MAX - 8))
        assert len(longest) == BATCH_BYTES_MAX

        send(file_of(b'{"b":1}\n' + longest + b'\n{"b":2}\n'))

        assert list(daemon.stored.values()) == [b'{"b":1}', longest, b'{"b":2}']

    @pytest.mark.parametrize("end", [b"", b"\n", b'\n{"b":3}\n'])
    def test_a_longer_line_is_an_error_before_anything_of_its_batch_is_sent(self, send, daemon, file_of, end):
        too_long = b"x" * (BATCH_BYTES_MAX + 1)

        with pytest.raises(AppendFailed) as failed:
            send(file_of(b'{"b":1}\n{"b":2}\n' + too_long + end, "big.ndjson"))

        assert str(failed.value).endswith(
            "big.ndjson, line 3: is longer than 8,000,000 bytes, the most that one request holds; rows stored before: 2"
        )
        assert failed.value.stored.rows_sent == 2
        assert daemon.rows() == [b'{"b":1}', b'{"b":2}']


class TestRetries:
    @pytest.mark.parametrize("status", [408, 429, 503])
    def test_a_refusal_for_now_is_tried_again_with_the_same_key(self, send, daemon, file_of, fake_time, status):
        daemon.turns = [Turn(status), Turn(status)]

        appended = send(file_of(b'{"a":1}\n'))

        assert (appended.rows_sent, appended.retries, len(daemon.requests)) == (1, 2, 3)
        assert len(set(daemon.keys())) == 1
        assert fake_time.slept == [0.2, 0.4]

    def test_pauses_double_up_to_ten_seconds_and_jitter_shortens_them_to_half(self, send, daemon, file_of, fake_time):
        daemon.turns = [Turn(503)] * 8
        fake_time.dice = 0.0

        send(file_of(b'{"a":1}\n'))

        assert fake_time.slept == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]

    @pytest.mark.parametrize(
        ("header", "pause"),
        [("7", 7.0), ("0", 0.2), ("soon", 0.2), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.2), (None, 0.2)],
    )
    def test_retry_after_is_honoured(self, send, daemon, file_of, fake_time, header, pause):
        daemon.turns = [Turn(429, retry_after=header)]

        send(file_of(b'{"a":1}\n'))

        assert fake_time.slept == [pause]

    @pytest.mark.parametrize("lose", ["before", "after"])
    def test_a_connection_lost_before_or_after_the_body_adds_each_row_once(self, send, daemon, file_of, lose):
        rows = numbered(1_000)
        daemon.turns = [Turn(), Turn(lose=lose), Turn(lose=lose)]

        appended = send(file_of(b'{"first":1}\n', "a"), file_of(b"\n".join(rows), "b"))

        assert daemon.rows() == [b'{"first":1}', *rows]
        assert (appended.rows_sent, appended.successful_rows, appended.retries) == (1_001, 1_001, 2)

    def test_an_answer_that_does_not_come_is_not_waited_for_forever(self, send, daemon, file_of):
        daemon.turns = [Turn(lose="silence")]

        appended = send(file_of(b'{"a":1}\n'), answer_s=0.05)

        assert (appended.retries, daemon.rows()) == (1, [b'{"a":1}'])

    def test_a_daemon_that_starts_late_gets_the_rows(self, file_of, fake_time):
        with contextlib.closing(FakeDaemon()) as late:

            def sleep(seconds):
                if not late.thread.is_alive():
                    late.listen()

            patience = Patience(clock=lambda: 0.0, sleep=sleep)
            path = str(file_of(b'{"a":1}\n'))
            appended = append([path], url=late.url, token=TOKEN, name="n", on_progress=print, patience=patience)

            assert (appended.retries, late.rows()) == (1, [b'{"a":1}'])

    def test_a_refusal_before_the_body_was_read_is_heard(self, send, daemon, file_of):
        daemon.turns = [Turn(503, early=True), Turn(403, early=True, body=error_body("unknown token"))]

        with pytest.raises(AppendFailed, match="the daemon answered 403: unknown token"):
            send(file_of(b"\n".join(numbered(300_000))))

    def test_patience_with_one_batch_ends_after_a_minute(self, send, daemon, file_of, fake_time):
        daemon.turns = [Turn(), *[Turn(503, body=error_body("the disk is full"))] * 20]

        with pytest.raises(AppendFailed) as failed:
            send(file_of(b'{"a":1}\n', "a"), file_of(b'{"a":2}\n{"a":3}\n', "b"))

        assert 45 < sum(fake_time.slept) < 60
        assert str(failed.value).endswith(
            "b, lines 1-2: given up at try 11: the daemon answered 503: the disk is full; rows stored before: 1"
        )
        assert failed.value.stored == Appended(1, successful_rows=1, batches=1, retries=0)

    def test_patience_starts_anew_with_each_batch(self, send, daemon, file_of):
        daemon.turns = [Turn(503, retry_after="50"), Turn(), Turn(503, retry_after="50"), Turn()]

        assert send(file_of(b'{"a":1}\n', "a"), file_of(b'{"a":2}\n', "b")).retries == 2

    def test_a_daemon_that_asks_for_more_than_the_patience_is_not_waited_for(self, send, daemon, file_of, fake_time):
        daemon.turns = [Turn(429, retry_after="300")]

        with pytest.raises(AppendFailed, match="given up at try 1: the daemon answered 429"):
            send(file_of(b'{"a":1}\n'))

        assert fake_time.slept == []

    def test_a_daemon_that_is_not_there_is_said_so(self, file_of, fake_time):
        with contextlib.closing(FakeDaemon()) as absent, pytest.raises(AppendFailed) as failed:
            append(
                [str(file_of(b'{"a":1}\n'))],
                url=absent.url,
                token=TOKEN,
                name="n",
                on_progress=print,
                patience=fake_time.patience(batch_s=1.0),
            )

        assert f"no answer from the daemon at {absent.url} (Connection refused)" in str(failed.value)


class TestKeys:
    def test_the_same_run_again_after_it_was_cut_off_adds_nothing_twice(self, send, daemon, file_of):
        rows = numbered(900_000)
        path = file_of(b"\n".join(rows))
        daemon.turns = [Turn(), Turn(500)]
        with pytest.raises(AppendFailed, match="the daemon answered 500"):
            send(path)

        appended = send(path)

        assert appended.rows_sent == 900_000
        assert daemon.rows() == rows

    def test_a_file_that_has_changed_since_is_added_anew(self, send, daemon, file_of):
        send(file_of(b'{"a":1}\n'))
        send(file_of(b'{"a":2}\n'))

        assert daemon.rows() == [b'{"a":1}', b'{"a":2}']

    def test_equal_batches_of_one_run_are_all_added(self, send, daemon, file_of):
        send(file_of(b'{"a":1}\n', "a"), file_of(b'{"a":1}\n', "b"))

        assert daemon.rows() == [b'{"a":1}', b'{"a":1}']

    @pytest.mark.parametrize("other", [{"run_id": "again"}, {"name": "other"}])
    def test_another_run_id_or_data_source_takes_the_same_rows_again(self, send, daemon, file_of, other):
        path = file_of(b'{"a":1}\n')

        send(path)
        send(path, **other)

        assert len(daemon.rows()) == 2


class TestRefusals:
    def test_any_other_status_ends_the_run_and_says_file_lines_status_reason_and_what_is_stored(
        self, send, daemon, file_of
    ):
        rows = numbered(500_000)
        daemon.turns = [Turn(), Turn(413, body=error_body("the body is over 4 MB"))]

        with pytest.raises(AppendFailed) as failed:
            send(file_of(b"\n".join(rows)))

        assert str(failed.value).endswith(
            "events.ndjson, lines 400,001-500,000: the daemon answered 413: the body is over 4 MB; "
            "rows stored before: 400,000"
        )
        assert failed.value.stored.rows_sent == 400_000
        assert len(daemon.requests) == 2

    def test_an_answer_without_an_error_text_is_told_by_its_reason(self, send, daemon, file_of):
        daemon.turns = [Turn(502, body=b"<html>\x1b[2J</html>")]

        with pytest.raises(AppendFailed, match="the daemon answered 502: Bad Gateway"):
            send(file_of(b'{"a":1}\n'))

    def test_an_error_text_cannot_drive_the_terminal(self, send, daemon, file_of):
        daemon.turns = [Turn(400, body=error_body("bad row \x1b[2J\n"))]

        with pytest.raises(AppendFailed) as failed:
            send(file_of(b'{"a":1}\n'))

        assert r"bad row \x1b[2J\n" in str(failed.value)

    @pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"successful_rows": "1"}', b"\xff"])
    def test_a_200_of_something_that_is_no_daemon_is_not_success(self, send, daemon, file_of, body):
        daemon.turns = [Turn(200, body=body)]

        with pytest.raises(AppendFailed, match="so it isn't a Siltstone daemon's"):
            send(file_of(b'{"a":1}\n'))

    def test_a_redirect_is_not_followed(self, send, daemon, file_of):
        daemon.turns = [Turn(301)]

        with pytest.raises(AppendFailed, match="the daemon answered 301"):
            send(file_of(b'{"a":1}\n'))

    @pytest.mark.parametrize("url", ["", "localhost:7181", "ftp://localhost", "http://", "http://[::1", "/tmp/data"])
    def test_a_wrong_url_is_refused_with_an_example(self, send, file_of, url):
        with pytest.raises(AppendFailed, match=r"like http://127\.0\.0\.1:7181"):
            send(file_of(b'{"a":1}\n'), url=url)

    @pytest.mark.parametrize("token", ["", "secret\nX-Other: 1", "secret\x00", "sécret"])
    def test_a_token_that_no_header_can_hold_is_refused_and_not_shown(self, send, daemon, file_of, token):
        with pytest.raises(AppendFailed, match="the token must be") as failed:
            send(file_of(b'{"a":1}\n'), token=token)

        assert "cret" not in str(failed.value)
        assert daemon.requests == []
