"""Idempotency keys: what was answered to a key, so that a request sent again adds nothing twice.

Keys travel in the notes of the frame that holds their rows, and from there into a segment of keys that is published with
the rows, so that they are exactly as durable as those. They are kept for a day, and at most KEYS_MAX for a source.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass
from datetime import date, datetime, timedelta

import orjson
import pyarrow as pa

from segments.errors import KeyReused

KEYS_MAX = 1_000_000
KEPT_S = 24 * 3600
REUSED = "this Idempotency-Key was used with another body; use a new key for a new request"
KEYS_SCHEMA = pa.schema(
    [
        pa.field("scope", pa.string()),
        pa.field("key", pa.string()),
        pa.field("fingerprint", pa.string()),
        pa.field("at_s", pa.int64()),
        pa.field("successful", pa.int64()),
        pa.field("quarantined", pa.int64()),
        pa.field("last_lsn", pa.uint64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Key:
    """`scope` keeps one sender's keys from another's; `fingerprint` is of the body; `last_lsn` is 0 until committed."""

    scope: str
    key: str
    fingerprint: str
    at_s: int
    successful: int = 0
    quarantined: int = 0
    last_lsn: int = 0


@dataclass(frozen=True, slots=True)
class Notes:
    """What a frame says beside its rows: the keys of its requests, and the LSNs of quarantined rows that it replays."""

    keys: tuple[Key, ...] = ()
    replays: tuple[int, ...] = ()


def encode_notes(notes: Notes) -> bytes:
    """The notes of a frame; empty when there are none."""
    if not notes.keys and not notes.replays:
        return b""
    return orjson.dumps({"keys": [astuple(key) for key in notes.keys], "replays": notes.replays})


def keys_table(keys: Iterable[Key]) -> pa.Table:
    """The rows of a segment of keys."""
    return pa.Table.from_pylist([asdict(key) for key in keys], KEYS_SCHEMA)


def decode_notes(data: bytes) -> Notes:
    """Raises ValueError, KeyError or TypeError for bytes that `encode_notes` did not make."""
    if not data:
        return Notes()
    document = orjson.loads(data)
    return Notes(tuple(Key(*row) for row in document["keys"]), tuple(document["replays"]))


def oldest_keys_day(now: datetime) -> date:
    """The earliest day whose segments may hold keys that are still remembered."""
    return (now - timedelta(seconds=KEPT_S)).date()


class KeyWindow:
    """The keys of one source that are still remembered, oldest first."""

    def __init__(self) -> None:
        self._keys: OrderedDict[tuple[str, str], Key] = OrderedDict()

    def add(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._keys[key.scope, key.key] = key
            # One used again after it was forgotten is a new one.
            self._keys.move_to_end((key.scope, key.key))

    def trim(self) -> None:
        """Forget the oldest beyond KEYS_MAX. Once the others are durable, that is: voided ones must push out nothing."""
        while len(self._keys) > KEYS_MAX:
            self._keys.popitem(last=False)

    def forget_after(self, lsn: int) -> None:
        """Drop the keys whose rows were voided: a retry must store them anew."""
        while self._keys and next(reversed(self._keys.values())).last_lsn > lsn:
            self._keys.popitem()

    def find(self, key: Key) -> Key | None:
        """What was answered to this key, if it is remembered. Raises KeyReused when its body was another."""
        self._expire(key.at_s)
        known = self._keys.get((key.scope, key.key))
        if known is not None and known.at_s < key.at_s - KEPT_S:
            # A clock that went back and forth has put it behind younger ones.
            return None
        if known is not None and known.fingerprint != key.fingerprint:
            raise KeyReused(REUSED)
        return known

    def _expire(self, now_s: int) -> None:
        while self._keys and next(iter(self._keys.values())).at_s < now_s - KEPT_S:
            self._keys.popitem(last=False)
