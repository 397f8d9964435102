"""Line readers whose buffers end where memory does: a page that nothing may touch follows each, so a step beyond is a crash.

Run as a program it reads very many texts so, and leaves in the file that it is given the text that it is at.
"""

import ctypes
import mmap
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pyarrow as pa

from segments import line_reader
from segments.column_type import parse_type
from segments.compiled.load import loaded
from segments.line_reader import LineReader
from segments.schema import Column, Schema

PATTERN = 0xA5
_ROOM = 1 << 22
_ALIGNED = 8
_STRUCTURAL = b'{}[]":,\\\n \r\tn-.0eEu\0'
_VALUES = {
    "Int8": ["-128", "127", "0", "1"], "UInt64": ["0", "999999999999999999"], "Float64": ["0.5", "-12.25", "1e-7", "0.%s" % ("1" * 40)],
    "Bool": ["true", "false"], "String": ['""', '"x"', '"\\u00e9\\ud83d\\ude00"', "[1.50,{}]", '{"a":[" \\" "]}', "-1.5E+3", "true"],
    "Date": ['"2024-02-29"'], "DateTime": ['"2024-02-29 10:00:00"'], "DateTime64(9)": ['"2024-02-29T10:00:00.123456789Z"'], "Int16": ["-1"], "Int32": ["12"],
}  # fmt: skip
_ENDS = [
    '{"s":[[[', '{"s":{"a":{"b":', '{"s":"\\', '{"s":"\\u', '{"s":"\\u12', '{"s":"\\ud83d', '{"s":"\\ud83d\\', '{"s":"\\ud83d\\u', '{"s":"\\ud83d\\ude0', '{"s":"\\ud83d\\ude00', "{", '{"', '{"s', '{"s"', '{"s":', '{"s":n',
    '{"s":nul', '{"s":tru', '{"s":fals', '{"s":-', '{"s":1.', '{"s":1e', '{"s":1e+', '{"s":[', '{"s":["', '{"s":[1,', '{"k":', '{"k":[', '{"k":{', '{"k":nul', '{"k', " ", "\t\r", "\n", "",
]  # fmt: skip


class Guarded:
    """Memory that ends at a page which can't be touched."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _ROOM + mmap.PAGESIZE)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        libc = ctypes.CDLL(None, use_errno=True)
        beyond = ctypes.c_void_p(self._address + _ROOM)
        assert libc.mprotect(beyond, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0, os.strerror(ctypes.get_errno())

    def put(self, text: bytes) -> int:
        """Where the text now is, to its last byte before the end."""
        self._memory[_ROOM - len(text) : _ROOM] = text
        return self._address + _ROOM - len(text)

    def buffer(self, size: int) -> pa.Buffer:
        """Filled with the pattern, also the few bytes behind it that keep it aligned."""
        rounded = size + -size % _ALIGNED
        at = self.put(bytes([PATTERN]) * rounded)
        return pa.foreign_buffer(at, size, self)

    def is_as_filled(self, address: int, end: int | None = None) -> bool:
        found = self._memory[address - self._address : _ROOM if end is None else end - self._address]
        return found.count(PATTERN) == len(found)


class Reading:
    """Has the machine code work in guarded memory, and looks at what it has left behind each time."""

    def __init__(self) -> None:
        line_reader.use(loaded())
        code = line_reader._machine_code
        assert code is not None
        self._code = code
        self._text, self._work, self._out = Guarded(), Guarded(), Guarded()
        self._scratch: pa.Buffer | None = None
        pa.allocate_buffer = self._allocate
        line_reader._machine_code = replace(code, scan=self._scan, pack=self._pack, count=self._count)

    def _allocate(self, size: int) -> pa.Buffer:
        if self._scratch is None:
            self._scratch = self._work.buffer(size)
            return self._scratch
        return self._out.buffer(size)

    def _count(self, text: bytes, size: int, byte: int) -> int:
        return self._code.count(self._text.put(text), size, byte)

    def _scan(self, text: bytes, *others: object) -> int:
        return self._code.scan(self._text.put(text), *others)

    def _pack(self, text: bytes, *others: object) -> int:
        size = self._code.pack(self._text.put(text), *others)
        out = others[6]
        assert isinstance(out, int)
        assert self._out.is_as_filled(out + size), "more was written than the batch has"
        return size

    def read(self, reader: LineReader, text: bytes) -> None:
        self._scratch = None
        lines = reader.read(text)
        if self._scratch is not None:
            end = self._scratch.address + self._scratch.size
            assert self._work.is_as_filled(end), "more was written than the scratch memory has"
        if lines is not None:
            lines.batch.validate(full=True)


@dataclass(frozen=True, slots=True)
class Case:
    reader: LineReader
    text: bytes


def _line(random: Random, columns: list[str]) -> str:
    parts = []
    for number, kind in enumerate(columns):
        bare = kind.replace("Nullable(", "").replace("Array(", "").rstrip(")")
        values = _VALUES[bare + ")" * ("(" in bare)]
        value = random.choice(values)
        if "Array(" in kind:
            value = "[" + ",".join(random.choices(values, k=random.choice([0, 1, 2, 60]))) + "]"
        if kind.startswith("Nullable(") and random.random() < 0.3:
            value = "null"
        parts.append(f'"c{number}":{value}')
    return "{" + ",".join(parts) + "}"


def cases() -> Iterator[Case]:
    """The same each time."""
    random = Random(1)
    text = LineReader(Schema((Column("s", parse_type("Nullable(String)"), ("s",)),)))
    texts = LineReader(Schema((Column("s", parse_type("Array(Nullable(String))"), ("s",)),)))
    for end in _ENDS:
        for before in ("", '{"s":"x"}\n', '{"s":["x"]}\n' * 9):
            yield Case(text, (before + end).encode())
            yield Case(texts, (before + end).encode())
    forms = ("{}", "Nullable({})", "Array({})", "Nullable(Array({}))", "Array(Nullable({}))")
    every = [form.format(kind) for kind in _VALUES for form in forms]
    shapes = [[kind] for kind in every] + [random.choices(every, k=random.choice([2, 3, 16])) for _ in range(30)]
    for kinds in shapes:
        schema = Schema(tuple(Column(f"c{n}", parse_type(kind), (f"c{n}",)) for n, kind in enumerate(kinds)))
        reader = LineReader(schema)
        for rows in (1, 2, 7, 8, 9, 40):
            yield Case(reader, "\n".join(_line(random, kinds) for _ in range(rows)).encode())
        yield Case(reader, b"{}\n" * 500)
        yield Case(reader, b'{"c0":null}\n' * 500)
        yield Case(reader, b'{"c0":[]}\n' * 500)
        yield Case(reader, b'{"c0":""}\n' * 500)
        line = _line(random, kinds).encode()[:120]
        for at in range(len(line)):
            yield Case(reader, line[:at])
            for byte in _STRUCTURAL:
                yield Case(reader, line[:at] + bytes([byte]) + line[at + 1 :])


def main() -> None:
    reading = Reading()
    if sys.argv[1] == "beyond":
        reading._code.count(reading._text.put(b"x\n"), 3, 10)
        return
    count = 0
    with Path(sys.argv[1]).open("wb", buffering=0) as at:
        for case in cases():
            at.seek(0)
            at.truncate()
            at.write(case.text)
            reading.read(case.reader, case.text)
            count += 1
    print(count)


if __name__ == "__main__":
    main()
