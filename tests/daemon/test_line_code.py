"""The daemon goes on without machine code, whatever is wrong with it, and has it made when it never was."""

import os
import subprocess
import sys

import pytest
import trio

from daemon import line_code
from daemon.line_code import LOADED_AFTER_BYTES, LineCode


def run_wanted() -> None:
    code = LineCode()
    code.saw(LOADED_AFTER_BYTES)
    trio.run(code.run)


@pytest.mark.parametrize("error", [OSError(28, "full"), RuntimeError("LLVM ERROR"), ImportError("llvmlite"), subprocess.CalledProcessError(1, "make")])  # fmt: skip
def test_code_that_cannot_be_loaded_ends_nothing(monkeypatch, error):
    asked = []

    def fail(_: bytes) -> None:
        asked.append(error)
        raise error

    monkeypatch.setattr(line_code, "kept", lambda: b"code")
    monkeypatch.setattr(line_code, "use", fail)
    run_wanted()

    assert asked == [error]


def test_a_maker_that_fails_ends_nothing(monkeypatch):
    monkeypatch.setattr(line_code, "kept", lambda: None)
    monkeypatch.setattr(line_code, "MAKE", (sys.executable, "-c", "raise SystemExit(3)"))
    monkeypatch.setattr(line_code, "use", lambda _: pytest.fail("there is nothing to use"))
    run_wanted()


def test_what_another_process_prints_is_kept_and_used(monkeypatch):
    done = []
    monkeypatch.setattr(line_code, "kept", lambda: None)
    monkeypatch.setattr(line_code, "MAKE", (sys.executable, "-c", "print('code')"))
    monkeypatch.setattr(line_code, "keep", lambda code: done.append(("kept", code)))
    monkeypatch.setattr(line_code, "use", lambda code: done.append(("used", code)))
    run_wanted()

    assert done == [("used", b"code\n"), ("kept", b"code\n")]


def test_a_daemon_that_ends_meanwhile_ends_the_maker(monkeypatch, tmp_path):
    told = tmp_path / "told"
    os.mkfifo(told)
    sleeper = f"import os, time; open({str(told)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    monkeypatch.setattr(line_code, "kept", lambda: None)
    monkeypatch.setattr(line_code, "MAKE", (sys.executable, "-c", sleeper))

    async def stop_when_begun() -> int:
        async with trio.open_nursery() as nursery:
            code = LineCode()
            code.saw(LOADED_AFTER_BYTES)
            nursery.start_soon(code.run)
            pid = int(await trio.Path(told).read_text())
            nursery.cancel_scope.cancel()
        return pid

    with pytest.raises(ProcessLookupError):
        os.kill(trio.run(stop_when_begun), 0)
