"""The bytes of one request body -> events. Knows JSON's syntax and limits, nothing of schemas.

Every number arrives exact: orjson makes floats of integers beyond 64 bits without a word, so a line in which that may
have happened is read again by the standard library, after orjson has judged its syntax.
"""

import json
import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from segments.elements import BLANKS, Elements, array_elements
from segments.errors import BodyRejected

LINE_BYTES_MAX = 1 << 20
"""One orjson call holds the interpreter for up to 0.1 s a MiB (10 MB of `[],` takes a second), so none is longer."""
SLICE_BYTES = 1 << 20
"""A large body is read in parts of about this size."""
DEPTH_MAX = 64
BOM = b"\xef\xbb\xbf"
_BEYOND_64_BITS = re.compile(rb"[0-9]{20}|-[0-9]{19}")
_HUGE = 2.0**63
_DIGITS_SAFE = 18


@dataclass(slots=True)
class Events:
    """The events of one body in order: `objects[i]` was sent as `raws[i]`; None where that is not a JSON object.

    `errors[i]` says why not. Blank lines are no events.
    """

    raws: list[bytes] = field(default_factory=list)
    objects: list[dict[str, Any] | None] = field(default_factory=list)
    errors: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.raws)

    def extend(self, other: "Events") -> None:
        base = len(self.raws)
        self.raws += other.raws
        self.objects += other.objects
        self.errors.update((base + index, error) for index, error in other.errors.items())


@dataclass(frozen=True, slots=True)
class Number:
    """A JSON number as its literal, where a Python number would lose digits of it."""

    literal: str


def exact(line: bytes) -> Any:
    """The value of a line that orjson accepts, in which no number has lost a digit.

    Integers of 64 bits are ints; longer ones, and all fractions, are Numbers.
    """
    return json.loads(
        line, parse_float=Number, parse_int=lambda text: int(text) if len(text) < _DIGITS_SAFE else _integer(text)
    )


def _integer(literal: str) -> int | Number:
    if len(literal) > _DIGITS_SAFE + 2:
        return Number(literal)
    value = int(literal)
    return value if -(1 << 63) <= value < 1 << 64 else Number(literal)


def json_text(value: Any) -> str:
    """The JSON text of a value; a string is its own text, as ClickHouse and the original store it."""
    if isinstance(value, str):
        return value
    return json_literal(value)


def json_literal(value: Any) -> str:
    """The JSON text of a value; a string in its quotes."""
    return _dumps(value).decode()


def _dumps(value: Any) -> bytes:
    return orjson.dumps(value, default=_fragment, option=orjson.OPT_PASSTHROUGH_DATACLASS)


def _fragment(value: object) -> orjson.Fragment:
    assert isinstance(value, Number), type(value)
    return orjson.Fragment(value.literal)


def may_hold_huge_integers(line: bytes) -> bool:
    return _BEYOND_64_BITS.search(line) is not None


def has_huge_float(value: Any) -> bool:
    """Whether a float that may have been an integer beyond 64 bits is anywhere in the value."""
    if isinstance(value, float):
        return abs(value) >= _HUGE
    if isinstance(value, dict):
        return any(map(has_huge_float, value.values()))
    return isinstance(value, list) and any(map(has_huge_float, value))


def has_float(value: Any) -> bool:
    """Whether a number that is not an integer of 64 bits is anywhere in the value."""
    if isinstance(value, dict):
        return any(map(has_float, value.values()))
    if isinstance(value, list):
        return any(map(has_float, value))
    return isinstance(value, float)


def parse_body(body: bytes) -> Events:
    """The events of a body: one object, objects a line each, an array of objects, or one object over several lines.

    Raises BodyRejected when no part of the body is a JSON object; nothing of it is to be stored then. A body without
    anything but blanks has no events and is no error.
    """
    event = _parse_event(body) if body[:1] == b"{" and b"\n" not in body else None
    if event is not None:
        return event
    joined = Events()
    for part in parse_slices(body):
        joined.extend(part)
    return joined


