"""Schemas and datafiles as text."""

from segments.datafile import Datafile, parse_datafile
from segments.errors import SchemaError
from segments.paths import print_path
from segments.schema import Column, Schema


def print_column(column: Column) -> str:
    """The column as a line of a SCHEMA block has it, without the comma."""
    path = print_path(column.path, array=column.type.name == "Array")
    text = f"`{column.name}` {column.type} `json:{path}`"
    if column.default is not None:
        text += f" DEFAULT {column.default.text}"
    return f"{text} CODEC({column.codec})" if column.codec else text


def print_schema(schema: Schema) -> str:
    """A file that declares `schema` and nothing else; parsing it gives the schema back."""
    text = f'{_schema_block(schema)}\n\nENGINE "MergeTree"\n'
    if schema.sorting_key:
        text += f'ENGINE_SORTING_KEY "{", ".join(schema.sorting_key)}"\n'
    return text


def print_datafile(datafile: Datafile) -> str:
    """The text that the datafile was parsed from, to the last blank."""
    return "".join(command.source for command in datafile.commands)


def with_schema(datafile: Datafile, schema: Schema) -> Datafile:
    """The datafile with its SCHEMA block printed anew for `schema`, and every other character as it was.

    Raises SchemaError when the rest of the file does not go with the schema: the sorting key stands there.
    """
    pieces = []
    for command in datafile.commands:
        if command.name == "SCHEMA":
            pieces.append(_schema_block(schema) + ("\n" if command.source.endswith("\n") else ""))
        else:
            pieces.append(command.source)
    changed = parse_datafile("".join(pieces))
    if changed.schema != schema:
        raise SchemaError(
            f"the file's sorting key is {list(changed.schema.sorting_key)}, not {list(schema.sorting_key)}"
        )
    return changed


def _schema_block(schema: Schema) -> str:
    return "SCHEMA >\n" + ",\n".join(f"    {print_column(column)}" for column in schema.columns)
