"""From the figures of each round to ratios, lines of text, JSON and a plot."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Ratio:
    """Of the figures of the same round; what changes from round to round changes both."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Result:
    """One thing that was measured: a figure a round for each contender, the first of which is set against the others."""

    title: str
    unit: str
    rounds: Mapping[str, Sequence[float]]
    details: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By contender, such as p50 in milliseconds: the median of the rounds."""

    @property
    def subject(self) -> str:
        return next(iter(self.rounds))

    def ratios(self) -> dict[str, Ratio]:
        """The subject's figure over that of each other."""
        names = list(self.rounds)
        return {name: ratio(self.rounds[names[0]], self.rounds[name]) for name in names[1:]}


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    found = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return Ratio(statistics.median(found), min(found), max(found))


def text(result: Result) -> str:
    """A line for the subject and one for each other, with the ratio to it."""
    lines = [result.title]
    ratios = result.ratios()
    for name, figures in result.rounds.items():
        details = "  ".join(f"{what} {_short(value)}" for what, value in result.details.get(name, {}).items())
        line = f"  {name:14} {_short(statistics.median(figures)):>9} {result.unit:8}"
        if name in ratios:
            line += f" first/this {ratios[name].median:6.2f} [{ratios[name].low:.2f}-{ratios[name].high:.2f}]"
        else:
            line += " " * 31
        lines.append(f"{line}  {details}".rstrip())
    return "\n".join(lines)


def write_json(path: Path, facts: Mapping[str, Any], results: Sequence[Result]) -> None:
    found = [
        asdict(result) | {"ratios": {name: asdict(found) for name, found in result.ratios().items()}}
        for result in results
    ]
    path.write_text(json.dumps({**facts, "results": found}, indent=2) + "\n")


_ROW = 22
_LEFT = 430
_WIDTH = 1000
_SCALE = (0.1, 0.25, 0.5, 1, 2, 4, 10)


def svg(results: Sequence[Result], caption: str) -> str:
    """One row for each ratio on a logarithmic axis: a line from the lowest round to the highest, a dot at the median."""
    rows = [(f"{one.title} / {name}", found) for one in results for name, found in one.ratios().items()]
    height = _ROW * (len(rows) + 3)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
    ]
    for mark in _SCALE:
        colour = "#888" if mark == 1 else "#ddd"
        parts.append(
            f'<line x1="{_x(mark):.1f}" x2="{_x(mark):.1f}" y1="{_ROW}" y2="{height - _ROW}" stroke="{colour}"/>'
        )
        parts.append(f'<text x="{_x(mark):.1f}" y="{_ROW - 6}" text-anchor="middle">{mark:g}x</text>')
    for number, (title, found) in enumerate(rows):
        y = _ROW * (number + 1.5)
        parts.append(f'<text x="{_LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(title)}</text>')
        parts.append(
            f'<line x1="{_x(found.low):.1f}" x2="{_x(found.high):.1f}" y1="{y}" y2="{y}" stroke="#36c" stroke-width="3"/>'
        )
        parts.append(f'<circle cx="{_x(found.median):.1f}" cy="{y}" r="4" fill="#136"/>')
        parts.append(f'<text x="{_WIDTH - 8}" y="{y + 4}" text-anchor="end">{found.median:.2f}</text>')
    parts.append(f'<text x="8" y="{height - 6}" fill="#555">{escape(caption)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _x(value: float) -> float:
    low, high = math.log(_SCALE[0]), math.log(_SCALE[-1])
    part = (math.log(value) - low) / (high - low) if value > 0 else 0.0
    return _LEFT + min(1.0, max(0.0, part)) * (_WIDTH - _LEFT - 70)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
