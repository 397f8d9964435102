"""The daemon goes on without machine code, whatever is wrong with it, and has it made when it never was."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import trio

from daemon import warm_up
from daemon.warm_up import LOADED_AFTER_BYTES, REQUEST_BYTES_MIN, WarmUp, When


def run_wanted(use: Callable[[object], None]) -> None:
    wanted = WarmUp(When.AUTO, use)
    wanted.saw(LOADED_AFTER_BYTES)
    trio.run(wanted.run)


@pytest.fixture(autouse=True)
def _linked_as_it_is(monkeypatch):
    monkeypatch.setattr(warm_up, "link", lambda code: code)


@pytest.mark.parametrize("error", [OSError(28, "full"), RuntimeError("LLVM ERROR"), ImportError("llvmlite"), subprocess.CalledProcessError(1, "make")])  # fmt: skip
def test_code_that_cannot_be_used_ends_nothing(monkeypatch, error):
    asked = []

    def fail(_: object) -> None:
        asked.append(error)
        raise error

    monkeypatch.setattr(warm_up, "kept", lambda: b"code")
    run_wanted(fail)

    assert asked == [error]


def test_a_maker_that_fails_ends_nothing(monkeypatch):
    monkeypatch.setattr(warm_up, "kept", lambda: None)
    monkeypatch.setattr(warm_up, "MAKE", (sys.executable, "-c", "raise SystemExit(3)"))
    run_wanted(lambda _: pytest.fail("there is nothing to use"))


def test_what_another_process_prints_is_kept_and_used(monkeypatch):
    done: list[tuple[str, object]] = []
    monkeypatch.setattr(warm_up, "kept", lambda: None)
    monkeypatch.setattr(warm_up, "MAKE", (sys.executable, "-c", "print('code')"))
    monkeypatch.setattr(warm_up, "keep", lambda code: done.append(("kept", code)))
    run_wanted(lambda code: done.append(("used", code)))

    assert done == [("kept", b"code\n"), ("used", b"code\n")]


@pytest.mark.parametrize(
    ("when", "requests", "expected"),
    [
        (When.NOW, 0, True),
        (When.AUTO, LOADED_AFTER_BYTES // REQUEST_BYTES_MIN - 1, False),
        (When.AUTO, LOADED_AFTER_BYTES // REQUEST_BYTES_MIN, True),
        (When.NEVER, 10_000, False),
    ],
)
async def test_it_is_used_when_the_daemon_was_told_to(monkeypatch, when, requests, expected):
    used: list[object] = []
    is_used = trio.Event()

    def use(code: object) -> None:
        used.append(code)
        is_used.set()

    monkeypatch.setattr(warm_up, "kept", lambda: b"code")
    wanted = WarmUp(when, use)
    for _ in range(requests):
        wanted.saw(1)
    async with trio.open_nursery() as nursery:
        await nursery.start(wanted.run)
        if when is When.NOW:
            assert used == [b"code"], "requests are not taken before"
        with trio.move_on_after(30 if expected else 0.1):
            await is_used.wait()
        nursery.cancel_scope.cancel()

    assert used == [b"code"] * expected


def test_a_daemon_that_ends_meanwhile_ends_the_maker(monkeypatch, tmp_path):
    told = tmp_path / "told"
    os.mkfifo(told)
    sleeper = f"import os, time; open({str(told)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    monkeypatch.setattr(warm_up, "kept", lambda: None)
    monkeypatch.setattr(warm_up, "MAKE", (sys.executable, "-c", sleeper))

    async def stop_when_begun() -> int:
        async with trio.open_nursery() as nursery:
            code = WarmUp(When.AUTO, lambda _: None)
            code.saw(LOADED_AFTER_BYTES)
            nursery.start_soon(code.run)
            pid = int(await trio.Path(told).read_text())
            nursery.cancel_scope.cancel()
        return pid

    with pytest.raises(ProcessLookupError):
        os.kill(trio.run(stop_when_begun), 0)