def parse_slices(body: bytes) -> Iterator[Events]:
    """The events of a body of any size, a part at a time, so that few of them are objects at once.

    Raises BodyRejected, after the last part, as `parse_body` does.
    """
    body = body.removeprefix(BOM)
    elements = array_elements(body)
    if elements is None and len(body) <= SLICE_BYTES:
        yield _parse_small(body)
        return
    found = False
    first_error = ""
    parts = map(parse_slice, line_slices(body, SLICE_BYTES)) if elements is None else _element_slices(body, elements)
    for events in parts:
        found = found or len(events.errors) < len(events)
        first_error = first_error or events.errors.get(0, "")
        yield events
    if first_error and not found:
        raise _without_object("line" if elements is None else "element", first_error)


def _parse_event(line: bytes) -> Events | None:
    """One event, as most bodies are; None when it needs a closer look."""
    if len(line) > LINE_BYTES_MAX or line.count(b"{") + line.count(b"[") > DEPTH_MAX:
        return None
    try:
        return Events([line], [orjson.loads(line)])
    except orjson.JSONDecodeError:
        return None


def _parse_small(body: bytes) -> Events:
    events = parse_slice(body)
    if 0 not in events.errors:
        return events
    whole = Events()
    _add(whole, body.strip(BLANKS))
    if not whole.errors:
        return whole
    if len(events.errors) == len(events):
        raise _without_object("line", events.errors[0])
    return events


def _without_object(what: str, first_error: str) -> BodyRejected:
    return BodyRejected(
        f"the body holds no JSON object: {what} 1: {first_error}; send one object, or one object a line"
    )


def parse_lines(lines: Iterable[bytes]) -> Events:
    """An event for each line, as it stands."""
    events = Events()
    for line in lines:
        _add(events, line)
    return events


def parse_document(body: bytes) -> Events:
    """The events of a body that is one JSON document: an object, or an array of objects. Raises BodyRejected."""
    joined = Events()
    for part in document_slices(body):
        joined.extend(part)
    return joined


def document_slices(body: bytes) -> Iterator[Events]:
    """The same, a part at a time, as `parse_slices` does."""
    body = body.removeprefix(BOM).strip()
    elements = array_elements(body)
    found = False
    first_error = ""
    for events in _element_slices(body, Elements(0, array("Q", [len(body)])) if elements is None else elements):
        found = found or len(events.errors) < len(events)
        first_error = first_error or events.errors.get(0, "")
        yield events
    if body and not found:
        reason = first_error or "an array without elements"
        raise BodyRejected(f"the body is not one JSON object or an array of them: {reason}")


def line_slices(body: bytes, size: int) -> Iterator[bytes]:
    """A body cut at line ends into parts of about `size` bytes."""
    start = 0
    while start < len(body):
        end = len(body)
        if end - start > size:
            end = body.rfind(b"\n", start, start + size) + 1 or body.find(b"\n", start) + 1 or len(body)
        yield body[start:end]
        start = end


def parse_slice(part: bytes) -> Events:
    """The events of whole lines; what is no JSON object is an event with an error."""
    return parse_lines(_lines(part))


def _element_slices(body: bytes, elements: Elements) -> Iterator[Events]:
    events = Events()
    size = 0
    for start, end in elements:
        _add(events, body[start:end].strip(BLANKS))
        size += end - start
        if size >= SLICE_BYTES:
            yield events
            events, size = Events(), 0
    if events:
        yield events


def _lines(body: bytes) -> Iterator[bytes]:
    for line in body.split(b"\n"):
        if stripped := line.strip(b" \t\r"):
            yield stripped


def _add(events: Events, line: bytes) -> None:
    error = None
    value = None
    if len(line) > LINE_BYTES_MAX:
        error = f"the line has {len(line)} bytes; {LINE_BYTES_MAX} is the limit"
    else:
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as refusal:
            error = f"not JSON: {refusal}"
        else:
            if not isinstance(value, dict):
                error, value = f"a JSON {_kind(value)} where an object is expected", None
            elif is_too_deep(line, value):
                error, value = f"nested more than {DEPTH_MAX} levels deep", None
    if error is not None:
        events.errors[len(events.raws)] = error
    events.raws.append(line)
    events.objects.append(value)


def _kind(value: object) -> str:
    return {list: "array", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")


def is_too_deep(line: bytes, value: object) -> bool:
    """Whether arrays and objects stand in each other more than DEPTH_MAX levels deep."""
    if line.count(b"{") + line.count(b"[") <= DEPTH_MAX:
        return False
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return False
    return any(isinstance(value, dict | list) for value in level)
