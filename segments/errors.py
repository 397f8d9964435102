"""Everything that this package raises on purpose; any other exception is a bug."""

from pathlib import Path


class StorageError(Exception):
    """The root: a sentence for a person, and the file it is about."""

    def __init__(self, message: str, *, path: Path | None = None, offset: int | None = None) -> None:
        where = "" if path is None else f" ({path}" + ("" if offset is None else f", byte {offset}") + ")"
        super().__init__(message + where)
        self.path = path
        self.offset = offset


class Corruption(StorageError):
    """Bytes that were once known good fail a check. Never a torn tail, which is expected after a crash."""


class Unreadable(Corruption):
    """The disk refused to give out bytes that may be good: for want of descriptors, or for once. Asking again may help."""

    @classmethod
    def unless_missing(cls, error: OSError, what: str, path: Path) -> Corruption:
        """What can't be read as what it is: a file that is not there will not come back."""
        kind = Corruption if isinstance(error, FileNotFoundError) else cls
        return kind(f"{what} can't be read: {error.strerror}", path=path)


class UnknownDirectory(StorageError):
    """Not a data directory."""


class UnsupportedFormat(StorageError):
    """Written by a newer Siltstone than this one."""


class WriteFailed(StorageError):
    """The group is not known to be stored; the file it went to is dead. Retrying later may succeed."""


class GroupTooLarge(StorageError):
    """The rows are more than one commit can hold; nothing of them was written."""


class SchemaChanged(StorageError):
    """The rows were decoded under a schema that the source no longer has; decode them again."""


class SourceDamaged(StorageError):
    """The source holds corruption and takes no writes until it is repaired."""


class DataDirLocked(StorageError):
    """Another process owns the data directory."""


class SwapRefused(StorageError):
    """The file system has no way to swap two directories in one step; small files can't be merged on it."""


class UnknownSource(StorageError):
    """No data source has that name."""


class SchemaError(StorageError):
    """A schema, type or datafile that can't be understood or can't be made."""


class BodyRejected(StorageError):
    """A request body holds no JSON object, or nothing from which a schema can be inferred."""


class KeyReused(StorageError):
    """An idempotency key was used before, with another body."""


class KeysFull(StorageError):
    """No more idempotency keys can be remembered, and none may be forgotten."""
