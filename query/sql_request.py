"""What the daemon and its SQL worker say to each other: one line of JSON each way. No DuckDB here."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from query.errors import QueryFailed, ResourceNotFound, ResultTooLarge, StatementRefused
from segments.errors import StorageError

DEFAULT_FORMAT = "TSV"
ANSWER_BYTES_MAX = 100 << 20


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """For the life of a worker. Spilled rows go to `spill_directory`, which is the worker's alone."""

    data: str
    spill_directory: str | None = None
    memory_bytes: int = 1 << 30
    spill_bytes: int = 4 << 30
    threads: int = 2

    def encode(self) -> str:
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def decode(cls, text: str) -> "WorkerConfig":
        return cls(**orjson.loads(text))


@dataclass(frozen=True, slots=True)
class WorkerRequest:
    """One query. The answer goes into the file `output`; `ops_log_bytes` of an Arrow stream follow the line."""

    sql: str
    output: str
    readable: list[str] | None
    default_format: str
    quote_64bit: bool
    answer_bytes_max: int
    ops_log_bytes: int

    def encode(self) -> bytes:
        return orjson.dumps(asdict(self)) + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> "WorkerRequest":
        return cls(**orjson.loads(line))


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer is in the file, whole. `damage` says in sentences which rows are missing from what was read."""

    content_type: str
    rows: int
    bytes: int
    damage: list[str]


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker failed in a way that is a bug; `traceback` is for the log."""

    traceback: str


_REFUSALS: dict[str, type[StorageError]] = {
    kind.__name__: kind for kind in (QueryFailed, StatementRefused, ResultTooLarge, ResourceNotFound, StorageError)
}


def encode_reply(reply: Answered | Failed | StorageError) -> bytes:
    """One line. A StorageError of a kind that is not known here counts as the nearest one that is."""
    document: dict[str, Any]
    if isinstance(reply, Answered):
        document = {"answered": asdict(reply)}
    elif isinstance(reply, Failed):
        document = {"failed": asdict(reply)}
    else:
        kind = next(base.__name__ for base in type(reply).__mro__ if base.__name__ in _REFUSALS)
        argument = reply.name if isinstance(reply, ResourceNotFound) else str(reply)
        document = {"refused": {"kind": kind, "argument": argument}}
    return orjson.dumps(document) + b"\n"


def decode_reply(line: bytes) -> Answered | Failed | StorageError:
    """What `encode_reply` was given."""
    document = orjson.loads(line)
    if "answered" in document:
        return Answered(**document["answered"])
    if "failed" in document:
        return Failed(**document["failed"])
    refused = document["refused"]
    return _REFUSALS[refused["kind"]](refused["argument"])


def spill_directory(config: WorkerConfig) -> Path | None:
    return None if config.spill_directory is None else Path(config.spill_directory)
