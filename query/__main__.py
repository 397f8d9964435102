"""`siltstone`, and `python -m query`, which is the same: the commands, and the end of the process."""

import os
import sys
from contextlib import suppress
from typing import NoReturn

from query.cli import main


def run() -> NoReturn:
    """Run the command and end, at once: taking DuckDB apart takes longer than many queries."""
    try:
        main()
    except SystemExit as end:
        code = end.code
    # A command that was done has written all it had to say; what is left here is of one that failed at it.
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    run()
