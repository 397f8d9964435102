"""Content codings of a body: which are taken, and how far one may unfold."""

from collections.abc import Callable

import pyarrow as pa

_CODECS = {"gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}
# RFC 1952, section 2.3.1, and RFC 8878, section 3.1.1
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
MAGIC_BYTES_MAX = 4
_CHUNK_BYTES = 1 << 20


class UnknownCoding(Exception):
    """The body comes in a coding that is not taken."""


class BrokenCoding(Exception):
    """The body is not what its coding says."""


class UnfoldsTooFar(Exception):
    """The body is larger than allowed once it is unfolded."""


def unsaid_coding(body: bytes) -> str | None:
    """The coding that a body is in though its request says none: nothing that is taken plain begins like that."""
    return next((codec for magic, codec in _MAGIC.items() if body.startswith(magic)), None)


def codec_of(header: bytes | None) -> str | None:
    """The codec that a Content-Encoding asks for; None for a plain body. Raises UnknownCoding."""
    coding = "" if header is None else header.decode("latin-1").strip().lower()
    if coding in ("", "identity"):
        return None
    if coding not in _CODECS:
        raise UnknownCoding(f"Content-Encoding '{coding[:40]}' is not taken; send gzip, zstd or identity")
    return _CODECS[coding]


def unfold(body: bytes, codec: str, *, bytes_max: int, progress: Callable[[int], None]) -> bytes:
    """Decompress, never holding more than `bytes_max` and a chunk; `progress` is told how much before it grows.

    Raises BrokenCoding, UnfoldsTooFar, and what `progress` raises.
    """
    if not body:
        return b""
    chunks: list[bytes] = []
    size = 0
    try:
        with pa.CompressedInputStream(pa.BufferReader(body), codec) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                size += len(chunk)
                if size > bytes_max:
                    raise UnfoldsTooFar
                progress(size)
                chunks.append(chunk)
    except (OSError, pa.ArrowException) as error:
        raise BrokenCoding(f"the body is not valid {codec}: {error}") from error
    return b"".join(chunks)
