"""The routes that are about the service itself: what it is, and the little that clients ask before they work."""

import uuid
from collections.abc import Iterable
from importlib.metadata import version

import orjson

from daemon.answers import Answer, Request, json_answer
from daemon.tokens import Tokens

_NAME = "siltstone"
_EMAIL = "siltstone@localhost"


class ServiceApi:
    """Handlers; one for the daemon. There is one workspace, and nobody in it: who has a token is let in."""

    def __init__(self, tokens: Tokens, routes: Iterable[str]) -> None:
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

    async def workspaces(self, _: Request) -> Answer:
        """`GET /v1/user/workspaces`."""
        workspace = {"id": self._id, "name": _NAME, "role": "admin", "plan": "free", "main": None, "organization": None}
        return json_answer({"id": self._id, "email": _EMAIL, "workspaces": [workspace], "organization_id": None})

    async def regions(self, _: Request) -> Answer:
        """`GET /v0/regions`: this machine is the only one."""
        return json_answer({"regions": []})

    async def pipes(self, _: Request) -> Answer:
        """`GET /v0/pipes`: there are none."""
        return json_answer({"pipes": []})
