"""The bytes of one request body -> events. Knows JSON's syntax and limits, nothing of schemas.

Every number arrives exact: orjson makes floats of integers beyond 64 bits without a word, so a line in which that may
have happened is read again by the standard library, after orjson has judged its syntax.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from segments.errors import BodyRejected

LINE_BYTES_MAX = 1 << 20
"""One orjson call holds the interpreter for up to 0.1 s a MiB (10 MB of `[],` takes a second), so none is longer."""
SLICE_BYTES = 1 << 20
"""A large body is read in parts of about this size."""
DEPTH_MAX = 64
_BOM = b"\xef\xbb\xbf"
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


def parse_body(body: bytes) -> Events:
    """The events of a body: one object, objects a line each, an array of objects, or one object over several lines.

    Raises BodyRejected when no part of the body is a JSON object; nothing of it is to be stored then. A body without
    anything but blanks has no events and is no error.
    """
    body = body.removeprefix(_BOM)
    head = body[:64].lstrip()
    if head.startswith(b"[") or (not head and body.lstrip().startswith(b"[")):
        events = _parse_array(body)
        if events is not None:
            return events
    events = Events()
    for line in _lines(body):
        _add(events, line)
    if events and not any(value is not None for value in events.objects):
        whole = _parse_whole(body)
        if whole is None:
            raise _without_object(events.errors[0])
        return whole
    return events


def parse_slices(body: bytes) -> Iterator[Events]:
    """The events of a body of any size, a part at a time, so that few of them are objects at once.

    Joined they are what `parse_body` gives. Raises BodyRejected, after the last part, as it does.
    """
    if len(body) <= SLICE_BYTES or body[:64].lstrip().startswith(b"["):
        yield parse_body(body)
        return
    found = False
    start, first_error = 0, ""
    body = body.removeprefix(_BOM)
    while start < len(body):
        end = body.rfind(b"\n", start, start + SLICE_BYTES) + 1
        if end <= start:
            end = body.find(b"\n", start) + 1 or len(body)
        events = Events()
        for line in _lines(body[start:end]):
            _add(events, line)
        found = found or len(events.errors) < len(events)
        first_error = first_error or events.errors.get(0, "")
        start = end
        yield events
    if first_error and not found:
        raise _without_object(first_error)


def _without_object(first_error: str) -> BodyRejected:
    return BodyRejected(f"the body holds no JSON object: line 1: {first_error}; send one object, or one object a line")


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
            elif _too_deep(line, value):
                error, value = f"nested more than {DEPTH_MAX} levels deep", None
    if error is not None:
        events.errors[len(events.raws)] = error
    events.raws.append(line)
    events.objects.append(value)


def _kind(value: object) -> str:
    return {list: "array", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")


def _too_deep(line: bytes, value: object) -> bool:
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


def _parse_array(body: bytes) -> Events | None:
    """The elements of a top-level array as events; None when the body is not one array of at least one object."""
    if len(body) > LINE_BYTES_MAX:
        raise BodyRejected(
            f"the body is one array of {len(body)} bytes; {LINE_BYTES_MAX} is the limit for an array, "
            "send the objects a line each instead"
        )
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if may_hold_huge_integers(body) and has_huge_float(values):
        values = exact(body)
    if values and not any(isinstance(value, dict) for value in values):
        return None
    events = Events()
    for value in values:
        _add(events, _dumps(value))
    return events


def _parse_whole(body: bytes) -> Events | None:
    """The body as one pretty-printed object; None when it is not one."""
    events = Events()
    _add(events, body.strip())
    return events if events.objects[0] is not None else None
