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
        return self._encode_small(bodies) or self._encode_any(bodies, first, at)

    def _encode_small(self, bodies: Sequence[Events | Decoded]) -> Encoded | None:
        """None when the rows are too many, or one of them needs a closer look."""
        count = sum(map(len, bodies))
        if not self._is_plain or not 0 < count <= ROWS_MAX:
            return None
        if self._small is None:
            # Made when it is needed: most of ten thousand open sources are quiet.
            self._small = SmallBatches.of(self._schema)
            self._is_plain = self._small is not None
        parts = [body for body in bodies if isinstance(body, Events)]
        if self._small is None or len(parts) < len(bodies):
            return None
        good = self._small.encode(parts)
        return None if good is None else Encoded(good, b"", count, tuple(Counts(len(part), 0) for part in parts), {})

    def _encode_any(self, bodies: Sequence[Events | Decoded], first: Lsn, at: datetime) -> Encoded:
        rows = decode_group(self._schema, bodies, at)
        bad: bytes | pa.Buffer = b""
        if rows.bad:
            bad = self._quarantine.batch(rows.bad, first, at).serialize()
        good = rows.good.serialize() if rows.good.num_rows else b""
        return Encoded(good, bad, rows.count, rows.counts, rows.unknown)
