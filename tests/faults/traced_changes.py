"""From a trace of system calls to what happened to the files of a data directory, and what clients sent and were told."""

import re
import zlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import PurePath

from tests.strace import Call, hexadecimal, read_calls

EXEMPT = {"LOCK", "sql"}
"""Names in the data directory that no promise rests on: the lock, which has no bytes, and what the SQL worker puts down
while it works."""
NUMBER = re.compile(rb"\r\nX-Exchange: (\d+)\r\n")
ANSWER = re.compile(rb"HTTP/1\.1 [2-5].*?\r\nx-request-id: (\w+)\r\n", re.DOTALL)
SOCKETS = ("socket:", "TCP")
READS = {
    *("access", "faccessat", "faccessat2", "execve", "getcwd", "getxattr", "lgetxattr", "lstat", "mmap"),
    *("newfstatat", "open", "openat", "readlink", "readlinkat", "stat", "statfs", "statx", "ioctl"),
}
"""What changes nothing, when it comes without the flags and requests for which `_is_change` looks."""
NAMES = {
    **dict.fromkeys(("unlink", "unlinkat"), "unlink"),
    **dict.fromkeys(("rename", "renameat", "renameat2"), "rename"),
    **dict.fromkeys(("mkdir", "mkdirat"), "mkdir"),
    **dict.fromkeys(("fsync", "fdatasync"), "sync"),
    "rmdir": "rmdir",
    "pwrite64": "write",
}


class Unmodelled(AssertionError):
    """A call on the data directory that the model of a disk does not know; nothing that it shows would be worth much."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing done to the data directory, or a sync in it; `path` is below the directory, `new` a rename's second path."""

    what: str
    path: PurePath
    new: PurePath | None
    offset: int
    data: bytes
    call: Call

    def as_the_seam_says(self, root: PurePath) -> str:
        detail = "" if self.new is None else str(root / self.new)
        if self.what == "write":
            detail = f"{self.offset}+{len(self.data)} {zlib.crc32(self.data):08x}"
        return f"{self.what} {root / self.path} {detail}"


@dataclass(frozen=True, slots=True)
class Received:
    """The daemon had got the head of the request with this number."""

    number: int
    call: Call


@dataclass(frozen=True, slots=True)
class Answered:
    """The daemon began to send an answer with this request id, to the request that came on the same socket before."""

    number: int
    request_id: str
    call: Call


Event = Change | Received | Answered


def read_events(lines: Iterable[str], root: PurePath) -> list[Event]:
    """In the order that counts: a change may be on the device from its beginning on; a sync is worth something once it
    has returned; so is a request; an answer is given from its beginning on. Raises Unmodelled."""
    shown = hexadecimal(str(root))
    places: list[tuple[int, Event]] = []
    on_socket: dict[str, int] = {}
    for call in read_calls(lines):
        is_socket = call.file.startswith(SOCKETS)
        if is_socket and call.name == "recvfrom":
            for number in NUMBER.findall(call.data):
                on_socket[call.file] = int(number)
                places.append((call.returned, Received(int(number), call)))
        elif is_socket and call.name in ("sendto", "sendmsg", "write", "writev"):
            for request_id in ANSWER.findall(call.data):
                if call.file in on_socket:
                    event = Answered(on_socket.pop(call.file), request_id.decode(), call)
                    places.append((call.entered, event))
        elif call.name.startswith("io_uring") or call.name in ("sync", "syncfs"):
            raise Unmodelled(str(call))
        elif shown in call.arguments:
            change = _change(call, root)
            if change is not None:
                places.append((call.returned if change.what == "sync" else call.entered, change))
    return [event for _, event in sorted(places, key=lambda place: place[0])]


def _change(call: Call, root: PurePath) -> Change | None:
    """What a call that names the data directory does to it, if anything. Raises Unmodelled."""
    by_descriptor = call.name in ("pwrite64", "fsync", "fdatasync")
    named = [PurePath(call.file)] if by_descriptor or call.name in ("write", "writev") else call.paths()
    paths = [path.relative_to(root) for path in named if path.is_relative_to(root)]
    if all(path.parts[:1] and path.parts[0] in EXEMPT for path in paths) or not _is_change(call):
        return None
    if call.result is None:
        raise Unmodelled(f"the trace ends before a call does: {call}")
    what = NAMES.get(call.name, "")
    if call.name == "openat":
        flags = set(re.findall(r"O_\w+", call.arguments))
        what = "create" if {"O_CREAT", "O_EXCL", "O_WRONLY"} <= flags and not flags & {"O_TRUNC", "O_APPEND"} else ""
    elif call.name == "unlinkat" and "AT_REMOVEDIR" in call.arguments:
        what = "rmdir"
    if not what or len(paths) != (2 if what == "rename" else 1) or "RENAME_" in call.arguments:
        raise Unmodelled(str(call))
    if call.result < 0:
        return None
    new = paths[1] if what == "rename" else None
    is_write = what == "write"
    data = call.data[: call.result] if is_write else b""
    return Change(what, paths[0], new, call.last_number if is_write else 0, data, call)


def _is_change(call: Call) -> bool:
    match call.name:
        case "open" | "openat":
            return any(flag in call.arguments for flag in ("O_CREAT", "O_TRUNC", "O_RDWR", "O_APPEND", "O_TMPFILE"))
        case "mmap":
            return "PROT_WRITE" in call.arguments and "MAP_SHARED" in call.arguments
        case "ioctl":
            return "FICLONE" in call.arguments
    return call.name not in READS


def disagreements(events: Iterable[Event], seam: Iterable[str], root: PurePath) -> list[str]:
    """Where the seam's log and the trace differ: each thread must say the same in both, in the same order."""
    traced, said = defaultdict[int, list[str]](list), defaultdict[int, list[str]](list)
    for event in sorted((event for event in events if isinstance(event, Change)), key=lambda one: one.call.entered):
        traced[event.call.thread].append(event.as_the_seam_says(root))
    for line in seam:
        number, _, rest = line.rstrip("\n").partition(" ")
        said[int(number)].append(rest)
    found = []
    for thread in sorted(traced.keys() | said.keys()):
        both = enumerate(zip_longest(traced[thread], said[thread], fillvalue="nothing"))
        different = ((at, by_trace, by_seam) for at, (by_trace, by_seam) in both if by_trace != by_seam)
        for at, by_trace, by_seam in islice(different, 1):
            found.append(f"thread {thread}, change {at}: the trace has {by_trace}; the seam has {by_seam}")
    return found
