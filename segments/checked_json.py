"""Small JSON files that say themselves whether they are as they were written."""

from typing import Any

import google_crc32c
import orjson


def encode(document: dict[str, Any]) -> bytes:
    """The document with `crc32c`, over its other members as orjson prints them in their order."""
    return orjson.dumps(document | {"crc32c": crc_text(orjson.dumps(document))}) + b"\n"


def decode(data: bytes) -> dict[str, Any]:
    """The document without its checksum. Raises ValueError, KeyError, TypeError or AttributeError when it does not check."""
    document: dict[str, Any] = orjson.loads(data)
    said = document.pop("crc32c")
    if said != crc_text(orjson.dumps(document)):
        raise ValueError("its checksum does not match")
    return document


def crc_text(data: bytes) -> str:
    """CRC-32C in hex."""
    return f"{google_crc32c.value(data):08x}"
