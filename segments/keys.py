"""Idempotency keys: what was answered to a key, so that a request sent again adds nothing twice.

Keys travel in the notes of the frame that holds their rows, and from there into a segment of keys that is published with
the rows, so that they are exactly as durable as those. They are kept for a day, and at most KEYS_MAX for a source. In
memory a key is KEY_BYTES, however long it and its scope are; `KeyMemory` counts those of all open sources.
"""

import struct
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass, replace
from datetime import date, datetime, timedelta
from hashlib import blake2b
from threading import Lock

import orjson
import pyarrow as pa

from segments.errors import KeyReused, KeysFull

KEYS_MAX = 1_000_000
KEPT_S = 24 * 3600
KEY_BYTES = 256
"""What one key takes in a window, with the window's table at its largest."""
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


class KeyMemory:
    """The memory that the keys of all open sources may take together. Any thread may use it."""

    def __init__(self, bytes_max: int | None = None) -> None:
        self._keys_max = None if bytes_max is None else bytes_max // KEY_BYTES
        self._held = 0
        self._refused = False
        self._lock = Lock()

    def count(self, added: int) -> None:
        """So many keys more are held, or fewer. Never refuses: what is durable must be remembered."""
        with self._lock:
            self._held += added

    @property
    def held(self) -> int:
        return self._held

    def check_room(self, added: int = 0) -> None:
        """Raises KeysFull if so many more are too many."""
        if self._keys_max is not None and self._held + added > self._keys_max:
            self._refused = True
            raise KeysFull("as many idempotency keys are remembered as there is memory for")

    def excess(self, share: float) -> int:
        """How many keys should go: those beyond this share of what may be held, and all once there was no room for one."""
        if self._keys_max is None:
            return 0
        refused, self._refused = self._refused, False
        return self._held if refused else max(0, self._held - int(self._keys_max * share))


_DIGEST_BYTES = 16
_ANSWER = struct.Struct(f"<{_DIGEST_BYTES}sqIIQ")


def _digest(*parts: str) -> bytes:
    """Two texts have the same one by an accident that nobody will live to see."""
    # Lengths are not needed: a scope has no zero byte.
    return blake2b("\0".join(parts).encode(), digest_size=_DIGEST_BYTES).digest()


class KeyWindow:
    """The keys of one source that are still remembered, oldest first: digests, and with them what was answered."""

    def __init__(self, memory: KeyMemory | None = None) -> None:
        self._keys: OrderedDict[bytes, bytes] = OrderedDict()
        self._memory = memory or KeyMemory()

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, name: tuple[str, str]) -> bool:
        """Whether there is an answer to this scope's key, however old."""
        return _digest(*name) in self._keys

    def add(self, keys: Iterable[Key]) -> None:
        before = len(self._keys)
        for key in keys:
            digest = _digest(key.scope, key.key)
            answer = (key.at_s, key.successful, key.quarantined, key.last_lsn)
            self._keys[digest] = _ANSWER.pack(_digest(key.fingerprint), *answer)
            # One used again after it was forgotten is a new one.
            self._keys.move_to_end(digest)
        self._memory.count(len(self._keys) - before)

    def check_room(self, added: int = 0) -> None:
        """Raises KeysFull when the sources together may not remember so many more."""
        self._memory.check_room(added)

    def trim(self) -> None:
        """Forget the oldest beyond KEYS_MAX. Once the others are durable, that is: voided ones must push out nothing."""
        while len(self._keys) > KEYS_MAX:
            self._forget(last=False)

    def forget_after(self, lsn: int) -> None:
        """Drop the keys whose rows were voided: a retry must store them anew."""
        while self._keys and _ANSWER.unpack(next(reversed(self._keys.values())))[4] > lsn:
            self._forget(last=True)

    def find(self, key: Key) -> Key | None:
        """The key with what was answered to it, if it is remembered. Raises KeyReused when its body was another."""
        self.expire(key.at_s)
        known = self._keys.get(_digest(key.scope, key.key))
        if known is None:
            return None
        fingerprint, at_s, successful, quarantined, last_lsn = _ANSWER.unpack(known)
        if at_s < key.at_s - KEPT_S:
            # A clock that went back and forth has put it behind younger ones.
            return None
        if fingerprint != _digest(key.fingerprint):
            raise KeyReused(REUSED)
        return replace(key, at_s=at_s, successful=successful, quarantined=quarantined, last_lsn=last_lsn)

    def expire(self, now_s: int) -> None:
        """Forget those that are older than a day."""
        while self._keys and _ANSWER.unpack(next(iter(self._keys.values())))[1] < now_s - KEPT_S:
            self._forget(last=False)

    def clear(self) -> None:
        """Let go of the memory: who opens the source again reads the keys from its files."""
        self._memory.count(-len(self._keys))
        self._keys = OrderedDict()

    def _forget(self, *, last: bool) -> None:
        self._keys.popitem(last=last)
        self._memory.count(-1)
