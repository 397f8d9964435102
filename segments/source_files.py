"""The small files of a source that change seldom or never: who it is, its datafile, and when that changed last."""

import orjson

from segments.datafile import Datafile, parse_datafile
from segments.disk import Disk, publish
from segments.errors import Corruption, SchemaError, UnknownSource
from segments.filenames import Lsn, SourceDir
from segments.schema import Schema
from segments.source_log import Identity


def load_identity(disk: Disk, source: SourceDir) -> Identity:
    """Raises Corruption."""
    try:
        document = orjson.loads(disk.read(source.identity))
        return Identity(bytes.fromhex(document["id"].removeprefix("t_")), document["created_at"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Corruption(f"source.json can't be read: {error}", path=source.identity) from error


def load_schema(disk: Disk, source: SourceDir) -> Schema:
    """Raises UnknownSource, or Corruption when the datafile can't be understood."""
    return load_datafile(disk, source).schema


def load_datafile(disk: Disk, source: SourceDir) -> Datafile:
    """Raises UnknownSource, or Corruption when the datafile can't be understood."""
    try:
        return parse_datafile(disk.read(source.schema).decode())
    except FileNotFoundError:
        raise UnknownSource(f"there is no data source {source.name}") from None
    except (OSError, UnicodeDecodeError, SchemaError) as error:
        raise Corruption(f"the schema can't be read: {error}", path=source.schema) from error


def load_altered_lsn(disk: Disk, source: SourceDir) -> Lsn:
    """Rows beyond this LSN were written under the present schema; 0 when there never was another. Raises Corruption."""
    try:
        return Lsn(int(orjson.loads(disk.read(source.altered))["altered_lsn"]))
    except FileNotFoundError:
        return Lsn(0)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Corruption(f"altered.json can't be read: {error}", path=source.altered) from error


def write_altered_lsn(disk: Disk, source: SourceDir, lsn: Lsn) -> None:
    publish(disk, source.altered, orjson.dumps({"altered_lsn": lsn}) + b"\n")
