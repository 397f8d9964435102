"""Tokens and scopes"""

import base64
import stat

import orjson
import pytest

from tests.contract import states
from tests.daemons import TOKEN


def make(api, name, *scopes):
    """A token's text."""
    query = "&".join(f"scope={scope}" for scope in scopes)
    answer = api.call("POST", f"/v0/tokens?name={name}&{query}", b"")
    assert answer.status == 200, answer.body
    return answer.json()["token"]


@states("A token is sent as `Authorization: Bearer TOKEN` or as `?token=TOKEN`; the header counts first.")
def test_two_places(api):
    assert api.post(b'{"n":1}', f"name=places&token={TOKEN}", token=None).status == 202
    assert api.post(b'{"n":1}', f"name=places&token={TOKEN}", token="wrong").status == 403


@states("No token, an unknown one, or one without the scope is 403, never 401; the error never shows the token.")
@pytest.mark.parametrize("token", [None, "", "p.wrong.secret"])
def test_refusals(api, token):
    answer = api.post(b'{"n":1}', "name=refused", token=token)
    assert answer.status == 403
    assert b"secret" not in answer.body


@states(
    "`POST /v0/tokens?name=&scope=&scope=` makes a token and shows its text, which no later answer does.",
    "A token's text is `p.`, base64url JSON with `u`, `id` and `host`, `.`, and 256 random bits.",
)
def test_create(api, name):
    answer = api.call("POST", f"/v0/tokens?name={name}&scope=DATASOURCES:APPEND:a&scope=DATASOURCES:READ:a", b"")
    made = answer.json()
    prefix, middle, random = made["token"].split(".")
    assert (prefix, len(random)) == ("p", 43)
    assert {"u", "id", "host"} == set(orjson.loads(base64.urlsafe_b64decode(middle + "==")))
    assert made["scopes"] == [
        {"type": "DATASOURCES:APPEND", "resource": "a"},
        {"type": "DATASOURCES:READ", "resource": "a"},
    ]
    shown = api.call("GET", f"/v0/tokens/{name}").json()
    assert shown == made | {"token": ""}
    assert made["token"] not in api.call("GET", "/v0/tokens").body.decode()


@states("The tokens API also takes a JSON body with `name` and `scopes` as `{type, resource}`, and a form.")
def test_create_by_body(api, name):
    body = orjson.dumps({"name": name, "scopes": [{"type": "DATASOURCES:APPEND", "resource": "b"}]})
    assert api.call("POST", "/v0/tokens/", body, Content_Type="application/json").status == 200
    form = f"name={name}_form&scope=DATASOURCE:APPEND:b".encode()
    made = api.call("POST", "/v0/tokens", form, Content_Type="application/x-www-form-urlencoded").json()
    assert made["scopes"] == [{"type": "DATASOURCES:APPEND", "resource": "b"}]


@states(
    "`DATASOURCES:APPEND:NAME` appends to NAME and makes nothing; `DATASOURCES:CREATE` makes data sources and appends to all."
)
def test_append_and_create(api):
    api.post(b'{"n":1}', "name=there")
    append, create = make(api, "appender", "DATASOURCES:APPEND:there"), make(api, "creator", "DATASOURCES:CREATE")
    assert api.post(b'{"n":1}', "name=there", token=append).status == 202
    assert api.post(b'{"n":1}', "name=not_there", token=append).status == 403
    assert api.post(b'{"n":1}', "name=there", token=create).status == 202
    assert api.post(b'{"n":1}', "name=made_by_create", token=create).status == 202


@states("A token that may neither append nor create gets the same 403 whether or not the data source exists.")
def test_existence_is_not_told(api):
    api.post(b'{"n":1}', "name=exists")
    token = make(api, "reader", "DATASOURCES:READ:exists")
    errors = {
        api.post(b'{"n":1}', f"name={name}", token=token).json()["error"].replace(name, "X")
        for name in ("exists", "exisst")
    }
    assert len(errors) == 1
    of_another = make(api, "other_reader", "DATASOURCES:READ:another")
    known = orjson.loads((api.data / "sources" / "exists" / "source.json").read_bytes())["id"]
    answers = {
        (answer.status, answer.json()["error"].replace(source_id, "X"))
        for source_id in (known, f"t_{'0' * 32}")
        for answer in [api.post(b'{"n":1}', f"name={source_id}", token=of_another)]
    }
    assert len(answers) == 1


