"""The machine code, as an object file: where it is kept, and how it becomes functions of this process.

Another process makes it (`MAKE`), because that takes numba, several seconds and much memory; to load it takes a tenth of a
second. It is for this processor alone, and for the sources that it was made of.
"""

import ctypes
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

MAKE = (sys.executable, "-P", "-m", "segments.compiled.make")
"""The command that prints the object file, its digest before it. No code comes from the directory that the daemon was started in."""
_ARGUMENTS = {"scan": "pnpppppp", "pack": "ppppppnpppppp", "count": "pnn", "append": "nnpp"}
"""A letter for each argument: a pointer or a number."""
NAMES = tuple(_ARGUMENTS)
_DIGEST_BYTES = 32
_Function = Callable[..., int]


@dataclass(frozen=True, slots=True)
class MachineCode:
    """Functions that are called without the interpreter lock, and what keeps them in memory."""

    engine: Any
    scan: _Function
    pack: _Function
    count: _Function
    append: _Function


def target() -> Any:
    """What llvmlite makes code with, for this processor."""
    llvm = _llvm()
    host = {"cpu": llvm.get_host_cpu_name(), "features": _features()}
    return llvm.Target.from_default_triple().create_target_machine(**host, opt=3, reloc="pic", jit=True)


def with_digest(code: bytes) -> bytes:
    """The object file with its digest before it: whoever runs a torn one ends."""
    return hashlib.sha256(code).digest() + code


def _is_whole(code: bytes) -> bool:
    return with_digest(code[_DIGEST_BYTES:]) == code


def kept() -> bytes | None:
    """What `MAKE` printed, if it is kept, and whole: a power cut may have torn it."""
    for place in _places():
        try:
            code = place.read_bytes() if place.is_file() else b""
        except OSError:
            continue
        if _is_whole(code):
            return code
    return None


def keep(code: bytes) -> None:
    """For the next start. Where no directory can be written to, each start makes it anew."""
    for place in _places():
        building = place.with_suffix(f".{os.getpid()}.tmp")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            building.write_bytes(code)
            building.replace(place)
        except OSError:
            with suppress(OSError):
                building.unlink()
            continue
        return


def loaded() -> MachineCode:
    """The functions of what is kept, or of what `MAKE` prints, which is kept then. Raises CalledProcessError, RuntimeError or
    OSError."""
    code = kept()
    if code is not None:
        return link(code)
    made = subprocess.run(MAKE, stdout=subprocess.PIPE, check=True).stdout
    functions = link(made)
    keep(made)
    return functions


def link(code: bytes) -> MachineCode:
    """The functions of what `MAKE` printed. Raises RuntimeError or OSError when it can't be had."""
    if not _is_whole(code):
        raise RuntimeError("the machine code is not whole")
    llvm = _llvm()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code[_DIGEST_BYTES:]))
    engine.finalize_object()
    addresses = [engine.get_function_address(name) for name in NAMES]
    if not all(addresses):
        raise RuntimeError("the machine code lacks a function")
    return MachineCode(engine, *map(_function, addresses, _ARGUMENTS.values()))


def _function(address: int, arguments: str) -> _Function:
    kinds = [ctypes.c_void_p if letter == "p" else ctypes.c_int64 for letter in arguments]
    return ctypes.CFUNCTYPE(ctypes.c_int64, *kinds)(address)


@cache
def _llvm() -> Any:
    import llvmlite.binding as llvm  # noqa: PLC0415 -- 40 MB, for those who need it

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


def _features() -> str:
    try:
        return str(_llvm().get_host_cpu_features().flatten())
    except RuntimeError:
        # Not every processor says what it can do.
        return ""


def _places() -> list[Path]:
    """Beside the sources, and if that may not be written to, in the user's cache."""
    here = Path(__file__).parent
    made_by = f"{_llvm().llvm_version_info} {version('llvmlite')} {version('numba')}"
    made_for = f"{_llvm().get_process_triple()} {_llvm().get_host_cpu_name()} {_features()}"
    of = hashlib.sha256(f"{made_by} {made_for}".encode())
    for source in sorted(here.glob("*.py")):
        of.update(source.read_bytes())
    name = f"code-{of.hexdigest()[:16]}.o"
    places = [here / "__pycache__" / name]
    # Not every user has a home: a container may run as a number that nobody knows.
    with suppress(RuntimeError):
        places.append(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "siltstone" / name)
    return places
