"""Read a source's WAL files, telling a torn tail from corruption. Never changes a file.

The rules: a later epoch voids the LSNs of earlier ones from its first LSN on; of one epoch, the next file begins where the
rows of the one before end. Each frame says how far the
log was durable when it was written. A bad frame that something vouches for is corruption; any other is a torn tail, and
what follows it in its file was never acknowledged either.

A reader syncs what it is about to show. Where the disk refuses that, a frame may be shown if the log vouches for it: its
writer says that a row is durable only when it has synced it, so that no power cut can take such a row back.
"""

import errno
from dataclasses import dataclass, replace
from pathlib import Path

from segments.disk import Disk
from segments.errors import Corruption, Unreadable
from segments.filenames import Lsn, SourceDir, WalName
from segments.frame import SECTOR, BadBytes, FileHeader, Frame, decode_frame, decode_header, previous_crc

UNSYNCABLE = {errno.EROFS, errno.EIO, errno.ENOSPC, errno.EDQUOT}
"""What a disk says that will not sync, and may still be read."""
LAST = Lsn((1 << 64) - 1)


@dataclass(frozen=True, slots=True)
class WalFile:
    """One file as read: the frames up to the first bad bytes, and the whole frames found after those."""

    path: Path
    name: WalName
    size: int
    header: FileHeader | None
    frames: tuple[Frame, ...]
    bad: BadBytes | None
    bad_lsn: Lsn
    later: tuple[Frame, ...] = ()
    refusal: str = ""
    """Why the file could not be synced, if it could not."""


@dataclass(frozen=True, slots=True)
class Log:
    """All of a source's WAL above `published`, in LSN order, and what is wrong with it.

    `files` hold their live frames only. `torn` are tails that nobody was told about, `unsure` are rows left out because they
    may not be durable.
    """

    files: tuple[WalFile, ...]
    damage: tuple[Corruption, ...]
    torn: tuple[tuple[Path, BadBytes], ...]
    unsure: tuple[Unreadable, ...]
    last_lsn: Lsn
    epoch: int


def read_file(path: Path, name: WalName, view: memoryview) -> WalFile:
    """Parse one mapped WAL file, stopping at the first bytes that are not the next frame."""
    header = decode_header(view)
    if isinstance(header, BadBytes):
        # Without the nonce in it, what follows can't be told from what a client sent.
        return WalFile(path, name, len(view), None, (), header, name.first_lsn)
    if (header.epoch, header.first_lsn) != (name.epoch, name.first_lsn):
        bad = BadBytes(0, "the file's name does not match its header")
        return WalFile(path, name, len(view), None, (), bad, name.first_lsn)
    frames: list[Frame] = []
    offset, crc, lsn = header.length, header.crc, header.first_lsn
    bad_bytes = None
    while offset < len(view):
        frame = decode_frame(view, offset, header.nonce)
        if isinstance(frame, Frame) and previous_crc(view, frame) != crc:
            frame = BadBytes(offset, "the frame does not follow the one before it")
        if isinstance(frame, Frame) and frame.first_lsn != lsn:
            frame = BadBytes(offset, f"the frame starts at LSN {frame.first_lsn} where {lsn} is next")
        if isinstance(frame, BadBytes):
            bad_bytes = frame
            break
        frames.append(frame)
        offset, crc, lsn = frame.end, frame.crc, Lsn(frame.first_lsn + frame.count)
    later = _frames_after(view, offset + SECTOR, lsn, header.nonce) if bad_bytes else ()
    return WalFile(path, name, len(view), header, tuple(frames), bad_bytes, lsn, later)


def _frames_after(view: memoryview, offset: int, lsn: Lsn, nonce: bytes) -> tuple[Frame, ...]:
    frames = []
    while offset < len(view):
        frame = decode_frame(view, offset, nonce)
        if isinstance(frame, Frame) and frame.first_lsn >= lsn:
            frames.append(frame)
            offset, lsn = frame.end, Lsn(frame.first_lsn + frame.count)
        else:
            offset += SECTOR
    return tuple(frames)


