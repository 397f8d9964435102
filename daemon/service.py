"""The routes that are about the service itself: what it is, and the little that clients ask before they work."""

import uuid
from collections.abc import Iterable
from importlib.metadata import version

import orjson
import trio

from daemon.answers import Answer, Refused, Request, json_answer
from daemon.tokens import Tokens

_NAME = "siltstone"
_LOCAL_HOSTS = (b"localhost", b"127.0.0.1", b"[::1]")
_ALIAS_MAX = 200
_ALIASES_MAX = 100
_EMAIL = "siltstone@localhost"


class ServiceApi:
    """Handlers; one for the daemon. There is one workspace, and nobody in it: who has a token is let in."""

    def __init__(self, tokens: Tokens, routes: Iterable[str], *, tokens_on_loopback: bool) -> None:
        self._tokens = tokens
        self._tokens_on_loopback = tokens_on_loopback
        self._aliases: list[str] = []
        self._page = orjson.dumps(
            {
                "service": "siltstone",
                "version": version("siltstone"),
                "events": "POST /v0/events?name=NAME[&wait=true] with one JSON object, or one a line",
                "token": "Authorization: Bearer TOKEN, or ?token=TOKEN",
                "routes": sorted(routes),
                "documentation": "docs/http-api.md, which came with the program",
            },
            option=orjson.OPT_INDENT_2,
        )
        # The first token is made with the data directory and outlives changes of its text.
        self._id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"siltstone:{tokens.all[0].id}"))

    async def front_page(self, _: Request) -> Answer:
        """`GET /`: what this is, in short."""
        return Answer(200, self._page)

    async def health(self, _: Request) -> Answer:
        """`GET /health`."""
        return json_answer({"status": "ok"})

    async def version(self, _: Request) -> Answer:
        """`GET /version`."""
        return json_answer({"version": version("siltstone")})

    async def workspace(self, _: Request) -> Answer:
        """`GET /v0/workspace` and `/v1/workspace`: these keys and no others, which an SDK takes as arguments."""
        return json_answer(
            {"id": self._id, "name": _NAME, "user_id": self._id, "user_email": _EMAIL, "scope": "admin", "main": None}
        )

    async def workspaces(self, request: Request) -> Answer:
        """`GET /v1/user/workspaces`: the one there is, under each name that it was given."""
        about = {"id": self._id, "role": "admin", "plan": "free", "main": None, "organization": None}
        if request.token.is_admin and self._tokens_on_loopback:
            about["token"] = request.presented
        workspaces = [{"name": name, **about} for name in (_NAME, *self._aliases)]
        return json_answer({"id": self._id, "email": _EMAIL, "workspaces": workspaces, "organization_id": None})

    async def name_workspace(self, request: Request) -> Answer:
        """`POST /v1/workspaces?name=`: another name for the one workspace, until a restart; `tb` makes one a folder."""
        if not request.token.is_admin:
            raise Refused(403, "only a token with the scope ADMIN names workspaces")
        name = request.query.get("name", "")[:_ALIAS_MAX]
        if name and name not in self._aliases:
            self._aliases = [*self._aliases, name][-_ALIASES_MAX:]
        return json_answer({"id": self._id, "name": name or _NAME, "token": request.presented})

    async def local_tokens(self, request: Request) -> Answer:
        """`GET /tokens`, for programs on this machine if the daemon was told so. Never for a page in a browser: it says
        where it comes from, or, when it has got itself our address under a name of its own, calls us by that name."""
        host = request.head.headers.get(b"host", b"").rpartition(b":")[0] or request.head.headers.get(b"host", b"")
        # A target with a host of its own would count before that (RFC 9112), and no program of tb's sends one.
        is_page = b"origin" in request.head.headers or host not in _LOCAL_HOSTS or request.head.target[:1] != b"/"
        if not self._tokens_on_loopback or is_page or not request.connection.is_local:
            raise Refused(404, "there are no tokens to be had here; start siltstoned with --tokens-on-loopback for tb")
        text = await trio.to_thread.run_sync(self._tokens.admin_text)
        return json_answer({"user_token": text, "admin_token": text, "workspace_admin_token": text})

    async def regions(self, _: Request) -> Answer:
        """`GET /v0/regions`: this machine is the only one."""
        return json_answer({"regions": []})

    async def pipes(self, _: Request) -> Answer:
        """`GET /v0/pipes`: there are none."""
        return json_answer({"pipes": []})
