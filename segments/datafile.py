"""The `.datasource` file: the schema as a person would write it (API §4), parsed and printed.

This reads what inference prints: DESCRIPTION is kept out, SCHEMA, ENGINE and ENGINE_SORTING_KEY are understood.
"""

import re

from segments.column_type import parse_type
from segments.errors import SchemaError
from segments.schema import Column, Path, Schema

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_COLUMN = re.compile(r"\s*`(?P<name>[^`]+)`\s+(?P<type>[^`]+?)\s+`json:(?P<path>.+)`\s*,?\s*")
_STEP = re.compile(r"\.(?P<bare>[A-Za-z0-9_-]+)|\.?\['(?P<quoted>(?:[^'\\]|\\.)*)'\]")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "'": "'", "\\": "\\", "g": "`"}
_NEEDS_ESCAPE = {value: key for key, value in _ESCAPES.items()}


def print_path(path: Path, *, array: bool) -> str:
    """`$.a.b`, `$.items[:]`, and `$.['odd key']` for keys that are not plain."""
    steps = ["$"]
    for key in path:
        if _BARE_KEY.fullmatch(key):
            steps.append(f".{key}")
        else:
            quoted = "".join(f"\\{_NEEDS_ESCAPE[c]}" if c in _NEEDS_ESCAPE else c for c in key)
            steps.append(f".['{quoted}']")
    return "".join(steps) + ("[:]" if array else "")


def parse_path(text: str) -> Path:
    """The keys of a path as `print_path` prints it. Raises SchemaError with the column where it stops making sense."""
    body = text.removesuffix("[:]")
    if not body.startswith("$"):
        raise SchemaError(f"the path '{text}' must start with '$'")
    keys, at = [], 1
    while at < len(body):
        match = _STEP.match(body, at)
        if match is None:
            raise SchemaError(f"the path '{text}' can't be understood from character {at + 1}")
        quoted = match["quoted"]
        keys.append(
            match["bare"]
            if quoted is None
            else re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), quoted, flags=re.DOTALL)
        )
        at = match.end()
    return tuple(keys)


def print_datafile(schema: Schema) -> str:
    """The file that declares `schema`; parsing it gives the schema back."""
    lines = [
        f"    `{c.name}` {c.type} `json:{print_path(c.path, array=c.type.name == 'Array')}`" for c in schema.columns
    ]
    text = "SCHEMA >\n" + ",\n".join(lines) + '\n\nENGINE "MergeTree"\n'
    if schema.sorting_key:
        text += f'ENGINE_SORTING_KEY "{", ".join(schema.sorting_key)}"\n'
    return text


def parse_datafile(text: str) -> Schema:
    """The schema a datafile declares. Raises SchemaError naming the line and what was expected."""
    columns: list[Column] = []
    sorting_key: tuple[str, ...] = ()
    in_schema = False
    for number, line in enumerate(text.split("\n"), start=1):
        command = line.split(maxsplit=1)
        if not command or line.startswith("#"):
            continue
        if line[0] in " \t" and in_schema:
            columns.append(_parse_column(line, number))
            continue
        in_schema = False
        match command[0].upper():
            case "SCHEMA" if command[1:] == [">"]:
                in_schema = True
            case "ENGINE":
                pass
            case "ENGINE_SORTING_KEY" if len(command) == 2:
                sorting_key = tuple(name.strip() for name in command[1].strip().strip("\"'").split(","))
            case _:
                raise SchemaError(
                    f"line {number}: expected SCHEMA >, ENGINE or ENGINE_SORTING_KEY, found '{line.strip()}'"
                )
    if not columns:
        raise SchemaError("the datafile declares no columns; expected a block that starts with SCHEMA >")
    unknown = set(sorting_key) - {column.name for column in columns}
    if unknown:
        raise SchemaError(f"ENGINE_SORTING_KEY names {sorted(unknown)}, which no column has")
    return Schema(tuple(columns), sorting_key)


def _parse_column(line: str, number: int) -> Column:
    match = _COLUMN.fullmatch(line)
    if match is None:
        raise SchemaError(f"line {number}: expected `name` Type `json:$.path`, found '{line.strip()}'")
    try:
        return Column(match["name"], parse_type(match["type"]), parse_path(match["path"]))
    except SchemaError as error:
        raise SchemaError(f"line {number}: {error}") from None
