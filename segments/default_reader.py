"""The expression of a DEFAULT. Apart from what it means, because few schemas have one, and checking its value takes Arrow."""

import re
from typing import Any

import orjson

from segments.column_type import ColumnType
from segments.columns import fit_values
from segments.defaults import TAKEN, Default
from segments.lines import exact, is_too_deep, json_literal
from segments.scanner import Scanner

DEPTH_MAX = 16
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![A-Za-z0-9_.])")
_TEXT = re.compile(r"'((?:[^'\\\n]|''|\\.)*)'")
_ESCAPE = re.compile(r"''|\\(.)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "b": "\b", "f": "\f", "'": "'", '"': '"', "\\": "\\"}
_NEEDS_ESCAPE = {value: f"\\{key}" for key, value in _ESCAPES.items() if key != '"'}
_DIGIT = re.compile(r"[0-9]")
_NOW64_DIGITS = 3


def read_default(scanner: Scanner, kind: ColumnType) -> Default:
    """The expression that stands next. Raises SchemaError when it is not one that is taken, or does not fit the type."""
    scanner.skip_blank()
    start = scanner.at
    word = scanner.take_word()
    if word.lower() in _CLOCKS:
        return _read_clock(scanner, kind, word.lower(), start)
    scanner.at = start
    value, text = _read_literal(scanner)
    if kind.name in {"JSON", "Map"} and isinstance(value, str):
        value = _inner_json(scanner, value, start)
    for reason in fit_values(kind, [value]).errors.values():
        raise scanner.fail(f"the DEFAULT does not fit {kind}: {reason}", at=start)
    return Default(text, json_literal(value))


_CLOCKS = {"now": {"DateTime", "DateTime64"}, "now64": {"DateTime64"}, "today": {"Date", "Date32"}}


def _read_clock(scanner: Scanner, kind: ColumnType, function: str, start: int) -> Default:
    digits, argument = 0, ""
    scanner.expect_mark("(", f"after {function}")
    if function == "now64":
        digits = _NOW64_DIGITS
        if scanner.peek() != ")":
            match = scanner.take(_DIGIT)
            if match is None:
                raise scanner.fail(f"now64 takes the digits of the second's fraction, 0 to 9, found {scanner.found()}")
            digits, argument = int(match[0]), match[0]
    scanner.expect_mark(")", f"to end {function}(; a time zone is not taken, the clock's reading is the same in all")
    if kind.name not in _CLOCKS[function]:
        raise scanner.fail(f"{function}() does not fit {kind}, but {' and '.join(sorted(_CLOCKS[function]))}", at=start)
    if digits > kind.precision:
        raise scanner.fail(f"now64({digits}) has more fraction digits than {kind} holds", at=start)
    return Default(f"{function}({argument})", fraction_digits=digits)


def _read_literal(scanner: Scanner, *, depth: int = 0) -> tuple[Any, str]:
    """A value as an event would send it, and its spelling."""
    scanner.skip_blank()
    if scanner.peek() == "'":
        return _read_text(scanner)
    if match := scanner.take(_NUMBER):
        return exact(match[0].encode()), match[0]
    start = scanner.at
    if depth < DEPTH_MAX and scanner.take_mark("["):
        return _read_list(scanner, depth)
    for word, value in (("true", True), ("false", False), ("NULL", None)):
        if scanner.take_word().lower() == word.lower():
            return value, word
        scanner.at = start
    raise scanner.fail(f"{TAKEN}, found {scanner.found()}", at=start)


def _read_list(scanner: Scanner, depth: int) -> tuple[list[Any], str]:
    values: list[Any] = []
    texts: list[str] = []
    while not scanner.take_mark("]"):
        if values:
            scanner.expect_mark(",", "between the elements of the DEFAULT")
        value, text = _read_literal(scanner, depth=depth + 1)
        values.append(value)
        texts.append(text)
    return values, f"[{', '.join(texts)}]"


def _read_text(scanner: Scanner) -> tuple[str, str]:
    start = scanner.at
    match = scanner.take(_TEXT)
    if match is None:
        raise scanner.fail("the text that starts here has no closing quote on its line; a line break is written \\n")

    def unescape(found: re.Match[str]) -> str:
        if found[1] is None:
            return "'"
        if found[1] not in _ESCAPES:
            raise scanner.fail(
                f"'\\{found[1]}' is not an escape; write a backslash as \\\\", at=start + 1 + found.start()
            )
        return _ESCAPES[found[1]]

    value = _ESCAPE.sub(unescape, match[1])
    return value, "'" + "".join(_NEEDS_ESCAPE.get(character, character) for character in value) + "'"


def _inner_json(scanner: Scanner, text: str, start: int) -> Any:
    """Columns of JSON and Map get their default as JSON inside a text, as in DEFAULT '{}'."""
    try:
        if not is_too_deep(text.encode(), orjson.loads(text)):
            return exact(text.encode())
    except orjson.JSONDecodeError as error:
        raise scanner.fail(f"the DEFAULT must be JSON in a text, such as '{{}}': {error}", at=start) from None
    raise scanner.fail("the JSON of the DEFAULT is nested too deep", at=start)
