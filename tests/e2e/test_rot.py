"""A daemon on files that have rotted."""

import pytest

from tests.daemons import TOKEN, siltstone

ROW = b'{"id": 1}'


def test_damaged_tokens_stop_neither_the_daemon_nor_the_admin_and_tell_others_to_come_again(start):
    daemon = start()
    told = daemon.call("POST", "/v0/tokens?name=writer&scope=DATASOURCES:APPEND:t").json()["token"]
    assert daemon.post(ROW).status == 200
    assert daemon.post(ROW, token=told).status == 200
    daemon.stop()
    path = daemon.data / "tokens.json"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"APPEND:t", b"APPEND:u"))
    assert b"tokens.json" in siltstone(daemon.data, "verify").stdout

    daemon.start()
    assert daemon.post(ROW).status == 200
    refused = daemon.post(ROW, token=told)
    assert refused.status == 503
    assert "tokens" in refused.json()["error"]
    assert daemon.call("POST", "/v0/tokens?name=other&scope=DATASOURCES:CREATE").status == 503
    daemon.stop()

    assert siltstone(daemon.data, "repair").stdout.startswith(b"LOST: all tokens")
    daemon.start()
    assert daemon.post(ROW).status == 200
    assert daemon.post(ROW, token=told).status == 403
    assert next(daemon.data.glob("tokens.json.damaged-*")).read_bytes() != content


@pytest.mark.parametrize("is_set", [True, False], ids=["token set from outside", "token made at the first start"])
def test_requests_of_the_admin_are_known_again_with_tokens_damaged_and_repaired(start, is_set):
    daemon = start(env={} if is_set else {"SILTSTONED_ADMIN_TOKEN": ""})
    token = TOKEN if is_set else (daemon.data / "admin.token").read_text().strip()

    def is_replay() -> bool:
        answer = daemon.post(ROW, token=token, Idempotency_Key="once")
        assert answer.status == 200
        return "idempotency-replayed" in answer.headers

    assert not is_replay()
    daemon.stop()
    path = daemon.data / "tokens.json"
    path.write_bytes(path.read_bytes().replace(b"ADMIN", b"NIMDA"))
    for _ in range(2):
        daemon.start()
        assert is_replay()
        daemon.stop()
    if is_set:
        assert siltstone(daemon.data, "repair").stdout.startswith(b"LOST: all tokens")
        daemon.start()
        assert is_replay()


def test_a_damaged_source_is_refused_alone_and_repaired(start):
    daemon = start("--compact-interval", "3600")
    for name in ("t", "u"):
        for _ in range(3):
            assert daemon.post(ROW, f"name={name}&wait=true").status == 200
    daemon.stop()
    (path,) = (daemon.data / "sources" / "t" / "wal").iterdir()
    data = path.read_bytes()
    path.write_bytes(data[:700] + bytes([data[700] ^ 1]) + data[701:])

    daemon.start()
    assert daemon.post(ROW).status == 503
    assert daemon.post(ROW, "name=u&wait=true").status == 200
    done = siltstone(daemon.data, "repair", "t")
    assert done.returncode == 1
    assert b"stop it" in done.stderr
    daemon.stop()
    assert siltstone(daemon.data, "repair", "t").returncode == 0
    daemon.start()
    assert daemon.post(ROW).status == 200
    assert b"t: ok: 3 rows" in siltstone(daemon.data, "verify", "t").stdout
