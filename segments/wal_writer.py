"""Append frames to one WAL file and make them durable. After any failure the file is dead: no write, no sync, no retry."""

from pathlib import Path

from segments.disk import Disk, publish
from segments.filenames import Lsn, SourceDir, WalName
from segments.frame import FileHeader, Sections, encode_frame, encode_header
from segments.wal_append import Append, Appended


class WalWriter:
    """The active WAL file of one source. Methods raise OSError; the caller then abandons the writer."""

    def __init__(self, disk: Disk, path: Path, descriptor: int, header: FileHeader, *, size: int, crc: int) -> None:
        self._disk = disk
        self._descriptor = descriptor
        self._previous_crc = crc
        self.path = path
        self.header = header
        self.size_bytes = size
        self.next_lsn = header.first_lsn
        self.durable_lsn = Lsn(header.first_lsn - 1)

    @classmethod
    def create(cls, disk: Disk, source: SourceDir, header: FileHeader) -> "WalWriter":
        """A new file, born whole: visible and durable under its name, header and all, when this returns."""
        data, crc = encode_header(header)
        path = source.wal / str(WalName(header.epoch, header.first_lsn))
        publish(disk, path, data)
        return cls(disk, path, disk.open_to_write(path), header, size=len(data), crc=crc)

    def next_frame(self, count: int, sections: Sections) -> Append:
        """The frame of `count` rows, to be made; then `note` what became of it, before anything else."""
        data, crc = encode_frame(
            nonce=self.header.nonce,
            first_lsn=self.next_lsn,
            count=count,
            durable_lsn=self.durable_lsn,
            previous_crc=self._previous_crc,
            sections=sections,
        )
        return Append(self._descriptor, self.size_bytes, data, crc, count)

    def make(self, append: Append, *, durably: bool) -> Appended:
        """Have the disk do it."""
        return append.make(self._disk, durably=durably)

    def note(self, append: Append, appended: Appended) -> None:
        """It was written, and is durable if it was synced."""
        self.size_bytes += len(append.data)
        self._previous_crc = append.crc
        self.next_lsn = Lsn(self.next_lsn + append.rows)
        if appended.is_synced:
            self.durable_lsn = Lsn(self.next_lsn - 1)

    def sync(self) -> None:
        """Return once every appended frame is durable."""
        self._disk.sync(self._descriptor)
        self.durable_lsn = Lsn(self.next_lsn - 1)

    def mark(self) -> None:
        """Vouch for the last frames: an empty frame that says how far the file is durable.

        Without it a later flipped bit in the last frame would look like a torn tail.
        """
        append = self.next_frame(0, (b"", b"", b""))
        appended = self.make(append, durably=False)
        if appended.error is not None:
            raise appended.error
        self.note(append, appended)

    def abandon(self) -> None:
        """Let go of a file that may be dead, so that nobody reads from memory what the device never took."""
        try:
            self._disk.forget(self._descriptor)
        finally:
            self._disk.close(self._descriptor)

    def close(self) -> None:
        self._disk.close(self._descriptor)
