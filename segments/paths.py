"""JSON paths of columns: `$.a.b`, `$.items[:]`, `$.['odd key']`, and `$` for the whole event."""

import re
from dataclasses import dataclass

from segments.scanner import Scanner
from segments.schema import Path

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_KEY = re.compile(r"[\w$@-]+")
_QUOTED_KEY = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "'": "'", "\\": "\\", "g": "`"}
_NEEDS_ESCAPE = {value: f"\\{key}" for key, value in _ESCAPES.items()}
_FORMS = "a path is $, $.key, $.key.key, $.['any key'], and ends in [:] for an Array column"


@dataclass(frozen=True, slots=True)
class JsonPath:
    """The keys that lead to a value, and whether the path says that it is an array."""

    keys: Path
    is_array: bool


def print_path(path: Path, *, array: bool) -> str:
    """`$.a.b`, `$.items[:]`, and `$.['odd key']` for keys that are not plain."""
    steps = ["$"]
    for key in path:
        if _PLAIN_KEY.fullmatch(key):
            steps.append(f".{key}")
        else:
            steps.append(f".['{''.join(_NEEDS_ESCAPE.get(character, character) for character in key)}']")
    return "".join(steps) + ("[:]" if array else "")


def read_path(scanner: Scanner) -> JsonPath:
    """The path that the rest of the scanner's text is. Raises SchemaError."""
    if scanner.take(re.compile(r"\$")) is None:
        raise scanner.fail(f"a path starts with '$', found {scanner.found()}")
    keys: list[str] = []
    is_array = False
    while scanner.at < scanner.end:
        if is_array:
            raise scanner.fail(f"expected the end of the path after [:], found {scanner.found()}; {_FORMS}")
        if scanner.take(re.compile(r"\[:\]")):
            is_array = True
        else:
            keys.append(_read_key(scanner))
    return JsonPath(tuple(keys), is_array)


def _read_key(scanner: Scanner) -> str:
    has_dot = scanner.take(re.compile(r"\.")) is not None
    if scanner.take(re.compile(r"\[")):
        match = scanner.take(_QUOTED_KEY)
        if match is None or not scanner.take(re.compile(r"\]")):
            raise scanner.fail(f"expected a key in quotes and brackets, ['key'], found {scanner.found()}; {_FORMS}")
        quoted = match[1] if match[1] is not None else match[2]
        return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), quoted)
    match = scanner.take(_BARE_KEY) if has_dot else None
    if match is None:
        raise scanner.fail(f"expected a key, found {scanner.found()}; {_FORMS}")
    return match[0]
