"""Checks on the source itself: who may import whom, how long things may get, what must be documented."""

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import click
import pytest

from query.cli import main
from scripts.http_api import render

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "segments": {"google_crc32c", "orjson", "pyarrow"},
    "query": {"segments", "click", "duckdb", "orjson", "pyarrow", "rich", "urllib3"},
    "daemon": {"segments", "query", "click", "h11", "multipart", "orjson", "pyarrow", "structlog", "trio"},
}
SOURCES = [f for package in MAY_IMPORT for f in sorted((ROOT / package).rglob("*.py"))]
TESTS = [f for f in sorted((ROOT / "tests").rglob("*.py")) if "e2e" not in f.relative_to(ROOT).parts]
BANNED_STEMS = {"utils", "util", "helpers", "helper", "manager", "common", "misc", "base", "core"}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported_roots(tree: ast.Module) -> set[str]:
    roots = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            roots.add(node.module.split(".")[0])
    return roots


def commands(group: click.Group, prefix: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}"


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_source_file_keeps_the_import_table_and_the_size_limits(path):
    package = path.relative_to(ROOT).parts[0]
    text = path.read_text()
    tree = ast.parse(text)

    assert imported_roots(tree) <= MAY_IMPORT[package] | {package} | sys.stdlib_module_names
    assert text.count("\n") <= 300
    assert path.stem not in BANNED_STEMS
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, f"{node.name} is too long"


@pytest.mark.parametrize("path", [*SOURCES, *sorted((ROOT / "scripts").rglob("*.py"))], ids=named)
def test_no_module_is_named_like_the_standard_library(path):
    """Such a module hides the library's as soon as its own folder is on the path."""
    assert path.stem not in sys.stdlib_module_names


@pytest.mark.parametrize("path", TESTS, ids=named)
def test_no_test_sleeps(path):
    """A sleep is too short on a slow machine and too long on every other; wait for what happens instead."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]

    assert not [call.lineno for call in calls if isinstance(call, ast.Name) and call.id == "sleep"]
    assert not [call.lineno for call in calls if isinstance(call, ast.Attribute) and call.attr == "sleep"]


def test_no_test_folder_is_a_package():
    """With an __init__.py in tests/daemon, `import daemon` would find the tests."""
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_no_other_distribution_claims_our_package_names():
    """pip lets another distribution overwrite our packages without a word; python-daemon and segments would."""
    owners = packages_distributions()

    for name in MAY_IMPORT:
        assert set(owners.get(name, [])) <= {"siltstone"}


def test_readme_mentions_every_command():
    readme = (ROOT / "README.md").read_text()

    assert [command for command in commands(main, "siltstone") if command not in readme] == []


def test_the_page_about_the_http_interface_is_what_its_tests_state():
    page = (ROOT / "docs/http-api.md").read_text()

    assert page == render(), "run scripts/http-api"
    assert page.count("::test_") >= 80
