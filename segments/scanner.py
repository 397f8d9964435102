"""A text read from left to right by the parsers of types, columns and datafiles; they refuse it by line and column."""

import re

from segments.errors import SchemaError

_BLANK = re.compile(r"(?:\s|--[^\n]*)+")
_SHOWN = re.compile(r"[A-Za-z0-9_]+|[^\n]?")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHOWN_MAX = 40


class Scanner:
    """A position in a text, of which nothing from `end` on is looked at."""

    def __init__(self, text: str, start: int = 0, end: int | None = None) -> None:
        self.text = text
        self.at = start
        self.end = len(text) if end is None else end

    @property
    def is_done(self) -> bool:
        """Whether nothing but blanks and `--` comments is left; steps over them."""
        self.skip_blank()
        return self.at == self.end

    def skip_blank(self) -> None:
        self.take(_BLANK)

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Step over what matches here, if anything does."""
        match = pattern.match(self.text, self.at, self.end)
        if match is not None:
            self.at = match.end()
        return match

    def take_word(self) -> str:
        """A name or keyword after blanks; empty when something else stands there."""
        self.skip_blank()
        match = self.take(_WORD)
        return "" if match is None else match[0]

    def peek(self) -> str:
        """The next character after blanks; empty at the end."""
        self.skip_blank()
        return self.text[self.at : min(self.at + 1, self.end)]

    def take_mark(self, mark: str) -> bool:
        """Step over one character after blanks, if it is `mark`."""
        if self.peek() != mark:
            return False
        self.at += 1
        return True

    def expect_mark(self, mark: str, where: str) -> None:
        if not self.take_mark(mark):
            raise self.fail(f"expected '{mark}' {where}, found {self.found()}")

    def found(self) -> str:
        """What stands here, for a message."""
        match = _SHOWN.match(self.text, self.at, self.end)
        shown = "" if match is None else match[0]
        if not shown:
            return "the end"
        return f"'{shown if len(shown) <= _SHOWN_MAX else shown[:_SHOWN_MAX] + '…'}'"

    def fail(self, message: str, *, at: int | None = None) -> SchemaError:
        """The error to raise about the text at `at`, or here. Lines and columns count from 1."""
        place = self.at if at is None else at
        line = self.text.count("\n", 0, place) + 1
        column = place - self.text.rfind("\n", 0, place)
        return SchemaError(f"line {line}, column {column}: {message}")
