"""tinybird-python-sdk, as its README shows it."""

import asyncio
import logging
import time
from collections.abc import Callable
from multiprocessing import Queue
from typing import Any

import tb.logger
from tb.a.api import AsyncAPI
from tb.api import API
from tb.datasource import Datasource

from tests.e2e.clients.drivers.driving import asked, run

url, token = asked()


class Kept(logging.Handler):
    """What the client logs, which is how it tells of refusals."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


kept = Kept()
logging.getLogger().addHandler(kept)


def send(name: str, rows: list[Any]) -> None:
    with Datasource(name, token, api_url=url) as ds:
        for row in rows:
            ds << row


def send_one_each(name: str, rows: list[Any]) -> Any:
    """Each row by a Datasource of its own, which knows nothing of the limits that the others have met."""
    begun = time.monotonic()
    for row in rows:
        send(name, [row])
    return [time.monotonic() - begun, [line for line in kept.lines if line.startswith("Too many requests")]]


def log(messages: list[str]) -> None:
    logger = logging.getLogger("of-the-test")
    handler = tb.logger.TinybirdLoggingHandler(token, url, "app")
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    for message in messages:
        logger.error(message, {"answer": 42})
    logger.removeHandler(handler)


def log_by_queue(messages: list[str]) -> None:
    logger = logging.getLogger("of-the-queue")
    handler = tb.logger.TinybirdLoggingQueueHandler(Queue(-1), token, url, "app", ds_name="queued")
    logger.addHandler(handler)
    for message in messages:
        logger.error(message)
    handler.listener.stop()


def post(path: str, data: str, params: dict[str, str] | None = None) -> Any:
    return API(token, url).post(path, data=data, params=params or {}).json()


def get(path: str, params: dict[str, str] | None = None) -> Any:
    return API(token, url).get(path, params=params or {}).json()


def delete(path: str) -> int:
    return int(API(token, url).delete(path).status_code)


def post_async(path: str, data: str) -> Any:
    async def post() -> Any:
        async with AsyncAPI(token, url) as api:
            return await api.post_json(path, data=data)

    return asyncio.run(post())


known: tuple[Callable[..., Any], ...] = (send, send_one_each, log, log_by_queue, post, get, delete, post_async)
run({function.__name__: function for function in known})
