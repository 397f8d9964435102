"""What a person can set, with the defaults, and the limits and deadlines that nobody sets; and why they are what they are."""

from dataclasses import dataclass
from pathlib import Path

from daemon.warm_up import When


@dataclass(frozen=True, slots=True)
class Config:
    """Options of `siltstoned`. Bytes and seconds."""

    data: Path
    host: str = "127.0.0.1"
    port: int = 7181
    fronts: int = 0
    """Processes that take connections; without any the daemon takes them itself."""
    max_body_bytes: int = 10 * 1024 * 1024
    compact_interval_s: float = 300.0
    """Rows are in Parquet at most about this long after they arrived; shorter means more, smaller files."""
    sync_interval_s: float = 1.0
    """A row answered with 202 is synced at most this long after."""
    memory_bytes: int = 256 * 1024 * 1024
    """For all bodies in memory together; beyond it requests get 503 with Retry-After."""
    keys_memory_bytes: int = 512 * 1024 * 1024
    """For the Idempotency-Keys of all open sources; beyond it requests with new ones get 503, and none is forgotten early."""
    min_free_bytes: int | None = None
    """Kept free on the disk; None is a twentieth of it, 256 MiB at most. Below it rows are refused."""
    admin_token: str | None = None
    tokens_on_loopback: bool = False
    """Whether `GET /tokens` gives the admin token to programs on this machine, which `tb` without --cloud asks for."""
    auto_create: bool = True
    """Whether a first event makes its data source."""
    machine_code: When = When.AUTO
    limit_requests: int = 0
    limit_bytes: int = 0
    """For each data source and second; 0 is no limit."""


HEAD_BYTES_MAX = 16 * 1024
HEADERS_MAX = 64
HEAD_TIMEOUT_S = 5.0
BODY_GRACE_S = 5.0
BODY_BYTES_PER_S = 1024
"""A body slower than this, after the grace, is cut off with 408."""
BODY_STALL_S = 30.0
"""However fast it came before: a body that stands still holds memory that others wait for."""
IDLE_TIMEOUT_S = 30.0
SEND_TIMEOUT_S = 30.0
ANSWER_BYTES_PER_S = 128 * 1024
"""A client that reads a long answer more slowly than this, after SEND_TIMEOUT_S, is cut off: others wait for the room."""
SHUTDOWN_GRACE_S = 10.0
INBOX_BYTES_MAX = 64 * 1024 * 1024
"""For one source; a disk that stalls must not let one source take the whole memory budget."""
GROUP_BYTES_MAX = 64 * 1024 * 1024
"""Of one commit, as it is in memory: what is written and read back as one piece."""
TICKET_BYTES = 1024
"""What a waiting request takes beside its rows."""
ROWS_MAX = 1_000_000
"""In one request: as Python objects and as Arrow, rows of a few bytes take a hundred times their size."""
CELLS_MAX = 20_000_000
"""Rows times columns of one request: `{}` is three bytes, and 8 for each of 500 columns once it is decoded."""
INLINE_BYTES_MAX = 64 * 1024
"""Bodies up to here are parsed at once, among everything else: a thread costs more than the parsing."""
SOURCE_IDLE_S = 600.0
"""An actor without work for this long, with nothing left in its WAL, goes away."""
DOCUMENTATION_URL = "/"
"""Relative to the server that refused: its front page says in short what it takes."""
