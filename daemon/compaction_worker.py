"""The child process of the compactor: reads one line of jobs, prints one line for each, and dies with its parent."""

import os
import sys
import threading
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


def main() -> None:
    """Compact each source of the jobs, `{directory: LSN to compact through}`."""
    os.nice(NICENESS)
    jobs: dict[str, int] = orjson.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_die_with_parent, daemon=True).start()
    for source, through in jobs.items():
        try:
            done = compact(Disk(), SourceDir(Path(source)), through=Lsn(through), now=datetime.now(UTC))
        except (StorageError, OSError) as error:
            result: dict[str, object] = {"source": source, "error": str(error)}
        else:
            result = {
                "source": source,
                "published": done.published,
                "rows": done.rows,
                "segments": len(done.segments),
            }
        sys.stdout.buffer.write(orjson.dumps(result) + b"\n")
        sys.stdout.buffer.flush()
    # A reader blocked on standard input would hold up an orderly end of the interpreter.
    os._exit(0)


if __name__ == "__main__":
    main()
