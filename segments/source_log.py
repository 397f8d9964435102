"""The write side of one source: group commits into WAL files, epochs, sealing. Synchronous; one owner at a time.

When `commit(..., durably=True)` returns, the rows survive a power cut. When it raises WriteFailed nothing is known about
them, the file they went to is dead, and the next commit starts a new epoch at the first LSN that is not durable, which
voids whatever the dead file holds from there on.
"""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import cast

from segments.batches import DATAFILE_KEY
from segments.datafile_print import print_schema
from segments.direct import may_be_direct
from segments.disk import Disk
from segments.errors import Corruption, SourceDamaged, WriteFailed
from segments.filenames import Lsn, SourceDir
from segments.frame import NONCE_BYTES, FileHeader
from segments.group import Outcome, Outcomes, Unread, Write
from segments.group_encoder import GroupEncoder
from segments.identity import Identity
from segments.keys import KeyWindow
from segments.line_reader import LineReader
from segments.prepare import Prepared, prepare
from segments.schema import Schema
from segments.unknown_keys import UnknownKeys, note
from segments.wal_append import Append, Appended
from segments.wal_writer import WalWriter

SEAL_BYTES = 64 * 1024 * 1024
"""A WAL file this large is sealed: recovery and compaction handle one file at a time in memory."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a writer begins, as recovery found it. Everything up to `last_lsn`, of `day` at the latest, is durable."""

    last_lsn: Lsn
    day: date
    epoch: int
    published: Lsn
    keys: KeyWindow
    damage: tuple[Corruption, ...]


