"""Queries in a process of their own: answered in turn, ended in time, and never the daemon's end."""

import os
import signal
import sys
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
import trio

from daemon import sql, sql_answers
from daemon.disk_space import DiskSpace
from daemon.sql import QueryTimedOut, SqlConfig, SqlFailed, SqlRequest, SqlWorker
from daemon.sql_answers import SqlAnswer, SqlBusy
from query.errors import QueryFailed, ResourceNotFound, ResultTooLarge, StatementRefused
from query.service_tables import OPS_LOG
from query.sql_request import Answered, Failed, decode_reply, encode_reply
from segments.errors import Corruption, StorageError
from tests.stored import Stored, body, commit

ENDLESS = "SELECT count(*) FROM range(100000000000) a(x), range(1000000) b(y) WHERE x % 7 = y"


@pytest.fixture
def stored(tmp_path):
    stored = Stored(tmp_path / "data")
    stored.create()
    commit(stored.open(), body(1, 2, -3))
    return stored


@pytest.fixture
def start(stored, tmp_path):
    @asynccontextmanager
    async def start(**options):
        with trio.fail_after(60):
            async with SqlWorker(SqlConfig(stored.path, tmp_path / "sql", **options), DiskSpace(tmp_path, 0)) as worker:
                yield worker

    return start


async def ask(worker, sql, readable=None, **options):
    with await worker.run(SqlRequest(sql, readable, **options)) as answer:
        data = b"".join([chunk async for chunk in answer.chunks()])
    assert len(data) == answer.size
    return data


def pid_of(worker):
    assert worker._process is not None
    return worker._process.pid


async def running(worker):
    """Wait until the process works on an endless query: one that dies before it has the query is replaced unseen."""
    # It may have been at the one before for a little longer.
    before = processor_time(pid_of(worker))
    while processor_time(pid_of(worker)) < before + 5:
        await trio.lowlevel.checkpoint()


