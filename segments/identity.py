"""Who a source is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """What stays the same through renames: the id that clients see as `t_` and 32 hex digits."""

    id: bytes
    created_at: str

    @property
    def text(self) -> str:
        return f"t_{self.id.hex()}"
