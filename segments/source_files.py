"""The small files of a source that change seldom or never: who it is, its datafile, and when that changed last."""

from collections.abc import Iterable
from typing import Any

from segments.checked_json import crc_text, decode, encode
from segments.datafile import Datafile, parse_datafile
from segments.disk import Disk, publish
from segments.errors import Corruption, SchemaError, UnknownSource
from segments.filenames import Lsn, SourceDir
from segments.identity import Identity
from segments.schema import Schema

READ_AGAIN_MAX = 3


def load_identity(disk: Disk, source: SourceDir) -> Identity:
    """Raises Corruption."""
    try:
        document = decode(disk.read(source.identity))
        return Identity(bytes.fromhex(document["id"].removeprefix("t_")), document["created_at"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Corruption(f"source.json can't be read: {error}", path=source.identity) from error


def write_identity(disk: Disk, source: SourceDir, identity: Identity) -> None:
    publish(disk, source.identity, encode({"id": identity.text, "created_at": identity.created_at}))


def load_schema(disk: Disk, source: SourceDir) -> Schema:
    """Raises UnknownSource, or Corruption when the datafile can't be understood."""
    return load_datafile(disk, source).schema


def load_datafile(disk: Disk, source: SourceDir) -> Datafile:
    """Raises UnknownSource, or Corruption when the datafile is not what was written, or can't be understood."""
    try:
        for _ in range(READ_AGAIN_MAX):
            text = disk.read(source.schema)
            known = _load_altered(disk, source).get("datafiles")
            # It may have been altered more than once between the two reads.
            if known is None or crc_text(text) in known:
                return parse_datafile(text.decode())
    except FileNotFoundError:
        raise UnknownSource(f"there is no data source {source.name}") from None
    except (OSError, UnicodeDecodeError, SchemaError) as error:
        raise Corruption(f"the schema can't be read: {error}", path=source.schema) from error
    raise Corruption("the schema is not what was written: its checksum does not match", path=source.schema)


def load_altered_lsn(disk: Disk, source: SourceDir) -> Lsn:
    """Rows beyond this LSN were written under the present schema; 0 when there never was another. Raises Corruption."""
    return Lsn(_load_altered(disk, source)["altered_lsn"])


def write_altered(disk: Disk, source: SourceDir, lsn: Lsn, datafiles: Iterable[str]) -> None:
    """Before the datafile is replaced: either text, the one that stands there or the next, is right from now on."""
    crcs = [crc_text(text.encode()) for text in datafiles]
    publish(disk, source.altered, encode({"altered_lsn": lsn, "datafiles": crcs}))


def _load_altered(disk: Disk, source: SourceDir) -> dict[str, Any]:
    try:
        document = decode(disk.read(source.altered))
        return {"altered_lsn": int(document["altered_lsn"]), "datafiles": document.get("datafiles")}
    except FileNotFoundError:
        return {"altered_lsn": 0}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Corruption(f"altered.json can't be read: {error}", path=source.altered) from error
