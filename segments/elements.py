"""The elements of a body that is one JSON array."""

import re

BLANKS = b" \t\r\n"
# A string without an end is a token too: to look again from each quote in it would hold the interpreter for hours.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[][{},]', re.DOTALL)


def array_elements(body: bytes) -> list[tuple[int, int]] | None:
    """Where the elements of a top-level array stand in the body; None when the body is no array from end to end.

    Only brackets, commas and strings are looked at: whether an element is JSON is judged when it is parsed, alone, so
    that each keeps its own text and its own limits.
    """
    if body.lstrip(BLANKS)[:1] != b"[":
        return None
    elements: list[tuple[int, int]] = []
    depth = start = 0
    for token in _TOKEN.finditer(body):
        mark = token.group()[:1]
        if mark in b"[{":
            depth += 1
            if depth == 1:
                start = token.end()
        elif mark in b"]}":
            depth -= 1
        if (mark == b"," and depth == 1) or depth == 0:
            is_blank = not body[start : token.start()].strip(BLANKS)
            if not is_blank:
                elements.append((start, token.start()))
            elif depth or elements:
                return None
            start = token.end()
            if not depth:
                return elements if mark == b"]" and not body[start:].strip(BLANKS) else None
    return None
