"""Why a query has no answer. Apart from DuckDB, so that the daemon can name these without loading it."""

from segments.errors import StorageError


class QueryFailed(StorageError):
    """The engine refused the statement, or failed at it; the text is its own."""


class SegmentGone(StorageError):
    """Rows were replaced, truncated or dropped between looking for their files and reading them; ask again."""


class StatementRefused(QueryFailed):
    """Not one SELECT, DESCRIBE or SHOW, or one that uses what it may not."""


class ResultTooLarge(QueryFailed):
    """The answer is larger than answers may be; nothing of it is sent."""


class ResourceNotFound(StorageError):
    """No data source has that name, or the token can't read it: the text is the same, so that it tells nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Resource '{name}' not found")
        self.name = name
