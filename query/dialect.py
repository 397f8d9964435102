"""Names of ClickHouse's functions that DuckDB can have as macros, so that queries written for ClickHouse run here.

Only those that mean the same for all their arguments; date-times come out as ClickHouse's `DateTime`, in whole seconds.
Where DuckDB has the name itself (`countIf`, `argMax`, `if`, `today`, `dateDiff`, `count()`) there is nothing to add.
"""

from collections.abc import Iterable

_TRUNCATED = {
    "toStartOfSecond": "second",
    "toStartOfMinute": "minute",
    "toStartOfHour": "hour",
}
_TRUNCATED_TO_DAYS = {
    "toMonday": "week",
    "toStartOfMonth": "month",
    "toStartOfQuarter": "quarter",
    "toStartOfYear": "year",
}
_BUCKETS = {
    "toStartOfFiveMinutes": 5,
    "toStartOfFiveMinute": 5,
    "toStartOfTenMinutes": 10,
    "toStartOfFifteenMinutes": 15,
}
_PARTS = {
    "toYear": "year(x)",
    "toQuarter": "quarter(x)",
    "toMonth": "month(x)",
    "toDayOfMonth": "day(x)",
    "toDayOfYear": "dayofyear(x)",
    "toDayOfWeek": "isodow(x)",
    "toHour": "hour(x)",
    "toMinute": "minute(x)",
    "toSecond": "second(x)",
    "toUnixTimestamp": "CAST(floor(epoch(x)) AS BIGINT)",
    "toYYYYMM": "CAST(year(x) * 100 + month(x) AS INTEGER)",
    "toYYYYMMDD": "CAST(year(x) * 10000 + month(x) * 100 + day(x) AS INTEGER)",
}
_ADDED = {"Seconds": "second", "Minutes": "minute", "Hours": "hour", "Days": "day", "Weeks": "week", "Months": "month"}
_CASTS = {
    "toString": "VARCHAR",
    "toFloat32": "FLOAT",
    "toFloat64": "DOUBLE",
    "toUUID": "UUID",
    "toBool": "BOOLEAN",
}
_INTEGERS = {
    **{f"toInt{bits}": name for bits, name in ((8, "TINYINT"), (16, "SMALLINT"), (32, "INTEGER"), (64, "BIGINT"))},
    **{
        f"toUInt{bits}": f"U{name}"
        for bits, name in ((8, "TINYINT"), (16, "SMALLINT"), (32, "INTEGER"), (64, "BIGINT"))
    },
}
# Overloads are chosen by type; what none of them fits goes to the nearest one by an implicit cast.
_NUMBERS = ("BIGINT", "UBIGINT", "HUGEINT", "VARCHAR", "BOOLEAN")
_MOMENTS = ("DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS")
_OTHERS = {
    "now64()": "CAST(now() AS TIMESTAMP)",
    "yesterday()": "today() - 1",
    "toStartOfDay(x)": "CAST(date_trunc('day', CAST(x AS TIMESTAMP)) AS TIMESTAMP_S)",
    # Counted from 1970, weeks from a Monday.
    "toStartOfInterval(x, i)": "CAST(time_bucket(i, CAST(x AS TIMESTAMP), CASE WHEN i = INTERVAL 7 DAY"
    " THEN TIMESTAMP '1970-01-05' ELSE TIMESTAMP '1970-01-01' END) AS TIMESTAMP_S)",
    "fromUnixTimestamp(x)": "CAST(make_timestamp(CAST(x AS BIGINT) * 1000000) AS TIMESTAMP_S)",
    "uniq(x)": "count(DISTINCT x)",
    "uniqExact(x)": "count(DISTINCT x)",
    "uniqIf(x, c)": "count(DISTINCT x) FILTER (WHERE c)",
    "sumIf(x, c)": "coalesce(sum(x) FILTER (WHERE c), 0)",
    "avgIf(x, c)": "avg(x) FILTER (WHERE c)",
    "minIf(x, c)": "min(x) FILTER (WHERE c)",
    "maxIf(x, c)": "max(x) FILTER (WHERE c)",
    "anyLast(x)": "last(x)",
    "groupArray(x)": "coalesce(list(x) FILTER (WHERE x IS NOT NULL), [])",
    "groupUniqArray(x)": "coalesce(list(DISTINCT x) FILTER (WHERE x IS NOT NULL), [])",
    "empty(x)": "len(x) = 0",
    "notEmpty(x)": "len(x) > 0",
    "has(x, y)": "list_contains(x, y)",
    "arrayJoin(x)": "unnest(x)",
    "intDiv(x, y)": "x // y",
    "startsWith(x, y)": "starts_with(x, y)",
    "endsWith(x, y)": "ends_with(x, y)",
    "match(x, y)": "regexp_matches(x, y)",
    "splitByChar(y, x)": "string_split(x, y)",
    "splitByString(y, x)": "string_split(x, y)",
    "lowerUTF8(x)": "lower(x)",
    "upperUTF8(x)": "upper(x)",
    "toTypeName(x)": "typeof(x)",
    "JSONExtractString(x, k)": "coalesce(json_extract_string(x, [k])[1], '')",
    "JSONExtractInt(x, k)": "coalesce(TRY_CAST(json_extract_string(x, [k])[1] AS BIGINT), 0)",
    "JSONExtractFloat(x, k)": "coalesce(TRY_CAST(json_extract_string(x, [k])[1] AS DOUBLE), 0)",
    "JSONExtractBool(x, k)": "coalesce(TRY_CAST(json_extract_string(x, [k])[1] AS BOOLEAN), false)",
}


