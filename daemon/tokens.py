"""Who may do what. Only the SHA-256 of a token is stored; the token itself is shown once, where it is made."""

import base64
import hashlib
import hmac
import re
import secrets
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from time import time

import orjson
import structlog
import trio

from segments.checked_json import decode, encode
from segments.disk import FOR_OWNER, Disk, publish
from segments.errors import Corruption
from segments.filenames import DataDir, name_problem

_log = structlog.get_logger("tokens")

ADMIN = "ADMIN"
ADMIN_ID = "b7f6a1c4-2f0e-5d53-9a58-1c8e0d3f7a21"
"""Of an admin token whose text was set from outside, on any daemon."""
TOKENS = "TOKENS"
CREATE = "DATASOURCES:CREATE"
_ON_SOURCE = ("APPEND", "READ", "DROP")
_NAME = re.compile(r"[^\s/?#\x00-\x1f\x7f]{1,128}")


class TokenRefused(Exception):
    """A change of the tokens that can't be made; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token as stored. Scopes are spelled as in `DATASOURCES:APPEND:flights`. `expires_at` is Unix time, or 0."""

    id: str
    name: str
    sha256: str
    scopes: tuple[str, ...]
    description: str = ""
    expires_at: int = 0

    @property
    def is_admin(self) -> bool:
        return ADMIN in self.scopes

    @property
    def may_create(self) -> bool:
        return self.is_admin or CREATE in self.scopes

    @property
    def may_manage_tokens(self) -> bool:
        return self.is_admin or TOKENS in self.scopes

    def may_append(self, source: str) -> bool:
        return self.may_create or f"DATASOURCES:APPEND:{source}" in self.scopes

    @property
    def may_append_something(self) -> bool:
        return self.may_create or any(scope.startswith("DATASOURCES:APPEND:") for scope in self.scopes)

    def may_read(self, source: str) -> bool:
        return self.is_admin or f"DATASOURCES:READ:{source}" in self.scopes

    def may_drop(self, source: str) -> bool:
        return self.is_admin or f"DATASOURCES:DROP:{source}" in self.scopes

    def readable(self, names: list[str]) -> list[str]:
        """Those of the data sources that this token may read."""
        return names if self.is_admin else [name for name in names if self.may_read(name)]


NOBODY = Token("", "", "", ())
"""Who sends a request that needs no token."""


def check_name(name: str) -> None:
    """Raises TokenRefused when no token can have this name."""
    if not _NAME.fullmatch(name):
        raise TokenRefused("a token's name has 1 to 128 characters, none of them a blank, '/', '?' or '#'")


def parse_scope(text: str) -> str:
    """A scope in its one spelling; the singular `DATASOURCE:` is understood. Raises TokenRefused."""
    kind, _, resource = text.removeprefix("DATASOURCES:").removeprefix("DATASOURCE:").partition(":")
    if text in (ADMIN, TOKENS):
        return text
    if text.startswith("DATASOURCE") and kind == "CREATE" and not resource:
        return CREATE
    if text.startswith("DATASOURCE") and kind in _ON_SOURCE:
        name = resource.removesuffix("_quarantine")
        if name_problem(name) is None:
            return f"DATASOURCES:{kind}:{name}"
    raise TokenRefused(
        f"'{text[:80]}' is not a scope; known are DATASOURCES:CREATE, DATASOURCES:APPEND:NAME, DATASOURCES:READ:NAME, "
        "DATASOURCES:DROP:NAME, TOKENS and ADMIN"
    )


