"""How much room there is for rows; what is kept free is what compaction and schema changes need to go on."""

import os
from pathlib import Path

import structlog
import trio

LOOK_EVERY_S = 0.5
SHARE_KEPT = 20
KEPT_BYTES_MAX = 256 * 1024 * 1024
TIGHT_BYTES = 64 * 1024 * 1024
FEW_FILES = 8
_MIB = 1024 * 1024
_log = structlog.get_logger("disk")


class NoRoom(Exception):
    """The file system is nearly full, or takes no writes; rows are refused before they are read."""


class DiskSpace:
    """One for the daemon. `min_free_bytes`: None keeps a twentieth of the file system, 256 MiB at most."""

    def __init__(self, directory: Path, min_free_bytes: int | None) -> None:
        self._directory = directory
        self._min_free_bytes = min_free_bytes
        self._refusal: str | None = None

    def check(self) -> None:
        """Raises NoRoom."""
        if self._refusal is not None:
            raise NoRoom(self._refusal)

    @property
    def is_tight(self) -> bool:
        """Whether at this moment files that can be done without should not be written."""
        try:
            found = os.statvfs(self._directory)
        except OSError:
            return True
        has_no_files = found.f_files > 0 and found.f_favail < FEW_FILES
        return has_no_files or found.f_bavail * found.f_frsize < TIGHT_BYTES or bool(found.f_flag & os.ST_RDONLY)

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            try:
                self._note(await trio.to_thread.run_sync(os.statvfs, self._directory, abandon_on_cancel=True))
            except OSError as error:
                # What writes will meet the same, and says so to whom it concerns.
                _log.warning("free space is not known", reason=str(error))
            await trio.sleep(LOOK_EVERY_S)

    def _note(self, found: os.statvfs_result) -> None:
        kept = self._min_free_bytes
        if kept is None:
            kept = min(KEPT_BYTES_MAX, found.f_blocks * found.f_frsize // SHARE_KEPT)
        free, before = found.f_bavail * found.f_frsize, self._refusal
        self._refusal = None
        if found.f_flag & os.ST_RDONLY:
            self._refusal = "the file system is mounted read-only; no rows are taken until it is writable again"
        elif free < kept:
            self._refusal = (
                f"{free // _MIB} MiB are free on the disk, and --min-free keeps {kept // _MIB} MiB; "
                "no rows are taken until there is more"
            )
        if (before is None) != (self._refusal is None):
            _log.warning("rows are refused" if self._refusal else "rows are taken again", reason=self._refusal)
