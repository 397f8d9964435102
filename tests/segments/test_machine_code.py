"""Machine code that is kept on disk: of these sources and no others, and made anew when it is torn."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import segments

LOAD = "from segments.line_reader import load; load()"


@pytest.fixture
def copied(tmp_path) -> Path:
    """The package, with nothing kept yet."""
    shutil.copytree(Path(segments.__file__).parent, tmp_path / "segments", ignore=shutil.ignore_patterns("__pycache__"))
    return Path(tmp_path)


def load(root: Path) -> bool:
    """In a process of its own."""
    return subprocess.run([sys.executable, "-c", LOAD], cwd=root, capture_output=True, check=False).returncode == 0


def kept(root: Path) -> list[Path]:
    return sorted((root / "segments" / "compiled" / "__pycache__").glob("siltstone-*"))


def test_torn_machine_code_is_made_anew_and_that_of_other_sources_is_not_taken(copied):
    """numba looks at one file alone, and would run an old function from within a new one."""
    assert load(copied)
    (first,) = kept(copied)
    for path in first.rglob("*.nbc"):
        path.write_bytes(b"")
    assert not load(copied)
    assert kept(copied) == []

    with (copied / "segments" / "compiled" / "values.py").open("a") as source:
        source.write("# Changed.\n")
    assert load(copied)
    (second,) = kept(copied)
    assert second.name != first.name
    assert load(copied)
