"""Logs of the daemon's processes: JSON lines on standard error, coloured text on a terminal."""

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog

# Without the values of variables: a token or somebody's rows may be among them.
_TRACEBACKS = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)


class _Log:
    """Standard error, for as long as somebody reads it: a log that nobody takes must not stop the rows."""

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


def configure_logs() -> None:
    """To be called once in a process, before anything is logged."""
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if sys.stderr.isatty():
        renderer = structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(_TRACEBACKS)
            if not sys.stderr.isatty()
            else structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Log())),
    )
