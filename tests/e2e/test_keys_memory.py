"""Idempotency keys of many sources: their memory has a bound, and none is forgotten to keep to it."""

from functools import partial

from tests.daemons import Daemon, query
from tests.http_client import Answer

KEYS_MAX = 256
"""As many as 64 KiB are for."""


def post(daemon: Daemon, source: str, number: int) -> Answer:
    """A row with a key of its own."""
    return daemon.post(b'{"id": %d}' % number, f"name={source}&wait=true", Idempotency_Key=f"key-{number}")


def test_new_keys_are_refused_at_the_bound_and_old_ones_are_known_on(start):
    daemon = start("--keys-memory", str(64 * 1024), "--compact-interval", "1000")
    for number in range(KEYS_MAX):
        assert post(daemon, "one" if number < 200 else "other", number).status == 200

    refused = post(daemon, "other", KEYS_MAX)

    assert refused.status == 503
    assert "--keys-memory" in refused.json()["error"]
    assert refused.headers["retry-after"] == "5"
    for number in (0, 199):
        assert post(daemon, "one", number).headers["idempotency-replayed"] == "true"
    assert daemon.post(b'{"id": 1000}', "name=other&wait=true").status == 200
    daemon.stop()
    assert query(daemon.data, "SELECT count() AS n FROM other") == [{"n": KEYS_MAX - 200 + 1}]


def test_sources_without_work_are_closed_to_make_room_and_still_know_their_keys(start, eventually):
    daemon = start("--keys-memory", str(64 * 1024), "--compact-interval", "0.1")

    def is_taken(source: str, number: int, *, again: bool) -> bool:
        answer = post(daemon, source, number)
        if answer.status != 503:
            assert answer.status == 200
            assert answer.headers.get("idempotency-replayed", "false") == ("true" if again else "false")
        return answer.status == 200

    sent = [("one" if number < 200 else "other" if number < 300 else "third", number) for number in range(500)]
    for source, number in sent:
        eventually(partial(is_taken, source, number, again=False))

    for source, number in (sent[0], sent[199], sent[200], sent[-1]):
        eventually(partial(is_taken, source, number, again=True))
