"""Which bytes `pyarrow.json` may be given: lines that it can't read otherwise than a strict parser does, by their text alone."""

from segments.lines import LINE_BYTES_MAX

# What pyarrow takes and a strict parser may refuse: the escape of half a character.
_HALVES = (b"\\ud", b"\\uD")
BRACKETS_MAX = 200
"""Of one line that pyarrow is given."""
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{\n"))


def are_plain(part: bytes, lines: int) -> bool:
    """Whether each of so many lines is one object, none too long or too deep, all of it text."""
    # Between values only `}` stands before a line's end and `{` after it; so with as many rows as lines, each line is
    # one object.
    if part[:1] != b"{" or part.rstrip(b"\n")[-1:] != b"}" or part.count(b"}\n{") != lines - 1:
        return False
    # One byte is found ten times as fast as several.
    if b"\\" in part and any(text in part for text in _HALVES):
        return False
    return _are_short(part) and _are_shallow(part) and _is_utf8(part)


def _is_utf8(part: bytes) -> bool:
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


def _are_shallow(part: bytes) -> bool:
    """pyarrow recurses for each level, and 100,000 of them end the process; a line has no more levels than brackets."""
    return max(map(len, part.translate(None, _NO_BRACKETS).split(b"\n"))) < BRACKETS_MAX
