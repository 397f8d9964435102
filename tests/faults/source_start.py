"""What a start on a data directory that a crash left makes of its sources, with the real code, on any disk."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime

from segments.disk import Disk
from segments.errors import KeyReused, StorageError
from segments.filenames import DataDir, SourceDir
from segments.format_version import check_format
from segments.keys import Key
from segments.recovery import recover, remove_unborn
from segments.segment_file import read_facts, read_schema
from segments.source_log import SourceLog
from tests.faults.row_ledger import Violation, read_source
from tests.faults.traced_ledger import Recovered
from tests.faults.traced_story import Exchange


def sources_after_start(disk: Disk, data: DataDir) -> list[SourceDir]:
    """Those that there are when what was half made or removed is cleared away. Raises Violation."""
    if not disk.exists(data.sources):
        return []
    try:
        check_format(disk, data)
        remove_unborn(disk, data)
    except StorageError as error:
        raise Violation(f"there is no start on this data directory: {error}") from error
    return [data.source(name) for name in disk.listdir(data.sources)]


class SourceReader:
    """Knows the keys that clients sent, so that it can tell which of them a recovered source remembers."""

    def __init__(self, exchanges: Iterable[Exchange], token_id: str) -> None:
        self._now = datetime.now(UTC)
        self._keys = {one.number: self._key(one.key, one.body, token_id) for one in exchanges if one.key is not None}

    def _key(self, key: str, body: bytes, token_id: str) -> Key:
        return Key(token_id, key, hashlib.sha256(body).hexdigest(), int(self._now.timestamp()))

    def recover(self, disk: Disk, source: SourceDir) -> Recovered:
        """Raises Violation when the source does not come up whole."""
        # Footers are remembered by disk and path, and the disks of a run are many.
        read_facts.cache_clear()
        read_schema.cache_clear()
        try:
            log = recover(disk, source, now=self._now).log
        except StorageError as error:
            raise Violation(f"source {source.name} does not come up: {error}") from error
        if log.damage:
            raise Violation(f"a crash is taken for corruption of {source.name}: {[*map(str, log.damage)]}")
        keys = frozenset(number for number, key in self._keys.items() if _remembers(log, key))
        return Recovered(read_source(disk, source), tuple(column.name for column in log.schema.columns), keys)


def _remembers(log: SourceLog, key: Key) -> bool:
    try:
        return log.keys.find(key) is not None
    except KeyReused as error:
        raise Violation(f"the key {key.key} is remembered with another body") from error