def _macros() -> dict[str, str]:
    """Signature -> body, for macros of one form."""
    macros = dict(_OTHERS)
    for name, unit in _TRUNCATED.items():
        macros[f"{name}(x)"] = f"CAST(date_trunc('{unit}', CAST(x AS TIMESTAMP)) AS TIMESTAMP_S)"
    for name, unit in _TRUNCATED_TO_DAYS.items():
        macros[f"{name}(x)"] = f"CAST(date_trunc('{unit}', CAST(x AS TIMESTAMP)) AS DATE)"
    for name, minutes in _BUCKETS.items():
        macros[f"{name}(x)"] = f"CAST(time_bucket(INTERVAL {minutes} MINUTE, CAST(x AS TIMESTAMP)) AS TIMESTAMP_S)"
    for name, unit in _ADDED.items():
        macros[f"add{name}(x, n)"] = f"x + to_{unit}s(CAST(n AS INTEGER))"
        macros[f"subtract{name}(x, n)"] = f"x - to_{unit}s(CAST(n AS INTEGER))"
    for name, target in _CASTS.items():
        macros[f"{name}(x)"] = f"CAST(x AS {target})"
    for name, body in _PARTS.items():
        macros[f"{name}(x)"] = body
    return macros


def _overloaded() -> dict[str, list[str]]:
    """Name -> forms, for macros that depend on the type of their argument."""
    forms = {}
    for name, target in _INTEGERS.items():
        # ClickHouse cuts a fraction off, CAST rounds it.
        forms[name] = [f"(x DOUBLE) AS CAST(trunc(x) AS {target})"]
        forms[name] += [f"(x {kind}) AS CAST(x AS {target})" for kind in _NUMBERS]
    for name, target in (("toDateTime", "TIMESTAMP_S"), ("toDate", "DATE")):
        seconds, text = "make_timestamp(x * 1000000)", "CAST(CAST(x AS TIMESTAMPTZ) AS TIMESTAMP)"
        # A number is Unix seconds; text may have an offset, which a cast to TIMESTAMP would drop.
        forms[name] = [f"(x BIGINT) AS CAST({seconds} AS {target})"]
        forms[name] += [f"(x VARCHAR) AS CAST(date_trunc('second', {text}) AS {target})"]
        forms[name] += [
            f"(x {kind}) AS CAST(date_trunc('second', CAST(x AS TIMESTAMP)) AS {target})" for kind in _MOMENTS
        ]
    return forms


def _statements() -> dict[str, str]:
    made = {signature[: signature.index("(")]: f"{signature} AS {body}" for signature, body in _macros().items()}
    made |= {name: f"{name} {', '.join(forms)}" for name, forms in _overloaded().items()}
    made["numbers"] = "numbers(n) AS TABLE SELECT range AS number FROM range(n)"
    return {name.lower(): f"CREATE MACRO {text};\n" for name, text in made.items()}


_BY_NAME = _statements()
NAMES = frozenset(_BY_NAME)
"""Of all macros, in lower case; `numbers` is a table."""


def macros_sql(names: Iterable[str]) -> str:
    """The statements that make those of the named functions that are macros; making all takes 40 ms."""
    return "".join(_BY_NAME[name] for name in sorted(NAMES.intersection(names)))
