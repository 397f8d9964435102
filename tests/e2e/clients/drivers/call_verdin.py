"""verdin, as its README shows it."""

from queue import Queue
from threading import Thread
from typing import Any

from verdin import tinybird
from verdin.worker import QueuingDatasourceAppender

from tests.e2e.clients.drivers.driving import asked, run

url, token = asked()
client = tinybird.Client(token, api=url)


def send_events(name: str, records: list[Any], *, wait: bool = False) -> Any:
    response = client.datasource(name).send_events(records=records, wait=wait)
    return [response._response.status_code, response.successful_rows, response.quarantined_rows]


def events(name: str, records: list[Any], *, wait: bool = False, compress: bool = False) -> Any:
    response = client.api.events.send(name, records, wait=wait, compress=compress)
    return [response._response.status_code, response.successful_rows, response.quarantined_rows]


def append_csv(name: str, records: list[Any], delimiter: str = ",") -> Any:
    return client.datasource(name).append_csv(records, delimiter=delimiter).json()


def append_ndjson(name: str, records: list[Any]) -> Any:
    return client.datasource(name).append_ndjson(records).json()


def append_stream(name: str, lines: list[str]) -> Any:
    response = client.api.datasources.append(name, (line.encode() for line in lines), format="ndjson")
    return [response.datasource["name"], response.quarantine_rows, response.invalid_lines, response.error]


def append_queued(name: str, records: list[Any]) -> None:
    queue: Queue[Any] = Queue()
    appender = QueuingDatasourceAppender(queue, client.datasource(name))
    thread = Thread(target=appender.run)
    thread.start()
    for record in records:
        queue.put(tuple(record))
    appender.close()
    thread.join()


def ls() -> Any:
    return client.api.datasources.list().datasources


def information(name: str) -> Any:
    return client.api.datasources.get_information(name).info


def truncate(name: str) -> None:
    client.datasource(name).truncate()


def sql(query: str) -> Any:
    response = client.sql(query).json()
    return [response.meta, response.data]


def query(query: str, form: str) -> Any:
    return client.api.query.query(query, format=form).data


def tokens() -> Any:
    return client.api.tokens.list().tokens


def own_token() -> Any:
    return client.api.tokens.get_information(token).info


known = (send_events, events, append_csv, append_ndjson, append_stream, append_queued)
run({function.__name__: function for function in (*known, ls, information, truncate, sql, query, tokens, own_token)})
