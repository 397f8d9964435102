"""The columns of a SCHEMA block: name, type, path, DEFAULT and CODEC, in this order."""

import re
from dataclasses import dataclass, field

from segments.column_type import ColumnType, read_type
from segments.defaults import TAKEN, Default
from segments.paths import print_path, read_path
from segments.scanner import Scanner
from segments.schema import COLUMNS_MAX, RESERVED_NAMES, Column, Path

_QUOTED_NAME = re.compile(r"`([^`\n]*)`")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_JSON_PATH = re.compile(r"`json:([^`\n]*)`")
_CODEC_TEXT = re.compile(r"[A-Za-z0-9_ \t\r\n,.']+")
_WHOLE_EVENT_TYPES = frozenset({"String", "JSON"})
_ORDER = ("path", "DEFAULT", "CODEC")
_FORM = "`name` Type `json:$.path` DEFAULT expression CODEC(...)"


@dataclass(slots=True)
class _Parts:
    """What follows a column's type: each part's source text, in the order of the source."""

    sources: dict[str, str] = field(default_factory=dict)
    misplaced: int | None = None
    path: Path | None = None
    default: Default | None = None
    codec: str = ""


def read_columns(scanner: Scanner) -> tuple[Column, ...]:
    """The columns that the rest of the scanner's text declares. Raises SchemaError."""
    columns: list[Column] = []
    taken: set[str] = set()
    while not columns or scanner.take_mark(","):
        scanner.skip_blank()
        start = scanner.at
        column = _read_column(scanner)
        if column.name.lower() in taken:
            raise scanner.fail(f"a second column '{column.name}'; names are unique, case aside", at=start)
        if len(columns) == COLUMNS_MAX:
            raise scanner.fail(f"more than {COLUMNS_MAX} columns", at=start)
        taken.add(column.name.lower())
        columns.append(column)
    if not scanner.is_done:
        said = f"; {TAKEN}" if columns[-1].default is not None else ""
        raise scanner.fail(f"expected ',' between columns, each {_FORM}, found {scanner.found()}{said}")
    return tuple(columns)


def _read_column(scanner: Scanner) -> Column:
    start = scanner.at
    name = _read_name(scanner)
    kind = read_type(scanner)
    declared = scanner.text[start : scanner.at]
    parts = _read_parts(scanner, kind)
    if parts.misplaced is not None:
        right = " ".join([declared, *(parts.sources[part] for part in _ORDER if part in parts.sources)])
        raise scanner.fail(
            f"the path stands before DEFAULT, and CODEC last: {' '.join(right.split())}", at=parts.misplaced
        )
    return Column(name, kind, (name,) if parts.path is None else parts.path, parts.default, parts.codec)


def _read_name(scanner: Scanner) -> str:
    start = scanner.at
    quoted = scanner.take(_QUOTED_NAME)
    name = scanner.take_word() if quoted is None else quoted[1]
    if not _NAME.fullmatch(name):
        found = scanner.found() if quoted is None else f"'{name[:60]}'"
        raise scanner.fail(
            f"expected a column name of letters, digits and '_' that starts with no digit, found {found}", at=start
        )
    if name.lower() in RESERVED_NAMES:
        raise scanner.fail(f"'{name}' is a name that Siltstone keeps for itself; give the column another", at=start)
    return name


def _read_parts(scanner: Scanner, kind: ColumnType) -> _Parts:
    parts = _Parts()
    while scanner.peek() not in {"", ","}:
        start = scanner.at
        if scanner.peek() == "`":
            part = "path"
            parts.path = _read_path(scanner, kind)
        else:
            part = scanner.take_word().upper()
            if part == "DEFAULT":
                from segments.default_reader import read_default  # noqa: PLC0415 -- takes Arrow, and few columns have one

                parts.default = read_default(scanner, kind)
            elif part == "CODEC":
                parts.codec = _read_codec(scanner)
            else:
                scanner.at = start
                break
        if part in parts.sources:
            raise scanner.fail(f"a second {part} of one column", at=start)
        if parts.misplaced is None and any(_ORDER.index(part) < _ORDER.index(seen) for seen in parts.sources):
            parts.misplaced = start
        parts.sources[part] = scanner.text[start : scanner.at]
    return parts


def _read_path(scanner: Scanner, kind: ColumnType) -> Path:
    start = scanner.at
    match = scanner.take(_JSON_PATH)
    if match is None:
        raise scanner.fail("expected a path in backquotes, such as `json:$.key`")
    at = match.start(1)
    path = read_path(Scanner(scanner.text, at, match.end(1)))
    is_array = kind.name == "Array"
    if path.is_array != is_array:
        right = print_path(path.keys, array=is_array)
        raise scanner.fail(f"[:] ends the path of an Array column and of no other; for {kind} it is {right}", at=at)
    if not path.keys and kind.name not in _WHOLE_EVENT_TYPES:
        raise scanner.fail(f"the path $ is the text of the whole event, for a String column, not for {kind}", at=start)
    return path.keys


def _read_codec(scanner: Scanner) -> str:
    """Kept, not understood: what stands between the brackets, on one line."""
    scanner.expect_mark("(", "after CODEC")
    start, depth = scanner.at, 1
    while depth:
        if scanner.take_mark("("):
            depth += 1
        elif scanner.take_mark(")"):
            depth -= 1
        elif scanner.take(_CODEC_TEXT) is None:
            raise scanner.fail(f"expected ')' at the end of CODEC(, found {scanner.found()}")
    return " ".join(scanner.text[start : scanner.at - 1].split())
