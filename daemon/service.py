"""The routes that are about the service itself, and the table of all routes."""

import orjson

from daemon.answers import Answer, Request, json_answer
from daemon.events import EventsApi
from daemon.router import Route, Router
from daemon.token_routes import TokensApi

_FRONT_PAGE = orjson.dumps(
    {
        "service": "siltstone",
        "events": "POST /v0/events?name=NAME[&wait=true] with one JSON object, or one a line",
        "token": "Authorization: Bearer TOKEN, or ?token=TOKEN",
        "health": "GET /health",
    }
)


async def front_page(_: Request) -> Answer:
    """`GET /`: what this is, in short."""
    return Answer(200, _FRONT_PAGE)


async def health(_: Request) -> Answer:
    """`GET /health`."""
    return json_answer({"status": "ok"})


def build_router(events: EventsApi, tokens: TokensApi) -> Router:
    """Every route of the daemon."""
    return Router(
        [
            Route("GET", "/", front_page, is_open=True),
            Route("GET", "/health", health, is_open=True),
            Route("GET", "/v0/health", health, is_open=True),
            Route("POST", "/v0/events", events.post),
            Route("GET", "/v0/tokens", tokens.list),
            Route("POST", "/v0/tokens", tokens.create),
            Route("GET", "/v0/tokens/{}", tokens.show),
            Route("PUT", "/v0/tokens/{}", tokens.update),
            Route("DELETE", "/v0/tokens/{}", tokens.delete),
            Route("POST", "/v0/tokens/{}/refresh", tokens.refresh),
        ]
    )
