"""What the Python drivers share. A driver runs in its client's environment: it may import nothing of ours but this."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

ASKED = json.loads(Path(os.environ["DRIVE"]).read_text())


def asked() -> tuple[str, str]:
    """The URL and the token that the test gave."""
    return ASKED["url"], ASKED["token"]


def run(known: dict[str, Callable[..., Any]]) -> None:
    """Make the calls that the test asked for and print what became of each."""
    print(json.dumps([_outcome(known[name], given) for name, given in ASKED["calls"]]))


def _outcome(function: Callable[..., Any], given: dict[str, Any]) -> Any:
    try:
        return function(**given)
    except Exception as error:  # noqa: BLE001  whatever the client raises is what the test looks at
        outcome = {"raised": type(error).__name__, "message": str(error)}
        if hasattr(error, "status_code"):
            outcome["status"] = error.status_code
        return outcome
