"""Machine code touches no memory but its own: each buffer ends at a page that may not be touched, and behind it is death."""

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CASES_MIN = 50_000


def run(argument: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, which may crash."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.segments.guarded_reader", argument]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def test_nothing_beyond_a_buffer_is_read_or_written(tmp_path):
    """Texts that end anywhere, with any byte changed; columns of every kind, many short elements, rows of nothing."""
    at = tmp_path / "text"
    done = run(str(at))

    assert done.returncode == 0, f"at the text {at.read_bytes()!r}: {done.stderr}"
    assert int(done.stdout) > CASES_MIN


def test_a_step_beyond_a_buffer_is_a_crash():
    """Else the test above could not fail."""
    assert run("beyond").returncode == -signal.SIGSEGV
