"""Parts of a page of charts: tables with bars in their cells, line charts, and the page around them. Pure HTML and SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple, TypeAlias

Rows: TypeAlias = list[tuple[str, ...]]
"""Cells as HTML, the first of each row its heading."""

_WIDTH: Final = 340
_HEIGHT: Final = 210
_LEFT: Final = 40
_BOTTOM: Final = 34
_TOP: Final = 8
_RIGHT: Final = 10
_CLASSES: Final = ("a", "b", "c", "d")


class Line(NamedTuple):
    """Points (x, y) in the order of x."""

    name: str
    points: Sequence[tuple[float, float]]
    dots: bool = False
    dashed: bool = False


def bar(value: float, low: float, high: float) -> str:
    """A bar from 0 to value on a scale from low to high."""
    return span_bar(0.0, value, low, high)


def span_bar(begin: float, end: float, low: float, high: float) -> str:
    """A bar from one value to another on a scale, with the line of 0."""

    def place(value: float) -> float:
        return 100.0 * (min(max(value, low), high) - low) / (high - low)

    left, right = sorted((place(begin), place(end)))
    kind = "more" if end >= begin else "less"
    zero = place(0.0)
    return (
        '<svg class="bar" viewBox="0 0 100 16" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="{kind}" x="{left:.2f}" y="3" width="{max(right - left, 0.4):.2f}" height="10"/>'
        f'<line class="zero" x1="{zero:.2f}" x2="{zero:.2f}" y1="0" y2="16"/></svg>'
    )


def table(caption: str, head: Sequence[str], rows: Rows, *, numbers: int) -> str:
    """A table; its last `numbers` columns are numbers. It scrolls by itself where the page is narrow."""
    first = len(head) - numbers
    cells = "".join(f'<th scope="col"{_number(place, first)}>{escape(name)}</th>' for place, name in enumerate(head))
    body = "".join(
        "<tr>"
        + f'<th scope="row">{row[0]}</th>'
        + "".join(f"<td{_number(place, first)}>{cell}</td>" for place, cell in enumerate(row[1:], start=1))
        + "</tr>"
        for row in rows
    )
    name = escape(caption)
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="Table: {name}"><table><caption>{name}</caption>'
        f"<thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _number(place: int, first: int) -> str:
    return ' class="number"' if place >= first else ""


def table_behind(title: str, head: Sequence[str], rows: Rows) -> str:
    """The table of a chart, folded away."""
    body = table(f"{title}, by {head[0]}", head, rows, numbers=len(head))
    return f"<details><summary>{escape(title)} as a table</summary>{body}</details>"


def section(name: str, title: str, said: str, body: str) -> str:
    """One section; said and body are HTML."""
    text = f"<p>{said}</p>" if said else ""
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(title)}</h2>{text}{body}</section>'


def line_chart(
    title: str, lines: Sequence[Line], x_name: str, y_name: str, *,
    x_range: tuple[float, float] | None = None, y_range: tuple[float, float] | None = None,
) -> str:  # fmt: skip
    """Lines on common axes. The names of lines stand below, with the pattern of each."""
    every = [point for line in lines for point in line.points]
    x_low, x_high = x_range or _reach([x for x, _ in every])
    y_low, y_high = y_range or _reach([0.0, *(y for _, y in every)])

    def at(x: float, y: float) -> tuple[float, float]:
        across = (min(max(x, x_low), x_high) - x_low) / (x_high - x_low)
        up = (min(max(y, y_low), y_high) - y_low) / (y_high - y_low)
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - up * (_HEIGHT - _BOTTOM - _TOP)

    drawn = [_axes(x_low, x_high, y_low, y_high, at, x_name, y_name)]
    keys = []
    for number, line in enumerate(lines):
        kind = _CLASSES[number % len(_CLASSES)] + (" dashed" if line.dashed else "")
        points = [at(x, y) for x, y in line.points]
        drawn.append(f'<polyline class="line {kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>')
        if line.dots:
            drawn += [f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in points]
        sample = (
            f'<svg class="key" viewBox="0 0 24 8" aria-hidden="true"><polyline class="line {kind}" points="0,4 24,4"/></svg>'
        )
        keys.append(f"<li>{sample}{escape(line.name)}</li>")
    label = escape(f"{title}: {y_name} by {x_name}; " + ", ".join(line.name for line in lines))
    return (
        f'<figcaption>{escape(title)}</figcaption><svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{label}">{"".join(drawn)}</svg><ul class="keys">{"".join(keys)}</ul>'
    )


def _axes(x_low: float, x_high: float, y_low: float, y_high: float, at, x_name: str, y_name: str) -> str:  # type: ignore[no-untyped-def]
    parts = []
    for tick in _ticks(y_low, y_high):
        left, y = at(x_low, tick)
        right, _ = at(x_high, tick)
        kind = "zero" if tick == 0 else "grid"
        parts.append(f'<line class="{kind}" x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 5:.1f}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in _ticks(x_low, x_high, whole=x_high - x_low >= 1 and float(x_low).is_integer() and x_high > 1):
        x, bottom = at(tick, y_low)
        parts.append(f'<text x="{x:.1f}" y="{bottom + 14:.1f}" text-anchor="middle">{tick:g}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text x="{middle:.1f}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(x_name)} (up: {escape(y_name)})</text>'
    )
    return "".join(parts)


def _ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Two to eight round values of a range."""
    step = 10.0 ** math.floor(math.log10((high - low) / 4))
    if whole:
        step = max(1.0, step)
    for factor in (1, 2, 5, 10):
        if (high - low) / (step * factor) <= 7:
            step *= factor
            break
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 10) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def _reach(values: Sequence[float]) -> tuple[float, float]:
    low, high = math.floor(min(values)), math.ceil(max(values))
    return (float(low), float(high)) if high > low else (low - 1.0, low + 1.0)


