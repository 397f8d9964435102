"""Paths -> handlers. A template's `{}` takes one segment of a path; exact paths are found first."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import unquote

from daemon.answers import Answer, Refused

Handler = Callable[..., Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """`handler` is called with the request and what stood in place of each `{}`. `is_open`: no token is asked for.

    Requests of a route with an `event` are logged under that name.
    """

    method: str
    template: str
    handler: Handler
    is_open: bool = False
    event: str = ""


class Router:
    """Finds the route of a request."""

    def __init__(self, routes: list[Route]) -> None:
        self._exact: dict[str, dict[str, Route]] = {}
        templates: dict[str, dict[str, Route]] = {}
        for route in routes:
            group = templates if "{}" in route.template else self._exact
            group.setdefault(route.template, {})[route.method] = route
        self._patterns = [
            (re.compile(re.escape(template).replace(r"\{\}", "([^/]+)")), methods)
            for template, methods in templates.items()
        ]

    def find(self, method: str, path: str) -> tuple[Route, tuple[str, ...]]:
        """The route and the path's variable parts. A slash at the end makes no difference. Raises Refused."""
        methods = self._exact.get(path)
        arguments: tuple[str, ...] = ()
        if methods is None:
            methods, arguments = self._match(path.rstrip("/") or "/")
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = ", ".join(sorted({*methods, "OPTIONS"}))
            raise Refused(405, f"{path[:80]} takes {allowed}", allow=allowed.encode())
        return route, arguments

    def _match(self, path: str) -> tuple[dict[str, Route], tuple[str, ...]]:
        methods = self._exact.get(path)
        if methods is not None:
            return methods, ()
        for pattern, methods in self._patterns:
            match = pattern.fullmatch(path)
            if match is not None:
                return methods, tuple(map(unquote, match.groups()))
        raise Refused(404, f"there is nothing at {path[:80]!r}; events go to POST /v0/events?name=NAME")
