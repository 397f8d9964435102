"""Which data sources there are. Apart from what is printed about them, because every query asks."""

from segments.disk import Disk
from segments.filenames import DataDir, name_problem


def source_names(disk: Disk, data: DataDir) -> list[str]:
    """All sources of a data directory."""
    if not disk.exists(data.sources):
        return []
    return [name for name in disk.listdir(data.sources) if name_problem(name) is None]
