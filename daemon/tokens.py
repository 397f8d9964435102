"""Who may do what. Only the SHA-256 of a token is stored; the token itself is shown once, where it is made."""

import base64
import hashlib
import hmac
import os
import secrets
import uuid
from dataclasses import asdict, dataclass

import orjson

from segments.disk import Disk, publish
from segments.errors import Corruption
from segments.filenames import DataDir


@dataclass(frozen=True, slots=True)
class Token:
    """A token as stored. Scopes are spelled as in API §2, such as `DATASOURCES:APPEND:flights`."""

    id: str
    name: str
    sha256: str
    scopes: tuple[str, ...]

    @property
    def may_create(self) -> bool:
        return "ADMIN" in self.scopes or "DATASOURCES:CREATE" in self.scopes

    def may_append(self, source: str) -> bool:
        return self.may_create or f"DATASOURCES:APPEND:{source}" in self.scopes

    @property
    def may_append_something(self) -> bool:
        return self.may_create or any(scope.startswith("DATASOURCES:APPEND:") for scope in self.scopes)


class Tokens:
    """The tokens of one daemon, by their digest."""

    def __init__(self, tokens: tuple[Token, ...]) -> None:
        self._by_digest = {token.sha256: token for token in tokens}

    def find(self, presented: str) -> Token | None:
        """The token whose text this is. The look-up is by digest, so its time tells nothing about stored tokens."""
        digest = _digest(presented)
        token = self._by_digest.get(digest)
        if token is None or not hmac.compare_digest(token.sha256, digest):
            return None
        return token


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def make_token_text(token_id: str) -> str:
    """`p.` + base64url JSON + `.` + 256 random bits: clients decode the middle (API §2)."""
    middle = base64.urlsafe_b64encode(orjson.dumps({"u": "siltstone", "id": token_id, "host": "local"})).rstrip(b"=")
    return f"p.{middle.decode()}.{secrets.token_urlsafe(32)}"


def open_tokens(disk: Disk, data: DataDir, admin_token: str | None) -> Tokens:
    """Load tokens.json; on a first start make it, with an admin token that is written to admin.token.

    `admin_token` sets the admin token instead of a random one, on any start. Raises Corruption.
    """
    tokens = _load(disk, data) if disk.exists(data.tokens) else ()
    is_known = admin_token is None or Tokens(tokens).find(admin_token) is not None
    if tokens and is_known:
        # A full disk must not keep the daemon down, so nothing is written that is there already.
        return Tokens(tokens)
    text = admin_token
    if text is None:
        token_id = str(uuid.uuid4())
        text = make_token_text(token_id)
        _publish_private(disk, data, text)
    else:
        token_id = next((token.id for token in tokens if token.name == "admin"), str(uuid.uuid4()))
    admin = Token(token_id, "admin", _digest(text), ("ADMIN",))
    tokens = (admin, *(token for token in tokens if token.name != "admin"))
    with _private_files():
        publish(disk, data.tokens, orjson.dumps({"tokens": [asdict(t) for t in tokens]}, option=orjson.OPT_INDENT_2))
    return Tokens(tokens)


def _publish_private(disk: Disk, data: DataDir, text: str) -> None:
    with _private_files():
        publish(disk, data.admin_token, text.encode() + b"\n")


class _private_files:  # noqa: N801 -- reads as a with-statement
    """Files created inside are for their owner alone from their first byte on."""

    def __enter__(self) -> None:
        self._mask = os.umask(0o177)

    def __exit__(self, *_: object) -> None:
        os.umask(self._mask)


def _load(disk: Disk, data: DataDir) -> tuple[Token, ...]:
    try:
        document = orjson.loads(disk.read(data.tokens))
        return tuple(Token(t["id"], t["name"], t["sha256"], tuple(t["scopes"])) for t in document["tokens"])
    except (ValueError, KeyError, TypeError) as error:
        raise Corruption(f"tokens.json can't be read: {error}", path=data.tokens) from error
