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
    "segments": {"google_crc32c", "llvmlite", "numba", "orjson", "pyarrow"},
    "query": {"segments", "click", "_duckdb", "duckdb", "orjson", "pyarrow", "rich", "urllib3"},
    "daemon": {"segments", "query", "click", "h11", "multipart", "orjson", "outcome", "pyarrow", "structlog", "trio"},
}
SOURCES = [f for package in MAY_IMPORT for f in sorted((ROOT / package).rglob("*.py"))]
TESTS = [f for f in sorted((ROOT / "tests").rglob("*.py")) if not {"e2e", "faults"} & set(f.relative_to(ROOT).parts)]
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


ON_FILES = {
    *(
        "read_bytes",
        "read_text",
        "write_bytes",
        "write_text",
        "open",
        "exists",
        "is_file",
        "is_dir",
        "stat",
        "iterdir",
        "glob",
    ),
    *(
        "rglob",
        "unlink",
        "rename",
        "mkdir",
        "rmdir",
        "touch",
        "symlink_to",
        "hardlink_to",
        "read_table",
        "read_metadata",
    ),
}


def touches_files(call: ast.Call) -> bool:
    """Whether a call goes to the file system by another way than a `disk`."""
    if not isinstance(call.func, ast.Attribute):
        return isinstance(call.func, ast.Name) and call.func.id == "open"
    match call.func.value:
        case ast.Name("disk" | "self") | ast.Attribute(ast.Name("self"), "_disk"):
            return False
        case ast.Name("os" | "mmap" | "shutil" | "tempfile" | "io"):
            return True
    if call.func.attr in ("ParquetFile", "read_metadata", "write_table"):
        return "pa.BufferReader(" not in ast.unparse(call) and "sink" not in ast.unparse(call)
    return call.func.attr in ON_FILES


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


ROUND_THE_SEAM = ("disk", "append_threads")
"""The seam itself, and the threads that write and sync for it; tests of real processes cut the power under those."""


@pytest.mark.parametrize(
    "path", [f for f in SOURCES if f.parent.name == "segments" and f.stem not in ROUND_THE_SEAM], ids=named
)
def test_storage_code_touches_files_through_the_seam_alone(path):
    """What goes round `Disk` is in no crash test."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]

    assert not [f"line {call.lineno}: {ast.unparse(call)}" for call in calls if touches_files(call)]


def test_the_check_of_the_seam_sees_what_goes_round_it():
    seen = (
        "open(p)",
        "os.unlink(p)",
        "p.read_bytes()",
        "source.wal.iterdir()",
        "pq.read_table(p)",
        "pq.ParquetFile(p)",
    )
    unseen = ("disk.unlink(p)", "self._disk.rename(a, b)", "pq.ParquetFile(pa.BufferReader(b))", "open_files(disk, s)")

    assert [text for text in (*seen, *unseen) if touches_files(ast.parse(text, mode="eval").body)] == list(seen)  # type: ignore[arg-type]


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


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_processes_that_we_start_take_no_code_from_the_working_directory(path):
    assert 'sys.executable, "-m"' not in path.read_text() or path.parts[-2] not in {
        "daemon",
        "segments",
        "compiled",
        "query",
    }
