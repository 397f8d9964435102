"""Published clients of the Events API, where scripts/clients has put them, and how a test has one of them do something."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.daemons import TOKEN

ROOT = Path(__file__).parents[3]
CLIENTS = ROOT / ".clients"
DRIVERS = Path(__file__).parent / "drivers"
TIMEOUT_S = 120


def _installed(group: str, reason: str = "run scripts/clients first") -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (CLIENTS / group / "siltstone.stamp").exists(), reason=reason)


# Marks of the tests that drive what may not be installed; they skip before a daemon is started.
PYTHON = _installed("python")
TB = _installed("tb")
TB_CLASSIC = _installed("tb-classic")
NODE = _installed("node", "install nodejs and npm, then run scripts/clients")
CHROMIUM = pytest.mark.skipif(shutil.which("chromium") is None, reason="install chromium first")
CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="install curl first")


def call(function: str, /, **given: Any) -> tuple[str, dict[str, Any]]:
    """One call for `drive`: a function of the driver and its arguments."""
    return function, given


def drive(driver: str, url: str, *calls: tuple[str, dict[str, Any]], token: str = TOKEN) -> list[Any]:
    """Have a client make these calls, one after the other in one process.

    Returns what the driver made of each: its result, or `{"raised": type, "message": text}` of the client's exception,
    with "status" where that has one.
    """
    with tempfile.NamedTemporaryFile("w") as asked:
        json.dump({"url": url, "token": token, "calls": calls}, asked)
        asked.flush()
        if driver.endswith(".mjs"):
            # A module read from standard input finds its packages from the working directory.
            command = ["node", "--input-type=module", "-"]
            done = run(command, cwd=CLIENTS / "node", stdin=(DRIVERS / driver).read_text(), DRIVE=asked.name)
        else:
            command = [str(CLIENTS / "python/bin/python"), "-m", f"tests.e2e.clients.drivers.{driver}"]
            done = run(command, cwd=CLIENTS / "python", PYTHONPATH=str(ROOT), DRIVE=asked.name)
    print(done.stderr)
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout.splitlines()[-1])
    assert len(answers) == len(calls)
    return answers


def run(command: list[str], *, cwd: Path, stdin: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a client with nothing of this machine's configuration; the caller looks at its exit code."""
    clean = {"PATH": os.environ["PATH"], "HOME": str(cwd), "LC_ALL": "C.UTF-8", "NO_PROXY": "*"}
    return subprocess.run(
        command,
        cwd=cwd,
        env=clean | environment,
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )
