"""The tokens API: list, show, make, change, refresh, delete. For tokens with the scope TOKENS or ADMIN."""

from dataclasses import replace
from typing import Any

import orjson

from daemon.answers import Answer, Refused, Request, json_answer
from daemon.intake import Intake
from daemon.tokens import ADMIN, TOKENS, Token, TokenRefused, Tokens, parse_scope


class TokensApi:
    """Handlers of `/v0/tokens`; one for the daemon."""

    def __init__(self, tokens: Tokens, intake: Intake) -> None:
        self._tokens = tokens
        self._intake = intake

    async def list(self, request: Request) -> Answer:
        """`GET /v0/tokens`."""
        _authorise(request.token)
        return json_answer({"tokens": [_shown(token) for token in self._tokens.all]})

    async def show(self, request: Request, name: str) -> Answer:
        """`GET /v0/tokens/NAME`; by name, id, or the token itself, which may see itself."""
        token = self._tokens.named(name)
        if token is None or token.id != request.token.id:
            _authorise(request.token)
        return json_answer(_shown(self._known(name)))

    async def create(self, request: Request) -> Answer:
        """`POST /v0/tokens?name=&scope=&scope=`, or the same as a form or JSON with scopes as `{type, resource}`."""
        _authorise(request.token)
        with self._intake.budget.reserved() as reservation:
            wanted = _wanted(request, await self._intake.read(request, reservation))
        if not wanted.get("name"):
            raise Refused(400, "a token needs a name; send ?name=NAME&scope=SCOPE")
        scopes = _scopes(wanted.get("scopes", []))
        _check_grant(request.token, scopes)
        token, text = await self._tokens.create(
            str(wanted["name"]),
            scopes,
            description=str(wanted.get("description", "")),
            expires_at=_expiry(request.query.get("expiration_time")),
        )
        return json_answer(_shown(token, text))

    async def update(self, request: Request, name: str) -> Answer:
        """`PUT /v0/tokens/NAME?scope=&name=&description=`: what is given replaces what was."""
        _authorise(request.token)
        with self._intake.budget.reserved() as reservation:
            wanted = _wanted(request, await self._intake.read(request, reservation))
        token = self._known(name)
        scopes = _scopes(wanted["scopes"]) if "scopes" in wanted else None

        def changed(current: Token) -> Token:
            _check_grant(request.token, (*current.scopes, *(scopes or ())))
            return replace(
                current,
                scopes=current.scopes if scopes is None else scopes,
                description=wanted.get("description", current.description),
                name=wanted.get("name", current.name),
            )

        return json_answer(_shown(await self._tokens.change(token.id, changed)))

    async def refresh(self, request: Request, name: str) -> Answer:
        """`POST /v0/tokens/NAME/refresh`: a new text; the old one is refused from now on."""
        _authorise(request.token)
        refreshed = await self._tokens.refresh(
            self._known(name), lambda current: _check_grant(request.token, current.scopes)
        )
        return json_answer(_shown(*refreshed))

    async def delete(self, request: Request, name: str) -> Answer:
        """`DELETE /v0/tokens/NAME`."""
        _authorise(request.token)
        token = self._known(name)
        _check_grant(request.token, token.scopes)
        await self._tokens.delete(token)
        return json_answer({"ok": True})

    def _known(self, name: str) -> Token:
        token = self._tokens.named(name)
        if token is None:
            raise Refused(404, "there is no such token; siltstone token ls, or GET /v0/tokens, lists them")
        return token


def _authorise(token: Token) -> None:
    if not token.may_manage_tokens:
        raise Refused(403, "this token may not manage tokens; it needs the scope TOKENS or ADMIN")


def _check_grant(granting: Token, scopes: tuple[str, ...]) -> None:
    """Who is no admin must not become one by way of a token it makes or changes."""
    if not granting.is_admin and {ADMIN, TOKENS} & set(scopes):
        raise Refused(403, "only a token with the scope ADMIN may make or change tokens with ADMIN or TOKENS")


def _shown(token: Token, text: str = "") -> dict[str, Any]:
    scopes = []
    for scope in token.scopes:
        kind, _, resource = scope.removeprefix("DATASOURCES:").partition(":")
        if scope.startswith("DATASOURCES:"):
            scopes.append({"type": f"DATASOURCES:{kind}", "resource": resource})
        else:
            scopes.append({"type": scope, "resource": ""})
    return {"id": token.id, "name": token.name, "token": text, "description": token.description, "scopes": scopes}


def _wanted(request: Request, body: bytes) -> dict[str, Any]:
    """What is asked for, from a JSON body, a form, or the query."""
    if len(body) > _BODY_BYTES_MAX:
        raise Refused(413, f"a token is described in {_BODY_BYTES_MAX} bytes at most")
    if body.lstrip().startswith(b"{"):
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Refused(400, f"the body is not JSON: {error}") from None
        unknown = {
            key: type(value) for key, value in document.items() if key in _TYPES and type(value) is not _TYPES[key]
        }
        if unknown:
            raise Refused(400, f"{', '.join(unknown)} in the body is not of the expected type")
        return dict(document)
    pairs = [*request.pairs, *request.form(body)]
    wanted: dict[str, Any] = {key: value for key, value in reversed(pairs) if key in ("name", "description")}
    if any(key == "scope" for key, _ in pairs):
        wanted["scopes"] = [value for key, value in pairs if key == "scope"]
    return wanted


_EXPIRY_DIGITS_MAX = 12
_BODY_BYTES_MAX = 64 * 1024
_TYPES: dict[str, type] = {"name": str, "description": str, "scopes": list}


def _scopes(given: list[Any]) -> tuple[str, ...]:
    texts = []
    for scope in given:
        if isinstance(scope, dict):
            resource = scope.get("resource") or ""
            texts.append(f"{scope.get('type', '')}:{resource}" if resource else str(scope.get("type", "")))
        else:
            texts.append(str(scope))
    try:
        return tuple(dict.fromkeys(map(parse_scope, texts)))
    except TokenRefused as error:
        raise Refused(400, str(error)) from None


def _expiry(text: str | None) -> int:
    if text is None:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > _EXPIRY_DIGITS_MAX:
        raise Refused(400, "expiration_time is a Unix time in whole seconds")
    return int(text)