def processor_time(pid: int) -> int:
    """In ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


class TestAnswers:
    async def test_rows_are_answered_in_the_format_asked_for(self, start):
        async with start() as worker:
            assert await ask(worker, "SELECT id, text FROM events ORDER BY id") == b"1\tevent 1\n2\tevent 2\n"
            assert await ask(worker, "SELECT id FROM events LIMIT 1", default_format="jsoneachrow") == b'{"id":1}\n'
            assert await ask(worker, "SELECT id FROM events LIMIT 1 FORMAT CSVWithNames") == b'"id"\n1\n'
            document = orjson.loads(await ask(worker, "SELECT count() FROM events FORMAT JSON", quote_64bit=True))
            assert (document["data"], document["statistics"]["rows_read"]) == ([{"count()": "2"}], 2)

    async def test_the_answer_says_what_it_is(self, start):
        async with start() as worker:
            with await worker.run(SqlRequest("SELECT 1 FORMAT JSONEachRow", None)) as answer:
                assert answer.content_type == "application/x-ndjson; charset=UTF-8"
                assert (answer.rows, answer.damage) == (1, ())

    async def test_one_process_answers_query_after_query(self, start, stored):
        async with start() as worker:
            await ask(worker, "SELECT 1")
            first = pid_of(worker)
            commit(stored.open(), body(7))

            assert await ask(worker, "SELECT count() FROM events") == b"3\n"
            assert pid_of(worker) == first

    async def test_large_answers_are_whole(self, start):
        async with start() as worker:
            data = await ask(worker, "SELECT x FROM range(1000000) r(x)")

        assert data == b"".join(b"%d\n" % n for n in range(1_000_000))

    async def test_an_answer_outlives_the_next_query_and_leaves_no_file(self, start, tmp_path):
        async with start() as worker:
            with await worker.run(SqlRequest("SELECT 'first'", None)) as first:
                await ask(worker, "SELECT 'second'")

                assert [path.name for path in (tmp_path / "sql").iterdir()] == ["spill"]
                assert [chunk async for chunk in first.chunks()] == [b"first\n"]

    async def test_the_log_of_requests_is_handed_over(self, start):
        log = pa.Table.from_pylist([{"timestamp": datetime(2026, 11, 23), "datasource": "events", "rows": 3}], OPS_LOG)
        async with start() as worker:
            sql = "SELECT datasource, rows FROM siltstone.ops_log"

            assert await ask(worker, sql, ops_log=log) == b"events\t3\n"
            assert await ask(worker, "SELECT 1", ops_log=log) == b"1\n"
            assert await ask(worker, sql, frozenset(), ops_log=log) == b""

    async def test_damage_is_told(self, start, stored):
        log = stored.open()
        commit(log, body(8))
        stored.compact(log)
        for segment in stored.snapshot().rows.paths:
            segment.unlink()
        async with start() as worker:
            with await worker.run(SqlRequest("SELECT count() FROM events", None)) as answer:
                assert "missing" in answer.damage[0]


class TestRefusals:
    @pytest.mark.parametrize(
        ("sql", "kind", "said"),
        [
            ("FROM nope", ResourceNotFound, "^Resource 'nope' not found$"),
            ("FROM events", ResourceNotFound, "^Resource 'events' not found$"),
            ("SELECT 1; SELECT 2", StatementRefused, "there are 2"),
            ("SELECT 1 FORMAT XML", StatementRefused, "no format"),
            ("SELEC", QueryFailed, "Parser Error"),
            ("SELECT nope", QueryFailed, "nope"),
            ("SELECT error('x') FROM range(300000)", QueryFailed, "x"),
            ("SELECT x FROM range(100000) r(x)", ResultTooLarge, "larger than"),
        ],
    )
    async def test_they_come_back_as_what_they_are_and_the_worker_goes_on(self, start, sql, kind, said):
        async with start(answer_bytes_max=1000) as worker:
            await ask(worker, "SELECT 1")
            before = pid_of(worker)
            with pytest.raises(kind, match=said) as caught:
                await ask(worker, sql, frozenset({"other"}))

            assert type(caught.value) is kind
            assert await ask(worker, "SELECT 1") == b"1\n"
            assert pid_of(worker) == before

    @pytest.mark.parametrize(
        "reply",
        [
            Answered("text/plain", 1, 2, ["damage"]),
            Failed("Traceback"),
            QueryFailed("a"),
            ResourceNotFound("it's"),
            StorageError("c"),
        ],
    )
    def test_replies_come_back_as_they_were(self, reply):
        there = decode_reply(encode_reply(reply))

        assert type(there) is type(reply)
        assert str(there) == str(reply)

    def test_a_kind_of_error_that_is_not_known_counts_as_the_nearest(self):
        assert type(decode_reply(encode_reply(Corruption("rot")))) is StorageError


class TestEnding:
    async def test_a_query_that_takes_too_long_is_ended(self, start):
        async with start() as worker:
            await ask(worker, "SELECT 1")
        async with start(timeout_s=1.0) as worker:
            with pytest.raises(QueryTimedOut, match="longer than 1 s"):
                await ask(worker, ENDLESS)

            assert worker._process is None

    async def test_the_next_query_has_a_new_process(self, start):
        async with start() as worker:
            await ask(worker, "SELECT 1")
            before = pid_of(worker)
            with trio.move_on_after(0.2) as scope:
                await ask(worker, ENDLESS)

            assert scope.cancelled_caught
            assert not is_alive(before)
            assert await ask(worker, "SELECT 2") == b"2\n"
            assert pid_of(worker) != before

    async def test_a_worker_that_dies_of_a_query_costs_that_query_only(self, start):
        async with start() as worker, trio.open_nursery() as nursery:
            await ask(worker, "SELECT 1")

            async def fail():
                with pytest.raises(SqlFailed, match="ended the process"):
                    await ask(worker, ENDLESS)

            nursery.start_soon(fail)
            await running(worker)
            os.kill(pid_of(worker), signal.SIGKILL)
            assert await ask(worker, "SELECT 2") == b"2\n"

    async def test_a_worker_that_died_between_queries_is_not_noticed(self, start):
        async with start() as worker:
            await ask(worker, "SELECT 1")
            os.kill(pid_of(worker), signal.SIGKILL)
            await worker._process.wait()

            assert await ask(worker, "SELECT 2") == b"2\n"

    async def test_memory_a_query_can_not_have_ends_the_query(self, start):
        async with start(memory_bytes=100 << 20, spill_bytes=0) as worker:
            with pytest.raises(QueryFailed, match="more memory"):
                await ask(worker, "SELECT list(x) FROM range(1000000000) r(x)")
            assert await ask(worker, "SELECT 2") == b"2\n"

    async def test_a_process_that_can_not_be_started_is_an_error_of_the_query(self, start, monkeypatch):
        async with start() as worker:
            monkeypatch.setattr(sys, "executable", "/nowhere/python")
            with pytest.raises(SqlFailed, match="could not be run"):
                await ask(worker, "SELECT 1")

    async def test_leaving_ends_the_process(self, start):
        async with start() as worker:
            await ask(worker, "SELECT 1")
            pid = pid_of(worker)

        assert not is_alive(pid)

    async def test_the_worker_ends_with_its_parent_in_the_middle_of_a_query(self, start):
        """A killed daemon closes its end of the pipe, and nothing more."""
        async with start() as worker, trio.open_nursery() as nursery:
            await ask(worker, "SELECT 1")
            process = worker._process

            async def fail():
                with pytest.raises(SqlFailed):
                    await ask(worker, ENDLESS)

            nursery.start_soon(fail)
            await running(worker)
            await trio.testing.wait_all_tasks_blocked()
            await process.stdin.aclose()
            assert await process.wait() == 0

    async def test_what_a_killed_daemon_left_is_removed(self, start, tmp_path):
        (tmp_path / "sql" / "spill").mkdir(parents=True)
        (tmp_path / "sql" / "answer-1").write_bytes(b"left")
        (tmp_path / "sql" / "spill" / "rows").write_bytes(b"left")
        async with start() as worker:
            await ask(worker, "SELECT 1")

            assert [path.name for path in (tmp_path / "sql").rglob("*")] == ["spill"]


class TestTurns:
    async def test_queries_wait_for_each_other(self, start):
        answers = {}

        async def one(worker, number):
            answers[number] = await ask(worker, f"SELECT {number}")

        async with start() as worker, trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(one, worker, number)

        assert answers == {number: b"%d\n" % number for number in range(5)}

    async def test_more_than_may_wait_are_refused_at_once(self, start, monkeypatch):
        monkeypatch.setattr(sql, "WAITING_MAX", 2)
        async with start() as worker, trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask, worker, ENDLESS)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(SqlBusy):
                await ask(worker, "SELECT 1")
            nursery.cancel_scope.cancel()

    async def test_answers_that_nobody_reads_are_bounded_in_number_and_in_bytes(self, start, monkeypatch):
        monkeypatch.setattr(sql_answers, "ANSWERS_MAX", 3)
        monkeypatch.setattr(sql_answers, "ANSWERS_BYTES_MAX", 1000)
        async with start() as worker:
            held = [await worker.run(SqlRequest(f"SELECT {number}", None)) for number in range(3)]
            with pytest.raises(SqlBusy, match="their clients"):
                await ask(worker, "SELECT 3")
            for answer in held:
                answer.close()

            long = await worker.run(SqlRequest("SELECT x FROM range(300) r(x)", None))
            with pytest.raises(SqlBusy, match="their clients"):
                await ask(worker, "SELECT 4")
            long.close()
            long.close()
            assert await ask(worker, "SELECT 5") == b"5\n"

    async def test_a_client_that_leaves_while_it_waits_ends_no_query(self, start):
        async with start() as worker:
            await ask(worker, "SELECT 1")
            before = pid_of(worker)
            async with worker._turn:
                with trio.move_on_after(0) as scope:
                    await ask(worker, "SELECT 1")

            assert scope.cancelled_caught
            assert await ask(worker, "SELECT 1") == b"1\n"
            assert pid_of(worker) == before


async def test_an_answer_is_read_to_its_size_and_the_disk_is_not_asked_again(tmp_path):
    """A disk that fails after the last byte was sent must not look like a request that failed."""
    path = tmp_path / "answer"
    path.write_bytes(b"answer, and more")
    with path.open("rb", buffering=0) as file:
        answer = SqlAnswer("text/plain", 1, 6, (), file, lambda: None)
        chunks = answer.chunks()
        assert await anext(chunks) == b"answer"
        file.close()
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)


async def test_the_worker_has_no_secrets_in_its_environment(start, monkeypatch):
    monkeypatch.setenv("SILTSTONED_ADMIN_TOKEN", "p.e30.of-the-admin")
    async with start() as worker:
        await ask(worker, "SELECT 1")
        environment = await trio.Path(f"/proc/{pid_of(worker)}/environ").read_bytes()

    assert b"PATH=" in environment
    assert b"of-the-admin" not in environment


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
