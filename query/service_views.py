"""Which tables about the service there are, and those of them that are views over others. Every query asks; see service_tables."""

from collections.abc import Iterable

VIEWS: dict[tuple[str, ...], str] = {
    ("tinybird", "datasources_storage"): """
        SELECT id AS datasource_id, name AS datasource_name, CAST(now() AS TIMESTAMP_S) AS "timestamp",
            CAST(bytes + wal_bytes AS UBIGINT) AS bytes, CAST("rows" AS UBIGINT) AS "rows",
            CAST(bytes_quarantine AS UBIGINT) AS bytes_quarantine, CAST(quarantined_rows AS UBIGINT) AS rows_quarantine
        FROM siltstone.sources""",
    ("tinybird", "datasources_ops_log"): """
        SELECT CAST("timestamp" AS TIMESTAMP_S) AS "timestamp", event_type, coalesce(s.id, '') AS datasource_id,
            coalesce(datasource, '') AS datasource_name, result, CAST(elapsed_s AS FLOAT) AS elapsed_time, error,
            request_id, CAST(NULL AS VARCHAR) AS import_id, CAST(NULL AS VARCHAR) AS job_id,
            CAST(l."rows" AS UBIGINT) AS "rows", CAST(rows_quarantined AS UBIGINT) AS rows_quarantine,
            CAST([] AS VARCHAR[]) AS blocks_ids, CAST([] AS VARCHAR[]) AS "Options.Names",
            CAST([] AS VARCHAR[]) AS "Options.Values", CAST(0 AS UBIGINT) AS read_rows, CAST(0 AS UBIGINT) AS read_bytes,
            CAST(coalesce(l."rows", 0) AS UBIGINT) AS written_rows,
            CAST(coalesce(l.bytes, 0) AS UBIGINT) AS written_bytes,
            CAST(coalesce(rows_quarantined, 0) AS UBIGINT) AS written_rows_quarantine,
            CAST(0 AS UBIGINT) AS written_bytes_quarantine, '' AS pipe_id, '' AS pipe_name, '' AS release
        FROM siltstone.ops_log l LEFT JOIN siltstone.sources s ON s.name = l.datasource""",
}
"""Views over the tables below, by schema and name."""
TABLES: tuple[tuple[str, ...], ...] = (("siltstone", "sources"), ("siltstone", "segments"), ("siltstone", "ops_log"))


def needed_tables(asked: Iterable[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """The tables that must be there for the tables and views that are asked for."""
    needed = set(asked) & set(TABLES)
    for view in set(asked) & set(VIEWS):
        needed |= {table for table in TABLES if ".".join(table) in VIEWS[view]}
    return needed
