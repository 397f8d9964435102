"""The bodies of one group -> what their frame holds: the good rows and the quarantined ones, as Arrow IPC messages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from segments.decode import Counts, Decoded, decode_group
from segments.filenames import Lsn
from segments.lines import Events
from segments.quarantine import Quarantine
from segments.schema import Schema
from segments.small_batch import ROWS_MAX, SmallBatches
from segments.unknown_keys import UnknownKeys


@dataclass(frozen=True, slots=True)
class Encoded:
    """`count` rows, `counts` of each body, and the keys that no column took."""

    good: bytes | pa.Buffer
    bad: bytes | pa.Buffer
    count: int
    counts: tuple[Counts, ...]
    unknown: UnknownKeys


class GroupEncoder:
    """For one schema. A few plain rows are written without Arrow's arrays, which gives the same bytes."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._quarantine = Quarantine(schema)
        self._small: SmallBatches | None = None
        self._is_plain = True

    def encode(self, bodies: Sequence[Events | Decoded], first: Lsn, at: datetime) -> Encoded:
        """The bodies' rows, the first of them with LSN `first`. `at`, naive UTC, is when they are written."""
        events = [body for body in bodies if isinstance(body, Events)]
        good = self.encode_small(events) if len(events) == len(bodies) else None
        if good is not None:
            counts = tuple(Counts(len(part), 0) for part in events)
            return Encoded(good, b"", sum(map(len, events)), counts, {})
        return self.encode_any(bodies, first, at)

    def encode_small(self, bodies: Sequence[Events]) -> bytes | None:
        """The bodies' rows, all of them good; None when they are too many, or one needs a closer look."""
        if sum(map(len, bodies)) > ROWS_MAX:
            return None
        if self._small is None and self._is_plain:
            # Made when it is needed: most of ten thousand open sources are quiet.
            self._small = SmallBatches.of(self._schema)
            self._is_plain = self._small is not None
        return None if self._small is None else self._small.encode(bodies)

    def encode_any(self, bodies: Sequence[Events | Decoded], first: Lsn, at: datetime) -> Encoded:
        """As `encode`, however many they are."""
        rows = decode_group(self._schema, bodies, at)
        bad: bytes | pa.Buffer = b""
        if rows.bad:
            bad = self._quarantine.batch(rows.bad, first, at).serialize()
        good = rows.good.serialize() if rows.good.num_rows else b""
        return Encoded(good, bad, rows.count, rows.counts, rows.unknown)