def open_files(disk: Disk, source: SourceDir, *, through: Lsn = LAST, to_show: bool = False) -> list[WalFile]:
    """Map, sync and parse the WAL files that begin at or before `through`, oldest first.

    A file that can't be synced is read all the same if it is `to_show`, for `assemble` to take out of it what is unsure.
    Raises FileNotFoundError when one was removed meanwhile.
    """
    names = [name for name in map(WalName.parse, disk.listdir(source.wal)) if name and name.first_lsn <= through]
    files = []
    for name in sorted(names):
        path = source.wal / str(name)
        try:
            file = read_file(path, name, disk.map_synced(path))
        except OSError as error:
            if not to_show or error.errno not in UNSYNCABLE:
                raise
            file = replace(read_file(path, name, disk.map(path)), refusal=error.strerror or str(error))
        files.append(file)
    return files


def assemble(files: list[WalFile], published: Lsn, *, through: Lsn = LAST) -> Log:
    """Judge the parsed files together: void, cut and vouch; keep the frames above `published`, up to `through`.

    Who leaves out files that begin after `through` must pass it here: one of them may void what is beyond it.
    """
    void_from = {file.name: _void_from(file, files) for file in files}
    vouched = _vouched(files, void_from, published)
    damage: list[Corruption] = []
    torn: list[tuple[Path, BadBytes]] = []
    unsure: list[Unreadable] = []
    live: list[WalFile] = []
    last = published
    for file in files:
        void = void_from[file.name]
        frames = list(file.frames)
        if file.bad is not None and file.bad_lsn < void:
            if file.header is not None and file.bad_lsn > vouched:
                torn.append((file.path, file.bad))
            else:
                if file.header is None or file.bad_lsn > published:
                    damage.append(_lost(file, file.bad, void, vouched))
                frames += file.later
        elif file.bad is not None and any(other.name == WalName(file.name.epoch, file.bad_lsn) for other in files):
            # The next file begins where its rows end: all of them are there. What is bad is a mark, which nobody syncs.
            torn.append((file.path, file.bad))
        end = min(void, Lsn(through + 1))
        if file.refusal and any(vouched < f.last_lsn and f.first_lsn < end for f in frames):
            unsure.append(_unsure(file, vouched))
            end = min(end, Lsn(vouched + 1))
        frames = [f for f in frames if f.count and f.last_lsn > published and f.first_lsn < end]
        live.append(replace(file, frames=tuple(frames)))
        for frame in frames:
            if frame.first_lsn > last + 1 and not damage:
                damage.append(Corruption(f"LSNs {last + 1} to {frame.first_lsn - 1} are missing", path=file.path))
            last = max(last, frame.last_lsn)
    if vouched > last and not damage:
        damage.append(Corruption(f"LSNs {last + 1} to {vouched} were durable and are missing", path=files[-1].path))
    epoch = max((file.name.epoch for file in files), default=0)
    return Log(tuple(live), tuple(damage), tuple(torn), tuple(unsure), Lsn(max(last, vouched)), epoch)


def _void_from(file: WalFile, files: list[WalFile]) -> Lsn:
    """From this LSN on, what the file holds is void: a later life of the writer starts there, or this one's next file."""
    return min((other.name.first_lsn for other in files if other.name > file.name), default=LAST)


def _vouched(files: list[WalFile], void_from: dict[WalName, Lsn], published: Lsn) -> Lsn:
    """Everything up to here was durable once, whatever can be read of it now. Void frames vouch for nothing."""
    said = [published]
    for file in files:
        said.append(Lsn(file.name.first_lsn - 1))
        frames = (*file.frames, *file.later)
        said += [frame.durable_lsn for frame in frames if frame.first_lsn < void_from[file.name]]
    return max(said)


def _unsure(file: WalFile, vouched: Lsn) -> Unreadable:
    return Unreadable(
        f"the log can't be synced ({file.refusal}); rows after LSN {vouched} are not shown, as a power cut could take them",
        path=file.path,
    )


def _lost(file: WalFile, bad: BadBytes, void_from: Lsn, vouched: Lsn) -> Corruption:
    if file.header is None:
        held = f"LSNs {file.bad_lsn} and later"
        end = file.size
    else:
        following = [frame.first_lsn for frame in file.later if frame.count]
        held = f"LSNs {file.bad_lsn} to {min([*following, void_from, vouched + 1]) - 1}"
        end = min((frame.offset for frame in file.later), default=file.size)
    return Corruption(
        f"{bad.reason}; bytes {bad.offset} to {end} held {held}, which were durable",
        path=file.path,
        offset=bad.offset,
    )