class Tokens:
    """The tokens of one daemon. Changes are on disk before they take effect, and take effect at once."""

    def __init__(
        self, disk: Disk, data: DataDir, tokens: tuple[Token, ...], *, damage: Corruption | None = None
    ) -> None:
        """With `damage` there are others that can't be read: whoever has one is to try again later, and not to give up."""
        self._disk = disk
        self._damage = damage
        self._data = data
        self._changing = trio.Lock()
        self._tokens = tokens
        self._by_digest = {token.sha256: token for token in tokens}

    @property
    def all(self) -> tuple[Token, ...]:
        return self._tokens

    def find(self, presented: str) -> Token | None:
        """The token whose text this is. The look-up is by digest, so its time tells nothing about stored tokens.

        Raises Corruption when it may be one of those that can't be read.
        """
        digest = _digest(presented)
        token = self._by_digest.get(digest)
        if token is None and self._damage is not None:
            raise self._damage
        if token is None or not hmac.compare_digest(token.sha256, digest):
            return None
        return None if token.expires_at and token.expires_at <= time() else token

    def admin_text(self) -> str:
        """The admin token, where a first start has written it down. Raises TokenRefused."""
        if not self._disk.exists(self._data.admin_token):
            raise TokenRefused("the admin token was set from outside and is written down nowhere here")
        return self._disk.read(self._data.admin_token).decode().strip()

    def named(self, name: str) -> Token | None:
        """The token with this name, id or text."""
        named = next((token for token in self._tokens if name in (token.name, token.id)), None)
        return named or self.find(name)

    async def create(
        self, name: str, scopes: tuple[str, ...], *, description: str = "", expires_at: int = 0
    ) -> tuple[Token, str]:
        """A new token and its text, which is kept nowhere. Raises TokenRefused, OSError."""
        check_name(name)
        async with self._changing:
            if any(token.name == name for token in self._tokens):
                raise TokenRefused(f"there is a token named '{name}'; choose another name, or refresh that one")
            token_id = str(uuid.uuid4())
            text = make_token_text(token_id)
            token = Token(token_id, name, _digest(text), scopes, description, expires_at)
            await self._store((*self._tokens, token))
        return token, text

    async def ensure(self, name: str, scope: str) -> None:
        """Give the token of this name the scope; make the token if there is none. Raises TokenRefused, OSError."""
        known = self.named(name)
        if known is None:
            await self.create(name, (scope,))
        else:
            await self.change(
                known.id, lambda token: replace(token, scopes=tuple(dict.fromkeys((*token.scopes, scope))))
            )

    async def change(self, token_id: str, changed: Callable[[Token], Token]) -> Token:
        """Put what `changed` makes of a token in its place. It gets the token as it is when nobody else changes it.

        Raises TokenRefused, OSError, and what `changed` raises.
        """
        async with self._changing:
            old = next((token for token in self._tokens if token.id == token_id), None)
            if old is None:
                raise TokenRefused("the token was taken away meanwhile")
            new = changed(old)
            check_name(new.name)
            if any(token.name == new.name and token.id != old.id for token in self._tokens):
                raise TokenRefused(f"there is a token named '{new.name}'; choose another name")
            await self._store(tuple(new if token.id == old.id else token for token in self._tokens))
        return new

    async def refresh(self, token: Token, check: Callable[[Token], None]) -> tuple[Token, str]:
        """A new text for a token that `check` lets pass; the old one is void at once. Raises as `change`."""
        text = make_token_text(token.id)

        def refreshed(current: Token) -> Token:
            check(current)
            return replace(current, sha256=_digest(text))

        token = await self.change(token.id, refreshed)
        if token.name == "admin" and self._disk.exists(self._data.admin_token):
            await trio.to_thread.run_sync(_publish_private, self._disk, self._data, text)
        return token, text

    async def delete(self, token: Token) -> None:
        """Raises TokenRefused, OSError."""
        async with self._changing:
            await self._store(tuple(other for other in self._tokens if other.id != token.id))

    async def _store(self, tokens: tuple[Token, ...]) -> None:
        if not any(token.is_admin and not token.expires_at for token in tokens):
            raise TokenRefused("this would leave no lasting token with the scope ADMIN; make another one first")
        if self._damage is not None:
            raise self._damage
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(_publish_tokens, self._disk, self._data, tokens)
            self._tokens = tokens
            self._by_digest = {token.sha256: token for token in tokens}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def make_token_text(token_id: str) -> str:
    """`p.` + base64url JSON + `.` + 256 random bits: clients decode the middle."""
    middle = base64.urlsafe_b64encode(orjson.dumps({"u": "siltstone", "id": token_id, "host": "local"})).rstrip(b"=")
    return f"p.{middle.decode()}.{secrets.token_urlsafe(32)}"


def _admin_id(text: str) -> str:
    """The id of the admin token whose text this is, the same whether or not anything else is known of it.

    A request that is sent again is known by the id of its token and its key.
    """
    _, _, middle = text.partition(".")
    try:
        told = orjson.loads(base64.urlsafe_b64decode(middle.partition(".")[0] + "=="))
        return str(uuid.UUID(told["id"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        # It was set from outside.
        return ADMIN_ID


def open_tokens(disk: Disk, data: DataDir, admin_token: str | None) -> Tokens:
    """Load tokens.json; on a first start make it, with an admin token that is written to admin.token.

    `admin_token` sets the admin token instead of a random one, on any start. Raises Corruption.
    """
    try:
        tokens = _load(disk, data) if disk.exists(data.tokens) else ()
    except Corruption as error:
        text = admin_token or _known_admin_text(disk, data)
        if text is None:
            raise
        _log.error("tokens are damaged; only the admin token works until siltstone repair", reason=str(error))
        return Tokens(disk, data, (Token(_admin_id(text), "admin", _digest(text), (ADMIN,)),), damage=error)
    is_known = admin_token is None or Tokens(disk, data, tokens).find(admin_token) is not None
    if tokens and is_known:
        # A full disk must not keep the daemon down, so nothing is written that is there already.
        return Tokens(disk, data, tokens)
    text = admin_token
    if text is None:
        token_id = str(uuid.uuid4())
        text = make_token_text(token_id)
        _publish_private(disk, data, text)
    else:
        token_id = next((token.id for token in tokens if token.name == "admin"), _admin_id(text))
    admin = Token(token_id, "admin", _digest(text), (ADMIN,))
    tokens = (admin, *(token for token in tokens if token.name != "admin"))
    _publish_tokens(disk, data, tokens)
    return Tokens(disk, data, tokens)


def _publish_tokens(disk: Disk, data: DataDir, tokens: tuple[Token, ...]) -> None:
    publish(disk, data.tokens, encode({"tokens": [asdict(token) for token in tokens]}), mode=FOR_OWNER)


def _publish_private(disk: Disk, data: DataDir, text: str) -> None:
    publish(disk, data.admin_token, text.encode() + b"\n", mode=FOR_OWNER)


def _known_admin_text(disk: Disk, data: DataDir) -> str | None:
    return disk.read(data.admin_token).decode().strip() if disk.exists(data.admin_token) else None


def _load(disk: Disk, data: DataDir) -> tuple[Token, ...]:
    try:
        document = decode(disk.read(data.tokens))
        return tuple(Token(**{**token, "scopes": tuple(token["scopes"])}) for token in document["tokens"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Corruption(f"tokens.json can't be read: {error}", path=data.tokens) from error
