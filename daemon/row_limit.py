"""How many rows one request may have."""

from collections.abc import Iterable, Iterator

from daemon.answers import Refused
from daemon.config import CELLS_MAX, ROWS_MAX
from segments.lines import Events
from segments.schema import Schema


def check_rows(rows: int, schema: Schema) -> None:
    """Raises Refused when so many rows of this schema are too many."""
    if rows <= ROWS_MAX and rows * len(schema.columns) <= CELLS_MAX:
        return
    limit = min(ROWS_MAX, CELLS_MAX // len(schema.columns))
    raise Refused(
        413, f"the body has {rows} rows or more; {limit} of {len(schema.columns)} columns are the limit, send fewer"
    )


class Counted:
    """The parts of a body, and how many rows they have had so far. Raises Refused as soon as no schema takes so many."""

    def __init__(self, parts: Iterable[Events]) -> None:
        self._parts = parts
        self.rows = 0

    def __iter__(self) -> Iterator[Events]:
        for part in self._parts:
            self.rows += len(part)
            if self.rows > ROWS_MAX:
                raise Refused(413, f"the body has {self.rows} rows or more; {ROWS_MAX} are the limit, send fewer")
            yield part