@states("A token whose scope is for a data source that does not exist yet can append to it once it is made.")
def test_scope_before_source(api):
    token = make(api, "early", "DATASOURCES:APPEND:later")
    assert api.post(b'{"n":1}', "name=later", token=token).status == 403
    api.post(b'{"n":1}', "name=later")
    assert api.post(b'{"n":1}', "name=later", token=token).status == 202


@states(
    "`PUT /v0/tokens/NAME`, `POST /v0/tokens/NAME/refresh` and `DELETE /v0/tokens/NAME` take effect with the next request.",
    "Refreshing gives a token another text, and the old one is refused.",
)
def test_changes(api):
    api.post(b'{"n":1}', "name=changing")
    old = make(api, "changing", "DATASOURCES:APPEND:changing")
    new = api.call("POST", "/v0/tokens/changing/refresh", b"").json()["token"]
    assert [api.post(b'{"n":1}', "name=changing", token=t).status for t in (old, new)] == [403, 202]
    assert api.call("PUT", "/v0/tokens/changing?scope=DATASOURCES:READ:changing", b"").status == 200
    assert api.post(b'{"n":1}', "name=changing", token=new).status == 403
    assert api.call("DELETE", "/v0/tokens/changing").status == 200
    assert api.call("GET", "/v0/tokens/changing").status == 404


@states("Tokens survive a restart; only their SHA-256 is on disk, in a file for its owner alone.")
def test_at_rest(start):
    daemon = start()
    daemon.post(b'{"n":1}')
    token = make(daemon, "stays", "DATASOURCES:APPEND:t")
    daemon.stop()
    path = daemon.data / "tokens.json"
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    daemon.start()
    assert daemon.post(b'{"n":1}', token=token).status == 200
    assert token not in daemon.log.read_text()


@states("A token with an `expiration_time` in the past is refused like an unknown one.")
def test_expiry(api):
    body = b'{"name":"short","scopes":[{"type":"ADMIN"}]}'
    token = api.call("POST", "/v0/tokens?expiration_time=1", body).json()["token"]
    assert api.post(b'{"n":1}', "name=x", token=token).status == 403


@states(
    "Tokens are managed with the scope `TOKENS` or `ADMIN`; with `TOKENS` alone no token with either can be made or changed."
)
def test_no_escalation(api):
    keeper = make(api, "keeper", "TOKENS")
    other = make(api, "other", "DATASOURCES:CREATE")
    assert api.call("GET", "/v0/tokens", token=other).status == 403
    assert api.call("POST", "/v0/tokens?name=x1&scope=DATASOURCES:APPEND:a", b"", token=keeper).status == 200
    for scope in ("ADMIN", "TOKENS"):
        assert api.call("POST", f"/v0/tokens?name=x2&scope={scope}", b"", token=keeper).status == 403
        assert api.call("PUT", f"/v0/tokens/x1?scope={scope}", b"", token=keeper).status == 403
    for method, path in (
        ("POST", "/v0/tokens/admin/refresh"),
        ("DELETE", "/v0/tokens/admin"),
        ("PUT", "/v0/tokens/admin?name=b"),
    ):
        assert api.call(method, path, b"", token=keeper).status == 403


@states(
    "The last token with the scope `ADMIN` can't be deleted.",
    "A name that is taken, or a scope that is not known, is refused with 400.",
)
def test_refused_changes(api):
    assert api.call("DELETE", "/v0/tokens/admin").status == 400
    make(api, "taken", "DATASOURCES:READ:a")
    assert api.call("POST", "/v0/tokens?name=taken&scope=ADMIN", b"").status == 400
    answer = api.call("POST", "/v0/tokens?name=new&scope=DATASOURCES:FLY:a", b"")
    assert answer.status == 400
    assert "DATASOURCES:READ:NAME" in answer.json()["error"]
