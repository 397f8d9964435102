"""siltstone.json: the mark of a data directory, with the version of the formats in it."""

import orjson

from segments.disk import Disk, publish
from segments.errors import Corruption, UnknownDirectory, UnsupportedFormat
from segments.filenames import DataDir

FORMAT_VERSION = 1


def check_format(disk: Disk, data: DataDir) -> None:
    """Raises UnknownDirectory, Corruption, or UnsupportedFormat when the directory is not one that can be read here."""
    try:
        version = int(orjson.loads(disk.read(data.format))["format_version"])
    except FileNotFoundError:
        raise UnknownDirectory(
            "this is no data directory of siltstoned: it has no siltstone.json", path=data.path
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Corruption(f"siltstone.json can't be read: {error}", path=data.format) from error
    if version > FORMAT_VERSION:
        raise UnsupportedFormat(
            f"the data has format version {version}, this program knows {FORMAT_VERSION}; use a newer one",
            path=data.format,
        )


def write_format(disk: Disk, data: DataDir) -> None:
    """Make the directory one of this version."""
    publish(disk, data.format, orjson.dumps({"format_version": FORMAT_VERSION}) + b"\n")
