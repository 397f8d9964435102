"""pytest-tinybird (PyPI): results of a test run as events, with the token in the query and no Content-Type."""

import pytest

from tests.daemons import TOKEN, query
from tests.e2e.clients.installed import CLIENTS, PYTHON, run

pytestmark = PYTHON
TESTS = """
import pytest

def test_good(): pass
def test_bad(): assert False
@pytest.mark.skip
def test_skipped(): pass
"""


@pytest.fixture
def report(tmp_path, daemon):
    """Run pytest with its plugin on these tests; returns what it printed."""

    def run_pytest(tests: str, **environment: str) -> str:
        (tmp_path / "test_some.py").write_text(tests)
        settings = {"TINYBIRD_URL": daemon.url, "TINYBIRD_DATASOURCE": "tests", "TINYBIRD_TOKEN": TOKEN} | environment
        command = [
            str(CLIENTS / "python/bin/python"),
            "-m",
            "pytest",
            "--report-to-tinybird",
            "-p",
            "no:cacheprovider",
        ]
        done = run([*command, "-o", "log_cli=true", "test_some.py"], cwd=tmp_path, **settings)
        print(done.stdout, done.stderr)
        return done.stdout + done.stderr

    return run_pytest


@pytest.mark.parametrize("wait", ["false", "true"])
def test_a_report_is_one_row_for_each_phase_of_a_test(report, daemon, wait):
    said = report(TESTS, TINYBIRD_WAIT=wait, CI_COMMIT_BRANCH="main")

    assert "send report to Tinybird" in said
    assert "Error while uploading" not in said
    told = "SELECT test_name, outcome, branch FROM tests WHERE test_part = 'call' OR outcome = 'skipped' ORDER BY 1"
    assert query(daemon.data, told) == [
        {"test_name": "test_bad", "outcome": "failed", "branch": "main"},
        {"test_name": "test_good", "outcome": "passed", "branch": "main"},
        {"test_name": "test_skipped", "outcome": "skipped", "branch": "main"},
    ]


def test_a_run_without_tests_reports_an_empty_body(report, daemon):
    assert "Error while uploading" not in report("")
    assert not list((daemon.data / "sources").iterdir())


def test_a_refusal_is_tried_again_as_often_as_told_and_logged(report, daemon):
    said = report(TESTS, TINYBIRD_TOKEN="wrong", TINYBIRD_RETRIES="1")

    assert "Error while uploading to tinybird 403 (Attempt 2/2)" in said
    assert "All 2 attempts failed" in said
    assert not list((daemon.data / "sources").iterdir())
