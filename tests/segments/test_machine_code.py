"""The object file that is kept on disk: of these sources and no others, whole, and made anew when it is not."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import segments
from segments.compiled.load import link, with_digest
from segments.compiled.make import make


@pytest.fixture
def copied(tmp_path) -> Path:
    """The package, with nothing kept yet."""
    shutil.copytree(Path(segments.__file__).parent, tmp_path / "segments", ignore=shutil.ignore_patterns("__pycache__"))
    return Path(tmp_path)


def run(root: Path, program: str) -> str:
    """In a process of its own, with a user's cache of its own."""
    env = os.environ | {"XDG_CACHE_HOME": str(root / "cache"), "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=True).stdout.strip()


def kept(root: Path) -> list[Path]:
    return sorted(root.rglob("code-*.o"))


LOAD = "from segments.compiled.load import loaded; loaded()"
IS_KEPT = "from segments.compiled.load import kept; print(kept() is not None)"


def test_neither_torn_machine_code_nor_that_of_other_sources_is_taken(copied):
    """A power cut may leave any part of a file that nobody synced; to run it would end the process."""
    run(copied, LOAD)
    (path,) = kept(copied)
    whole = path.read_bytes()
    assert path.parent == copied / "segments" / "compiled" / "__pycache__"
    for torn in (b"", whole[:-1], whole[:4096] + bytes(len(whole) - 4096), bytes(len(whole))):
        path.write_bytes(torn)
        assert run(copied, IS_KEPT) == "False"
    path.write_bytes(whole)
    assert run(copied, IS_KEPT) == "True"

    with (copied / "segments" / "compiled" / "values.py").open("a") as source:
        source.write("# Changed.\n")
    assert run(copied, IS_KEPT) == "False"


def test_where_the_sources_may_not_be_written_to_the_users_cache_keeps_it(copied):
    keep = "from segments.compiled.load import keep, with_digest; keep(with_digest(b'code'))"
    (copied / "segments" / "compiled" / "__pycache__").write_text("in the way, as root may write anywhere")
    run(copied, keep)
    (path,) = kept(copied)
    assert path.parent == copied / "cache" / "siltstone"
    assert run(copied, IS_KEPT) == "True"

    homeless = "import pathlib; pathlib.Path.expanduser = lambda path: (_ for _ in ()).throw(RuntimeError('no home')); "
    assert run(copied, homeless + IS_KEPT) == "False"

    shutil.rmtree(copied / "cache")
    (copied / "cache").write_text("in the way")
    run(copied, keep)
    assert run(copied, IS_KEPT) == "False"


def test_it_needs_nothing_of_who_made_it_and_works():
    """`make` refuses what needs more than the C library."""
    code = link(with_digest(make()))
    text = b"a,b,,\n"
    assert code.count(ctypes.c_char_p(text), len(text), ord(",")) == 3


@pytest.mark.parametrize("torn", [b"", b"not code" * 100, with_digest(b"code")[:-1]])
def test_what_is_torn_is_an_error_and_not_the_end(torn):
    with pytest.raises(RuntimeError, match="not whole"):
        link(torn)
