"""What a coverage-guided fuzzer calls with bytes that it makes up. Each target raises for a broken promise, and for nothing else."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from segments.bulk import decode_bulk
from segments.bulk_schema import BulkSchema
from segments.compiled.load import loaded
from segments.datafile import parse_datafile
from segments.datafile_print import print_datafile, print_schema
from segments.decode import decode
from segments.errors import BodyRejected, SchemaError
from segments.filenames import WalName
from segments.line_reader import use
from segments.lines import parse_body
from segments.plain_lines import count_objects
from segments.wal_reader import assemble, read_file
from tests.stored import NOW, Stored, body, commit

SCHEMA = parse_datafile(
    "SCHEMA > i Nullable(Int64), u UInt64, f Nullable(Float64), b Nullable(Bool), s Nullable(String), d Nullable(Date), "
    "t Nullable(DateTime64(3)), a Nullable(Array(Int64)) `json:$.a[:]`, n_x Nullable(Int8) `json:$.n.x`\n"
).schema
EDIT_BYTES = 4


def datafile(data: bytes) -> None:
    """Any text is a datafile that prints as one with the same meaning, or is refused as one."""
    try:
        parsed = parse_datafile(data.decode())
    except (SchemaError, UnicodeDecodeError):
        return
    assert print_datafile(parsed) == data.decode()
    assert parse_datafile(print_schema(parsed.schema)).schema == parsed.schema


def rows(data: bytes) -> None:
    """Any body is read the same by all ways, or refused; no line gets lost, and machine code reads nothing but the body."""
    try:
        events = parse_body(data)
    except BodyRejected:
        return
    slow = decode(SCHEMA, events, NOW)
    use(loaded())
    whole = decode_bulk(SCHEMA, data, NOW, check_rows=lambda _: None)
    assert repr(whole.good.to_pylist()) == repr(slow.good.to_pylist())
    assert (whole.bad, whole.count) == (slow.bad, slow.count)
    fast = BulkSchema(SCHEMA).decode(data, count_objects(data))
    if fast is not None:
        assert not slow.bad
        assert repr(fast.good.to_pylist()) == repr(slow.good.to_pylist())


def wal(data: bytes) -> None:
    """Any bytes are a log file with no frame in it that was not written, and nothing raises.

    As they are, and as edits (offset, two bytes, then the byte to put there) of a good file.
    """
    good = _good_file()
    edited = bytearray(good)
    for start in range(0, len(data) - EDIT_BYTES + 1, EDIT_BYTES):
        offset = int.from_bytes(data[start : start + 2], "little") % len(good)
        edited[offset] = data[start + 3]
    written = {_payload(good, frame) for frame in _read(good)}
    assert all(_payload(bytes(edited), frame) in written for frame in _read(bytes(edited)))
    _read(data)


def _read(content: bytes) -> list[tuple[int, int]]:
    """Where the live frames are."""
    name = WalName(1, 1)  # type: ignore[arg-type]
    file = read_file(Path("fuzzed"), name, memoryview(content))
    log = assemble([file], 0)  # type: ignore[arg-type]
    return [(frame.offset, frame.end) for one in log.files for frame in one.frames]


def _payload(content: bytes, frame: tuple[int, int]) -> bytes:
    return content[frame[0] : frame[1]]


@cache
def _good_file() -> bytes:
    with TemporaryDirectory() as scratch:
        stored = Stored(Path(scratch)).create()
        log = stored.open()
        for number in range(5):
            commit(log, body(number, -1 - number))
        log.mark()
        log.sync()
        (path,) = stored.source.wal.iterdir()
        assert path.name == str(WalName(1, 1))  # type: ignore[arg-type]
        return path.read_bytes()


TARGETS: dict[str, Callable[[bytes], None]] = {"datafile": datafile, "rows": rows, "wal": wal}
CORPUS = Path(__file__).parent / "corpus"
