"""The child process of the compactor: reads one line of jobs, prints one line for each, and dies with its parent."""

import os
import sys
import threading
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from segments.compaction import compact
from segments.disk import Disk
from segments.errors import StorageError
from segments.filenames import Lsn, SourceDir

NICENESS = 10


def _die_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one job: `error` is empty, or says why nothing moved."""

    source: str
    error: str = ""
    published: int = 0
    lsns: int = 0
    segments: int = 0


def _run(source: str, through: Lsn) -> Result:
    try:
        done = compact(Disk(), SourceDir(Path(source)), through=through, now=datetime.now(UTC))
    except (StorageError, OSError) as error:
        return Result(source, str(error))
    except Exception as error:  # noqa: BLE001 -- what one source does to us must not keep the others in their WAL
        return Result(source, f"{type(error).__name__}: {error}")
    return Result(source, "", done.published, done.lsns, len(done.segments))


def main() -> None:
    """Compact each source of the jobs, `{directory: LSN to compact through}`."""
    os.nice(NICENESS)
    jobs: dict[str, int] = orjson.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_die_with_parent, daemon=True).start()
    for source, through in jobs.items():
        sys.stdout.buffer.write(orjson.dumps(asdict(_run(source, Lsn(through)))) + b"\n")
        sys.stdout.buffer.flush()
    # A reader blocked on standard input would hold up an orderly end of the interpreter.
    os._exit(0)


if __name__ == "__main__":
    main()
