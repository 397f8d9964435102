"""A schema that changes while rows are written and read: nobody's rows are lost, rewritten or read as something else."""

from itertools import pairwise

import pytest

from query.engine import run_query
from segments.alteration import alter, is_wider, plan_alteration
from segments.bulk import decode_bulk
from segments.column_type import parse_type
from segments.datafile import parse_datafile
from segments.disk import Disk
from segments.errors import SchemaChanged, SchemaError
from segments.filenames import DataDir
from segments.group import Write
from segments.lines import parse_body
from segments.verify import verify_source
from tests.faults.faulty_disk import Died, FaultyDisk
from tests.stored import NOW, Stored, body, commit

WIDER = """SCHEMA >
    `id` Nullable(Int64) `json:$.id`,
    `text` Nullable(String) `json:$.text`,
    `more` Int32 `json:$.more` DEFAULT 7,
    `extra` Nullable(String) `json:$.extra`
"""


def sql(stored, text):
    return run_query(Disk(), DataDir(stored.path), text).reader.read_all().to_pylist()


@pytest.mark.parametrize("compacted", [(), (1,), (2,), (1, 2)])
def test_rows_of_both_schemas_are_read_as_one(stored, compacted):
    log = stored.open()
    commit(log, body(1, -2))
    if 1 in compacted:
        stored.compact(log)
    alter(stored.disk, log, parse_datafile(WIDER), NOW)
    commit(log, b'{"id":3,"more":8,"extra":"x"}\n{"id":"bad","extra":"y"}')
    if 2 in compacted:
        stored.compact(log)

    for _ in range(2):
        assert sql(stored, "SELECT id, more, extra FROM events ORDER BY id") == [
            {"id": 1, "more": 7, "extra": None},
            {"id": 3, "more": 8, "extra": "x"},
        ]
        found = sql(stored, "SELECT text, extra, c__lsn FROM events_quarantine ORDER BY c__lsn")
        assert found == [{"text": "event -2", "extra": None, "c__lsn": 2}, {"text": None, "extra": "y", "c__lsn": 4}]
        assert verify_source(stored.disk, stored.source).problems == ()
        stored.compact(stored.open())


def test_a_widened_column_reads_its_old_values_exactly(tmp_path):
    types = ["Int8", "UInt8", "Float32", "Date", "DateTime64(3)", "Decimal(9, 2)", "FixedString(3)", "Array(Int8)"]
    wider = [
        "Int64",
        "Int16",
        "Float64",
        "Date32",
        "DateTime64(6)",
        "Decimal(38, 4)",
        "String",
        "Array(Nullable(Int32))",
    ]
    sent = b'{"a":-128,"b":255,"c":0.5,"d":"2024-02-29","e":"2024-02-29T01:02:03.004Z","f":"1.25","g":"abc","h":[1,2]}'

    def datafile(kinds):
        columns = (
            f"`{name}` {kind} `json:$.{name}{'[:]' if kind.startswith('Array') else ''}`"
            for name, kind in zip("abcdefgh", kinds, strict=True)
        )
        return "SCHEMA >\n    " + ",\n    ".join(columns) + "\n"

    stored = Stored(tmp_path).create(datafile(types))
    log = stored.open()
    commit(log, sent)
    stored.compact(log)
    commit(log, sent)
    before = stored.rows()
    alter(stored.disk, log, parse_datafile(datafile(wider)), NOW)
    commit(log, sent)

    assert len(before) == 2
    assert sql(stored, "SELECT count(*) AS n FROM (SELECT DISTINCT * FROM events)") == [{"n": 1}]
    assert sql(stored, "SELECT a, b, c, g, h FROM events LIMIT 1") == [
        {"a": -128, "b": 255, "c": 0.5, "g": "abc", "h": [1, 2]}
    ]


