"""Programs on the same machine"""

import subprocess
import sys

import pytest

from tests.contract import states
from tests.http_client import Client


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A daemon that made its admin token itself, and was told to give it to programs on this machine."""
    data = tmp_path_factory.mktemp("local") / "data"
    command = [sys.executable, "-m", "daemon", "--data", str(data), "--port", "0", "--tokens-on-loopback"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            yield ("127.0.0.1", int(process.stdout.readline().rpartition(b":")[2])), data
        finally:
            process.terminate()


def get(address, target, **fields):
    with Client(address) as client:
        return client.request("GET", target, **fields)


@states(
    "With `--tokens-on-loopback`, `GET /tokens` gives the admin token to programs on this machine, as `tb` without `--cloud` asks for it.",
    "It gives it to no page in a browser: not with an `Origin`, nor under a foreign `Host`.",
)
def test_tokens_for_local_programs(local):
    address, data = local
    text = (data / "admin.token").read_text().strip()
    found = get(address, "/tokens").json()
    assert found == dict.fromkeys(("user_token", "admin_token", "workspace_admin_token"), text)
    assert get(address, "/v0/datasources", Authorization=f"Bearer {text}").status == 200
    assert get(address, "/tokens", Origin="http://localhost:3000").status == 404
    assert get(address, "/tokens", Host="evil.example:7181").status == 404
    assert get(address, "http://evil.example/tokens", Host="localhost").status == 404


@states("`POST /v1/workspaces?name=` gives the one workspace another name, under which it is then listed.")
def test_names_of_the_workspace(local):
    address, data = local
    text = (data / "admin.token").read_text().strip()
    with Client(address) as client:
        client.request("POST", "/v1/workspaces?name=Tinybird_Local_Build_x", b"", Authorization=f"Bearer {text}")
    listed = get(address, "/v1/user/workspaces?with_organization=true", Authorization=f"Bearer {text}").json()[
        "workspaces"
    ]
    assert [one["name"] for one in listed] == ["siltstone", "Tinybird_Local_Build_x"]
    assert {one["token"] for one in listed} == {text}


@states("Without that option there is no `GET /tokens`.")
def test_no_tokens_without_the_option(api):
    assert get(api.address, "/tokens").status == 404
