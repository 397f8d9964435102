"""Plain values and names as text. Apart from the conversion of Arrow's columns, because small answers do without Arrow."""

import math
import re
from collections.abc import Iterable

import orjson

# C0 and C1 controls, line separators, and the marks that reorder or hide the text around them on a terminal
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]"
)
_SHORT_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def unique_names(names: Iterable[str]) -> list[str]:
    """The names, in order, with `_2`, `_3` behind those that stood before."""
    given = list(names)
    taken = set(given)
    seen: set[str] = set()
    unique = []
    for name in given:
        candidate, number = name, 2
        while candidate in seen or (number > 2 and candidate in taken):
            candidate, number = f"{name}_{number}", number + 1
        seen.add(candidate)
        unique.append(candidate)
    return unique


def as_text(value: object) -> str:
    """A plain value other than None as it stands in a cell: text bare, NaN and infinity by name, the rest as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return orjson.dumps(value).decode()


def printable(text: str) -> str:
    """The text with everything escaped that could move a terminal's cursor, colour it, or reorder what it shows."""
    return _UNPRINTABLE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _SHORT_ESCAPES.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
