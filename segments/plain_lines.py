"""Which bytes `pyarrow.json` may be given: lines that it can't read otherwise than a strict parser does, by their text alone."""

from segments.lines import LINE_BYTES_MAX

# What pyarrow takes and a strict parser may refuse: the escape of half a character.
_HALVES = (b"\\ud", b"\\uD")
BRACKETS_MAX = 200
"""Of one line that pyarrow is given."""
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{\n"))


def count_objects(part: bytes) -> int:
    """How many rows there are when each line is one object."""
    # Between values only `}` stands before a line's end and `{` after it.
    return part.count(b"}\n{") + 1


def are_plain(part: bytes, objects: int) -> bool:
    """Whether each line is one of so many objects, none too long or too deep, all of it text."""
    if part[:1] != b"{" or part.rstrip(b"\n")[-1:] != b"}" or _count(part, b"\n") + (part[-1:] != b"\n") != objects:
        return False
    # One byte is found ten times as fast as several.
    if b"\\" in part and any(text in part for text in _HALVES):
        return False
    return _are_short(part) and _are_shallow(part, objects) and is_utf8(part)


def _count(part: bytes, byte: bytes) -> int:
    """Python looks for a byte word by word when it takes it out, and one by one when it counts it."""
    return len(part) - len(part.replace(byte, b""))


def is_utf8(part: bytes) -> bool:
    """pyarrow does not look, and would store what no text is."""
    if part.isascii():
        return True
    try:
        part.decode()
    except UnicodeDecodeError:
        return False
    return True


def _are_short(part: bytes) -> bool:
    start = 0
    while start + LINE_BYTES_MAX < len(part):
        end = part.rfind(b"\n", start, start + LINE_BYTES_MAX + 1)
        if end < 0:
            return False
        start = end + 1
    return True


def _are_shallow(part: bytes, lines: int) -> bool:
    """pyarrow recurses for each level, and 100,000 of them end the process; a line has no more levels than brackets."""
    # Each line has one bracket of its own, and counting all is much faster than keeping them.
    if _count(part, b"{") + _count(part, b"[") - lines < BRACKETS_MAX - 1:
        return True
    return max(map(len, part.translate(None, _NO_BRACKETS).split(b"\n"))) < BRACKETS_MAX
