"""DEFAULT of a column: what a row gets that sends no value, a literal or a reading of the clock."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

TAKEN = "DEFAULT takes 'text', a number, true, false, NULL, [...] of those, now(), now64(p) and today()"


@dataclass(frozen=True, slots=True)
class Default:
    """`text` is the expression as it is printed; `literal` the JSON text of its value, empty for a clock's reading."""

    text: str
    literal: str = ""
    fraction_digits: int = 0

    def value(self, now: datetime) -> Any:
        """What an event would have to send for the same. `now` is naive UTC."""
        if self.literal:
            from segments.lines import exact  # noqa: PLC0415 -- who only reads a schema needs no JSON

            return exact(self.literal.encode())
        if self.text == "today()":
            return now.date().isoformat()
        fraction = f".{now.microsecond:06}000"[: self.fraction_digits + 1] if self.fraction_digits else ""
        return f"{now.isoformat(timespec='seconds')}{fraction}Z"
