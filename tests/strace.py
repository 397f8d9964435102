"""What strace wrote down of a process and its children: whole calls, each with the lines at which it began and returned."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

CALLS = (
    "%file,write,pwrite64,writev,pwritev,pwritev2,ftruncate,fallocate,fsync,fdatasync,sync_file_range,syncfs,sync,msync,"
    "mmap,copy_file_range,sendfile,splice,fchmod,fchown,fsetxattr,ioctl,io_uring_setup,sendto,sendmsg,recvfrom"
)
"""All that names a path, and all that changes a file by its descriptor."""
OPTIONS = ("-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", "67108864", "-e", f"trace={CALLS}")
"""Every text in hexadecimal and whole, every descriptor with its path."""

_TEXT = r"(?:\\x[0-9a-f]{2})*"
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+|\?)(.*)")
_PATH = re.compile(rf'(-?\d+|AT_FDCWD)<({_TEXT})>(?:, "({_TEXT})")?|"({_TEXT})"')
_STRING = re.compile(rf'"({_TEXT})"(\.\.\.)?')


def can_trace(*options: str) -> bool:
    """Whether there is an strace that knows these options, and it is let."""
    if shutil.which("strace") is None:
        return False
    command = ["strace", *options, "-o", "/dev/null", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@dataclass(frozen=True, slots=True)
class Call:
    """One system call. `entered` and `returned` are lines of the trace; `result` is None when it never returned."""

    thread: int
    name: str
    arguments: str
    result: int | None
    entered: int
    returned: int

    def paths(self) -> list[PurePath]:
        """Every path that it names, by a text or by a descriptor, in order. Not for calls that send or write texts."""
        found = []
        for descriptor, directory, below, plain in _PATH.findall(self.arguments):
            if descriptor:
                found.append(PurePath(_bytes(directory).decode()) / _bytes(below).decode())
            else:
                found.append(PurePath(_bytes(plain).decode(errors="replace")))
        return found

    @property
    def file(self) -> str:
        """What the descriptor that is its first argument stands for: a path, or a socket's name."""
        match = re.match(rf"\d+<({_TEXT})>", self.arguments)
        return _bytes(match[1]).decode() if match else ""

    @property
    def data(self) -> bytes:
        """The bytes that were written, sent or received."""
        match = _STRING.search(self.arguments)
        assert match is None or not match[2], "the trace has cut bytes short"
        return _bytes(match[1]) if match else b""

    @property
    def last_number(self) -> int:
        """The last argument, such as the offset of a write."""
        return int(self.arguments.rpartition(", ")[2], 0)

    def __str__(self) -> str:
        return f"line {self.entered + 1}: {self.name} {self.file or [*map(str, self.paths())]} = {self.result}"


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def hexadecimal(text: str) -> str:
    """A text as the trace has it."""
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


def read_calls(lines: Iterable[str]) -> Iterator[Call]:
    """The calls in the order in which they returned; at the end those that never did."""
    under_way: dict[int, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        first, _, rest = line.rstrip("\n").partition(" ")
        thread, rest, entered = int(first), rest.lstrip(), number
        if rest.startswith("<... "):
            entered, begun = under_way.pop(thread)
            rest = begun + rest.partition(" resumed>")[2]
        if rest.endswith("<unfinished ...>"):
            under_way[thread] = entered, rest.removesuffix("<unfinished ...>").rstrip()
        elif not rest.startswith(("+++", "---")):
            match = _CALL.fullmatch(rest)
            assert match is not None, f"line {number + 1} of the trace is not understood: {rest[:200]}"
            result = None if match[3] == "?" else int(match[3], 0)
            yield Call(thread, match[1], match[2], result, entered, number)
    for thread, (entered, begun) in under_way.items():
        name, _, arguments = begun.partition("(")
        yield Call(thread, name, arguments, None, entered, entered)