class SourceLog:
    """The one writer of a source's WAL, from what recovery found."""

    def __init__(self, disk: Disk, source: SourceDir, identity: Identity, schema: Schema, start: Start) -> None:
        self._disk = disk
        self._writer: WalWriter | None = None
        self._day = start.day
        # Recovery can't know: what a disk denied to have at a start it may have after a power cut.
        self._may_have_dead_tail = True
        self._has_failed = False
        self.source = source
        self.identity = identity
        self.epoch = start.epoch
        self.published = start.published
        self.appended_lsn = start.last_lsn
        self.durable_lsn = start.last_lsn
        self.keys = start.keys
        self.damage = start.damage
        self.use_schema(schema)

    def use_schema(self, schema: Schema) -> None:
        """Write under this schema from now on. Only while there is no active file: a file has one schema."""
        assert self._writer is None
        self.schema = schema
        self.unknown: UnknownKeys = {}
        self._encoder = GroupEncoder(schema)
        self.reader = LineReader(schema)
        self._wal_schema = schema.arrow.with_metadata({DATAFILE_KEY: print_schema(schema).encode()})

    @property
    def sealed_lsn(self) -> Lsn:
        """Every row up to here is durable in files that no one writes any more."""
        return self.durable_lsn if self._writer is None else Lsn(self._writer.header.first_lsn - 1)

    @property
    def has_active_file(self) -> bool:
        """Whether there is a file that `seal` would seal."""
        return self._writer is not None

    @property
    def is_synced(self) -> bool:
        return self.durable_lsn == self.appended_lsn

    def commit(self, group: Sequence[Write], now: datetime, *, durably: bool) -> tuple[Outcome, ...]:
        """Write one frame with all rows of the group, and sync it if `durably`. `now` is UTC.

        A request whose key is remembered adds nothing and gets the first answer again. Raises WriteFailed (nothing
        known to be stored, a retry may succeed) or SourceDamaged (nothing stored).
        """
        # Of no bodies, since none of the group came unread.
        return cast("tuple[Outcome, ...]", self.write(self.prepare(group, now), durably=durably))

    def prepare(self, group: Sequence[Write | Unread], now: datetime) -> Prepared:
        """The first half of a commit, without I/O. Nothing may come between it and `write`. Raises SourceDamaged."""
        self._check_damage()
        at = now.astimezone(UTC).replace(tzinfo=None)
        first = Lsn(self.appended_lsn + 1)
        return prepare(group, first, at, reader=self.reader, encoder=self._encoder, keys=self.keys)

    def write(self, prepared: Prepared, *, durably: bool) -> tuple[Outcome | Outcomes, ...]:
        """The second half. Raises as `commit`."""
        if not prepared.rows:
            if durably:
                self.sync()
            return prepared.outcomes
        writer = self._writer_at(prepared.day)
        append = writer.next_frame(prepared.rows, prepared.sections)
        return self.end(prepared, append, writer.make(append, durably=durably))

    def is_one_append(self, prepared: Prepared) -> bool:
        """Whether `write` asks the disk for one write, and a sync perhaps, and no new file."""
        return bool(prepared.rows) and self._writer is not None and not self._is_over(self._writer, prepared.day)

    def begin(self, prepared: Prepared) -> Append | None:
        """All that `write` would ask of the disk, for who does it in its place and then calls `end`; None when it is more."""
        if not self.is_one_append(prepared) or not self._disk.is_bare:
            return None
        assert self._writer is not None
        append = self._writer.next_frame(prepared.rows, prepared.sections)
        return None if may_be_direct(append.data, append.offset) else append

    def end(self, prepared: Prepared, append: Append, appended: Appended) -> tuple[Outcome | Outcomes, ...]:
        """What follows from what the disk said. Raises as `commit`; touches the disk only then."""
        assert self._writer is not None
        if not appended.is_written:
            assert appended.error is not None
            raise self._abandon(appended.error, may_sync=True) from appended.error
        self._writer.note(append, appended)
        self.appended_lsn = Lsn(self.appended_lsn + append.rows)
        if prepared.keys:
            self.keys.add(prepared.keys)
        for path, seen in prepared.unknown.items():
            note(self.unknown, path, seen)
        if appended.error is not None:
            raise self._abandon(appended.error, may_sync=False) from appended.error
        if appended.is_synced:
            self._note_synced()
        return prepared.outcomes

    def sync(self) -> None:
        """Make every appended row durable. Raises WriteFailed."""
        if self._writer is not None and not self.is_synced:
            try:
                self._writer.sync()
            except OSError as error:
                raise self._abandon(error, may_sync=False) from error
            self._note_synced()

    def _note_synced(self) -> None:
        self.durable_lsn = self.appended_lsn
        self.keys.trim()

    def mark(self) -> None:
        """Vouch for the last commit, so that rot in it can be told from a torn tail. Raises WriteFailed."""
        if self._writer is not None:
            try:
                self._writer.mark()
            except OSError as error:
                raise self._abandon(error, may_sync=True) from error

    def void(self, now: datetime) -> None:
        """Make it durable that the rows of failed commits, of earlier lives too, are void, as the next commit would.

        Raises WriteFailed or SourceDamaged.
        """
        self._check_damage()
        if self._may_have_dead_tail:
            try:
                self._start_file(now.astimezone(UTC).date())
            except OSError as error:
                raise self._abandon(error, may_sync=True) from error

    def void_failed(self, now: datetime) -> None:
        """The same, if a commit of this life has failed; else nothing is written."""
        if self._has_failed:
            self.void(now)

    def _check_damage(self) -> None:
        if self.damage:
            raise SourceDamaged(
                f"data source {self.source.name} is damaged and takes no writes: {self.damage[0]}; "
                f"run: siltstone verify {self.source.name}"
            )

    def seal(self) -> None:
        """Sync the active file and let go of it; the next commit starts another. Raises WriteFailed."""
        if self._writer is not None:
            self.sync()
            writer, self._writer = self._writer, None
            # All of it is durable, and the descriptor is gone whatever a close says; to use it again would be to write into
            # whatever has its number by then.
            with suppress(OSError):
                writer.close()

    def _writer_at(self, day: date) -> WalWriter:
        """Of the file for rows of `day`, which may have to be made. Raises WriteFailed."""
        if self._writer is not None and self._is_over(self._writer, day):
            self.seal()
        if self._writer is None:
            try:
                self._start_file(day)
            except OSError as error:
                raise self._abandon(error, may_sync=True) from error
        assert self._writer is not None
        return self._writer

    def _is_over(self, writer: WalWriter, day: date) -> bool:
        return writer.header.day != max(self._day, day) or writer.size_bytes >= SEAL_BYTES

    def _start_file(self, day: date) -> None:
        # The file says under which schema its rows are; that schema must not be one that a power cut takes back.
        self._disk.sync_dir(self.source.path)
        # A clock that goes back must not reopen a day that may be over for readers and the compactor.
        day, nonce = max(self._day, day), secrets.token_bytes(NONCE_BYTES)
        header = FileHeader(self.epoch, Lsn(self.appended_lsn + 1), self.identity.id, nonce, day, self._wal_schema)
        self._writer = WalWriter.create(self._disk, self.source, header)
        self._day = day
        self._may_have_dead_tail = self._has_failed = False

    def _abandon(self, error: OSError, *, may_sync: bool) -> WriteFailed:
        """Give the active file up for dead. `may_sync`: nothing but a write has failed so far, so the rows before it may
        still be saved by the file's next sync, which is its last."""
        self._has_failed = True
        path = self.source.wal
        if self._writer is not None:
            path = self._writer.path
            if may_sync and not self.is_synced:
                try:
                    self._writer.sync()
                    self.durable_lsn = self.appended_lsn
                except OSError:
                    # Then they are lost with the rest of the file, and the message says so.
                    pass
        self.abandon()
        lost = ""
        if self.appended_lsn > self.durable_lsn:
            lost = f"; LSNs {self.durable_lsn + 1} to {self.appended_lsn}, answered before they were durable, are lost"
        self.epoch += 1
        self._may_have_dead_tail = True
        self.appended_lsn = self.durable_lsn
        self.keys.forget_after(self.durable_lsn)
        return WriteFailed(f"the write-ahead log could not be written: {error.strerror or error}{lost}", path=path)

    def abandon(self) -> None:
        """Let go of the active file as it is; another log, recovered from disk, goes on after it."""
        if self._writer is not None:
            try:
                self._writer.abandon()
            except OSError:
                # The descriptor is gone either way, and the file counts as dead already.
                pass
            self._writer = None
