"""The elements of a body that is one JSON array."""

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

BLANKS = b" \t\r\n"
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# An object or array with no other inside is one token, as most elements are: to take each of its commas takes ten times
# as long. A string without an end is a token too: to look again from each quote in it would hold the interpreter for hours.
_TOKEN = re.compile(
    rb"\{(?:[^][{}\"]|" + _STRING + rb")*+\}|\[(?:[^][{}\"]|" + _STRING + rb")*+\]|" + _STRING + rb"?|[][{},]",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Elements:
    """Where the elements of an array stand: each begins behind the mark at which the one before ends. Eight bytes each:
    as pairs of numbers, elements of three bytes would take fifty times their size."""

    start: int
    ends: "array[int]"

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        start = self.start
        for end in self.ends:
            yield start, end
            start = end + 1


def array_elements(body: bytes) -> Elements | None:
    """Where the elements of a top-level array stand in the body; None when the body is no array from end to end.

    Only brackets, commas and strings are looked at: whether an element is JSON is judged when it is parsed, alone, so
    that each keeps its own text and its own limits.
    """
    first = len(body) - len(body.lstrip(BLANKS))
    if body[first : first + 1] != b"[":
        return None
    start = first + 1
    elements = Elements(start, array("Q"))
    depth = 1
    for token in _TOKEN.finditer(body, start):
        if token.end() - token.start() > 1:
            continue
        mark = token.group()
        if mark in b"[{":
            depth += 1
        elif mark in b"]}":
            depth -= 1
        if (mark == b"," and depth == 1) or depth == 0:
            is_blank = not body[start : token.start()].strip(BLANKS)
            if not is_blank:
                elements.ends.append(token.start())
            elif depth or elements.ends:
                return None
            start = token.end()
            if not depth:
                return elements if mark == b"]" and not body[start:].strip(BLANKS) else None
    return None