_STYLE: Final = """
:root{color-scheme:light dark;--back:#fff;--text:#1b1f24;--quiet:#4d5761;--grid:#d5dae0;--zero:#6b7580;--more:#1f6fb2;
--less:#b4500f;--a:#1f6fb2;--b:#b4500f;--c:#2c7a4b;--d:#8a3ea8;--box:#f5f7f9}
@media (prefers-color-scheme:dark){:root{--back:#14171a;--text:#e8ebee;--quiet:#b1bac3;--grid:#363d45;--zero:#95a0ab;
--more:#62aef0;--less:#f0995a;--a:#62aef0;--b:#f0995a;--c:#6fcf97;--d:#d29bea;--box:#1d2226}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);font:16px/1.5 system-ui,sans-serif}
main{max-width:68rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;margin:.5rem 0;overflow-wrap:anywhere}h2{font-size:1.2rem;margin:2.2rem 0 .4rem}
p{max-width:44rem;color:var(--quiet);margin:.2rem 0 1rem;overflow-wrap:anywhere}
.wide{overflow-x:auto;margin:0 0 1.2rem;border:1px solid var(--grid);border-radius:6px;background:var(--box)}
.wide:focus-visible,summary:focus-visible{outline:3px solid var(--a);outline-offset:2px}
table{border-collapse:collapse;width:100%}
caption{text-align:left;font-weight:600;padding:.5rem .6rem}
th,td{padding:.25rem .6rem;text-align:left;font-weight:400;vertical-align:middle}
thead th{color:var(--quiet);font-size:.85rem;border-bottom:1px solid var(--grid)}
tbody tr+tr>*{border-top:1px solid var(--grid)}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
small{display:block;color:var(--quiet);font-size:.8rem}
td:nth-child(2):not(.number){width:45%}
.bar{display:block;width:100%;min-width:6rem;height:1.1rem}
.more{fill:var(--more)}.less{fill:var(--less)}
.zero{stroke:var(--zero);stroke-width:1;vector-effect:non-scaling-stroke}
.grid{stroke:var(--grid);stroke-width:1}
.many{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,19rem),1fr));gap:1rem}
.many>figure{min-width:0}
figure{margin:0 0 1rem;padding:.6rem;border:1px solid var(--grid);border-radius:6px;background:var(--box)}
figcaption{font-weight:600}
.chart{display:block;width:100%;max-width:30rem;height:auto}
.chart text{fill:var(--quiet);font-size:11px}
.line{fill:none;stroke-width:2}.dashed{stroke-dasharray:5 4}
.line.a{stroke:var(--a)}.line.b{stroke:var(--b);stroke-dasharray:7 3}.line.c{stroke:var(--c);stroke-dasharray:2 3}
.line.d{stroke:var(--d);stroke-dasharray:9 3 2 3}
.dot.a{fill:var(--a)}.dot.b{fill:var(--b)}
.keys{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:.2rem 0;padding:0;font-size:.85rem}
.key{width:24px;height:8px;margin-right:.4rem}
summary{cursor:pointer;font-size:.85rem;padding:.3rem 0}
@media (max-width:30rem){.says{display:none}th,td{padding:.25rem .35rem}.bar{min-width:4rem}thead th{font-size:.75rem}}
@media print{.wide{overflow:visible}}
"""


def page(title: str, body: str) -> str:
    """A whole file."""
    name = escape(title)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}</title><style>{_STYLE}</style></head><body><main><h1>{name}</h1>{body}</main></body></html>\n"
    )