def test_rows_decoded_under_the_old_schema_are_sent_back_to_be_decoded_anew(stored):
    log = stored.open()
    decoded = decode_bulk(log.schema, body(1), NOW.replace(tzinfo=None), check_rows=lambda _: None)
    alter(stored.disk, log, parse_datafile(WIDER), NOW)
    stale, stays = log.commit([Write(decoded), Write(parse_body(body(2)))], NOW, durably=True)

    assert isinstance(stale, SchemaChanged)
    assert stays.counts.successful == 1
    assert stored.ids() == [2]


def test_rows_decoded_for_another_source_of_the_same_types_are_sent_back_too(stored):
    """Of one that was dropped and made again: its columns may take their values from elsewhere."""
    log = stored.open()
    other = parse_datafile("SCHEMA > `id` Nullable(Int64) `json:$.text`, `text` Nullable(String) `json:$.id`\n").schema
    decoded = decode_bulk(other, b'{"id": "a", "text": 5}', NOW.replace(tzinfo=None), check_rows=lambda _: None)
    (outcome,) = log.commit([Write(decoded)], NOW, durably=True)

    assert decoded.good.schema == log.schema.arrow
    assert isinstance(outcome, SchemaChanged)
    assert stored.ids() == []


@pytest.mark.parametrize("fault", ["die", "fail once"])
def test_whatever_step_fails_or_is_the_last_the_source_has_one_schema_and_its_rows(tmp_path, fault):
    at = 0
    while True:
        at += 1
        stored = Stored(tmp_path / str(at))
        stored.create()
        log = stored.open()
        commit(log, body(1))
        disk = FaultyDisk(at, fault=fault)
        assert log._writer is not None
        log._disk = log._writer._disk = disk
        try:
            alter(disk, log, parse_datafile(WIDER), NOW)
        except (Died, OSError, Exception):  # noqa: BLE001 -- whatever the fault, what is on disk is judged
            pass
        reopened = stored.open()
        assert not reopened.damage
        commit(reopened, body(2))
        assert stored.ids() == [1, 2]
        assert not verify_source(Disk(), stored.source).problems
        if len(disk.operations) < at:
            break
    assert at > 8


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("`id` Nullable(Int64) `json:$.id`", "text can't be removed"),
        (
            "`id` Nullable(Int32) `json:$.id`, `text` Nullable(String) `json:$.text`",
            "Nullable.Int64. to Nullable.Int32.",
        ),
        ("`id` Int64 `json:$.id`, `text` Nullable(String) `json:$.text`", "can't go from"),
        ("`id` Nullable(Int64) `json:$.key`, `text` Nullable(String) `json:$.text`", "another path"),
        ("`id` Nullable(Int64), `text` Nullable(String), `n` Int32", "make it Nullable.Int32., or give it a DEFAULT"),
        ("`id` Nullable(Int64), `text` Nullable(String), `n` DateTime DEFAULT now()", "no reading of the clock"),
    ],
)
def test_what_can_not_be_altered_is_refused_with_the_way_out(stored, change, reason):
    old = stored.open().schema
    with pytest.raises(SchemaError, match=reason):
        plan_alteration(old, parse_datafile(f"SCHEMA > {change}\n").schema)


def test_wider_is_a_strict_order_of_types():
    chains = [
        ["Int8", "Int16", "Int32", "Int64"],
        ["UInt8", "UInt16", "UInt32", "UInt64"],
        ["UInt8", "Int16"],
        ["UInt32", "Int64"],
        ["Int32", "Float64", "Nullable(Float64)"],
        ["Float32", "Float64"],
        ["DateTime", "DateTime64(3)", "DateTime64(6)"],
        ["Decimal(9, 2)", "Decimal(11, 4)"],
        ["FixedString(2)", "FixedString(3)", "String"],
        ["Array(Int8)", "Array(Int16)"],
    ]
    for chain in chains:
        for narrow, wide in pairwise(map(parse_type, chain)):
            assert is_wider(narrow, wide), (narrow, wide)
            assert not is_wider(wide, narrow), (narrow, wide)
    for old, new in [("Int64", "Float64"), ("Int8", "UInt64"), ("Int64", "String"), ("Decimal(9, 2)", "Decimal(9, 4)")]:
        assert not is_wider(parse_type(old), parse_type(new)), (old, new)
