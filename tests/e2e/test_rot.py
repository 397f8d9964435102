"""A daemon on files that have rotted."""

from tests.daemons import siltstone

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
