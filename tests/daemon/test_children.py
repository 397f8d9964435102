"""Processes that the daemon starts run the daemon's code, wherever it was started."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import trio

from daemon.tabular import parquet_to_events


def test_no_code_comes_from_the_directory_that_the_daemon_was_started_in(tmp_path, monkeypatch):
    (tmp_path / "daemon").mkdir()
    (tmp_path / "daemon" / "__init__.py").touch()
    (tmp_path / "daemon" / "parquet_worker.py").write_text("import pathlib; pathlib.Path('taken').touch()")
    monkeypatch.chdir(tmp_path)
    body = io.BytesIO()
    pq.write_table(pa.table({"id": [1]}), body)

    assert b'"id":1' in trio.run(parquet_to_events, body.getvalue(), None)
    assert not (tmp_path / "taken").exists()
