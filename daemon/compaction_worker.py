"""The child process of the compactor: reads one line of orders, prints one line for each, and dies with its parent."""

import os
import sys
import threading
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import orjson

from segments.compaction import compact
from segments.disk import Disk
from segments.errors import StorageError, SwapRefused
from segments.filenames import Lsn, SourceDir
from segments.merge import merge_next

NICENESS = 10


def _die_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


@dataclass(frozen=True, slots=True)
class Orders:
    """Directories of sources: to be compacted up to an LSN each, and to have one group of segments merged."""

    compact: dict[str, Lsn] = field(default_factory=dict)
    merge: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one of them: `error` is empty, or says why nothing moved. `can_merge` is False when it never will."""

    source: str
    error: str = ""
    published: int = 0
    lsns: int = 0
    segments: int = 0
    can_merge: bool = True


def _compact(source: str, through: Lsn) -> Result:
    try:
        done = compact(Disk(), SourceDir(Path(source)), through=through, now=datetime.now(UTC))
    except (StorageError, OSError) as error:
        return Result(source, str(error))
    except Exception as error:  # noqa: BLE001 -- what one source does to us must not keep the others in their WAL
        return Result(source, f"{type(error).__name__}: {error}")
    return Result(source, "", done.published, done.lsns, len(done.segments))


def _merge(source: str) -> Result:
    try:
        ref = merge_next(Disk(), SourceDir(Path(source)), now=datetime.now(UTC))
    except (StorageError, OSError) as error:
        return Result(source, str(error), can_merge=not isinstance(error, SwapRefused))
    except Exception as error:  # noqa: BLE001 -- as above
        return Result(source, f"{type(error).__name__}: {error}")
    return Result(source, "", 0, ref.name.last_lsn - ref.name.first_lsn + 1, 1) if ref else Result(source)


def main() -> None:
    """Carry out the orders."""
    os.nice(NICENESS)
    orders = Orders(**orjson.loads(sys.stdin.buffer.readline()))
    threading.Thread(target=_die_with_parent, daemon=True).start()
    for source, through in orders.compact.items():
        _tell(_compact(source, through))
    for source in orders.merge:
        _tell(_merge(source))
    # A reader blocked on standard input would hold up an orderly end of the interpreter.
    os._exit(0)


def _tell(result: Result) -> None:
    sys.stdout.buffer.write(orjson.dumps(asdict(result)) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
