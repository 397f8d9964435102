"""What a request for a data source brings: fields from query, form and multipart, and the rows themselves."""

from dataclasses import dataclass
from io import BytesIO

import multipart
import trio

from daemon.answers import Refused, Request

_ROWS_PARTS = ("csv", "ndjson", "parquet", "file")
_FORM_FIELDS = frozenset(
    {"name", "mode", "format", "schema", "description", "dry", "dry_run", "url", "token", "delete_condition", "tags"}
)
_PARTS_MAX = 32
FORMATS = ("ndjson", "csv", "parquet")


@dataclass(frozen=True, slots=True)
class Payload:
    """`fields` has the first of each name; `rows` is None when the request brings none."""

    fields: dict[str, str]
    rows: bytes | None
    file_name: str = ""

    def format(self) -> str:
        """The format of the rows: as asked for, else by the file's name, else by their looks. Raises Refused."""
        asked = self.fields.get("format", "").lower()
        if asked in ("json", "jsonl"):
            return "ndjson"
        if asked:
            if asked not in FORMATS:
                raise Refused(400, f"format '{asked[:40]}' is not taken; send {', '.join(FORMATS)}")
            return asked
        ending = self.file_name.rpartition(".")[2].lower()
        if ending in FORMATS:
            return ending
        return sniff(self.rows or b"")


def sniff(rows: bytes) -> str:
    """The format that the first bytes look like."""
    if rows.startswith(b"PAR1"):
        return "parquet"
    return "ndjson" if rows.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[", b"") else "csv"


async def read_payload(request: Request, body: bytes) -> Payload:
    """Take a whole body apart: a form only if it has a form's fields, whatever its Content-Type says. Raises Refused."""
    return await trio.to_thread.run_sync(_take_apart, request, body)


def _take_apart(request: Request, body: bytes) -> Payload:
    fields: dict[str, str] = {}
    form = request.form(body)
    if not all(name in _FORM_FIELDS or name.startswith("engine_") for name, _ in form):
        # curl calls every body a form unless it is told otherwise.
        form = []
    for name, value in (*request.pairs, *form):
        fields.setdefault(name, value)
    kind, options = multipart.parse_options_header(request.head.headers.get(b"content-type", b"").decode("latin-1"))
    if form:
        return Payload(fields, None)
    if kind != "multipart/form-data":
        return Payload(fields, body)
    rows: bytes | None = None
    file_name = ""
    try:
        parser = multipart.MultipartParser(
            BytesIO(body),
            options.get("boundary", ""),
            content_length=len(body),
            part_limit=_PARTS_MAX,
            # The whole body is in memory already, within its own limit.
            memory_limit=2 * len(body) + 1024,
            spool_limit=len(body) + 1,
        )
        for part in parser:
            if rows is None and (part.name in _ROWS_PARTS or part.filename):
                rows, file_name = part.raw, part.filename or ""
            else:
                fields.setdefault(part.name, part.value)
    except (multipart.MultipartError, LookupError, ValueError) as error:
        raise Refused(400, f"the multipart body can't be read: {error}") from None
    return Payload(fields, rows, file_name)
