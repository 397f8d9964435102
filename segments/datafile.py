"""The `.datasource` file: the schema of a data source, and what goes with it, as a person writes it.

A file is a list of commands that start at the beginning of a line. A command that ends in `>` has a block: the indented
and blank lines that follow. Each command keeps its source text, so a file is printed as it was written.
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from segments.datafile_schema import read_columns
from segments.errors import SchemaError
from segments.scanner import Scanner
from segments.schema import Column, Schema

TokenScope = Literal["APPEND", "READ"]

_ONCE = frozenset({"DESCRIPTION", "SCHEMA", "ENGINE", "ENGINE_SORTING_KEY"})
_MERGES = "rows stay as they were sent and are never merged"
_CONNECTORS = "rows come in over HTTP only, there are no connectors"
_WITHOUT_EFFECT = {
    "BACKFILL": "there is nothing to fill a data source from",
    "ENGINE_COLUMNS": _MERGES,
    "ENGINE_IS_DELETED": _MERGES,
    "ENGINE_PARTITION_KEY": "rows are kept by the day on which they came in",
    "ENGINE_PRIMARY_KEY": "the sorting key alone says how rows are ordered",
    "ENGINE_SAMPLING_KEY": "rows are not sampled",
    "ENGINE_SETTINGS": "there is no engine to set",
    "ENGINE_SIGN": _MERGES,
    "ENGINE_TTL": "rows stay until someone deletes them",
    "ENGINE_VER": _MERGES,
    "ENGINE_VERSION": _MERGES,
    "FORWARD_QUERY": "a change of the schema is made by altering it",
    "INDEXES": "segments have no indexes beside their statistics",
    "SHARED_WITH": "there is one workspace",
    "TAGS": "data sources have no tags",
    "VERSION": "data sources have no versions",
}
_CONNECTOR_PREFIXES = ("KAFKA_", "IMPORT_")
_KNOWN = ", ".join(sorted({*_ONCE, "TOKEN", *_WITHOUT_EFFECT, *(f"{prefix}..." for prefix in _CONNECTOR_PREFIXES)}))
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BLOCK = re.compile(r"[ \t]*>")
_BLANKS = re.compile(r"[ \t\r]*")
_VALUE = re.compile(r"\"([^\"\n]*)\"|'([^'\n]*)'|([^\s\"'#](?:(?![ \t]#)[^\n])*)")
_TOKEN_NAME = re.compile(r"\"([^\"\n]*)\"|'([^'\n]*)'|([^\s\"'#]+)")
_NOTHING_ELSE = re.compile(r"[ \t\r]*(?:#[^\n]*)?\n?\Z")
_SORTING_NAME = re.compile(r"`([^`]*)`|([A-Za-z_][A-Za-z0-9_]*)")
_NO_SORTING_KEY = re.compile(r"tuple\(\s*\)")


@dataclass(frozen=True, slots=True)
class Command:
    """A command in capitals with its source text, its lines to the end; without a name, lines between commands."""

    name: str
    source: str


@dataclass(frozen=True, slots=True)
class FileToken:
    """TOKEN: a token of this name may append to the data source, or read it."""

    name: str
    scope: TokenScope


@dataclass(frozen=True, slots=True)
class Datafile:
    """What a file says. `warnings` has a sentence for each part of it that is kept and has no effect."""

    description: str
    tokens: tuple[FileToken, ...]
    schema: Schema
    warnings: tuple[str, ...]
    commands: tuple[Command, ...]


def parse_datafile(text: str) -> Datafile:
    """Read a whole file. Raises SchemaError naming the line, the column, and what was expected there."""
    return _Parser(text).parse()


@dataclass(frozen=True, slots=True)
class _Found:
    """A command, and where in the file it and its value stand."""

    command: Command
    start: int
    value: int
    end: int
    is_block: bool


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._file = Scanner(text)
        self._warnings: dict[int, str] = {}

    def parse(self) -> Datafile:
        try:
            self._text.encode()
        except UnicodeEncodeError as error:
            raise self._file.fail("expected text, found half a character", at=error.start) from None
        first: dict[str, _Found] = {}
        tokens: list[FileToken] = []
        commands: list[Command] = []
        for found in self._split():
            commands.append(found.command)
            name = found.command.name
            if name in first and name in _ONCE:
                line = self._line(first[name])
                raise self._file.fail(f"a second {name}; the first one stands on line {line}", at=found.start)
            first.setdefault(name, found)
            if name == "TOKEN":
                tokens.append(self._token(found))
            elif name and name not in _ONCE:
                self._warn_without_effect(found)
        if "SCHEMA" not in first:
            raise self._file.fail("there is no SCHEMA; expected a block that starts with SCHEMA >", at=len(self._text))
        columns = read_columns(self._block(first["SCHEMA"]))
        if "ENGINE" in first:
            self._engine(first["ENGINE"])
        key = self._sorting_key(first["ENGINE_SORTING_KEY"], columns) if "ENGINE_SORTING_KEY" in first else ()
        description = self._description(first["DESCRIPTION"]) if "DESCRIPTION" in first else ""
        return Datafile(description, tuple(tokens), Schema(columns, key), self._warned(), tuple(commands))

    def _split(self) -> Iterator[_Found]:
        start = 0
        while start < len(self._text):
            end = self._line_end(start)
            line = self._text[start:end]
            if not line.strip() or line.startswith("#"):
                yield _Found(Command("", line), start, start, end, is_block=False)
                start = end
                continue
            word = _WORD.match(line)
            if word is None:
                raise self._no_command(start, line)
            value = start + word.end()
            block = _BLOCK.match(self._text, value, end)
            if block is not None:
                value, end = block.end(), self._block_end(end)
            yield _Found(Command(word[0].upper(), self._text[start:end]), start, value, end, block is not None)
            start = end

    def _line_end(self, start: int) -> int:
        return self._text.find("\n", start) + 1 or len(self._text)

    def _block_end(self, start: int) -> int:
        """Behind the last indented line; blank lines after it are not the block's."""
        last = start
        while start < len(self._text):
            end = self._line_end(start)
            line = self._text[start:end]
            if line.strip():
                if line[0] not in " \t":
                    break
                last = end
            start = end
        return last

    def _no_command(self, start: int, line: str) -> SchemaError:
        blanks = len(line) - len(line.lstrip())
        found = Scanner(self._text, start + blanks).found()
        if blanks:
            return self._file.fail(
                f"indented lines stand under a command that ends in '>', found {found}", at=start + blanks
            )
        return self._file.fail(f"expected a command, found {found}; known are {_KNOWN}", at=start)

    def _line(self, found: _Found) -> int:
        return self._text.count("\n", 0, found.start) + 1

    def _warn(self, found: _Found, message: str, *, at: int) -> None:
        self._warnings[at] = f"line {self._line(found)}: {message}"

    def _warned(self) -> tuple[str, ...]:
        """In the order of the file."""
        return tuple(text for _, text in sorted(self._warnings.items()))

    def _warn_without_effect(self, found: _Found) -> None:
        name = found.command.name
        reason = _CONNECTORS if name.startswith(_CONNECTOR_PREFIXES) else _WITHOUT_EFFECT.get(name)
        if reason is None:
            raise self._file.fail(f"'{name[:60]}' is not a command; known are {_KNOWN}", at=found.start)
        self._warn(found, f"{name} is kept in the file and has no effect: {reason}.", at=found.start)

    def _block(self, found: _Found) -> Scanner:
        scanner = Scanner(self._text, found.value, found.end)
        if not found.is_block:
            raise scanner.fail(f"expected '>' after {found.command.name}, with an indented block under it")
        if scanner.is_done:
            raise scanner.fail(f"expected columns under {found.command.name} >, found {scanner.found()}")
        return scanner

    def _value(self, found: _Found, what: str) -> Scanner:
        """What stands behind the command, in quotes or without."""
        scanner = Scanner(self._text, found.value, found.end)
        scanner.take(_BLANKS)
        start = scanner.at
        match = None if found.is_block else scanner.take(_VALUE)
        if match is None or match.lastindex is None or not match[match.lastindex].strip():
            raise scanner.fail(f"expected {what} after {found.command.name}, found {scanner.found()}", at=start)
        if scanner.take(_NOTHING_ELSE) is None:
            raise scanner.fail(f"expected nothing more after {what}, found {scanner.found()}")
        inside = Scanner(self._text, match.start(match.lastindex), match.end(match.lastindex))
        inside.skip_blank()
        return inside

    def _description(self, found: _Found) -> str:
        text = self._text[found.value : found.end]
        if found.is_block:
            return textwrap.dedent(text).strip()
        text = text.strip()
        is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
        return text[1:-1] if is_quoted else text

    def _token(self, found: _Found) -> FileToken:
        scanner = Scanner(self._text, found.value, found.end)
        scanner.take(_BLANKS)
        start = scanner.at
        match = None if found.is_block else scanner.take(_TOKEN_NAME)
        name = "" if match is None or match.lastindex is None else match[match.lastindex].strip()
        if not name:
            raise scanner.fail(f'expected a name, as in TOKEN "name" APPEND, found {scanner.found()}', at=start)
        scanner.take(_BLANKS)
        start = scanner.at
        word = scanner.take(_WORD)
        for scope in _SCOPES:
            if word is not None and word[0].upper() == scope and scanner.take(_NOTHING_ELSE):
                return FileToken(name, scope)
        raise scanner.fail("expected APPEND or READ after the token's name, and nothing more", at=start)

    def _engine(self, found: _Found) -> None:
        value = self._value(found, "an engine, such as MergeTree")
        engine = self._text[value.at : value.end].strip()
        if engine != "MergeTree":
            self._warn(
                found, f"ENGINE {engine} is kept in the file and works as MergeTree does: {_MERGES}.", at=found.start
            )

    def _sorting_key(self, found: _Found, columns: tuple[Column, ...]) -> tuple[str, ...]:
        value = self._value(found, "column names")
        key: list[str] = []
        for start, end in _between_commas(value):
            text = self._text[start:end]
            match = _SORTING_NAME.fullmatch(text)
            if match is not None and match.lastindex is not None:
                key.append(_sortable(value, start, match[match.lastindex], columns))
            elif "(" not in text:
                raise value.fail("expected the name of a column", at=start)
            elif not _NO_SORTING_KEY.fullmatch(text):
                self._warn(
                    found,
                    f"{text} is kept in the file and has no effect: rows are sorted by columns, not expressions.",
                    at=start,
                )
        return tuple(key)


_SCOPES: tuple[TokenScope, ...] = ("APPEND", "READ")


def _sortable(scanner: Scanner, at: int, name: str, columns: tuple[Column, ...]) -> str:
    for column in columns:
        if column.name == name:
            if column.type.is_sortable:
                return name
            raise scanner.fail(f"rows can't be sorted by '{name}', which is {column.type}", at=at)
    raise scanner.fail(f"'{name[:60]}' is not a column of the SCHEMA; expected one", at=at)


def _between_commas(scanner: Scanner) -> Iterator[tuple[int, int]]:
    """Where the parts of a list stand, without the blanks around them; a comma in brackets ends none."""
    depth, start = 0, scanner.at
    for at in range(scanner.at, scanner.end + 1):
        character = scanner.text[at] if at < scanner.end else ","
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0 or (depth and at == scanner.end):
            raise scanner.fail("the brackets do not match", at=at)
        if character == "," and depth == 0:
            part = scanner.text[start:at]
            blanks = len(part) - len(part.lstrip())
            yield start + blanks, start + blanks + len(part.strip())
            start = at + 1
