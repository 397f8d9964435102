"""The last requests that changed a data source, for the table `siltstone.ops_log`. In memory: a line costs a tuple."""

from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from time import time
from typing import NamedTuple

import pyarrow as pa

from daemon.answers import Request
from query.service_tables import OPS_LOG

REQUESTS_MAX = 100_000
ERROR_CHARACTERS_MAX = 500


class Line(NamedTuple):
    """A request that has been answered, in the order of the table's columns. Unix time and seconds."""

    at: float
    event: str
    source: str
    outcome: str
    status: int
    rows: int
    quarantined: int
    size: int
    took: float
    request_id: str
    error: str


class RequestLog:
    """What was asked of data sources, oldest first; at most REQUESTS_MAX lines, and none from before a restart."""

    def __init__(self) -> None:
        self._lines: deque[Line] = deque(maxlen=REQUESTS_MAX)

    def note(self, request: Request, status: int, error: str = "") -> None:
        """Add a request that has been answered."""
        now = time()
        self.add(
            Line(
                now,
                request.event,
                request.source,
                "error" if error else "ok",
                status,
                request.rows,
                request.quarantined,
                request.size,
                now - request.started,
                request.connection.request_id.decode(),
                error[:ERROR_CHARACTERS_MAX],
            )
        )

    def add(self, line: Line) -> None:
        """The same, in words of its own."""
        self._lines.append(line)

    def add_all(self, lines: Iterable[Line]) -> None:
        """The same for several, in their order."""
        self._lines.extend(lines)

    def table(self) -> pa.Table:
        """The lines as `siltstone.ops_log`."""
        if not self._lines:
            return OPS_LOG.empty_table()
        stamp, *rest = (list(column) for column in zip(*self._lines, strict=True))
        times = [datetime.fromtimestamp(float(at), UTC).replace(tzinfo=None) for at in stamp]
        arrays = [pa.array(values, field.type) for values, field in zip([times, *rest], OPS_LOG, strict=True)]
        return pa.Table.from_arrays(arrays, schema=OPS_LOG)
