"""tinybird-cdk: the client that its connectors to other databases use, configured as for them."""

import os
import time
from typing import Any, SupportsIndex

from tests.e2e.clients.drivers.driving import asked, run

os.environ["TB_CDK_ENDPOINT"], os.environ["TB_CDK_TOKEN"] = asked()
os.environ["TB_CDK_TAG"] = "of-the-tests"

from tinybird_cdk.tinybird import Client  # noqa: E402  it is configured by the environment

client = Client()
slept: list[float] = []


really_sleep = time.sleep


def sleep_less(seconds: SupportsIndex | float) -> None:
    """It waits for a minute at least before it sends again; a test has not the time."""
    slept.append(float(seconds))
    really_sleep(min(float(seconds), 1.1))


time.sleep = sleep_less


def append_event(event: str, name: str) -> Any:
    return client.append_event(event, name).json()


def append_events(events: list[str], name: str) -> Any:
    return client.append_events(events, name).json()


def append_data(data: str, name: str, fmt: str) -> Any:
    return client.append_data(data.encode(), name, fmt).json()


def append_file(filename: str, name: str, fmt: str) -> Any:
    return client.append_file(filename, name, fmt).json()


def replace_data(data: str, name: str, fmt: str) -> Any:
    return client.replace_data(data.encode(), name, fmt).json()


def truncate(name: str) -> int:
    return int(client.truncate(name).status_code)


def alter(name: str, schema: str) -> int:
    return int(client.alter(name, schema).status_code)


def data_source(name: str) -> Any:
    return client.data_source(name)


def query(sql: str, *, scalar: bool = False) -> Any:
    return client.query(sql, scalar=scalar)


def waits() -> list[float]:
    return slept


known = (
    append_event,
    append_events,
    append_data,
    append_file,
    replace_data,
    truncate,
    alter,
    data_source,
    query,
    waits,
)
run({function.__name__: function for function in known})
