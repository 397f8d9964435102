"""tinybird-sdk, as its README shows it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tinybird_sdk import Tinybird, create_client, create_tinybird_api, define_datasource, t
from tinybird_sdk.api.workspaces import get_workspace

from tests.e2e.clients.drivers.driving import asked, run

url, token = asked()
api = create_tinybird_api({"base_url": url, "token": token})


def ingest(name: str, event: dict[str, Any], **options: Any) -> Any:
    return api.ingest(name, event, options)


def ingest_batch(name: str, events: list[Any], **options: Any) -> Any:
    return api.ingest_batch(name, events, options)


def ingest_values(name: str) -> Any:
    """Values that JSON has no type for, or that many parsers would round."""
    values = {"big": 2**63 - 1, "huge": 2**64 - 1, "exact": 2**53 + 1, "money": Decimal("12.34")}
    return api.ingest(name, values | {"at": datetime(2026, 11, 23, 12, 30, tzinfo=UTC)})


def ingest_typed(rows: list[dict[str, Any]]) -> Any:
    """By the typed client, with its data source defined."""
    page_views = define_datasource("page_views", {"schema": {"timestamp": t.date_time(), "pathname": t.string()}})
    tinybird = Tinybird({"datasources": {"page_views": page_views}, "pipes": {}, "base_url": url, "token": token})
    return [tinybird.page_views.ingest(row) for row in rows]


def append(name: str, file: str, **options: Any) -> Any:
    return api.append_datasource(name, {"file": file, **options})


def replace(name: str, file: str) -> Any:
    client = create_client({"base_url": url, "token": token})
    return client.datasources.replace(name, {"file": file})


def delete(name: str, condition: str, **options: Any) -> Any:
    return api.delete_datasource(name, {"delete_condition": condition, **options})


def truncate(name: str) -> Any:
    return api.truncate_datasource(name)


def sql(query: str) -> Any:
    return api.sql(query)


def job(job_id: str) -> Any:
    return api.request_json(f"/v0/jobs/{job_id}")


def create_token(name: str, scopes: list[Any]) -> Any:
    """A token for one hour; then one row sent with it."""
    client = create_client({"base_url": url, "token": token})
    expires = datetime.now(tz=UTC) + timedelta(hours=1)
    made = client.tokens.create_jwt({"name": name, "expires_at": expires, "scopes": scopes})
    theirs = create_tinybird_api({"base_url": url, "token": made["token"]})
    return theirs.ingest("t", {"n": 2})


def workspace() -> str:
    return str(get_workspace({"base_url": url, "token": token}).name)


known: tuple[Callable[..., Any], ...] = (ingest, ingest_batch, ingest_values, ingest_typed, append, replace, delete)
known += (truncate, sql, job, create_token, workspace)
run({function.__name__: function for function in known})
